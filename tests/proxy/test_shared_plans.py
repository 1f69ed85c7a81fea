"""Which plans share what their trials learn; those that do not are left as they are."""

from __future__ import annotations

import numpy as np
import pytest

from raysubset.errors import OptionsError
from raysubset.proxy.service import SelectorService
from raysubset.selection.plan import METRIC_CHOICES, SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.testing.clients import assert_same
from tests.proxy.made_memories import BY_LOSS, EPOCHS, N, hard_rows, outcome


@pytest.mark.parametrize("metric", METRIC_CHOICES)
def test_the_first_trial_of_all_is_a_scheduled_one(metric: str) -> None:
    shared = SubsetPlan(metric=metric, ratio=0.3, first_epoch="shared")
    scheduled = SubsetPlan(metric=metric, ratio=0.3, first_epoch="scheduled")
    one, other = SelectorService(Context(N)), SelectorService(Context(N))
    assert_same(outcome(one, "t", shared), outcome(other, "t", scheduled))
    table, like = shared.timetable(N, EPOCHS), scheduled.timetable(N, EPOCHS)
    assert table.sizes.tolist() == like.sizes.tolist()
    assert table.chosen_at.tolist() == like.chosen_at.tolist()


@pytest.mark.parametrize("first_epoch", ["full", "scheduled"])
def test_trials_that_do_not_share_neither_speak_nor_listen(first_epoch: str) -> None:
    plan = SubsetPlan(metric="loss", ratio=0.3, first_epoch=first_epoch)
    alone, beside = SelectorService(Context(N)), SelectorService(Context(N))
    hard_rows(beside, "teacher", np.arange(N, dtype=np.float32))
    assert_same(outcome(alone, "t", plan), outcome(beside, "t", plan))
    assert beside.contribution("t") is None
    beside.close("t")
    assert set(beside.contributors()) == {"teacher"}


def test_only_selectors_that_remember_share() -> None:
    for name in ("craig", "adaptive-random", "random", "el2n"):
        with pytest.raises(
            OptionsError, match=f"'shared' needs a selector that chooses by memory.*'{name}' does not"
        ):
            SubsetPlan(selector=name, first_epoch="shared")
    assert SubsetPlan(selector="infobatch", ratio=1.0, first_epoch="shared").shares_memory
    assert BY_LOSS.shares_memory
    assert not SubsetPlan(metric="random", first_epoch="shared").shares_memory
    assert not SubsetPlan(metric="loss", first_epoch="scheduled").shares_memory
    assert BY_LOSS.resolved("full") is BY_LOSS


def test_unknown_choices_list_the_known_ones() -> None:
    with pytest.raises(
        OptionsError, match="first_epoch='some', need one of auto, full, scheduled, shared"
    ) as caught:
        SubsetPlan(first_epoch="some", shared_weight="loss")  # type: ignore[arg-type]
    assert "shared_weight='loss', need one of equal, score" in str(caught.value)
