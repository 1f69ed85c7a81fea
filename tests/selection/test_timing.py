"""When subsets are chosen: habits, the wrappers that change them, and the timetable of a run."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import BudgetError, OptionsError
from raysubset.seeds import generator
from raysubset.selection.catalog import habits_of
from raysubset.selection.protocol import Selector
from raysubset.selection.ratio import subset_sizes
from raysubset.selection.timing import Every, Habits, Static, Timetable, WarmStart, timetable
from raysubset.selection.uniform import UniformRandom
from raysubset.selection.wrappers import PerClass
from raysubset.testing.selectors import make_context

FREE = Habits("none")


def laid_out(habits: Habits, n: int = 100, epochs: int = 10, ratio: float = 0.1, **change: Any) -> Timetable:
    options = {"schedule": "static", "budget": "paper", "first_epoch": "scheduled", **change}
    return timetable(habits, n, epochs, ratio, **options)


def test_the_field_s_warm_start() -> None:
    """E=20, f=.1, kappa=.5: one epoch on everything, nine slots skipped, subsets from the tenth."""
    table = laid_out(Habits("model", every=5, warm_start=0.5), n=400, epochs=20)
    assert table.sizes.tolist() == [400] + [0] * 9 + [40] * 10
    assert table.first_choice == 10
    assert table.chosen_at.tolist() == [*range(10)] + [10] * 5 + [15] * 5
    assert np.flatnonzero(table.forward).tolist() == [10, 15]
    assert table.sizes.sum() == 0.1 * 20 * 400


@PROPERTY
@given(st.integers(1, 60), st.integers(0, 99), st.integers(1, 100), st.integers(10, 500))
def test_a_warm_start_costs_what_the_slots_would_have(epochs: int, kappa: int, ratio: int, n: int) -> None:
    """W = ceil(A r), A = floor(kappa N), in exact arithmetic; at most one epoch beyond r N n."""
    slots = kappa * epochs // 100
    assume(slots > 0)
    warm = math.ceil(Fraction(slots * ratio, 100))
    table = laid_out(Habits("none", warm_start=kappa / 100), n, epochs, ratio / 100)
    assert table.first_choice == slots
    assert table.sizes[:warm].tolist() == [n] * warm
    assert not table.sizes[warm:slots].any()
    assert (table.sizes[slots:] > 0).all()
    subset = max(2, math.floor(Fraction(ratio * n, 100) + Fraction(1, 2)))
    assert table.sizes[slots:].tolist() == [subset] * (epochs - slots)
    if subset > 2:
        assert -epochs / 2 <= table.sizes.sum() - ratio / 100 * epochs * n <= n + epochs / 2


def test_a_warm_start_too_short_for_one_slot_is_none() -> None:
    assert laid_out(Habits("none", warm_start=0.09)).sizes.tolist() == [10] * 10
    assert laid_out(Habits("none", warm_start=0.1)).sizes.tolist() == [100] + [10] * 9


def test_a_warm_start_is_not_cut_by_rounding() -> None:
    """.29 * 100 is 28.999... in binary, 20 * .35 is 7 and 7 * .1 leaves .7000...1."""
    assert laid_out(Habits("none", warm_start=0.29), epochs=100).first_choice == 29
    table = laid_out(Habits("none", warm_start=0.5), epochs=200, ratio=0.07)  # 100 * .07 is 7.000000000000001
    assert (table.sizes == 100).sum() == 7


def test_a_warm_start_must_leave_an_epoch() -> None:
    with pytest.raises(BudgetError, match="warm_start=1 of epochs=20 leaves no epoch"):
        laid_out(Habits("none", warm_start=1 - 1e-12), epochs=20)


def test_a_warm_start_takes_the_place_of_a_full_first_epoch() -> None:
    table = laid_out(Habits("none", warm_start=0.5), first_epoch="full")
    assert table.sizes.tolist() == [100, 0, 0, 0, 0, 10, 10, 10, 10, 10]


def test_everything_is_trained_on_in_a_warm_start_at_ratio_one() -> None:
    table = laid_out(Habits("model", warm_start=0.5), ratio=1.0)
    assert table.sizes.tolist() == [100] * 10
    assert not table.forward.any()


def test_every_epoch_chooses_for_itself() -> None:
    table = laid_out(FREE, schedule="dynamic", first_epoch="full")
    assert table.chosen_at.tolist() == [*range(10)]
    assert table.sizes.tolist() == subset_sizes(100, 10, 0.1, "dynamic", "paper", "full", minimum=2).tolist()
    assert not table.charges.any()
    assert table.costs.tolist() == table.sizes.tolist()


@pytest.mark.parametrize(
    ("evidence", "every", "chosen_at", "first"),
    [
        ("model", 3, [0, 1, 1, 1, 4, 4, 4, 7], 1),
        ("memory", 3, [0, 1, 1, 1, 4, 4, 4, 7], 1),
        ("scout", 3, [0, 0, 0, 3, 3, 3, 6, 6], 0),
        ("embedding", 3, [0, 0, 0, 3, 3, 3, 6, 6], 0),
        ("model", 0, [0, 1, 1, 1, 1, 1, 1, 1], 1),
        ("scout", 0, [0] * 8, 0),
        ("embedding", 1, [*range(8)], 0),
    ],
)
def test_choices_begin_as_soon_as_there_is_evidence(
    evidence: Any, every: int, chosen_at: list[int], first: int
) -> None:
    table = laid_out(Habits(evidence, every=every), epochs=8)
    assert table.chosen_at.tolist() == chosen_at
    assert table.first_choice == first


def test_a_kept_subset_has_the_mean_size_of_its_slots() -> None:
    scheduled = subset_sizes(1000, 7, 0.1, "dynamic", "paper", "scheduled").tolist()
    assert scheduled == [200, 167, 134, 101, 68, 35, 2]
    table = laid_out(Habits("model", every=3), n=1000, epochs=7, schedule="dynamic")
    assert table.sizes.tolist() == [200] + [134] * 3 + [35] * 3


def test_a_subset_chosen_once_has_the_mean_ratio() -> None:
    table = laid_out(Habits("scout", every=0), n=1000, epochs=7, schedule="dynamic")
    assert table.sizes.tolist() == [100] * 7
    table = laid_out(Habits("model", every=0), n=1000, epochs=7, schedule="dynamic", first_epoch="full")
    assert table.sizes.tolist() == [1000] + [100] * 6


def blocks(chosen_at: list[int]) -> list[list[int]]:
    return [[e for e, start in enumerate(chosen_at) if start == one] for one in sorted(set(chosen_at))]


@PROPERTY
@given(
    st.integers(2, 400),
    st.integers(1, 40),
    st.floats(0.01, 1),
    st.integers(1, 12),
    st.sampled_from(["none", "memory", "model", "scout", "embedding"]),
    st.sampled_from(["full", "scheduled"]),
)
def test_keeping_subsets_keeps_the_budget(
    n: int, epochs: int, ratio: float, every: int, evidence: Any, first_epoch: Any
) -> None:
    habits = Habits(evidence, every=every)
    table = laid_out(habits, n, epochs, ratio, schedule="dynamic", first_epoch=first_epoch)
    scheduled = subset_sizes(n, epochs, ratio, "dynamic", "paper", first_epoch, minimum=2).tolist()
    assert table.sizes.dtype == table.chosen_at.dtype == table.forward.dtype == np.int64
    for block in blocks(table.chosen_at.tolist()):
        assert len(block) <= every
        assert block == [*range(block[0], block[0] + len(block))]
        assert len({int(table.sizes[e]) for e in block}) == 1
        assert abs(int(table.sizes[block].sum()) - sum(scheduled[e] for e in block)) <= len(block) / 2
    assert table.chosen_at.tolist() == [min(c, e) for e, c in enumerate(table.chosen_at.tolist())]
    assert table.sizes.min() >= 2


def test_two_rows_an_epoch_at_least() -> None:
    assert laid_out(FREE, ratio=0.001).sizes.tolist() == [2] * 10
    assert laid_out(FREE, n=1).sizes.tolist() == [1] * 10


def test_an_exact_budget_is_met() -> None:
    table = laid_out(FREE, n=333, ratio=0.27, schedule="dynamic", budget="exact", first_epoch="full")
    assert table.sizes.sum() == round(0.27 * 10 * 333)
    with pytest.raises(BudgetError, match="Budget too small for a full first epoch"):
        laid_out(FREE, ratio=0.05, budget="exact", first_epoch="full")


def test_a_pass_of_the_model_over_the_pool_is_charged_at_each_informed_choice() -> None:
    table = laid_out(Habits("model", every=4), n=90, epochs=10, first_epoch="full")
    assert table.forward.tolist() == [0, 90, 0, 0, 0, 90, 0, 0, 0, 90]
    assert table.charges.tolist() == [0, 30, 0, 0, 0, 30, 0, 0, 0, 30]  # a third of a training step a row
    assert table.costs.tolist() == [90, 39, 9, 9, 9, 39, 9, 9, 9, 39]


@pytest.mark.parametrize("evidence", ["none", "memory", "scout", "embedding"])
def test_other_evidence_costs_no_pass(evidence: Any) -> None:
    assert not laid_out(Habits(evidence, every=4)).forward.any()


def test_an_epoch_on_everything_needs_no_pass() -> None:
    assert not laid_out(Habits("model"), ratio=1.0).forward.any()
    dynamic = laid_out(Habits("model"), ratio=0.9, schedule="dynamic")
    assert dynamic.forward.tolist() == [
        0 if size == 100 else 100 * (e > 0) for e, size in enumerate(dynamic.sizes)
    ]


def test_choosing_inside_batches_passes_every_candidate_forward() -> None:
    table = laid_out(Habits("none", in_batch=True), first_epoch="full", n=90)
    assert table.forward.tolist() == [0] + [90] * 9
    assert table.sizes.tolist() == [90] + [9] * 9
    warm = laid_out(Habits("scout", in_batch=True, warm_start=0.5))
    assert warm.forward.tolist() == [0] * 5 + [100] * 5


def test_skipped_slots_are_stepped_over() -> None:
    table = laid_out(Habits("none", warm_start=0.5))
    assert [table.next_epoch(e) for e in range(11)] == [0, 5, 5, 5, 5, 5, 6, 7, 8, 9, 10]


def test_one_epoch() -> None:
    for habits in (Habits("model"), Habits("model", every=5), Habits("scout", every=0), Habits(warm_start=0.9)):
        table = laid_out(habits, epochs=1, ratio=0.25)
        assert table.sizes.tolist() == [25]
        assert table.chosen_at.tolist() == [0]


@pytest.mark.parametrize(
    "wrapped",
    [
        Every(7, WarmStart(0.3, UniformRandom())),
        WarmStart(0.3, Every(7, UniformRandom())),
        PerClass(Every(7, WarmStart(0.3, UniformRandom()))),
        Every(7, PerClass(WarmStart(0.3, UniformRandom()))),
        WarmStart(0.3, Every(7, PerClass(UniformRandom()))),
        Every(7, Static(WarmStart(0.3, Every(2, UniformRandom())))),
        WarmStart(0.3, WarmStart(0.9, Every(7, UniformRandom()))),
    ],
    ids=repr,
)
def test_wrappers_compose_in_any_order_and_the_outermost_wins(wrapped: Selector) -> None:
    assert habits_of(wrapped) == Habits("none", every=7, warm_start=0.3)


def test_static_is_one_choice() -> None:
    assert habits_of(Static(UniformRandom())).every == 0
    assert habits_of(Static(Every(3, UniformRandom()))).every == 0


class Accustomed(UniformRandom):
    """A selector that brings habits of its own."""

    habits = Habits("embedding", every=0, steering=0.2)


def test_a_selector_s_own_habits_stand_under_the_wrappers() -> None:
    assert habits_of(Accustomed()) == Accustomed.habits
    assert habits_of(PerClass(Every(4, Accustomed()))) == Habits("embedding", every=4, steering=0.2)


@pytest.mark.parametrize("wrap", [lambda s: Every(3, s), Static, lambda s: WarmStart(0.2, s)])
def test_wrappers_choose_what_their_selector_chooses(wrap: Any) -> None:
    context = make_context("mixed")
    alone = UniformRandom().select(context, 9, generator(0))
    assert wrap(UniformRandom()).select(context, 9, generator(0)).indices.tolist() == alone.indices.tolist()


def test_wrong_options_are_refused() -> None:
    with pytest.raises(OptionsError, match=r"Every\(epochs=0\)"):
        Every(0, UniformRandom())
    for kappa in (-0.1, 1, math.nan):
        with pytest.raises(OptionsError, match="WarmStart"):
            WarmStart(kappa, UniformRandom())
    with pytest.raises(OptionsError) as caught:
        Habits("guess", every=-1, warm_start=1.0, steering=math.nan)  # type: ignore[arg-type]
    for fault in ("evidence='guess', need one of none, memory", "every=-1", "warm_start=1.0", "steering=nan"):
        assert fault in str(caught.value)
