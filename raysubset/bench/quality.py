"""How good a choice is, measured apart from the code that made it: float64, plain sums, no shared kernels.

    coverage error      sum_i min_{j in S} ||g_i - g_j||^2        (within a class, where rows are chosen by class)
    match residual      ||sum_{j in S} w_j g_j - sum_i g_i|| / ||sum_i g_i||
    loss after a step   mean cross-entropy of target rows after theta - eta sum_{j in S} g_j

The value of the facility-location objective itself says nothing: shifted by max ||g_i - g_j||^2 it differs in the
fourth digit where the coverage error differs by several per cent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raysubset.selection.gradients import Gradients
from raysubset.selection.protocol import Target

Floats = NDArray[np.float64]

CELLS = 1 << 22  # distances held at a time: 32 MB


class Picked(NamedTuple):
    """Rows and what they weigh.

    Attributes:
        rows: int64[k].
        weights: float64[k] raw weights, or None where only the rows matter.
    """

    rows: NDArray[np.int64]
    weights: Floats | None = None


def coverage_error(
    gradients: Gradients, rows: NDArray[np.int64], labels: NDArray[np.int64] | None = None
) -> float:
    """Return the sum over all rows of the squared distance to the nearest pick; given labels, of its own class.

    Infinite if a class has no pick. Cost: O(n k (c + h)) time.
    """
    if labels is None:
        return _covered(gradients, rows)
    error = 0.0
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        error += _covered(gradients.take(members), np.flatnonzero(np.isin(members, rows)))
    return error


def _covered(gradients: Gradients, rows: NDArray[np.int64]) -> float:
    if len(rows) == 0:
        return np.inf
    left, right = _factors(gradients)
    squares = np.einsum("ij,ij->i", left, left) * np.einsum("ij,ij->i", right, right)
    step, error = max(1, CELLS // len(rows)), 0.0
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        distances = (left[part] @ left[rows].T) * (right[part] @ right[rows].T)
        distances *= -2
        distances += squares[part, None]
        distances += squares[rows]
        error += float(np.maximum(distances.min(axis=1), 0).sum())
    return error


def _factors(gradients: Gradients) -> tuple[Floats, Floats]:
    """Return r and [h, 1] with <g_i, g_j> = (r_i . r_j) [h_i, 1] . [h_j, 1]."""
    ones = np.ones((len(gradients), 1))
    right = ones if gradients.features is None else np.hstack([gradients.features, ones])
    return gradients.residuals.astype(np.float64), right.astype(np.float64)


def match_residual(gradients: Gradients, picked: Picked) -> float:
    """Return how far the weighted sum of the picks is from the sum of all, relative to the latter."""
    whole = gradients.total()
    error = gradients.take(picked.rows).total(picked.weights) - whole
    return float(np.linalg.norm(error) / np.linalg.norm(whole))


def loss_after(gradients: Gradients, rows: NDArray[np.int64], target: Target, eta: float) -> float:
    """Return the mean cross-entropy of target rows after one step of ``eta`` along the rows' summed gradients."""
    step = gradients.take(rows).total() * eta  # (c, h + 1)
    logits = target.logits - target.features.astype(np.float64) @ step[:, :-1].T - step[:, -1]
    logits -= logits.max(axis=1, keepdims=True)
    own = logits[np.arange(len(logits)), target.labels]
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - own))
