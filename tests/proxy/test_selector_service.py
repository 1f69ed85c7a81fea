"""SelectorService is the in-process client, so it keeps the client's contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from raysubset.errors import BudgetError, SelectorError
from raysubset.proxy.service import SelectorService
from raysubset.proxy.stream import StreamSpec
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.testing.clients import KNOWN, POOL_SIZE, ClientContract, signals_for, spec

if TYPE_CHECKING:
    from raysubset.runtime.client import SelectorClient


class TestSelectorService(ClientContract):
    @pytest.fixture
    def client(self) -> SelectorClient:
        return SelectorService(KNOWN)


def test_lists_open_trials_in_order_of_opening() -> None:
    service = SelectorService(KNOWN)
    for trial in ("b", "a", "c"):
        service.open(trial, spec(SubsetPlan()))
    service.close("a")
    assert service.trials() == ("b", "c")


def test_a_record_of_an_unknown_trial_is_refused() -> None:
    with pytest.raises(SelectorError, match="'x' is not open"):
        SelectorService(KNOWN).record("x", 0, signals_for(range(3), 0))


def test_a_state_is_a_copy() -> None:
    service = SelectorService(KNOWN)
    service.open("a", spec(SubsetPlan()))
    service.next("a", 0)
    state = service.state("a")
    service.record("a", 0, signals_for(range(POOL_SIZE), 0))
    assert not state["memory"]["seen"].any()
    assert (state["memory"]["loss"] == 0).all()


def test_a_plan_that_does_not_fit_the_pool_is_refused_when_opened() -> None:
    plan = SubsetPlan(ratio=0.01, budget="exact")
    with pytest.raises(BudgetError, match="full first epoch"):
        SelectorService(KNOWN).open("a", StreamSpec(plan, 3, 0))


def test_a_state_of_another_pool_is_refused() -> None:
    small = SelectorService(Context(10))
    small.open("a", spec(SubsetPlan()))
    with pytest.raises(SelectorError, match=f"10 rows, this pool has {POOL_SIZE}"):
        SelectorService(KNOWN).open("a", spec(SubsetPlan()), small.state("a"))


def test_a_pool_without_labels_serves_all_but_per_class() -> None:
    service = SelectorService(Context(POOL_SIZE))
    service.open("a", spec(SubsetPlan(ratio=0.2)))
    assert len(service.next("a", 0).selection) == POOL_SIZE
    assert np.unique(service.next("a", 1).selection.indices).size < POOL_SIZE
