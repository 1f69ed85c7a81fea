"""Large draws without replacement: a race that most rows lose unseen.

    key_i = v_i / T + g_i,   g_i Gumbel noise of row i (`raysubset.selection.kernels.gumbel`)

The m largest keys are m sequential draws in proportion to exp(v_i / T) [1], as in `raysubset.selection.sampling`;
there every key is computed, here only those that can win:

1. a threshold slightly below the m-th largest key is estimated from a sample of the values;
2. one sweep in chunks rules out every row whose key cannot reach it, from 16 random bits and a bound on the
   logarithm, and computes the keys of the others exactly;
3. of those above the threshold the m largest are taken. Were there fewer than m, the threshold falls and the sweep
   is repeated.

The estimate decides the cost alone: the result is that of all n keys. Nothing is exponentiated, nothing
underflows. A row's key depends on its value, its number and the race's key alone; so the best m of several shards,
merged, are the best m of the whole, whoever computed them and on whatever device. `race_shards` says how shards in
several processes run one race.

References:
    [1] Kool, van Hoof, Welling, 2019, "Stochastic beams and where to find them", arXiv:1903.06059.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import BudgetError, OptionsError
from raysubset.selection.kernels import entrants as reading
from raysubset.selection.kernels.backend import uses_numba
from raysubset.selection.kernels.entrants import Entrants, Floats, Ready, Survey, ceiling_of, stride_for

Sweep = Callable[[Ready, int, float], tuple[NDArray[np.int64], NDArray[np.float64]]]


@dataclass(frozen=True, slots=True, eq=False)
class Finishers:
    """The winners of a race over some rows.

    Attributes:
        rows: int64[m], global row numbers, increasing.
        keys: float64[m].
    """

    rows: NDArray[np.int64]
    keys: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Heat:
    """One sweep over the rows of a race, as every shard is asked for it.

    Attributes:
        m: Rows that the race will draw.
        key: 64 bits, of the race.
        temperature: T > 0.
        threshold: Only keys above it are wanted.
        ceiling: The value of rows not seen.
        largest: At least the largest |value| of all rows.
    """

    m: int
    key: int
    temperature: float
    threshold: float
    ceiling: float
    largest: float


def race_top_m(
    values: Floats,
    m: int,
    rng: np.random.Generator,
    temperature: float = 1.0,
    *,
    ordered: bool = True,
    device: str = "cpu",
) -> NDArray[np.int64]:
    """Draw m of n rows without replacement, in proportion to exp(values / temperature).

    Args:
        values: float16, float32 or float64[n], finite: the importance of each row. Of float16 the rows drawn are
            those of the same values in float32.
        m: Rows to draw, 1 <= m <= n.
        rng: Gives the 64-bit key of the race; a row's noise depends on that key and its number alone.
        temperature: T > 0; small is greedy, large is uniform.
        ordered: In drawing order; else by increasing row, which saves a sort of m keys.
        device: Torch device of the sweep; "cpu" uses numba where it is installed. Rows are the same on all.

    Returns:
        int64[m]; in drawing order the draw for m is a prefix of the draw for m + 1. Ties go to the lowest row.

    Raises:
        BudgetError: m outside [1, n].
        OptionsError: temperature <= 0, or so small that a value divided by it overflows.
        SelectionError: A value is NaN or infinite (names its row).

    Cost: O(n + m log m) time; 16 bytes for each of 1.1 m rows, and 16 m more in the end.
    """
    winners = race(values, m, race_key(rng), temperature, device=device)
    return _in_drawing_order(winners) if ordered else winners.rows


def race_key(rng: np.random.Generator) -> int:
    """Take the key of a race, 64 bits, from a stream: once for all shards."""
    return int(rng.integers(0, 1 << 64, dtype=np.uint64))


def race(
    values: Floats, m: int, key: int, temperature: float = 1.0, first_row: int = 0, device: str = "cpu"
) -> Finishers:
    """Return the m best of one shard: the rows first_row, first_row + 1, ... of the given values.

    Arguments, errors and cost are those of `race_top_m`. `merged` puts shards together.
    """
    entrants = Entrants(values, first_row)
    for heat in heats([entrants.survey(stride_for(len(entrants)))], m, key, temperature):
        winners = run_heat(entrants, heat, device)
        if len(winners.rows) >= m:
            break
    return winners


def heats(surveys: Sequence[Survey], m: int, key: int, temperature: float) -> Iterator[Heat]:
    """Yield what to ask all shards for until they have answered with m rows or more: sweeps of falling threshold.

    The first is enough but for one race in a thousand (three standard deviations of the estimate), or where the
    sample misses what matters; the last has no threshold.

    Args:
        surveys: Of all shards, in row order, at one stride.
        m: Rows to draw, 1 <= m <= n.
        key: Of the race.
        temperature: T > 0.

    Raises:
        BudgetError: m outside [1, n].
        OptionsError: temperature <= 0, or so small that a value divided by it overflows.
    """
    n = sum(survey.rows for survey in surveys)
    if not 1 <= m <= n:
        raise BudgetError(f"Cannot select m={m} of n={n} rows: need 1 <= m <= n.")
    if not temperature > 0:
        raise OptionsError(f"temperature={temperature!r}, need a number > 0.")
    largest = max(0.0, *(max(-survey.low, survey.high) for survey in surveys))
    if not math.isfinite(_sharpness(temperature) * largest):
        raise OptionsError(
            f"temperature={temperature!r} is too small for importances up to {largest:g}: the quotient overflows."
        )
    ceiling = ceiling_of(surveys)
    sample = np.concatenate([survey.sample for survey in surveys]).astype(np.float64)
    sample[np.isnan(sample)] = ceiling
    share = m / n
    share += 3 * math.sqrt(share * (1 - share) / reading.SAMPLE) + 8 / reading.SAMPLE  # three standard deviations
    threshold = math.inf
    while threshold > -math.inf:
        whole = n <= reading.SAMPLE or share >= 1
        threshold = -math.inf if whole else _quantile(sample, share, key, temperature)
        yield Heat(m, key, temperature, threshold, ceiling, largest)
        share *= 2


def run_heat(entrants: Entrants, heat: Heat, device: str = "cpu") -> Finishers:
    """Return a shard's rows of the m largest keys above the threshold, or of all where they are fewer.

    Keys go to a buffer of little more than m. When it is full the m best stay, and the least of them is the
    threshold from then on.

    Cost: O(n) time; 16 bytes for each of the rows returned, and a copy of them.
    """
    sweep, threshold = _sweep(heat.key, heat.temperature, heat.largest, device), heat.threshold
    m = min(heat.m, len(entrants))
    capacity = min(m + max(m // 8, reading.CHUNK), len(entrants))
    rows, keys = np.empty(capacity, np.int64), np.empty(capacity, np.float64)
    count = 0
    for first_row, values in entrants.chunks(heat.ceiling):
        positions, found = sweep(values, first_row, threshold)
        if count + len(found) > capacity:
            stay = _largest(keys[:count], m)
            count = m
            rows[:m], keys[:m] = rows[: len(stay)][stay], keys[: len(stay)][stay]
            threshold = float(keys[:m].min())
        rows[count : count + len(found)] = positions
        rows[count : count + len(found)] += first_row
        keys[count : count + len(found)] = found
        count += len(found)
    rows, keys = rows[:count], keys[:count]
    if count > m:
        stay = _largest(keys, m)
        rows = rows[stay]  # before the keys: the peak of memory is here
        keys = keys[stay]
    return Finishers(rows, keys)


def merged(shards: Sequence[Finishers], m: int, *, ordered: bool = True) -> NDArray[np.int64]:
    """Return the m best rows of several shards of one race, in drawing order or by increasing row.

    Each shard gives its m best, or all rows it has.

    Raises:
        BudgetError: The shards have fewer than m rows together.

    Cost: O(s + m log m) time for s rows given (O(s) unordered); 17 s bytes, and 8 m for the result.
    """
    shards = sorted((shard for shard in shards if len(shard.rows)), key=lambda shard: int(shard.rows[0]))
    if not 1 <= m <= (given := sum(len(shard.rows) for shard in shards)):
        raise BudgetError(f"Cannot select m={m} of the n={given} rows of {len(shards)} shards: need 1 <= m <= n.")
    if any(left.rows[-1] > right.rows[0] for left, right in pairwise(shards)):  # they lie between each other
        rows = np.concatenate([shard.rows for shard in shards])
        by_row = np.argsort(rows)
        shards = [Finishers(rows[by_row], np.concatenate([shard.keys for shard in shards])[by_row])]
    best = _largest(np.concatenate([shard.keys for shard in shards]), m)
    stay = np.split(best, np.cumsum([len(shard.rows) for shard in shards])[:-1])
    rows = np.concatenate([shard.rows[mask] for shard, mask in zip(shards, stay, strict=True)])
    if not ordered:
        return rows
    keys = np.concatenate([shard.keys[mask] for shard, mask in zip(shards, stay, strict=True)])
    return _in_drawing_order(Finishers(rows, keys))


def _quantile(sample: NDArray[np.float64], share: float, key: int, temperature: float) -> float:
    """Estimate the key that a share of all keys exceeds, from the sampled rows with other noise."""
    waits = np.random.Generator(np.random.Philox(key=key)).standard_exponential(len(sample), dtype=np.float32)
    keys = sample * _sharpness(temperature) - np.log(waits + np.float32(1e-30))
    rank = len(sample) - 1 - int(share * len(sample))
    return float(np.partition(keys, rank)[rank])


def _largest(keys: NDArray[np.float64], m: int) -> NDArray[np.bool_]:
    """Return a mask of the m largest keys; ties go to the lowest position."""
    threshold = np.partition(keys, len(keys) - m)[len(keys) - m]
    stay: NDArray[np.bool_] = keys > threshold
    level = np.flatnonzero(keys == threshold)
    stay[level[: m - int(stay.sum())]] = True
    return stay


def _in_drawing_order(winners: Finishers) -> NDArray[np.int64]:
    """Rows by falling key, ties to the lowest row: an argsort at the price of a plain sort of integers.

    The low bits of each key, read as an integer, make room for its position; where that made two keys equal, their
    run is sorted again by whole keys.
    """
    keys, rows = winners.keys, winners.rows
    bits = (0.0 - keys).view(np.int64)  # no negative zero
    flip = bits >> 63
    flip &= np.int64(0x7FFFFFFFFFFFFFFF)
    bits ^= flip  # now ordered as the floats are
    del flip
    low = (1 << max(len(keys) - 1, 1).bit_length()) - 1
    bits &= ~low
    bits |= np.arange(len(keys))
    bits.sort()
    order: NDArray[np.int64] = bits & low
    bits &= ~low
    tied = bits[1:] == bits[:-1]
    if tied.any():
        run = np.concatenate([[0], np.cumsum(~tied)])
        member = np.flatnonzero(np.concatenate([[False], tied]) | np.concatenate([tied, [False]]))
        of_runs = order[member]
        order[member] = of_runs[np.lexsort((of_runs, -keys[of_runs], run[member]))]
    drawn: NDArray[np.int64] = rows[order]
    return drawn


def _sharpness(temperature: float) -> float:
    return min(1 / temperature, 1e300)


def _sweep(key: int, temperature: float, largest: float, device: str) -> Sweep:
    """Return the sweep of one chunk on a device: (values, first row, threshold) -> positions, keys above it."""
    sharpness = _sharpness(temperature)
    if not uses_numba(device):
        from raysubset.selection.kernels.race_torch import sweep as by_torch

        return lambda values, first, threshold: by_torch(
            values, first, key & 0xFFFFFFFF, key >> 32, sharpness, threshold, largest, device
        )
    from raysubset.selection.kernels.race_numba import sweep as compiled

    def by_numba(values: Ready, first: int, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        slope, intercept = _line(sharpness, threshold, largest)
        values = values.view()
        values.flags.writeable = False  # one compiled version serves all
        found: tuple[NDArray[np.int64], NDArray[np.float64]] = compiled(
            values, first, key & 0xFFFFFFFF, key >> 32, sharpness, threshold, slope, intercept
        )
        return found

    return by_numba


def _line(sharpness: float, threshold: float, largest: float) -> tuple[np.float32, np.float32]:
    """Return a, b such that a row may win only if the bits of its leading integer are below a v + b.

    With leading integer l, 1 - u >= l / 2^16, and a key above the threshold t needs 1 - u < exp(v / T - t). The
    bits of float32 l are at most 2^23 (127 + log2 l). Rounding in float32 is paid for in b.
    """
    slope = sharpness / math.log(2) * 2**23
    rounding = (abs(threshold) + sharpness * largest) / math.log(2) * 2**23 * 2.0**-21 + 256
    with np.errstate(over="ignore"):  # an infinite b lets every row pass
        return np.float32(slope), np.float32((143 - threshold / math.log(2)) * 2**23 + rounding)
