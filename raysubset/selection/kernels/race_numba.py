"""The sweep of the race for one CPU core; `raysubset.selection.kernels.race` says what it computes.

Each loop is a function of its own, so that it becomes vector code. The first call of a process reads the compiled
code from numba's cache; where there is none, it compiles for some seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from raysubset.selection.kernels import gumbel, philox

Floats = NDArray[np.float32] | NDArray[np.float64]
Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(function: Function) -> Function:
    return cast("Function", njit(error_model="numpy", nogil=True, cache=True)(function))


_philox4x32: Any = njit(error_model="numpy", inline="always")(philox.philox4x32)
_log: Any = njit(error_model="numpy")(gumbel.log)

# The positions of a byte's set bits, lowest first, and their number: eight rows are compacted by one look-up.
_SET_BITS = np.array([sorted(range(8), key=lambda bit: not byte >> bit & 1) for byte in range(256)], np.uint8)
_COUNTS = np.array([byte.bit_count() for byte in range(256)], np.uint64)


@_compiled
def philox_block(c0: int, c1: int, c2: int, c3: int, k0: int, k1: int) -> tuple[int, int, int, int]:
    """Return `philox.philox4x32`, as it was compiled."""
    words: tuple[int, int, int, int] = _philox4x32(c0, c1, c2, c3, k0, k1)
    return words


@_compiled
def sweep(
    values: Floats,
    first: int,
    k0: int,
    k1: int,
    sharpness: float,
    threshold: float,
    slope: np.float32,
    intercept: np.float32,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (positions int64[s], keys float64[s]) of the keys above the threshold, in row order."""
    halves = _leading_bits(first, len(values), k0, k1)
    positions = _set(_may_stay(values, halves, slope, intercept))
    keys = _uniforms(positions, first, halves, k0, k1)
    _to_keys(keys, values, positions, sharpness)
    count = _keep_above(positions, keys, threshold)
    return positions[:count], keys[:count]


@_compiled
def _leading_bits(first: int, n: int, k0: int, k1: int) -> NDArray[np.uint16]:
    """Return 16 bits for each of n rows."""
    skip = first & 7
    blocks = (skip + n + 7) >> 3
    words = np.empty(4 * blocks, np.uint32)
    for i in range(blocks):
        block = (first >> 3) + i
        a, b, c, d = _philox4x32(block & 0xFFFFFFFF, (block >> 32) & 0xFFFFFFFF, 0, 0, k0, k1)
        words[4 * i] = a
        words[4 * i + 1] = b
        words[4 * i + 2] = c
        words[4 * i + 3] = d
    return words.view(np.uint16)[skip : skip + n]


@_compiled
def _may_stay(
    values: Floats, halves: NDArray[np.uint16], slope: np.float32, intercept: np.float32
) -> NDArray[np.uint8]:
    """Return 1 where the key may be above the threshold, else 0; zeros up to a multiple of eight.

    The bits of a positive float are its logarithm, bent down by 0.087 or less: a bound without a logarithm.
    """
    stay = np.zeros((len(values) + 7) & ~7, np.uint8)
    for i in range(len(values)):
        bits = np.float32(np.float32(halves[i]).view(np.int32))
        stay[i] = not bits >= np.float32(values[i]) * slope + intercept  # NaN stays: infinity less infinity
    return stay


@_compiled
def _set(flags: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the positions of the ones among 8 g bytes of 0 and 1."""
    eights = flags.view(np.uint64)
    positions = np.empty(len(flags) + 8, np.int64)
    count = np.uint64(0)
    for group in range(len(eights)):
        byte = (eights[group] * np.uint64(0x0102040810204080)) >> np.uint64(56)
        for j in range(8):
            positions[count + np.uint64(j)] = 8 * group + _SET_BITS[byte, j]
        count += _COUNTS[byte]
    return positions[:count]


@_compiled
def _bits_of(x: float) -> Any:
    return np.float64(x).view(np.int64)


@_compiled
def _float_of(bits: int) -> Any:
    return np.int64(bits).view(np.float64)


@_compiled
def _uniforms(
    positions: NDArray[np.int64], first: int, halves: NDArray[np.uint16], k0: int, k1: int
) -> NDArray[np.float64]:
    """Return the uniforms; the same bits as `gumbel.uniforms`."""
    leading = np.empty(len(positions), np.int64)
    for s in range(len(positions)):
        leading[s] = halves[np.uint64(positions[s])]
    uniforms = np.empty(len(positions), np.float64)
    for s in range(len(positions)):
        row = positions[s] + first
        a, b, _, _ = _philox4x32(row & 0xFFFFFFFF, (row >> 32) & 0xFFFFFFFF, 1, 0, k0, k1)
        uniforms[s] = 2.0 - _float_of((leading[s] << 36) | (a << 4) | (b >> 28) | 0x3FF0000000000001)
    return uniforms


@_compiled
def _to_keys(
    uniforms: NDArray[np.float64], values: Floats, positions: NDArray[np.int64], sharpness: float
) -> None:
    """Overwrite uniforms by keys."""
    for s in range(len(uniforms)):
        uniforms[s] = _log(-_log(uniforms[s], _bits_of, _float_of), _bits_of, _float_of)
    for s in range(len(uniforms)):
        uniforms[s] = np.float64(values[np.uint64(positions[s])]) * sharpness - uniforms[s]


@_compiled
def _keep_above(positions: NDArray[np.int64], keys: NDArray[np.float64], threshold: float) -> Any:
    """Move what is above the threshold to the front; return how many that are."""
    count = np.uint64(0)
    for s in range(len(keys)):
        position, key = positions[s], keys[s]
        positions[count] = position
        keys[count] = key
        count += np.uint64(key > threshold)
    return count
