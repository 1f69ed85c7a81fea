"""Greedy facility location without a matrix of all pairs.

    f(S) = sum_i (l_empty - m_i),        m_i = min_{s in S} l_is,        gain(j | S) = sum_i max(0, m_i - l_ij)

with l an increasing function of the squared distance D_ij (see `raysubset.selection.kernels.pairs`). Any
l_empty >= max l gives the same picks, as it adds n l_empty to every first gain alone, so it need not be known.

(1) A few picks by greedy on a sample of 1,024 rows (all rows, if there are no more). (2) One sweep over tiles of
pairs that keeps those with l_ij < m_i: m only falls, so no other can ever gain; a tile serves both its sides. (3)
Lazy greedy [1] on the sparse columns left, which shrink as they are read. From (2) on the picks are those of
plain greedy; greedy is within 1 - 1/e of the best f [2].

Cost: O(n^2 (c + h)) time in thin matrix products, half of it by symmetry; O(n (c + h) + pairs kept) bytes, pairs
kept being 1-5 % of n^2 with the seeds chosen here.

Tried and dropped, measured on gradients of 50,000 CIFAR-10 rows: a sweep of 32-wide projections whose distances
are lower bounds, with true distances at first use (slower at 75 multiplications a pair: gathering the rows of a
pair costs more than the products saved); the triangle inequality (58-77 % of the pairs of a class stay).

References:
    [1] Minoux, 1978, "Accelerated greedy algorithms for maximizing submodular set functions",
        doi:10.1007/BFb0006528.
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
from raysubset.selection.kernels.coverage_seeds import SAMPLE, Seeds, first_pick, grain_of
from raysubset.selection.kernels.coverage_torch import CHUNK
from raysubset.selection.kernels.pairs import SQUARED, Loss, Pairs, block_size
from raysubset.selection.protocol import check_budget

MEMORY_BYTES = 208 << 20
SEEDS = 24  # of k = 500 in 5,000: error ratio 1.001, and 22 % faster than 8


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
    loss: Loss = SQUARED,
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
        The cover. Ties go to the lowest row; gains that differ by less than 6e-11 of the first cost are ties.

    Raises:
        BudgetError: k outside [1, n], or a memory cap that cannot be kept.
    """
    check_budget(k, len(points))
    eligible = np.arange(len(points), dtype=np.int64) if candidates is None else np.sort(candidates)
    check_budget(k, len(eligible))
    pairs = Pairs.of(points, device)
    compiled = pairs.single and backend.uses_numba(device)  # in float64 torch is as fast, and need not be compiled
    return _Search(pairs, loss, eligible, k, memory_bytes, compiled).run(rng, exact)


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    pairs: Pairs
    loss: Loss
    candidates: NDArray[np.int64]
    k: int
    memory_bytes: int
    compiled: bool

    def run(self, rng: np.random.Generator, exact: bool) -> Cover:
        seeds = Seeds(self.pairs, self.loss, self.candidates, rng)
        if self.memory_bytes < self._fixed():
            raise self._does_not_fit(seeds, 1)
        if exact and not seeds.complete:
            start = np.array([first_pick(self.pairs, self.loss, self.candidates)])
            if (done := self._finish(start)) is None:
                raise self._does_not_fit(seeds, 1)
            return done
        picks, most = self._first_picks(seeds), self._most(seeds)
        while (done := self._finish(seeds.grow(picks))) is None:  # None: the estimate was too low
            if picks == most:
                raise self._does_not_fit(seeds, picks)
            picks = min(most, picks + picks // 2 + 1)
        return done

    def _first_picks(self, seeds: Seeds) -> int:
        """As few as quality wants, an eighth of k and at most 24, unless the pairs they leave would not fit."""
        picks, most = max(1, min(SEEDS, self.k // 8)), self._most(seeds)
        while self._pairs_left(seeds, picks) > self._capacity():
            if picks == most:
                raise self._does_not_fit(seeds, picks)
            picks = min(most, picks + picks // 4 + 1)
        return picks

    def _most(self, seeds: Seeds) -> int:
        """More picks than these on a sample would follow its rows, not the pool's."""
        return self.k if seeds.complete else max(1, min(len(self.candidates) // 4, self.k // 2, SAMPLE // 4))

    def _pairs_left(self, seeds: Seeds, picks: int) -> float:
        """Pairs that can gain after some picks, with a margin for the estimate."""
        everything = len(self.pairs) * len(self.candidates)
        if picks == self.k:
            return 0.0
        return everything if everything <= self._capacity() else 1.15 * everything * seeds.share_that_gains(picks)

    def _finish(self, start: NDArray[np.int64]) -> Cover | None:
        """Sweep and go on greedily from the first picks; None if the pairs that can gain do not fit."""
        first = torch.from_numpy(self.candidates[start]).to(self.pairs.left.device)
        distances = self.pairs.distances(slice(None), first).double()
        squared, closest = distances.min(1)
        nearest = np.array(closest.cpu())
        picks, costs = np.empty(self.k, dtype=np.int64), np.empty(self.k)
        picks[: len(start)] = start
        costs[: len(start)] = self.loss.of(torch.cummin(distances, 1)[0]).sum(0).cpu().numpy()
        if len(start) < self.k and not self._go_on(picks, costs, len(start), squared, nearest):
            return None
        rows = self.candidates[picks]
        nearest[rows] = np.arange(self.k)
        return Cover(rows, costs, nearest)

    def _go_on(
        self,
        picks: NDArray[np.int64],
        costs: NDArray[np.float64],
        seeds: int,
        squared: torch.Tensor,
        nearest: NDArray[np.int64],
    ) -> bool:
        """Set the picks after the seeds; False if the pairs that can gain do not fit."""
        losses, grain = np.array(self.loss.of(squared).cpu()), grain_of(float(costs[0]))
        if not self.compiled:
            columns = coverage_torch.sweep(self.pairs, self.loss, self.candidates, squared, self._capacity())
            if columns is not None:
                coverage_torch.lazy_greedy(picks, costs, seeds, losses, nearest, grain, columns)
            return columns is not None
        from raysubset.selection.kernels import coverage_tiles as tiles  # here, as it imports numba

        sweep = tiles.Sweep(self.pairs, self.loss, self.candidates, squared.numpy(), losses)
        kept = sweep.run(self._capacity())
        if kept is not None:
            tiles.lazy_greedy(picks, costs, seeds, losses, nearest, grain, kept)
        return kept is not None

    def _capacity(self) -> int:
        """Pairs that fit into the memory allowed."""
        return max(0, int((self.memory_bytes - self._fixed()) / self._each()))

    def _each(self) -> int:
        """Bytes of a pair: row and loss where the sweep puts it, and again where the greedy reads it."""
        number = 4 if self.pairs.single else 8
        return 14 if self.compiled else 2 * (4 + number)

    def _fixed(self) -> int:
        """Bytes of everything else: arrays of n, where the columns begin, a tile, the sample."""
        n, many, number = len(self.pairs), len(self.candidates), 4 if self.pairs.single else 8
        block = min(n, block_size(n))
        table = 4 * many * -(-n // block) if self.compiled else 8 * many
        tile = block * block * (2 * number + 8) if self.compiled else 4 * number * min(n * many, max(n, CHUNK))
        return 64 * n + table + tile + number * min(n, SAMPLE) * min(many, SAMPLE)

    def _does_not_fit(self, seeds: Seeds, picks: int) -> BudgetError:
        n, many, share = len(self.pairs), len(self.candidates), seeds.share_that_gains(picks)
        need = self._fixed() + 1.15 * share * n * many * self._each()
        rows = int((max(self.memory_bytes, 0) / (1.15 * max(share, 1e-9) * self._each())) ** 0.5)
        return BudgetError(
            f"memory_bytes={self.memory_bytes:,} cannot be kept: k={self.k} of n={n:,} rows needs about "
            f"{int(need):,} bytes, as {share:.1%} of the pairs of rows can still gain after {picks} picks. Allow "
            f"that much, or select in parts (per class, or GreeDi): about {min(rows, n):,} rows at once would fit."
        )


def flops_of_cover(n: int, candidates: int, k: int, width: int) -> float:
    """Predict the floating-point operations of `cover`.

    Args:
        n: Rows.
        candidates: Rows that may be picked.
        k: Picks.
        width: Multiplications of one inner product: c + h + 1, or the width of plain vectors.
    """
    sides = 1 if candidates == n else 2  # where all rows are candidates each product serves two pairs
    products = sides * n * candidates * width + 2 * SAMPLE * min(n, SAMPLE) * width
    return float(products + 4 * n * candidates + 2 * n * min(k, SEEDS) * width)
