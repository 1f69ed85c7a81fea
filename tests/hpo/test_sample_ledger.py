"""Ledger: what is spent, what is promised, and how far a search can overshoot."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import BudgetError
from raysubset.hpo.budget import Ledger, sample_budget, time_budget


def test_by_hand() -> None:
    ledger = Ledger(100)
    assert ledger.admits()
    ledger.update("a", 0, 40.0)
    ledger.update("b", 0, 40.0)
    assert ledger.admits()
    ledger.update("c", 0, 20.0)
    assert not ledger.admits(), "100 are promised"
    assert not ledger.exhausted
    ledger.update("a", 40, None)
    ledger.update("b", 30, None)  # stopped early: ten samples come back
    assert ledger.total == 70
    assert ledger.admits()
    ledger.update("c", 20, 60.0)
    assert ledger.total == 90
    assert not ledger.admits()
    assert not ledger.exhausted
    ledger.update("c", 30, 60.0)
    assert ledger.exhausted
    ledger.update("c", 60, None)
    assert ledger.total == 130
    assert not ledger.admits()


def test_a_late_report_takes_nothing_back() -> None:
    ledger = Ledger(100)
    ledger.update("a", 50, None)
    ledger.update("a", 30, None)
    assert ledger.total == 50


def test_a_trial_past_its_level_promises_nothing() -> None:
    ledger = Ledger(100)
    ledger.update("a", 50, 40.0)
    assert ledger.committed == {"a": 0.0}


def test_time_runs_out_too_and_never_goes_back() -> None:
    ledger = Ledger(seconds=60.0)
    ledger.tick(59.9)
    assert ledger.admits()
    assert not ledger.exhausted
    ledger.tick(60.0)
    ledger.tick(3.0)
    assert ledger.elapsed_s == 60.0
    assert not ledger.admits()
    assert ledger.exhausted


def test_without_limits_nothing_is_refused() -> None:
    ledger = Ledger()
    ledger.update("a", 10**12, 1e15)
    ledger.tick(1e9)
    assert ledger.admits()
    assert not ledger.exhausted


news = st.tuples(st.sampled_from("abcd"), st.integers(0, 1000), st.one_of(st.none(), st.floats(0, 1e6)))


@PROPERTY
@given(st.lists(news, max_size=40))
def test_sums_are_those_of_the_trials(story: list[tuple[str, int, float | None]]) -> None:
    """Levels are thirds and ninths: what is promised and taken back must leave nothing, however often."""
    ledger, consumed = Ledger(), dict.fromkeys("abcd", 0)
    for trial, samples, level in story:
        consumed[trial] = max(consumed[trial], samples)
        ledger.update(trial, samples, level)
        assert ledger.total == sum(consumed.values())
        assert ledger.promised == pytest.approx(sum(ledger.committed.values()), abs=1e-6)
    for trial in "abcd":
        ledger.update(trial, 0, None)
    assert ledger.promised == 0


@PROPERTY
@given(st.integers(1, 2000), st.lists(st.integers(1, 100), min_size=1, max_size=30), st.integers(1, 8))
def test_trials_of_one_rung_overshoot_by_less_than_the_last_admitted(
    budget: int, costs: list[int], concurrency: int
) -> None:
    """Trials run to their one rung; whoever is admitted finishes."""
    ledger, waiting, live = Ledger(budget), list(enumerate(costs)), []
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
    assert time_budget(3600, 0.1) == 360
    assert Ledger().samples == Ledger().seconds == math.inf
    with pytest.raises(BudgetError, match=r"1,000 samples; one trial needs 1,001"):
        sample_budget(20, 0.05, 1000, 1001)
