"""Herding: rows whose mean runs after the mean of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.selection.protocol import Context, check_budget
from raysubset.selection.similarity import unit_scale
from raysubset.types import Selection

PER_PAIR = 4  # operations beside the inner product


@dataclass(frozen=True, slots=True)
class Herding:
    """Greedy mean matching: pick t minimises || mean of all - mean of the t picks ||, without replacement.

    With features centred at their mean that is argmin_j ||x_j||^2 + 2 x_j . (sum of the picks). For features of
    equal norm it is the herding of Welling [1], argmax_j x_j . w with w += mean - x_pick; the form here, of [2],
    keeps its meaning for unequal norms. Per class by `PerClass`.

    Guarantee: none for picks without replacement (with it, the error falls as 1/k [1]). All rows give error 0.

    Cost: O(n k d) time; one copy of the features and 16 n bytes. No randomness; ties go to the lowest row.

    References:
        [1] Welling, 2009, "Herding dynamical weights to learn", ICML.
        [2] Rebuffi, Kolesnikov, Sperl, Lampert, 2017, "iCaRL", CVPR, algorithm 4.
    """

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The pool has no features, or they are not finite.
        """
        check_budget(k, context.pool_size)
        features = context.need_features("Herding")
        return Selection.uniform(match_mean(features, k, context.device), context.pool_size)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection; see `Selector`."""
        return float(n) * k * (2 * h + PER_PAIR)


def match_mean(features: NDArray[Any], k: int, device: str = "cpu") -> NDArray[np.int64]:
    """Return int64[k], rows in picking order; ties go to the lowest row.

    Args:
        features: float[n, d], finite.
        k: Rows to pick, 1 <= k <= n.
        device: Torch device.
    """
    points = torch.from_numpy(unit_scale(features)).to(device)
    costs = (points * points).sum(dim=1)
    total = torch.zeros(points.shape[1], dtype=torch.float64, device=points.device)
    picks = np.empty(k, dtype=np.int64)
    for step in range(k):
        row = int(torch.addmv(costs, points, total.to(points.dtype), alpha=2).argmin())
        picks[step] = row
        costs[row] = torch.inf
        total += points[row]
    return picks
