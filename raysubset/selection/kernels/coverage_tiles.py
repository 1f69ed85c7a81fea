"""The sweep of `raysubset.selection.kernels.coverage` on the CPU: tiles by torch, pairs picked out by numba.

Import it only where numba is to run. Nothing is shared between calls, and neither torch's products nor the
compiled loops hold the interpreter's lock: one class a thread is safe.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.selection.kernels import coverage_numba as compiled
from raysubset.selection.kernels.pairs import Loss, Pairs, block_size

LOSS_CODES = {"squared": 0, "euclidean": 1, "rbf": 2}
Array = NDArray[np.float32]


@dataclass(eq=False)
class Kept:
    """The pairs in which a row would gain, tile by tile.

    The part of candidate j in block b of the rows lies at ``starts[b, j // block]`` plus ``ends[b, j - 1]`` to
    ``ends[b, j]`` (from 0 for the first of a block).

    Attributes:
        n, many: Rows and candidates.
        capacity: Most pairs that may be kept.
    """

    n: int
    many: int
    capacity: int
    used: int = 0
    block: int = field(init=False)

    def __post_init__(self) -> None:
        self.block = min(self.n, block_size(self.n))
        across, down = -(-self.n // self.block), -(-self.many // self.block)
        self.starts = np.zeros((across, down), dtype=np.int64)
        self.ends = np.zeros((across, self.many), dtype=np.int32)
        room = min(self.capacity, self.n * self.many) + 2 * self.block**2  # untouched pages cost nothing
        self.rows = np.empty(room, dtype=np.uint16)
        self.losses = np.empty(room, dtype=np.float32)
        self.gains = np.zeros(self.many)


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """One pass over the tiles.

    Attributes:
        pairs: n rows in float32.
        loss: Of a pair.
        candidates: int64 rows that may be picked; tiles serve both their sides where they are all rows.
        squared: float64[n] squared distance to the nearest seed.
        losses: float64[n] loss to the nearest seed.
    """

    pairs: Pairs
    loss: Loss
    candidates: NDArray[np.int64]
    squared: NDArray[np.float64]
    losses: NDArray[np.float64]

    def run(self, capacity: int) -> Kept | None:
        """Return what is kept, or None if it is more than ``capacity`` pairs."""
        n, many = len(self.pairs), len(self.candidates)
        kept = Kept(n, many, capacity)
        half = self.pairs.norms.numpy() / 2
        # D_ij < squared_i as a bound on the inner product alone; a row that loses nothing can gain nothing
        need = np.where(self.squared > 0, half - self.squared / 2, np.inf)
        tiles = _Tiles(self, kept, _padded(half), _padded(need))
        for i in range(kept.starts.shape[1]):
            for j in range(i if self.symmetric else 0, kept.starts.shape[0]):
                if kept.used > capacity:
                    return None
                tiles.keep(i, j)
        return None if kept.used > capacity else kept

    @property
    def symmetric(self) -> bool:
        """Whether every row is a candidate."""
        return len(self.candidates) == len(self.pairs)


class _Tiles:
    """Scratch for one tile after another."""

    def __init__(self, sweep: Sweep, kept: Kept, half: Array, need: Array) -> None:
        self.sweep, self.kept, self.half, self.need = sweep, kept, half, need
        self.codes = (sweep.pairs.rounding, LOSS_CODES[sweep.loss.kind], sweep.loss.sharpness)
        size = kept.block**2
        self.products = torch.zeros(size + compiled.LANES, dtype=torch.float32)
        self.factors = torch.empty(size if sweep.pairs.right is not None else 0, dtype=torch.float32)
        self.later = np.empty((2, size), dtype=np.uint32)

    def keep(self, block_i: int, block_j: int) -> None:
        """Keep what gains among the candidates of one block and the rows of another; both ways if symmetric."""
        kept, sweep = self.kept, self.sweep
        i, j = _part(block_i, kept.block, kept.many), _part(block_j, kept.block, kept.n)
        members = i if sweep.symmetric else torch.from_numpy(sweep.candidates[i])
        height, width = i.stop - i.start, j.stop - j.start
        tile = self.products[: height * width].view(height, width)
        sweep.pairs.products_into(members, j, tile, self.factors)
        ahead = slice(j.start, j.stop + compiled.LANES)
        both_ways = sweep.symmetric and block_i != block_j
        rows = i if both_ways else slice(0, 0)
        columns = j if both_ways else slice(0, 0)
        middle, end = compiled.keep(
            tile.numpy(),
            both_ways,
            self.half[i if sweep.symmetric else sweep.candidates[i]],
            self.half[ahead],
            self.need[rows],
            self.need[ahead],
            sweep.losses[rows],
            sweep.losses[j],
            kept.gains[i],
            kept.gains[columns],
            kept.ends[block_j, i],
            kept.ends[block_i if both_ways else 0, columns],
            kept.rows,
            kept.losses,
            kept.used,
            self.later,
            *self.codes,
        )
        kept.starts[block_j, block_i] = kept.used
        if both_ways:
            kept.starts[block_i, block_j] = middle
        kept.used = end


def lazy_greedy(
    picks: NDArray[np.int64],
    costs: NDArray[np.float64],
    seeds: int,
    losses: NDArray[np.float64],
    nearest: NDArray[np.int64],
    grain: float,
    kept: Kept,
) -> None:
    """Go on greedily; the arrays are those of `raysubset.selection.kernels.coverage_torch.lazy_greedy`."""
    compiled.lazy_greedy(
        picks,
        costs,
        seeds,
        losses,
        nearest,
        grain,
        kept.gains,
        kept.starts,
        kept.ends,
        kept.block,
        kept.rows,
        kept.losses,
        np.empty(kept.used, dtype=np.int32),
        np.empty(kept.used, dtype=np.float32),
    )


def _part(block: int, size: int, end: int) -> slice:
    return slice(block * size, min(end, (block + 1) * size))


def _padded(values: NDArray[np.float64]) -> Array:
    """Lanes read beyond the last row: give them numbers that no test passes."""
    return np.concatenate([values, np.full(compiled.LANES, np.inf)]).astype(np.float32)
