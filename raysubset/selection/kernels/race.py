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
merged, are the best m of the whole, whoever computed them and on whatever device.

References:
    [1] Kool, van Hoof, Welling, 2019, "Stochastic beams and where to find them", arXiv:1903.06059.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import BudgetError, OptionsError, SelectionError
from raysubset.selection.kernels.backend import uses_numba

Floats = NDArray[np.float32] | NDArray[np.float64]
Sweep = Callable[[Floats, int, float], tuple[NDArray[np.int64], NDArray[np.float64]]]

CHUNK = 1 << 18  # rows swept at a time
SAMPLE = 1 << 15  # values that the threshold is estimated from


@dataclass(frozen=True, slots=True, eq=False)
class Finishers:
    """The winners of a race over some rows.

    Attributes:
        rows: int64[m], global row numbers, increasing.
        keys: float64[m].
    """

    rows: NDArray[np.int64]
    keys: NDArray[np.float64]


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
        values: float32[n] or float64[n], finite: the importance of each row.
        m: Rows to draw, 1 <= m <= n.
        rng: Gives the 64-bit key of the race; a row's noise depends on that key and its number alone.
        temperature: T > 0; small is greedy, large is uniform.
        ordered: In drawing order; else by increasing row, which saves a sort of m keys.
        device: Torch device of the sweep; "cpu" uses numba where it is installed. Rows are the same on all.

    Returns:
        int64[m]; in drawing order the draw for m is a prefix of the draw for m + 1. Ties go to the lowest row.

    Raises:
        BudgetError: m outside [1, n].
        OptionsError: temperature <= 0.
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
    values = cast("Floats", np.ascontiguousarray(values))
    largest = _checked(values, m, temperature)
    sweep = _sweep(key, temperature, largest, device)
    share = m / len(values)
    share += 3 * math.sqrt(share * (1 - share) / SAMPLE) + 8 / SAMPLE  # three standard deviations of the estimate
    while True:
        winners = _best(values, m, first_row, sweep, _quantile(values, share, key, temperature))
        if len(winners.rows) == m:
            return winners
        share *= 2


def merged(shards: Sequence[Finishers], m: int) -> NDArray[np.int64]:
    """Return the m best rows of several shards of one race, in drawing order.

    Each shard gives its m best, or all rows it has.

    Raises:
        BudgetError: The shards have fewer than m rows together.
    """
    rows = np.concatenate([shard.rows for shard in shards])
    keys = np.concatenate([shard.keys for shard in shards])
    if not 1 <= m <= len(rows):
        raise BudgetError(
            f"Cannot select m={m} of the n={len(rows)} rows of {len(shards)} shards: need 1 <= m <= n."
        )
    by_row = np.argsort(rows)
    best = by_row[_largest(keys[by_row], m)]
    return _in_drawing_order(Finishers(rows[best], keys[best]))


def _checked(values: Floats, m: int, temperature: float) -> float:
    """Refuse what cannot be drawn from; return the largest |value|."""
    n = len(values)
    if not 1 <= m <= n:
        raise BudgetError(f"Cannot select m={m} of n={n} rows: need 1 <= m <= n.")
    if not temperature > 0:
        raise OptionsError(f"temperature={temperature!r}, need a number > 0.")
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise SelectionError(f"Importance of row {bad} is {values[bad]}; all {n} must be finite.")
    return max(-low, high)


def _quantile(values: Floats, share: float, key: int, temperature: float) -> float:
    """Estimate the key that a share of all keys exceeds, from evenly spaced rows with other noise."""
    if len(values) <= SAMPLE or share >= 1:
        return -math.inf
    sample = values[:: len(values) // SAMPLE].astype(np.float64)
    waits = np.random.Generator(np.random.Philox(key=key)).standard_exponential(len(sample), dtype=np.float32)
    keys = sample * _sharpness(temperature) - np.log(waits + np.float32(1e-30))
    rank = len(sample) - 1 - int(share * len(sample))
    return float(np.partition(keys, rank)[rank])


def _best(values: Floats, m: int, first_row: int, sweep: Sweep, threshold: float) -> Finishers:
    """Return the rows of the m largest keys above the threshold, or of all where they are fewer.

    Keys go to a buffer of little more than m. When it is full the m best stay, and the least of them is the
    threshold from then on.
    """
    capacity = m + max(m // 8, CHUNK)
    rows, keys = np.empty(capacity, np.int64), np.empty(capacity, np.float64)
    count = 0
    for start in range(0, len(values), CHUNK):
        positions, found = sweep(values[start : start + CHUNK], first_row + start, threshold)
        if count + len(found) > capacity:
            stay = _largest(keys[:count], m)
            count = m
            rows[:m], keys[:m] = rows[: len(stay)][stay], keys[: len(stay)][stay]
            threshold = float(keys[:m].min())
        rows[count : count + len(found)] = positions
        rows[count : count + len(found)] += first_row + start
        keys[count : count + len(found)] = found
        count += len(found)
    rows, keys = rows[:count], keys[:count]
    if count > m:
        stay = _largest(keys, m)
        rows = rows[stay]  # before the keys: the peak of memory is here
        keys = keys[stay]
    return Finishers(rows, keys)


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

    def by_numba(values: Floats, first: int, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
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
