"""SubsetStream: keyed draws, so a stream restored at any point goes on as if never stopped."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import SelectorError
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.pool import Pool
from raysubset.proxy.stream import EpochSubset, StreamSpec, SubsetStream
from raysubset.selection.mixture import METRICS
from raysubset.selection.plan import METRIC_CHOICES, SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.testing.clients import assert_same, signals_for

N, EPOCHS = 30, 6
LABELS = np.arange(N) % 3

plans = st.builds(
    SubsetPlan,
    selector=st.sampled_from(["asp", "adaptive-random", "random"]),
    metric=st.sampled_from(METRIC_CHOICES),
    ratio=st.floats(0.05, 1),
    schedule=st.sampled_from(["static", "dynamic"]),
    first_epoch=st.sampled_from(["auto", "full", "scheduled"]),
    select_every=st.integers(1, 4),
    temperature=st.floats(0.05, 20),
    scale=st.sampled_from(["none", "zscore", "rank"]),
    per_class=st.booleans(),
    deterministic=st.booleans(),
)


def stream_of(plan: SubsetPlan, seed: int = 0, n: int = N) -> SubsetStream:
    return SubsetStream(StreamSpec(plan, EPOCHS, seed), Pool(Context(n, LABELS if n == N else None)))


def advance(stream: SubsetStream, epochs: range, diverged: bool = False) -> list[EpochSubset]:
    served = []
    for epoch in epochs:
        served.append(stream.next(epoch))
        signals = signals_for(served[-1].selection.indices, epoch)
        if diverged:
            signals.loss[::3] = np.nan
        stream.record(epoch, signals)
    return served


@pytest.mark.slow
@PROPERTY
@given(plans, st.integers(0, 2**32), st.integers(0, EPOCHS), st.booleans(), st.booleans())
def test_a_restored_stream_serves_what_the_uninterrupted_one_serves(
    plan: SubsetPlan, seed: int, pause: int, between: bool, diverged: bool
) -> None:
    stream = stream_of(plan, seed)
    advance(stream, range(pause), diverged)
    if between and pause < EPOCHS:
        stream.next(pause)  # stopped after next, before record
    state = pickle.loads(pickle.dumps(stream.state()))
    expected = advance(stream, range(pause, EPOCHS), diverged)
    twin = stream_of(plan, seed)
    twin.restore(state)
    assert_same(expected, advance(twin, range(pause, EPOCHS), diverged))
    assert twin.memory.rejected == stream.memory.rejected


@pytest.mark.slow
@PROPERTY
@given(plans, st.integers(0, 2**32))
def test_asking_and_recording_again_change_nothing(plan: SubsetPlan, seed: int) -> None:
    plain, retried = stream_of(plan, seed), stream_of(plan, seed)
    for epoch in range(EPOCHS):
        first = retried.next(epoch)
        signals = signals_for(first.selection.indices, epoch)
        assert retried.record(epoch, signals)
        assert not retried.record(epoch, signals_for(range(N), epoch, seed=1))
        assert_same([first, *advance(plain, range(epoch, epoch + 1))], [retried.next(epoch), first])
    for name, values in plain.memory.state().items():
        np.testing.assert_array_equal(values, retried.memory.state()[name])


@PROPERTY
@given(plans, st.integers(0, 2**32))
def test_sizes_and_metrics_are_those_of_the_plan(plan: SubsetPlan, seed: int) -> None:
    served = advance(stream_of(plan, seed), range(EPOCHS))
    sizes = plan.timetable(N, EPOCHS).sizes.tolist()
    assert [len(subset.selection) for subset in served] == sizes
    for subset, size in zip(served, sizes, strict=True):
        full = size == N
        at = int(plan.timetable(N, EPOCHS).chosen_at[subset.epoch])
        known = at > 0 and not (plan.selector == "asp" and plan.metric == "adaptive")
        informed = plan.metric_at(at, EPOCHS, seed) if known else "random"
        if at == 0 or full or known:
            assert subset.metric == ("full" if full else informed)
        else:
            assert subset.metric in METRICS
        assert subset.ratio == size / N
        if full:
            assert subset.selection.indices.tolist() == list(range(N))


def test_a_prediction_counts_once_an_epoch() -> None:
    stream = stream_of(SubsetPlan(metric="prediction", ratio=0.5))
    wrong = EpochSignals(np.arange(N), *(np.ones(N, np.float32) for _ in range(3)), np.zeros(N, dtype=bool))
    stream.next(0)
    for _ in range(3):
        stream.record(0, wrong)
    assert stream.memory.importance("prediction").tolist() == [1.0] * N
    stream.next(1)
    stream.record(1, wrong)
    stream.record(0, wrong)  # an older epoch comes late: it was counted
    assert stream.memory.importance("prediction").tolist() == [2.0] * N


def test_a_restored_stream_knows_what_was_recorded() -> None:
    stream, twin = stream_of(SubsetPlan(metric="prediction")), stream_of(SubsetPlan(metric="prediction"))
    advance(stream, range(2))
    twin.restore(stream.state())
    before = twin.memory.importance("prediction").copy()
    for epoch in (0, 1):
        assert not twin.record(epoch, signals_for(range(N), epoch))
    np.testing.assert_array_equal(twin.memory.importance("prediction"), before)
    assert twin.record(2, signals_for(range(N), 2))


def test_unseen_rows_are_taken_before_seen_ones_of_smaller_loss() -> None:
    plan = SubsetPlan(metric="loss", ratio=0.5, schedule="static", first_epoch="scheduled", temperature=1e-4)
    stream = stream_of(plan)
    first = set(stream.next(0).selection.indices.tolist())
    rows = np.array(sorted(first))
    loss = np.linspace(1, 2, len(rows), dtype=np.float32)
    stream.record(0, EpochSignals(rows, loss, loss, loss, np.zeros(len(rows), dtype=bool)))
    second = set(stream.next(1).selection.indices.tolist())
    unseen = set(range(N)) - first
    assert len(unseen) == 15
    assert len(second & unseen) >= 14  # the one seen row of the largest loss ties with them


def test_non_finite_signals_keep_the_old_values_and_are_counted() -> None:
    stream = stream_of(SubsetPlan(metric="loss", ratio=0.5))
    stream.next(0)
    stream.record(0, signals_for(range(N), 0))
    before = stream.memory.importance("loss").copy()
    rows = stream.next(1).selection.indices
    broken = signals_for(rows, 1)
    broken.entropy[:] = np.inf
    stream.record(1, broken)
    assert stream.memory.rejected == len(rows)
    np.testing.assert_array_equal(stream.memory.importance("loss"), before)


def test_the_subset_noise_is_shared_by_equal_seeds_and_differs_by_seed() -> None:
    plan = SubsetPlan(selector="adaptive-random", ratio=0.2)
    draws = [advance(stream_of(plan, seed), range(EPOCHS)) for seed in (0, 0, 1)]
    assert_same(draws[0], draws[1])
    assert any(
        a.selection.indices.tolist() != b.selection.indices.tolist() for a, b in zip(*draws[1:], strict=True)
    )


def test_random_is_one_draw_whose_smaller_subsets_are_nested() -> None:
    served = advance(stream_of(SubsetPlan(selector="random", ratio=0.3)), range(EPOCHS))
    rows = [subset.selection.indices.tolist() for subset in served[1:]]
    for large, small in pairwise(rows):
        assert large[: len(small)] == small
    again = advance(stream_of(SubsetPlan(selector="adaptive-random", ratio=0.3)), range(EPOCHS))
    fresh = [set(subset.selection.indices.tolist()) for subset in again[1:]]
    assert not all(small <= large for large, small in pairwise(fresh))


def test_select_every_keeps_rows_while_the_memory_goes_on() -> None:
    stream = stream_of(SubsetPlan(metric="loss", ratio=0.3, select_every=2))
    served = advance(stream, range(EPOCHS))
    rows = [subset.selection.indices.tolist() for subset in served]
    assert rows[1] == rows[2] != rows[3] == rows[4] != rows[5]
    assert [subset.epoch for subset in served] == list(range(EPOCHS))
    assert stream.memory.last_epoch.max() == EPOCHS - 1


@pytest.mark.parametrize("epoch", [-1, EPOCHS])
def test_epochs_outside_the_plan_are_refused(epoch: int) -> None:
    with pytest.raises(SelectorError, match=f"Epoch {epoch} is not planned.*0..{EPOCHS - 1}"):
        stream_of(SubsetPlan()).next(epoch)


def test_going_back_needs_a_restore() -> None:
    stream = stream_of(SubsetPlan())
    advance(stream, range(3))
    with pytest.raises(SelectorError, match="Epoch 1 was asked for after epoch 2"):
        stream.next(1)


def test_a_state_of_another_pool_changes_nothing() -> None:
    stream, other = stream_of(SubsetPlan()), stream_of(SubsetPlan(), n=7)
    advance(stream, range(2))
    with pytest.raises(SelectorError, match="7 rows, this pool has 30"):
        stream.restore(other.state())
    assert stream.memory.seen.any()


def test_a_state_is_as_small_as_it_says() -> None:
    stream = stream_of(SubsetPlan(ratio=0.2))
    advance(stream, range(3))
    state = stream.state()
    arrays = [*state["memory"].values(), *state["active"].values()]
    size = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    assert size == 21 * N + 12 * len(state["active"]["indices"])
