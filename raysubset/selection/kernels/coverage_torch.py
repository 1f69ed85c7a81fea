"""The sweep of `raysubset.selection.kernels.coverage` in torch, on any device, and the lazy greedy in numpy.

The sweep is nearly all of the work and runs where the points are; the few pairs it keeps come to the host, where
the greedy's many small steps are cheap.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.selection.kernels.pairs import Loss, Pairs

CHUNK = 1 << 20  # pairs of a tile
AT_ONCE = 16  # gains computed together

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
    grain: float,
    columns: Columns,
) -> None:
    """Pick by upper bounds: a gain can only fall, so the top of the heap wins once it is up to date.

    Args:
        picks: int64[k] positions among the candidates; the first ``seeds`` are given, the rest set.
        costs: float64[k], likewise.
        seeds: Picks made already, at least one.
        losses: float64[n] to the nearest pick, updated.
        nearest: int64[n] number of the nearest pick, updated.
        grain: Gains that round to the same multiple of it are equal.
        columns: Of `sweep`.
    """
    live = _Live(*columns)
    bounds = np.rint(live.gains(losses, np.arange(len(live))) / grain)
    taken = set(picks[:seeds].tolist())
    heap = [(-gain, j) for j, gain in enumerate(bounds.tolist()) if j not in taken]
    heapq.heapify(heap)
    fresh = np.full(len(live), seeds)
    tidy = 2 * seeds
    for picked in range(seeds, len(picks)):
        if picked == tidy:
            live, tidy = live.without_dead(losses), 2 * tidy
        while fresh[heap[0][1]] != picked:
            stale = [heapq.heappop(heap)[1] for _ in range(min(AT_ONCE, len(heap)))]
            gains = np.rint(live.gains(losses, np.array(stale)) / grain)
            for j, gain in zip(stale, gains.tolist(), strict=True):
                heapq.heappush(heap, (-gain, j))
            fresh[stale] = picked
        _, j = heapq.heappop(heap)
        column = slice(live.begin[j], live.begin[j + 1])
        row, loss = live.row[column], live.loss[column]
        closer = loss < losses[row]
        picks[picked] = j
        costs[picked] = costs[picked - 1] - (losses[row[closer]] - loss[closer]).sum()
        losses[row[closer]] = loss[closer]
        nearest[row[closer]] = picked


@dataclass(frozen=True, slots=True, eq=False)
class _Live:
    """The pairs that may still gain, column after column."""

    row: NDArray[np.int32]
    loss: NDArray[np.floating[Any]]
    begin: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.begin) - 1

    def gains(self, losses: NDArray[np.float64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return float64[columns], each added up in the order of rows: equal columns have equal gains."""
        lengths = self.begin[columns + 1] - self.begin[columns]
        owner = np.repeat(np.arange(len(columns)), lengths)
        first = self.begin[columns] - (np.cumsum(lengths) - lengths)
        entries = np.arange(len(owner)) + first[owner]
        gains = np.maximum(losses[self.row[entries]] - self.loss[entries], 0)
        return np.bincount(owner, weights=gains, minlength=len(columns)).astype(np.float64, copy=False)

    def without_dead(self, losses: NDArray[np.float64]) -> _Live:
        """Drop pairs that cannot gain any more."""
        alive = self.loss < losses[self.row]
        before = np.concatenate([[0], np.cumsum(alive)])
        return _Live(self.row[alive], self.loss[alive], before[self.begin])
