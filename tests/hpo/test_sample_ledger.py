"""SampleLedger: what is spent, what is promised, and how far a search can overshoot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import BudgetError
from raysubset.hpo.budget import SampleLedger, sample_budget


def test_by_hand() -> None:
    ledger = SampleLedger(100)
    assert ledger.admits()
    ledger.update("a", 0, 40.0)
    ledger.update("b", 0, 40.0)
    assert ledger.admits()
    ledger.update("c", 0, 20.0)
    assert not ledger.admits(), "100 are promised"
    ledger.update("a", 40, None)
    ledger.update("b", 30, None)  # stopped early: ten samples come back
    assert ledger.total == 70
    assert ledger.admits()
    ledger.update("c", 20, 60.0)
    assert ledger.total == 90
    assert not ledger.admits()
    ledger.update("c", 60, None)
    assert ledger.total == 130
    assert not ledger.admits()


def test_a_late_report_takes_nothing_back() -> None:
    ledger = SampleLedger(100)
    ledger.update("a", 50, None)
    ledger.update("a", 30, None)
    assert ledger.total == 50


def test_a_trial_past_its_level_promises_nothing() -> None:
    ledger = SampleLedger(100)
    ledger.update("a", 50, 40.0)
    assert ledger.committed == {"a": 0.0}


@PROPERTY
@given(st.integers(1, 2000), st.lists(st.integers(1, 100), min_size=1, max_size=30), st.integers(1, 8))
def test_trials_of_one_rung_overshoot_by_less_than_the_last_admitted(
    budget: int, costs: list[int], concurrency: int
) -> None:
    """Trials run to their one rung; whoever is admitted finishes."""
    ledger, waiting, live = SampleLedger(budget), list(enumerate(costs)), []
    while live or (waiting and ledger.admits()):
        while waiting and len(live) < concurrency and ledger.admits():
            trial, cost = waiting.pop(0)
            ledger.update(str(trial), 0, float(cost))
            live.append((trial, cost))
        trial, cost = live.pop(0)
        ledger.update(str(trial), cost, None)
    assert not ledger.committed
    assert ledger.total < budget + max(costs)
    assert ledger.total == sum(costs[: len(costs) - len(waiting)])


def test_budget_is_the_ratios_share_of_the_full_search() -> None:
    assert sample_budget(20, 0.05, 1000, 10) == 1000
    with pytest.raises(BudgetError, match=r"1,000 samples; one trial needs 1,001"):
        sample_budget(20, 0.05, 1000, 1001)
