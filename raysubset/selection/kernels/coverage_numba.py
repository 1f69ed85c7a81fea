"""The sweep and the lazy greedy of `raysubset.selection.kernels.coverage` on the CPU, compiled by numba.

Nothing here holds the interpreter's lock while it computes, and nothing is shared between calls: one class a
thread is safe. Import it only where numba is to run; the first call of a machine compiles for some seconds.
"""

# ruff: noqa: ARG001  # intrinsics have the arguments numba wants
from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

_compiled = njit(nogil=True, cache=True)

LANES = 16  # pairs compared at once; LLVM splits them into what the CPU has


@intrinsic
def _above(typing: Any, tile: Any, at: Any, first: Any, shift1: Any, second: Any, shift2: Any, j: Any) -> Any:
    """LANES tests at once: bit l is tile[at + l] - shift1 > first[j + l], bit 16 + l the same with the seconds."""
    number = tile.dtype
    signature = types.uint32(tile, types.intp, first, number, second, number, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        real = context.get_value_type(number)
        lanes, word = ir.VectorType(real, LANES), ir.IntType(32)

        def load(position: int, index: Any) -> Any:
            array = context.make_array(signature.args[position])(context, builder, values[position])
            pointer = builder.bitcast(builder.gep(array.data, [index]), lanes.as_pointer())
            return builder.load(pointer, align=number.bitwidth // 8)

        def everywhere(value: Any) -> Any:
            empty = ir.Constant(lanes, ir.Undefined)
            one = builder.insert_element(empty, value, ir.Constant(word, 0))
            return builder.shuffle_vector(one, empty, ir.Constant(ir.VectorType(word, LANES), [0] * LANES))

        def bits(position: int, shift: Any) -> Any:
            moved = builder.fsub(load(0, values[1]), everywhere(shift))
            true = builder.fcmp_ordered(">", moved, load(position, values[6]))
            return builder.zext(builder.bitcast(true, ir.IntType(LANES)), word)

        return builder.or_(bits(2, values[3]), builder.shl(bits(4, values[5]), ir.Constant(word, LANES)))

    return signature, codegen


@intrinsic
def _lowest(typing: Any, bits: Any) -> Any:
    """Position of the lowest bit set."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        zeros = builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))
        return builder.zext(zeros, ir.IntType(64))

    return types.int64(types.uint32), codegen


@_compiled
def _loss(distance: float, both: float, rounding: float, kind: int, sharpness: float) -> float:
    if distance <= rounding * both:
        return 0.0
    if kind == 1:
        return np.sqrt(distance)
    if kind == 2:
        return -np.expm1(-distance * sharpness)
    return distance


@_compiled
def keep(
    tile: NDArray[Any],  # <g_i, g_j>, candidates i down, rows j across; LANES more values behind it in memory
    mirrored: bool,  # the tile's rows are candidates too, and its candidates rows
    half_i: NDArray[Any],  # |g|^2 / 2 of the candidates
    half_j: NDArray[Any],  # and of the rows, LANES more behind them
    need_i: NDArray[Any],  # (|g|^2 - D to the nearest seed) / 2, infinite where nothing can be gained
    need_j: NDArray[Any],
    lose_i: NDArray[Any],  # float64, loss to the nearest seed
    lose_j: NDArray[Any],
    gain_i: NDArray[Any],  # float64, added to
    gain_j: NDArray[Any],
    end_i: NDArray[Any],  # int32, set: where the candidate's part of the tile ends
    end_j: NDArray[Any],
    store_row: NDArray[Any],  # uint16, row within its block
    store_loss: NDArray[Any],
    at: int,  # first free place of the store
    later: NDArray[Any],  # uint32[2, tile.size], scratch
    rounding: float,
    kind: int,
    sharpness: float,
) -> tuple[int, int]:
    """Append the pairs of a tile in which the row would gain: D_ij < D to its nearest seed.

    Returns:
        Where the mirrored part starts, and the first place that is free now.
    """
    height, width = tile.shape
    flat = tile.reshape(-1)
    counts = np.zeros(width, np.int64)
    never = half_i.dtype.type(np.inf)
    start, waiting = at, 0
    for i in range(height):
        gained = 0.0
        for left in range(0, width, LANES):
            bits = _above(
                flat, i * width + left, need_j, half_i[i], half_j, need_i[i] if mirrored else never, left
            )
            if left + LANES > width:
                tail = (np.uint32(1) << np.uint32(width - left)) - np.uint32(1)
                bits &= np.uint32(tail | (tail << np.uint32(LANES)))
            low = np.uint32(bits & np.uint32(0xFFFF))
            high = np.uint32(bits >> np.uint32(LANES))
            while low != 0:
                j = left + _lowest(low)
                low &= np.uint32(low - np.uint32(1))
                both = 2.0 * (np.float64(half_i[i]) + np.float64(half_j[j]))
                loss = _loss(both - 2.0 * np.float64(flat[i * width + j]), both, rounding, kind, sharpness)
                gained += max(0.0, lose_j[j] - loss)
                store_row[at] = j
                store_loss[at] = loss
                at += 1
            while high != 0:
                j = left + _lowest(high)
                high &= np.uint32(high - np.uint32(1))
                later[0, waiting] = i
                later[1, waiting] = j
                counts[j] += 1
                waiting += 1
        gain_i[i] += gained
        end_i[i] = at - start
    middle = at
    if mirrored:
        place = 0
        for j in range(width):
            count = counts[j]
            counts[j] = place
            place += count
        for entry in range(waiting):
            i, j = np.int64(later[0, entry]), np.int64(later[1, entry])
            both = 2.0 * (np.float64(half_i[i]) + np.float64(half_j[j]))
            loss = _loss(both - 2.0 * np.float64(flat[i * width + j]), both, rounding, kind, sharpness)
            gain_j[j] += max(0.0, lose_i[i] - loss)
            store_row[middle + counts[j]] = i
            store_loss[middle + counts[j]] = loss
            counts[j] += 1
        for j in range(width):
            end_j[j] = counts[j]
        at = middle + waiting
    return middle, at


@_compiled
def _sift(heap: NDArray[Any], position: int, gains: NDArray[Any]) -> None:
    """Move one candidate down to its place: largest gain first, then lowest candidate."""
    mover = heap[position]
    while 2 * position + 1 < len(heap):
        child = 2 * position + 1
        if child + 1 < len(heap):
            a, b = heap[child], heap[child + 1]
            if gains[b] > gains[a] or (gains[b] == gains[a] and b < a):
                child += 1
        best = heap[child]
        if gains[mover] > gains[best] or (gains[mover] == gains[best] and mover < best):
            break
        heap[position] = best
        position = child
    heap[position] = mover


@_compiled
def lazy_greedy(
    picks: NDArray[Any],  # int64[k] candidates, the first `seeds` given, the rest set
    costs: NDArray[Any],  # float64[k], likewise
    seeds: int,
    losses: NDArray[Any],  # float64[n] to the nearest pick, updated
    nearest: NDArray[Any],  # int64[n] the nearest pick, updated
    gains: NDArray[Any],  # float64[candidates] after the seeds, overwritten
    starts: NDArray[Any],  # int64[blocks of rows, blocks of candidates]
    ends: NDArray[Any],  # int32[blocks of rows, candidates]
    block: int,
    store_row: NDArray[Any],
    store_loss: NDArray[Any],
    row: NDArray[Any],  # int32[stored], scratch: columns put together, dead entries left out
    loss: NDArray[Any],
) -> None:
    """Pick greedily by upper bounds: a gain can only fall, so the top of the heap wins once it is up to date."""
    begin = np.full(len(gains), -1)
    length = np.zeros(len(gains), np.int64)
    fresh = np.full(len(gains), -1)  # the sweep's sums are bounds only: another order of adding, another rounding
    top, picked = 0, seeds
    for pick in range(seeds):
        gains[picks[pick]] = -1.0
    gains *= 1 + 1e-9
    heap = np.arange(len(gains))
    for position in range(len(heap) // 2 - 1, -1, -1):
        _sift(heap, position, gains)
    while picked < len(picks):
        j = heap[0]
        if begin[j] < 0:
            begin[j] = top
            for b in range(len(starts)):
                start = starts[b, j // block]
                first = start + ends[b, j - 1] if j % block else start
                for entry in range(first, start + ends[b, j]):
                    i = b * block + np.int64(store_row[entry])
                    if store_loss[entry] < losses[i]:
                        row[top] = i
                        loss[top] = store_loss[entry]
                        top += 1
            length[j] = top - begin[j]
        if fresh[j] != picked:
            gain, end = 0.0, begin[j]
            for entry in range(begin[j], begin[j] + length[j]):
                i, value = row[entry], loss[entry]
                if value < losses[i]:
                    row[end], loss[end] = i, value
                    end += 1
                    gain += losses[i] - value
            length[j] = end - begin[j]
            gains[j], fresh[j] = gain, picked
            _sift(heap, 0, gains)
            continue
        for entry in range(begin[j], begin[j] + length[j]):
            if loss[entry] < losses[row[entry]]:
                losses[row[entry]] = loss[entry]
                nearest[row[entry]] = picked
        picks[picked] = j
        costs[picked] = costs[picked - 1] - gains[j]
        picked += 1
        gains[j] = -1.0
        _sift(heap, 0, gains)
