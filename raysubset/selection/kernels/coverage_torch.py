"""The sweep of `raysubset.selection.kernels.coverage` in torch, on any device, and the lazy greedy in numpy.

The sweep is nearly all of the work and runs where the points are; the few pairs it keeps come to the host, where
the greedy's many small steps are cheap.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.selection.kernels.pairs import Loss, Pairs

CHUNK = 1 << 20  # pairs of a tile

Columns = tuple[NDArray[np.int32], NDArray[np.floating[Any]], NDArray[np.int64]]


def sweep(
    pairs: Pairs, loss: Loss, candidates: NDArray[np.int64], squared: torch.Tensor, capacity: int
) -> Columns | None:
    """Return the pairs in which a row would gain, as columns of candidates.

    Args:
        pairs: n rows.
        loss: Of a pair.
        candidates: int64 rows that may be picked.
        squared: float64[n] squared distance to the nearest seed.
        capacity: Most pairs that may be kept.

    Returns:
        int32 rows and losses of the pairs, column after column, and int64[candidates + 1] where each begins; None
        if they are more than ``capacity``.
    """
    half = pairs.norms / 2
    # D_ij < squared_i as a bound on the inner product alone; a row that loses nothing can gain nothing
    need = torch.where(squared > 0, half - squared / 2, torch.inf).to(pairs.left.dtype)
    row_parts, loss_parts, kept = [], [], 0
    begin = np.zeros(len(candidates) + 1, dtype=np.int64)
    step = max(1, CHUNK // len(pairs))
    for start in range(0, len(candidates), step):
        columns = torch.from_numpy(candidates[start : start + step]).to(half.device)
        products = pairs.products(columns, slice(None))
        places = (products - half[columns, None].to(products.dtype) > need).flatten().nonzero()[:, 0]
        column, row = places // len(pairs), places % len(pairs)
        both = 2 * (half[columns[column]] + half[row])
        losses = loss.of(pairs.rounded(both - 2 * products.flatten()[places].double(), both))
        counts = torch.bincount(column, minlength=len(columns)).cpu().numpy()
        begin[start + 1 : start + 1 + len(counts)] = kept + np.cumsum(counts)
        kept += len(places)
        if kept > capacity:
            return None
        row_parts.append(row.to(torch.int32).cpu().numpy())
        loss_parts.append(losses.to(products.dtype).cpu().numpy())
    return np.concatenate(row_parts), np.concatenate(loss_parts), begin


def lazy_greedy(
    picks: NDArray[np.int64],
    costs: NDArray[np.float64],
    seeds: int,
    losses: NDArray[np.float64],
    nearest: NDArray[np.int64],
    columns: Columns,
) -> None:
    """Pick by upper bounds: a gain can only fall, so the top of the heap wins once it is up to date.

    Args:
        picks: int64[k] positions among the candidates; the first ``seeds`` are given, the rest set.
        costs: float64[k], likewise.
        seeds: Picks made already, at least one.
        losses: float64[n] to the nearest pick, updated.
        nearest: int64[n] number of the nearest pick, updated.
        columns: Of `sweep`; entries that died are overwritten.
    """
    row, loss, begin = columns
    end = begin[1:].copy()
    taken = set(picks[:seeds].tolist())
    heap = [(-np.inf, j) for j in range(len(end)) if j not in taken]
    fresh = np.full(len(end), -1)
    for picked in range(seeds, len(picks)):
        while fresh[j := heap[0][1]] != picked:
            column = slice(begin[j], end[j])
            gains = losses[row[column]] - loss[column]
            alive = gains > 0
            kept = int(np.count_nonzero(alive))
            if 2 * kept < len(gains):
                left = slice(begin[j], begin[j] + kept)
                row[left], loss[left] = row[column][alive], loss[column][alive]
                end[j] = left.stop
            fresh[j] = picked
            heapq.heapreplace(heap, (-_ordered_sum(gains[alive]), j))
        negative, j = heapq.heappop(heap)
        members, closer = row[begin[j] : end[j]], loss[begin[j] : end[j]]
        won = closer < losses[members]
        losses[members[won]] = closer[won]
        nearest[members[won]] = picked
        picks[picked] = j
        costs[picked] = costs[picked - 1] + negative


def _ordered_sum(values: NDArray[np.float64]) -> float:
    """Add in the order given: numpy's pairwise sum gives equal columns unequal sums once one has lost its zeros."""
    return float(np.add.accumulate(values)[-1]) if len(values) else 0.0
