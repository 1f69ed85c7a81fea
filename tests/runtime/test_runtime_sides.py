"""The two sides of a bilevel search: who gets which rows, what is remembered, what a checkpoint brings back."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from raysubset.data.batches import ArraySource
from raysubset.data.dataset import Split
from raysubset.errors import BudgetError
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.stream import StreamSpec
from raysubset.runtime.sides import Sides, SplitMode, open_sides
from raysubset.selection.plan import SubsetPlan


def source(n: int, first: int = 0) -> ArraySource:
    values = np.arange(first, first + n, dtype=np.float32)[:, None]
    return ArraySource(Split(values, np.arange(n, dtype=np.int64) % 3))


def sides(mode: SplitMode, ratio: float = 0.4, n: tuple[int, int] = (60, 60), **options) -> Sides:  # type: ignore[no-untyped-def]
    plan = SubsetPlan(ratio=ratio, first_epoch="full", metric="loss", **options)
    return open_sides(mode, source(n[0]), source(n[1], 1000), StreamSpec(plan, 6, seed=4))


def values(served) -> list[float]:  # type: ignore[no-untyped-def]
    inputs, _ = served.source.rows(served.subset.selection.indices)
    return sorted(inputs[:, 0].tolist())


def signals(served, epoch: int) -> EpochSignals:  # type: ignore[no-untyped-def]
    index = served.subset.selection.indices
    loss = (1 + (index * 7 + epoch) % 11).astype(np.float32)
    return EpochSignals(index, loss, loss / 2, loss * 2, index % 2 == 0)


def play(two: Sides, start: int = 0, stop: int = 6) -> list[tuple[list[float], list[float]]]:
    seen = []
    for epoch in range(start, stop):
        one, other = two.next(epoch)
        two.record(epoch, (signals(one, epoch), signals(other, epoch)))
        seen.append((values(one), values(other)))
    return seen


def test_fixed_sides_never_exchange_a_row() -> None:
    for own, other in play(sides("fixed")):
        assert max(own) < 1000 <= min(other)


def test_refreshed_sides_are_disjoint_halves_and_rows_change_sides() -> None:
    seen = play(sides("refresh"))
    sets = [(set(own), set(other)) for own, other in seen]
    for own, other in sets:
        assert not own & other
        assert 0 <= len(own) - len(other) <= 1
    assert sets[0][0] | sets[0][1] == set(range(60)) | set(range(1000, 1060))
    assert set.union(*(own for own, _ in sets)) & set.union(*(other for _, other in sets))


@pytest.mark.parametrize("mode", ["fixed", "refresh"])
@pytest.mark.parametrize("n", [(60, 60), (120, 41), (41, 120)])
def test_the_weights_are_planned_what_they_are_handed(mode: SplitMode, n: tuple[int, int]) -> None:
    two = sides(mode, n=n)
    plan = SubsetPlan(ratio=0.4, first_epoch="full", metric="loss")
    planned = two.weight_samples([plan.timetable(len(pool), 6).sizes for pool in two.pools])
    assert planned == sum(len(own) for own, _ in play(two))


def test_the_joined_pool_has_the_first_sides_rows_first() -> None:
    one, other = sides("refresh").next(0)
    for served in (one, other):
        index = served.subset.selection.indices
        inputs, labels = served.source.rows(index)
        assert inputs[:, 0].tolist() == [i if i < 60 else 1000 + i - 60 for i in index.tolist()]
        assert (labels == served.source.labels[index]).all()


@pytest.mark.parametrize("mode", ["fixed", "refresh"])
def test_as_many_rows_as_the_plan_says(mode: SplitMode) -> None:
    plan = SubsetPlan(ratio=0.4, first_epoch="full", metric="loss")
    sizes = plan.timetable(60 if mode == "fixed" else 120, 6).sizes
    for size, (own, other) in zip(sizes, play(sides(mode)), strict=True):
        assert len(own) + len(other) == (2 * size if mode == "fixed" else size)


@pytest.mark.parametrize("mode", ["fixed", "refresh"])
def test_restored_sides_go_on_as_if_nothing_had_happened(mode: SplitMode) -> None:
    whole = play(sides(mode))
    begun = sides(mode)
    play(begun, 0, 3)
    state = copy.deepcopy(begun.state())
    other = sides(mode)
    other.restore(state)
    assert play(other, 3, 6) == whole[3:]


def test_both_sides_learn_from_their_own_losses() -> None:
    """The most important rows of a side are those with the greatest loss there."""
    two = sides("fixed", ratio=0.2, deterministic=True)
    one, other = two.next(0)
    low, high = signals(one, 0), signals(other, 0)
    loss = high.loss.copy()
    loss[:] = 0.1
    loss[[3, 14, 15]] = 9.0
    two.record(0, (low, EpochSignals(high.index, loss, loss, loss, high.correct)))
    chosen = two.next(1)[1].subset.selection.indices
    assert set(high.index[[3, 14, 15]].tolist()) <= set(chosen.tolist())


def test_halves_keep_mean_weight_one_unless_unbiased() -> None:
    plan = SubsetPlan(selector="infobatch", ratio=1.0, options={"delta": 1.0}, first_epoch="full")
    two = open_sides("refresh", source(60), source(60, 1000), StreamSpec(plan, 6, seed=4))
    for epoch in range(3):
        one, other = two.next(epoch)
        for served in (one, other):
            weights = served.subset.selection.weights
            assert served.subset.selection.unbiased == (epoch > 0) or weights.mean() == pytest.approx(1)
        two.record(epoch, (signals(one, epoch), signals(other, epoch)))
    assert (np.unique(np.concatenate([one.subset.selection.weights, other.subset.selection.weights])) >= 1).all()


@pytest.mark.parametrize(("mode", "n"), [("fixed", (40, 4)), ("refresh", (2, 2))])
def test_a_ratio_that_empties_a_side_is_refused(mode: SplitMode, n: tuple[int, int]) -> None:
    with pytest.raises(BudgetError, match=f"ratio=0.1 of {n[0]} rows for the weights and {n[1]}"):
        sides(mode, ratio=0.1, n=n)


def test_the_sides_of_other_seeds_draw_other_rows() -> None:
    plan = SubsetPlan(selector="adaptive-random", ratio=0.3, first_epoch="scheduled")
    drawn = []
    for seed in (1, 2):
        one, other = open_sides("fixed", source(60), source(60, 1000), StreamSpec(plan, 3, seed)).next(1)
        drawn += [one.subset.selection.indices, other.subset.selection.indices]
    assert len({tuple(sorted(rows.tolist())) for rows in drawn}) == 4
