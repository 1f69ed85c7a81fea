"""A race over shards: the draw of one process, whatever the shards, and what it costs in messages."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import PROPERTY

from raysubset.errors import BudgetError, OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.kernels import entrants as reading
from raysubset.selection.kernels.entrants import Entrants
from raysubset.selection.kernels.race import Finishers, Heat, heats, merged, race_key, race_top_m
from raysubset.selection.kernels.race_shards import LocalShards, race_over

KEY = 0xFEDCBA9876543210
KINDS = (np.float16, np.float32, np.float64)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds from 64 values, chunks of 100 rows: every branch within some hundred rows."""
    monkeypatch.setattr(reading, "SAMPLE", 64)
    monkeypatch.setattr(reading, "CHUNK", 100)


def split(values: NDArray[np.floating], edges: list[int], seen: NDArray[np.bool_] | None = None) -> list[Entrants]:
    parts = pairwise([0, *edges, len(values)])
    return [Entrants(values[a:b], a, None if seen is None else seen[a:b]) for a, b in parts]


SHAPES = {
    "exponential": lambda rng, n: rng.exponential(2, n),
    "sorted": lambda rng, n: np.sort(rng.normal(size=n)),
    "equal": lambda rng, n: np.full(n, -3.25),
    "one far above": lambda rng, n: np.where(np.arange(n) == n // 3, 900.0, rng.normal(size=n)),
    "huge range": lambda rng, n: rng.normal(size=n) * 1e4,
    "few levels": lambda rng, n: rng.integers(-2, 3, n).astype(float),
    "late spike": lambda rng, n: np.r_[np.zeros(n - n // 10), np.full(n // 10, 30.0)],
}


@pytest.mark.usefixtures("small_steps")
@settings(PROPERTY, max_examples=30)
@given(st.data())
def test_any_shards_draw_what_one_process_draws(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 700), "n")
    shape, kind = data.draw(st.sampled_from(sorted(SHAPES))), data.draw(st.sampled_from(KINDS))
    seed, m = data.draw(st.integers(0, 2**32)), data.draw(st.integers(1, n), "m")
    temperature = data.draw(st.sampled_from([1e-30, 0.3, 1.0, 50.0]))
    edges = sorted(data.draw(st.lists(st.integers(0, n), max_size=6), "edges"))  # equal edges: empty shards
    values = SHAPES[shape](generator(seed), n).astype(kind)
    whole = race_top_m(values, m, generator(seed, "draw"), temperature)
    shards, key = LocalShards(split(values, edges)), race_key(generator(seed, "draw"))
    assert race_over(shards, n, m, key, temperature, ordered=True).tolist() == whole.tolist()
    assert race_over(shards, n, m, key, temperature).tolist() == sorted(whole.tolist())


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox4x32-10 as the paper writes it."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        p, q = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (q >> 32) ^ c1 ^ k0, q % 2**32, (p >> 32) ^ c3 ^ k1, p % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


def key_of(row: int, value: float, temperature: float) -> float:
    """value / T plus Gumbel noise from 52 bits: 16 of the word for eight rows, 36 of the row's own."""
    k = (KEY % 2**32, KEY >> 32)
    word = philox((row // 8, 0, 0, 0), k)[row % 8 // 2]
    own = philox((row, 0, 1, 0), k)
    bits = (word >> 16 if row % 2 else word % 2**16) << 36 | own[0] << 4 | own[1] >> 28 | 1
    return value / temperature - math.log(-math.log(1 - bits / 2**52))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unseen", [0.0, 0.4, 1.0])
def test_the_draw_is_that_of_the_definition(kind: type, unseen: float) -> None:
    """Rows not seen stand at the largest value seen in any shard, or at 0."""
    rng, n, temperature = generator(3, "definition"), 60, 0.7
    values = (rng.exponential(2, n) - 5).astype(kind)
    seen = rng.random(n) >= unseen
    ceiling = values[seen].max() if seen.any() else 0.0
    keys = [
        key_of(row, float(v if s else ceiling), temperature)
        for row, (v, s) in enumerate(zip(values, seen, strict=True))
    ]
    best = sorted(range(n), key=lambda row: -keys[row])
    values[~seen] = 77.0  # what stands there must not be looked at
    for edges in ([], [20, 20, 45], [1, 59]):
        for m in (1, 17, 60):
            drawn = race_over(LocalShards(split(values, edges, seen)), n, m, KEY, temperature, ordered=True)
            assert drawn.tolist() == best[:m]


@pytest.mark.usefixtures("small_steps")
def test_ties_go_to_the_lowest_row_of_any_shard() -> None:
    values = np.tile(
        np.array([1.0, 3.0, 2.0], np.float16), 300
    )  # at this temperature the noise is lost in rounding
    drawn = race_over(LocalShards(split(values, [100, 450, 451])), 900, 450, KEY, 1e-30, ordered=True)
    assert drawn.tolist() == [*range(1, 900, 3), *range(2, 450, 3)]


@pytest.mark.usefixtures("small_steps")
def test_half_precision_draws_the_rows_of_the_same_values_in_single() -> None:
    values = generator(1).normal(size=900).astype(np.float16)
    for m in (1, 90, 900):
        drawn = [race_top_m(v, m, generator(2)).tolist() for v in (values, values.astype(np.float32))]
        assert drawn[0] == drawn[1]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_values_that_are_not_finite_are_named_by_their_global_row(bad: float, kind: type) -> None:
    values, seen = np.zeros(50, kind), np.ones(50, bool)
    values[[20, 31, 33]] = bad
    seen[[20, 31]] = False  # nobody looks at it
    with pytest.raises(SelectionError, match="row 33 is"):
        race_over(LocalShards(split(values, [10, 30], seen)), 50, 3, KEY)


@pytest.mark.parametrize("m", [0, -1, 51])
def test_budget_out_of_range(m: int) -> None:
    with pytest.raises(BudgetError, match=f"m={m} of n=50"):
        race_over(LocalShards(split(np.zeros(50), [10])), 50, m, KEY)
    with pytest.raises(BudgetError, match="m=1 of n=0"):
        race_over(LocalShards([]), 0, 1, KEY)


def test_shards_that_miss_rows_are_refused() -> None:
    with pytest.raises(BudgetError, match="n=50 rows: the 1 shards hold 40"):
        race_over(LocalShards([Entrants(np.zeros(40))]), 50, 3, KEY)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperature_out_of_range(temperature: float) -> None:
    with pytest.raises(OptionsError, match="temperature="):
        race_over(LocalShards(split(np.zeros(50), [10])), 50, 3, KEY, temperature)


def test_a_quotient_that_overflows_is_refused() -> None:
    """Keys of minus infinity are above no threshold: the race would never end."""
    with pytest.raises(OptionsError, match="too small for importances up to 3e"):
        race_top_m(np.array([-1e10, -2e10, -3e10], np.float32), 2, generator(0), 1e-308)


def test_shards_between_each_other_merge_too() -> None:
    keys = generator(0).normal(size=40)
    parts = [Finishers(np.arange(40)[start::3], keys[start::3]) for start in (2, 0, 1)]
    best = np.argsort(-keys)[:9]
    assert merged(parts, 9).tolist() == best.tolist()
    assert merged(parts, 9, ordered=False).tolist() == sorted(best.tolist())


class Counted(LocalShards):
    """Counts messages, and the bytes of the answers as they travel."""

    def __init__(self, parts: list[Entrants]) -> None:
        super().__init__(parts)
        self.messages, self.bytes, self.asked = 0, 0, []

    def _count(self, question: Any, answers: list[Any]) -> list[Any]:
        self.asked.append(question)
        self.messages += 2 * len(answers)
        self.bytes += sum(len(pickle.dumps((question, answer))) for answer in answers)
        return answers

    def survey(self, stride: int) -> list[Any]:
        return self._count(stride, super().survey(stride))

    def run(self, heat: Heat) -> list[Any]:
        return self._count(heat, super().run(heat))


@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("share", [0.01, 0.1])
def test_messages_and_bytes_are_bounded(shards: int, share: float) -> None:
    n = 300_000
    m = int(share * n)
    values = generator(0, "bytes").exponential(2, n).astype(np.float32)
    counted = Counted(split(values, [n * s // shards for s in range(1, shards)]))
    race_over(counted, n, m, KEY)
    assert counted.messages == 4 * shards
    candidates = m + 3 * math.sqrt(m * (n - m) / 2**15) + n / 2**12
    spread = 5 * math.sqrt(candidates)  # how many pass the threshold is random as well
    slack = 3 * math.sqrt(m * (n - m) / 2**15)  # the estimate itself: three standard deviations
    assert counted.bytes <= 4 * 2**16 + 16 * (candidates + spread + slack) + 1000 * shards
    assert counted.bytes < 4 * n or share > 0.01  # less than the vector itself


def test_a_misled_estimate_costs_m_keys_a_shard_and_no_more() -> None:
    """Only sampled rows are small, so the threshold is far too low."""
    n, m = 300_000, 3000
    values = np.where(np.arange(n) % reading.stride_for(n) == 0, 0.0, 40.0).astype(np.float32)
    counted = Counted(split(values, [100_000, 200_000]))
    drawn = race_over(counted, n, m, KEY)
    assert drawn.tolist() == np.sort(race_top_m(values, m, _keyed(KEY))).tolist()
    assert 2 * 16 * m < counted.bytes <= 3 * 16 * m + 4 * 2**16 + 3000


class _keyed:  # noqa: N801  stands for a generator
    def __init__(self, key: int) -> None:
        self.key = key

    def integers(self, *_: Any, **__: Any) -> int:
        return self.key


@pytest.mark.usefixtures("small_steps")
def test_a_threshold_set_too_high_is_asked_for_again() -> None:
    values = np.where(np.arange(6400) % 100 == 0, 40.0, 0.0).astype(np.float32)  # the sample meets only spikes
    counted = Counted(split(values, [3000]))
    drawn = race_over(counted, 6400, 640, KEY)
    assert drawn.tolist() == np.sort(race_top_m(values, 640, _keyed(KEY))).tolist()
    thresholds = [heat.threshold for heat in counted.asked[1:]]
    assert len(thresholds) > 1
    assert thresholds == sorted(thresholds, reverse=True)
    assert counted.messages == 2 * 2 * (1 + len(thresholds))


def test_what_shards_are_asked_does_not_depend_on_their_number() -> None:
    n = 100_000
    values = generator(5).normal(size=n).astype(np.float32)
    asked = []
    for edges in ([], [1], [7, 7, 50_000], [n]):
        stride = reading.stride_for(n)
        surveys = LocalShards(split(values, edges)).survey(stride)
        asked.append(next(iter(heats(surveys, n // 10, KEY, 1.0))))
    assert all(heat == asked[0] for heat in asked)
