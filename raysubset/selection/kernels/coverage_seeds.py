"""The first picks of a cover, by greedy on a sample.

Before anything is picked every pair of rows can still gain, and a list of all pairs is what must never exist. A
few picks made on a sample of rows cut the pairs that can gain to a few per cent of all; from there on greedy is
exact. In a pool no larger than the sample the sample is the pool, and the first picks are exact as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.selection.kernels.coverage_torch import CHUNK
from raysubset.selection.kernels.pairs import Loss, Pairs

AT_ONCE = 16  # gains computed together
GRAIN = 2.0**-34  # of the first cost: two rows that help each other alone have equal gains, but for rounding
PROBE = 256  # rows and candidates by which the pairs that can gain are counted beforehand
SAMPLE = 1024  # rows and candidates; 25 picks are made from 1024 rows as well as from all (error ratio 1.001)


@dataclass(eq=False)
class Seeds:
    """Greedy picks on a sample, more on demand: the picks of t are a prefix of those of t + 1.

    Attributes:
        pairs: The rows.
        loss: Of representing one by another.
        candidates: int64 rows that may be picked, ascending.
        rng: Draws the sample.
    """

    pairs: Pairs
    loss: Loss
    candidates: NDArray[np.int64]
    rng: np.random.Generator
    positions: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = len(self.pairs)
        self._rows = _sample(n, SAMPLE, self.rng)
        self._probe_rows = _sample(n, PROBE, self.rng)
        self._probe_columns = self.candidates[_sample(len(self.candidates), PROBE, self.rng)]
        self._of = _sample(len(self.candidates), SAMPLE, self.rng)
        columns = torch.from_numpy(self.candidates[self._of])
        # candidates down, rows across: an evaluation reads one contiguous line
        tile = self.loss.of(self.pairs.distances(columns, torch.from_numpy(self._rows)))
        self._losses = tile.cpu().numpy()
        self._bounds = np.full(len(self._of), np.inf)
        self._now = np.full(len(self._rows), np.inf, dtype=self._losses.dtype)

    @property
    def complete(self) -> bool:
        """Whether the sample is the whole pool."""
        return len(self._rows) == len(self.pairs) and len(self._of) == len(self.candidates)

    def grow(self, picks: int) -> NDArray[np.int64]:
        """Return int64[picks] positions in ``candidates``, in the order picked."""
        if not self.positions:
            totals = self._losses.sum(axis=1, dtype=np.float64)
            self._grain = grain_of(totals.min())
            self._take(int(np.rint(totals / self._grain).argmin()))
        while len(self.positions) < picks:
            self._take(self._best())
        return np.asarray(self._of[self.positions[:picks]])

    def share_that_gains(self, picks: int) -> float:
        """Estimate the share of all pairs in which the row would gain after these picks, on other rows.

        The sample's own rows are better served by its picks than the pool's are.
        """
        chosen = torch.from_numpy(self.candidates[self.grow(picks)])
        rows, columns = torch.from_numpy(self._probe_rows), torch.from_numpy(self._probe_columns)
        nearest = self.pairs.distances(rows, chosen).amin(1)
        return float((self.pairs.distances(rows, columns) < nearest[:, None]).double().mean())

    def _best(self) -> int:
        """Largest gain, then lowest position; bounds of earlier rounds stand in until one is at the top."""
        fresh = np.zeros(len(self._bounds), dtype=bool)
        while not fresh[best := int(self._bounds.argmax())]:
            waiting = np.where(fresh, -np.inf, self._bounds)
            top = (
                np.argpartition(-waiting, AT_ONCE)[:AT_ONCE] if len(waiting) > AT_ONCE else np.flatnonzero(~fresh)
            )
            top = top[self._bounds[top] >= 0]
            gains = np.maximum(self._now - self._losses[top], 0).sum(axis=1, dtype=np.float64)
            self._bounds[top] = np.rint(gains / self._grain)
            fresh[top] = True
        return best

    def _take(self, position: int) -> None:
        if not self.positions:
            gains = np.maximum(self._losses[position] - self._losses, 0).sum(axis=1, dtype=np.float64)
            self._bounds = np.rint(gains / self._grain)
        self._now = np.minimum(self._now, self._losses[position])
        self._bounds[position] = -1.0
        self.positions.append(position)


def first_pick(pairs: Pairs, loss: Loss, candidates: NDArray[np.int64]) -> int:
    """Return the position of the candidate of least total loss, the lowest of equals. Cost: all pairs once."""
    totals = torch.zeros(len(candidates), dtype=torch.float64, device=pairs.norms.device)
    step = max(1, CHUNK // len(pairs))
    for start in range(0, len(candidates), step):
        columns = torch.from_numpy(candidates[start : start + step])
        totals[start : start + step] = loss.of(pairs.distances(columns, slice(None))).sum(1, dtype=torch.float64)
    return int(np.rint(totals.cpu().numpy() / grain_of(float(totals.min()))).argmin())


def grain_of(cost: float) -> float:
    """Return what sums of losses are rounded to before they are compared, from the cost of one pick."""
    return cost * GRAIN if cost > 0 else 1.0


def _sample(n: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if n <= size:
        return np.arange(n, dtype=np.int64)
    return np.sort(rng.choice(n, size, replace=False)).astype(np.int64)
