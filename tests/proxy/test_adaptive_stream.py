"""Streams that learn from their own training: what they measure, what they spend, and that they can be stopped."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import OptionsError, SelectorError
from raysubset.proxy.adaptive import CUT, ENOUGH, _change, _rates
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.pool import Pool
from raysubset.proxy.stream import EpochSubset, StreamSpec, SubsetStream, handed_on
from raysubset.seeds import generator
from raysubset.selection.mixture import METRICS
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.testing.clients import assert_same, signals_for

N, EPOCHS = 120, 10
LABELS = np.arange(N) % 3

learning_plans = st.builds(
    SubsetPlan,
    metric=st.sampled_from(["adaptive", "mixture", "loss", "random"]),
    schedule=st.just("adaptive"),
    ratio=st.floats(0.05, 0.95),
    budget=st.sampled_from(["paper", "exact"]),
    first_epoch=st.just("scheduled"),
    per_class=st.booleans(),
    deterministic=st.booleans(),
    probe=st.sampled_from([None, 0.1, 0.5]),
)


def stream_of(plan: SubsetPlan, seed: int = 0, n: int = N, epochs: int = EPOCHS) -> SubsetStream:
    return SubsetStream(StreamSpec(plan, epochs, seed), Pool(Context(n, np.arange(n) % 3)))


def advance(stream: SubsetStream, epochs: range, seed: int = 0) -> list[EpochSubset]:
    served = []
    for epoch in epochs:
        served.append(stream.next(epoch))
        stream.record(epoch, signals_for(served[-1].selection.indices, epoch, seed))
    return served


@PROPERTY
@given(learning_plans, st.integers(0, 2**32), st.integers(0, EPOCHS), st.booleans())
def test_the_samples_are_the_schedules_and_a_restored_stream_goes_on_alike(
    plan: SubsetPlan, seed: int, pause: int, between: bool
) -> None:
    stream = stream_of(plan, seed)
    begun = advance(stream, range(pause), seed)
    if between and pause < EPOCHS:
        stream.next(pause)
    state = pickle.loads(pickle.dumps(stream.state()))
    expected = advance(stream, range(pause, EPOCHS), seed)
    assert sum(subset.size for subset in begun + expected) == plan.timetable(N, EPOCHS).sizes.sum()
    assert all(len(subset.selection) == subset.size >= 2 for subset in begun + expected)
    twin = stream_of(plan, seed)
    twin.restore(state)
    assert_same(expected, advance(twin, range(pause, EPOCHS), seed))


def test_what_was_measured_decides() -> None:
    plan = SubsetPlan(metric="adaptive", schedule="adaptive", ratio=0.4, first_epoch="scheduled")
    told = [[(s.metric, s.size) for s in advance(stream_of(plan), range(EPOCHS), seed)] for seed in (1, 1, 2)]
    assert told[0] == told[1] != told[2]


def test_a_share_of_every_subset_is_drawn_uniformly() -> None:
    plan = SubsetPlan(metric="loss", ratio=0.2, probe=0.25, schedule="static", deterministic=True)
    drawn = np.zeros(N)
    for seed in range(400):
        stream = stream_of(plan, seed, epochs=2)
        stream.next(0)
        loss = np.arange(N, dtype=np.float32)
        stream.record(0, EpochSignals(np.arange(N), loss, loss, loss, np.zeros(N, dtype=bool)))
        rows = stream.next(1).selection.indices
        assert len(rows) == 24
        assert set(range(N - 18, N)) <= set(rows.tolist())  # the 18 others are the most important of those left
        drawn[rows] += 1
    easy = drawn[: N - 24]  # never among the most important: drawn by the probe or not at all
    assert abs(easy.mean() - 400 * 6 / N) < 5 * np.sqrt(400 * 0.05 * 0.95 / len(easy))
    assert easy.max() < 20 + 5 * np.sqrt(20)


@PROPERTY
@given(st.integers(2, 60), st.integers(0, 2**32))
def test_the_rates_are_those_of_a_plain_loop(k: int, seed: int) -> None:
    rng = generator(seed, "rates")
    old, new, waits = rng.exponential(size=k), rng.exponential(size=k), rng.uniform(0.1, 2, size=k)
    chosen_by = rng.integers(0, 3, size=k).astype(np.int8)
    got = _rates(old, new, waits, chosen_by)
    for arm, metric in enumerate(METRICS):
        mine = [i for i in range(k) if chosen_by[i] == arm]
        if len(mine) < ENOUGH:
            assert metric not in got
            continue
        gains = [min(max((old[i] - new[i]) / np.std(old), -CUT), CUT) for i in mine]
        rate = sum(gains) / sum(waits[i] for i in mine)
        rest = [gain - rate * waits[i] for gain, i in zip(gains, mine, strict=True)]
        mean_wait = sum(waits[i] for i in mine) / len(mine)
        assert got[metric] == pytest.approx((rate, np.var(rest, ddof=1) / len(mine) / mean_wait**2), abs=FLOAT64)


@PROPERTY
@given(st.integers(3, 50), st.integers(0, 2**32), st.integers(1, 5))
def test_the_change_is_one_minus_spearmans(k: int, seed: int, levels: int) -> None:
    rng = generator(seed, "change")
    old, new = rng.integers(0, levels + 1, size=(2, k)).astype(np.float64)
    if len(set(old)) > 1 < len(set(new)):
        assert _change(old, new) == pytest.approx(1 - spearmanr(old, new).statistic, abs=FLOAT64)
    else:
        assert _change(old, new) == 1


def test_rows_that_repay_more_are_found() -> None:
    """Rows that the gradient chose gain, all others stand still."""
    plan = SubsetPlan(metric="adaptive", ratio=0.3, schedule="static", first_epoch="scheduled")
    n, epochs = 1500, 40
    stream, level, rng = stream_of(plan, 0, n, epochs), np.full(n, 2.0), generator(0, "world")
    metrics = []
    for epoch in range(epochs):
        subset = stream.next(epoch)
        metrics.append(subset.metric)
        rows = subset.selection.indices
        loss = (level[rows] + 0.1 * rng.standard_normal(len(rows))).astype(np.float32)
        draw = rng.random((2, len(rows))).astype(np.float32)
        stream.record(epoch, EpochSignals(rows, loss, draw[0], draw[1], np.ones(len(rows), dtype=bool)))
        if subset.metric == "gradient":
            level[rows] *= 0.7
    late = metrics[epochs // 2 :]
    assert late.count("gradient") > len(late) / 2


def test_handed_on_rows_stay_and_what_was_learnt_goes() -> None:
    plan = SubsetPlan(metric="adaptive", schedule="adaptive", ratio=0.3, first_epoch="scheduled")
    stream = stream_of(plan)
    advance(stream, range(EPOCHS))
    after = stream_of(plan)
    after.restore(handed_on(stream.state()))
    assert after.memory.seen.any()
    served = advance(after, range(EPOCHS))
    assert sum(subset.size for subset in served) == plan.timetable(N, EPOCHS).sizes.sum()


def test_a_state_without_what_was_spent_is_refused() -> None:
    stream = stream_of(SubsetPlan(metric="loss", ratio=0.3))
    advance(stream, range(3))
    with pytest.raises(SelectorError, match="what was spent"):
        stream_of(SubsetPlan(metric="loss", ratio=0.3, schedule="adaptive")).restore(stream.state())


def test_a_state_of_another_length_is_refused() -> None:
    plan = SubsetPlan(metric="adaptive", ratio=0.3)
    stream = stream_of(plan, epochs=EPOCHS + 1)
    advance(stream, range(3))
    with pytest.raises(SelectorError, match=f"{EPOCHS + 1} epochs, this one {EPOCHS}"):
        stream_of(plan).restore(stream.state())


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"selector": "craig", "schedule": "adaptive"}, "schedule='adaptive' with selector='craig'"),
        ({"schedule": "adaptive", "select_every": 2}, "needs select_every=1"),
        ({"metric": "adaptive", "probe": 0.0}, "rows drawn uniformly"),
        ({"probe": 1.0}, "need a share in"),
        ({"selector": "adaptive-random", "probe": 0.5}, "for asp alone"),
        ({"metrics": ()}, "need some of"),
        ({"metrics": ("loss", "el2n")}, "need some of"),
    ],
)
def test_plans_that_cannot_learn_are_refused(options: dict[str, object], fault: str) -> None:
    with pytest.raises(OptionsError, match=fault):
        SubsetPlan(**options)


def test_the_metric_of_an_adaptive_plan_is_not_known_beforehand() -> None:
    with pytest.raises(OptionsError, match="chosen by the stream"):
        SubsetPlan(metric="adaptive").metric_at(3, 10, 0)
