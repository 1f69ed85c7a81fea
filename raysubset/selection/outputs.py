"""Outputs: what a model says about the rows of a pool, and the context that a selector makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import SelectionError
from raysubset.selection.gradients import Gradients, check_rows
from raysubset.selection.protocol import Target


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """One evaluation-mode pass of a model over n rows, in the order of their ids.

    Attributes:
        logits: float32[n, c].
        features: float32[n, h], the input of the last layer.
        learning_rate: At the time of the pass, or None.
    """

    logits: NDArray[np.float32]
    features: NDArray[np.float32]
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        check_rows("logits", self.logits)
        check_rows("features", self.features)
        if len(self.logits) != len(self.features):
            raise SelectionError(
                f"Outputs have {len(self.logits)} rows of logits and {len(self.features)} of features."
            )

    def __len__(self) -> int:
        return len(self.logits)

    def gradients(self, labels: NDArray[np.int64]) -> Gradients:
        """Return the last-layer gradients of the cross-entropy; see `residuals_of`."""
        return Gradients(residuals_of(self.logits, labels), self.features)

    def target(self, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> Target:
        """Return some rows as the target of a GLISTER-like selector; ``labels`` are those of all n rows."""
        return Target(self.logits[rows], labels[rows], self.features[rows])


def residuals_of(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return r_i = softmax(z_i) - onehot(y_i), the gradient of the cross-entropy with respect to the logits.

    Args:
        logits: float32[n, c], finite.
        labels: int64[n], each in [0, c).

    Raises:
        SelectionError: Not one label a row, or a label outside [0, c) (names its row).
    """
    n, c = logits.shape
    if labels.shape != (n,):
        raise SelectionError(f"The residuals of {n} rows of logits need {n} labels, got shape {labels.shape}.")
    if (bad := np.flatnonzero((labels < 0) | (labels >= c))).size:
        raise SelectionError(f"The label of row {bad[0]} is {labels[bad[0]]}, but the logits have {c} columns.")
    residuals: NDArray[np.float32] = np.exp(logits - logits.max(axis=1, keepdims=True))
    residuals /= residuals.sum(axis=1, keepdims=True)
    residuals[np.arange(n), labels] -= 1
    return residuals
