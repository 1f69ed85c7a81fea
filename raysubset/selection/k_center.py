"""k-center: the rows from which no row is far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.errors import OptionsError, SelectionError
from raysubset.selection.protocol import Context, check_budget
from raysubset.selection.similarity import unit_scale
from raysubset.types import Selection

PER_PAIR = 6  # operations beside the inner product


@dataclass(frozen=True, slots=True)
class KCenter:
    """Farthest-first traversal: each pick is the row farthest from its nearest pick, in Euclidean distance.

    Guarantee: the largest distance of a row to its nearest pick is at most twice the least possible [1], whatever
    the first row. Outliers go first: that is what the objective asks for.

    Attributes:
        start: First row. None draws it from the stream.

    Cost: O(n k d) time; one copy of the features and 20 n bytes.

    References:
        [1] Gonzalez, 1985, "Clustering to minimize the maximum intercluster distance", Theor. Comput. Sci. 38.
        [2] Sener, Savarese, 2018, "Active learning for convolutional neural networks: a core-set approach", ICLR.
    """

    start: int | None = None

    def __post_init__(self) -> None:
        if self.start is not None and self.start < 0:
            raise OptionsError.of("KCenter", [f"start={self.start}, need a row >= 0, or None to draw one"])

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The pool has no features, they are not finite, or it has no row ``start``.
        """
        n = context.pool_size
        check_budget(k, n)
        features = context.need_features("KCenter")
        start = int(rng.integers(n)) if self.start is None else self.start
        if start >= n:
            raise SelectionError(f"KCenter was asked to start at row {start} of a pool of {n}: need start < n.")
        return Selection.uniform(farthest_first(features, k, start, context.device), n)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection; see `Selector`."""
        return float(n) * k * (2 * h + PER_PAIR)


def farthest_first(features: NDArray[Any], k: int, start: int, device: str = "cpu") -> NDArray[np.int64]:
    """Return int64[k], rows in picking order; ties go to the lowest row.

    Args:
        features: float[n, d], finite. Distances are computed in their precision, from their mean.
        k: Rows to pick, 1 <= k <= n.
        start: First row.
        device: Torch device.
    """
    points = torch.from_numpy(unit_scale(features)).to(device)
    squares = (points * points).sum(dim=1)
    nearest = torch.full_like(squares, torch.inf)
    picks = np.empty(k, dtype=np.int64)
    row = start
    for step in range(k):
        picks[step] = row
        apart = torch.addmv(squares, points, points[row], alpha=-2).add_(squares[row])
        torch.minimum(nearest, apart.clamp_min_(0), out=nearest)
        nearest[row] = -torch.inf
        row = int(nearest.argmax())
    return picks
