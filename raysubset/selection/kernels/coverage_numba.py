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

_compiled: Any = njit(nogil=True, cache=True)

LANES = 16  # pairs compared at once; LLVM splits them into what the CPU has


def _above_lanes(typing: Any, tile: Any, at: Any, shift: Any, needs: Any, shifts: Any, need: Any, j: Any) -> Any:
    """LANES tests both ways: bit l is tile[at + l] - shift > needs[j + l], bit 16 + l - shifts[j + l] > need."""
    number = tile.dtype
    signature = types.uint32(tile, types.intp, number, needs, shifts, number, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lanes, word = ir.VectorType(context.get_value_type(number), LANES), ir.IntType(32)

        def load(argument: int, index: Any) -> Any:
            array = context.make_array(signature.args[argument])(context, builder, values[argument])
            pointer = builder.bitcast(builder.gep(array.data, [index]), lanes.as_pointer())
            return builder.load(pointer, align=number.bitwidth // 8)

        def spread(value: Any) -> Any:
            empty = ir.Constant(lanes, ir.Undefined)
            one = builder.insert_element(empty, value, ir.Constant(word, 0))
            return builder.shuffle_vector(one, empty, ir.Constant(ir.VectorType(word, LANES), [0] * LANES))

        def bits(shift: Any, need: Any) -> Any:
            true = builder.fcmp_ordered(">", builder.fsub(products, shift), need)
            return builder.zext(builder.bitcast(true, ir.IntType(LANES)), word)

        products = load(0, values[1])
        one_way = bits(spread(values[2]), load(3, values[6]))
        other_way = bits(load(4, values[6]), spread(values[5]))
        return builder.or_(one_way, builder.shl(other_way, ir.Constant(word, LANES)))

    return signature, codegen


def _lowest_bit(typing: Any, bits: Any) -> Any:
    """Position of the lowest bit set."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.zext(builder.cttz(values[0], ir.Constant(ir.IntType(1), 1)), ir.IntType(64))

    return types.int64(types.uint32), codegen


_above: Any = intrinsic(_above_lanes)
_lowest: Any = intrinsic(_lowest_bit)


@_compiled
def _loss(half_i, half_j, product, rounding, kind, sharpness):  # type: ignore[no-untyped-def]
    """Loss of a pair, from halves of the squared norms and the inner product."""
    both = 2.0 * (np.float64(half_i) + np.float64(half_j))
    distance = both - 2.0 * np.float64(product)
    if distance <= rounding * both:
        return 0.0
    if kind == 1:
        return np.sqrt(distance)
    if kind == 2:
        return -np.expm1(-distance * sharpness)
    return distance


@_compiled
def keep(  # type: ignore[no-untyped-def]  # noqa: D417  # arguments that belong together share a line
    tile, mirrored, half_i, half_j, need_i, need_j, lose_i, lose_j, gain_i, gain_j, end_i, end_j,
    store_row, store_loss, at, later, rounding, kind, sharpness,
):  # fmt: skip
    """Append the pairs of a tile in which the row would gain: D_ij < D of the row to its nearest seed.

    Args:
        tile: float32[I, J], <g_i, g_j> of candidates i and rows j; LANES more finite numbers lie behind it.
        mirrored: Whether rows j are candidates for rows i as well; only then are the arguments marked * used.
        half_i, half_j: float32[I], float32[J + LANES], half the squared norms. Lanes beyond the last row of all
            read what follows: there half_j and need_j are inf, and no test passes. All other tiles are whole.
        need_i*, need_j: float32[I], float32[J + LANES], (|g|^2 - D to the nearest seed) / 2, inf where that is 0.
        lose_i*, lose_j: float64[I], float64[J], loss to the nearest seed.
        gain_i, gain_j*: float64[I], float64[J], gains of the candidates, added to.
        end_i, end_j*: int32[I], int32[J], set to where each candidate's part ends, from the first of the tile.
        store_row, store_loss: uint16 and float32 of all pairs kept: row within its block, loss.
        at: First free place of the store.
        later: uint32[2, tile.size], scratch.
        rounding: Share of |g_i|^2 + |g_j|^2 below which a distance is 0.
        kind, sharpness: 0 squared, 1 Euclidean, 2 rbf exp(-sharpness D).

    Returns:
        Where the mirrored part starts, and the first free place.
    """
    height, width = tile.shape
    flat = tile.reshape(-1)
    never = np.float32(np.inf)
    start, waiting = at, 0
    for i in range(height):
        gained = 0.0
        need = need_i[i] if mirrored else never
        for left in range(0, width, LANES):
            bits = _above(flat, i * width + left, half_i[i], need_j, half_j, need, left)
            low = np.uint32(bits & np.uint32(0xFFFF))
            while low != 0:
                j = left + _lowest(low)
                low &= np.uint32(low - np.uint32(1))
                loss = _loss(half_i[i], half_j[j], flat[i * width + j], rounding, kind, sharpness)
                gained += max(0.0, lose_j[j] - loss)
                store_row[at], store_loss[at] = j, loss
                at += 1
            high = np.uint32(bits >> np.uint32(LANES))
            while high != 0:
                later[0, waiting], later[1, waiting] = i, left + _lowest(high)
                high &= np.uint32(high - np.uint32(1))
                waiting += 1
        gain_i[i] += gained
        end_i[i] = at - start
    middle = at
    if mirrored:
        place = np.zeros(width, np.int64)  # a counting sort puts the other way's pairs in order of candidates
        for entry in range(waiting):
            place[later[1, entry]] += 1
        for j in range(width):
            at += place[j]
            place[j] = at - place[j]
            end_j[j] = at - middle
        for entry in range(waiting):
            mirror, to = np.int64(later[0, entry]), np.int64(later[1, entry])
            loss = _loss(half_i[mirror], half_j[to], flat[mirror * width + to], rounding, kind, sharpness)
            gain_j[to] += max(0.0, lose_i[mirror] - loss)
            store_row[place[to]], store_loss[place[to]] = mirror, loss
            place[to] += 1
    return middle, at


@_compiled
def _sift(heap, position, gains):  # type: ignore[no-untyped-def]
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
def _gather(j, starts, ends, block, store_row, store_loss, losses, row, loss, top):  # type: ignore[no-untyped-def]
    """Put the live pairs of a candidate together behind ``top``, rows ascending; return the new top."""
    for b in range(len(starts)):
        start = starts[b, j // block]
        first = start + ends[b, j - 1] if j % block else start
        for entry in range(first, start + ends[b, j]):
            i = b * block + np.int64(store_row[entry])
            if store_loss[entry] < losses[i]:
                row[top], loss[top] = i, store_loss[entry]
                top += 1
    return top


@_compiled
def lazy_greedy(  # type: ignore[no-untyped-def]  # noqa: D417  # likewise
    picks, costs, seeds, losses, nearest, grain, gains, starts, ends, block, store_row, store_loss, row, loss
):
    """Pick by upper bounds: a gain can only fall, so the top of the heap wins once it is up to date.

    Args:
        picks: int64[k] candidates; the first ``seeds`` are given, the rest set.
        costs: float64[k], likewise.
        seeds: Picks made already, at least one.
        losses: float64[n] to the nearest pick, updated.
        nearest: int64[n] number of the nearest pick, updated.
        grain: Gains that round to the same multiple of it are equal.
        gains: float64[candidates] after the seeds, overwritten.
        starts, ends, block: Where the pairs of a candidate lie; see `coverage_tiles.Kept`.
        store_row, store_loss: The pairs.
        row, loss: int32 and float32 of as many, scratch: columns put together at first use, shrinking when read.
    """
    gains /= grain
    gains += 1 + 1e-9 * gains  # another order of adding rounds otherwise, and these must be upper bounds
    gains[picks[:seeds]] = -1.0
    begin, length = np.full(len(gains), -1), np.zeros(len(gains), np.int64)
    fresh = np.full(len(gains), -1)
    heap = np.arange(len(gains))
    for position in range(len(heap) // 2 - 1, -1, -1):
        _sift(heap, position, gains)
    top, picked = 0, seeds
    while picked < len(picks):
        j = heap[0]
        if fresh[j] != picked:
            if begin[j] < 0:
                begin[j] = top
                top = _gather(j, starts, ends, block, store_row, store_loss, losses, row, loss, top)
                length[j] = top - begin[j]
            gain, end = 0.0, begin[j]
            for entry in range(begin[j], begin[j] + length[j]):
                i, value = row[entry], loss[entry]
                if value < losses[i]:
                    row[end], loss[end] = i, value
                    end += 1
                    gain += losses[i] - value
            length[j] = end - begin[j]
            gains[j], fresh[j] = np.floor(gain / grain + 0.5), picked
        else:
            picks[picked], costs[picked] = j, costs[picked - 1]
            for entry in range(begin[j], begin[j] + length[j]):  # all alive: the column was read at this pick
                costs[picked] -= losses[row[entry]] - loss[entry]
                losses[row[entry]] = loss[entry]
                nearest[row[entry]] = picked
            picked += 1
            gains[j] = -1.0
        _sift(heap, 0, gains)
