"""Greedy facility location without a matrix of all pairs.

    f(S) = sum_i (l_empty - min_{j in S} l_ij),        gain(j | S) = sum_i max(0, m_i - l_ij),   m_i = min_{s in S} l_is

with l an increasing function of the squared distance D_ij (see `raysubset.selection.kernels.pairs`). Any
l_empty >= max l gives the same picks, as it adds n l_empty to every first gain alone, so it need not be known.

(1) A few picks by greedy on a sample of 1,024 rows (all rows, if there are no more). (2) One sweep over tiles of
pairs that keeps those with l_ij < m_i: m only falls, so no other can ever gain, and each tile serves both its sides.
(3) Lazy greedy [1] on the sparse columns left, which shrink as they are read. From (2) on the picks are those of
plain greedy; greedy is within 1 - 1/e of the best f [2].

Cost: O(n^2 (c + h)) time in thin matrix products, half of it by symmetry; O(n (c + h) + pairs kept) bytes, pairs
kept being 1-5 % of n^2 with the seeds chosen here.

Tried and dropped, measured on gradients of 50,000 CIFAR-10 rows: sweeping a 32-wide projection whose distances are
lower bounds, with exact distances at first use (no gain below 512 features: gathering the rows of a pair costs more
than the products saved); pruning by the triangle inequality (58-77 % of the pairs of a class stay).

References:
    [1] Minoux, 1978, "Accelerated greedy algorithms for maximizing submodular set functions", doi:10.1007/BFb0006528.
    [2] Nemhauser, Wolsey, Fisher, 1978, doi:10.1007/BF01588971.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.errors import BudgetError
from raysubset.selection.gradients import Gradients
from raysubset.selection.kernels import backend, coverage_torch
from raysubset.selection.kernels.coverage_seeds import Seeds, first_pick
from raysubset.selection.kernels.pairs import Loss, Pairs
from raysubset.selection.protocol import check_budget

MEMORY_BYTES = 192 << 20  # beyond the points themselves
SEEDS = 24  # see `_first_picks`
_KINDS = {"squared": 0, "euclidean": 1, "rbf": 2}


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """k picks, and who represents whom.

    Attributes:
        rows: int64[k] in the order picked.
        costs: float64[k], sum_i min_j l_ij over the first 1, 2, .. k picks.
        nearest: int64[n], position in ``rows`` of the pick that represents row i: the nearest, ties to the
            earliest; a pick always represents itself.
    """

    rows: NDArray[np.int64]
    costs: NDArray[np.float64]
    nearest: NDArray[np.int64]

    def gains(self, empty_loss: float) -> NDArray[np.float64]:
        """Return float64[k], what each pick added to f; only the first depends on the loss of the empty set."""
        before = np.concatenate([[len(self.nearest) * empty_loss], self.costs[:-1]])
        return np.asarray(before - self.costs)

    def counts(self) -> NDArray[np.int64]:
        """Return int64[k], rows represented by each pick, itself included; they sum to n."""
        return np.bincount(self.nearest, minlength=len(self.rows))


def cover(
    points: Gradients,
    k: int,
    rng: np.random.Generator,
    *,
    loss: Loss = Loss(),  # noqa: B008  # frozen
    candidates: NDArray[np.int64] | None = None,
    exact: bool = False,
    memory_bytes: int = MEMORY_BYTES,
    device: str = "cpu",
) -> Cover:
    """Pick k rows by greedy facility location.

    Args:
        points: n rows, factored gradients or plain vectors.
        k: Picks, 1 <= k <= n, and at most the candidates.
        rng: Draws the sample of the first picks; not used for n <= 1024 or ``exact``.
        loss: Of representing a row by another.
        candidates: Distinct int64 rows that may be picked; all rows if None. All n rows are covered either way.
        exact: Plain greedy from the first pick on: a second sweep, and memory for the 20-50 % of all pairs that
            one pick leaves.
        memory_bytes: Most bytes to use beyond the points and one copy of them. A tight cap is kept by making more
            of the first picks on the sample, up to 256.
        device: Torch device.

    Returns:
        The cover. Ties go to the lowest row.

    Raises:
        BudgetError: k outside [1, n], or a memory cap that cannot be kept.
    """
    check_budget(k, len(points))
    eligible = np.arange(len(points), dtype=np.int64) if candidates is None else np.sort(candidates)
    check_budget(k, len(eligible))
    search = _Search(Pairs.of(points, device), loss, eligible, k, memory_bytes, backend.uses_numba(device))
    return search.run(rng, exact)


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    pairs: Pairs
    loss: Loss
    candidates: NDArray[np.int64]
    k: int
    memory_bytes: int
    compiled: bool

    def run(self, rng: np.random.Generator, exact: bool) -> Cover:
        if exact and len(self.pairs) > 1:
            start = np.array([first_pick(self.pairs, self.loss, self.candidates)])
            return self._finish(start) or self._refuse()
        seeds = Seeds(self.pairs, self.loss, self.candidates, rng)
        picks = self._first_picks(seeds)
        while True:
            if (done := self._finish(seeds.grow(picks))) is not None:
                return done
            if picks >= min(self.k, seeds.limit):
                self._refuse()
            picks = min(self.k, seeds.limit, picks + picks // 2 + 1)  # the estimate was too low

    def _first_picks(self, seeds: Seeds) -> int:
        """As few as the quality wants, an eighth of k and at most 24, unless the pairs they leave do not fit."""
        picks, most = max(1, min(SEEDS, self.k // 8)), min(self.k, seeds.limit)
        everything = len(self.pairs) * len(self.candidates)
        while picks < most and 1.15 * everything * seeds.share_that_gains(picks) > self._capacity():
            picks = min(most, picks + picks // 4 + 1)
        return picks

    def _capacity(self) -> int:
        """Pairs that fit: 2 or 4 bytes of row and one number each, and once more for the columns put together."""
        number = 4 if self.pairs.single else 8
        each = (2 + number) + (4 + number) * 0.55 if self.compiled else 2 * (4 + number)
        return int((self.memory_bytes - self._fixed()) / each)

    def _fixed(self) -> int:
        """Bytes for arrays of n, the tiles and the sample."""
        n, number = len(self.pairs), 4 if self.pairs.single else 8
        block = _block(n)
        table = 4 * len(self.candidates) * -(-n // block)
        return 80 * n + table + block * block * (2 * number + 8) + 3 * 8 * min(n, 1024) ** 2

    def _refuse(self) -> Cover:
        raise NotImplementedError

    def _finish(self, start: NDArray[np.int64]) -> Cover | None:
        """Sweep and go on greedily from the first picks; None if the pairs that can gain do not fit."""
        first = torch.from_numpy(self.candidates[start])
        distances = self.pairs.distances(slice(None), first)
        squared, first_of = distances.min(1)
        nearest = first_of.cpu().numpy()
        running = self.loss.of(torch.cummin(distances, 1)[0]).sum(0).cpu().numpy()
        picks, costs = np.empty(self.k, dtype=np.int64), np.empty(self.k)
        picks[: len(start)], costs[: len(start)] = start, running
        if len(start) < self.k:
            go_on = self._compiled if self.compiled else self._torch
            if not go_on(picks, costs, len(start), squared, nearest):
                return None
        rows = self.candidates[picks]
        nearest[rows] = np.arange(self.k)
        return Cover(rows, costs, nearest)

    def _torch(
        self,
        picks: NDArray[np.int64],
        costs: NDArray[np.float64],
        seeds: int,
        squared: torch.Tensor,
        nearest: NDArray[np.int64],
    ) -> bool:
        columns = coverage_torch.sweep(self.pairs, self.loss, self.candidates, squared, self._capacity())
        if columns is None:
            return False
        losses = self.loss.of(squared).cpu().numpy().copy()
        coverage_torch.lazy_greedy(picks, costs, seeds, losses, nearest, columns)
        return True

    def _compiled(
        self,
        picks: NDArray[np.int64],
        costs: NDArray[np.float64],
        seeds: int,
        squared: torch.Tensor,
        nearest: NDArray[np.int64],
    ) -> bool:
        from raysubset.selection.kernels import coverage_numba as compiled

        pairs, n, many = self.pairs, len(self.pairs), len(self.candidates)
        block = _block(n)
        symmetric = many == n
        blocks, columns = -(-n // block), -(-many // block)
        number = np.float32 if pairs.single else np.float64
        half = _padded(pairs.norms.numpy() / 2, number)
        open_ = np.where(squared.numpy() > 0, pairs.norms.numpy() / 2 - squared.numpy() / 2, np.inf)
        need = _padded(open_, number)
        losses = self.loss.of(squared).numpy().copy()
        gains = np.zeros(many)
        starts, ends = np.zeros((blocks, columns), dtype=np.int64), np.zeros((blocks, many), dtype=np.int32)
        capacity = min(self._capacity(), n * many)
        slack = block * block * 2
        store_row = np.empty(capacity + slack, dtype=np.uint16)
        store_loss = np.empty(capacity + slack, dtype=number)
        later = np.empty((2, block * block), dtype=np.uint32)
        space = np.zeros(block * block + compiled.LANES, dtype=number)
        at = 0
        sharpness = 1 / self.loss.bandwidth**2
        kind = _KINDS[self.loss.kind]
        for ci in range(columns):
            i = slice(ci * block, min(many, ci * block + block))
            which = i if symmetric else torch.from_numpy(self.candidates[i])
            half_i = half[i] if symmetric else half[self.candidates[i]]
            for bj in range(ci if symmetric else 0, blocks):
                j = slice(bj * block, min(n, bj * block + block))
                shape = (i.stop - i.start, j.stop - j.start)
                tile = space[: shape[0] * shape[1]].reshape(shape)
                self._products(which, j, tile)
                mirrored = symmetric and bj != ci
                wide = slice(j.start, j.stop + compiled.LANES)
                if at > capacity:
                    return False
                middle, end = compiled.keep(
                    tile, mirrored, half_i, half[wide], need[i] if symmetric else half_i, need[wide],
                    losses[i] if symmetric else losses[:0], losses[j], gains[i], gains[j] if mirrored else gains[:0], ends[bj, i],
                    ends[ci, j] if mirrored else ends[0, :0], store_row, store_loss, at, later,
                    pairs.rounding, kind, sharpness,
                )
                starts[bj, ci] = at
                if mirrored:
                    starts[ci, bj] = middle
                at = end
        if at > capacity:
            return False
        row, loss = np.empty(at, dtype=np.int32), np.empty(at, dtype=number)
        compiled.lazy_greedy(
            picks, costs, seeds, losses, nearest, gains, starts, ends, block, store_row, store_loss, row, loss
        )
        return True

    def _products(self, i, j, tile) -> None:
        out = torch.from_numpy(tile)
        torch.mm(self.pairs.left[i], self.pairs.left[j].T, out=out)
        if self.pairs.right is not None:
            out *= torch.mm(self.pairs.right[i], self.pairs.right[j].T)

def _block(n: int) -> int:
    return 512 if n <= 16384 else 1024


def _padded(values: NDArray[np.float64], dtype: type) -> NDArray[np.generic]:
    return np.concatenate([values, np.full(16, np.inf)]).astype(dtype)
