"""Last-layer gradients, never expanded.

The loss of row i has the gradient g_i = r_i [h_i, 1]^T with respect to the last layer (weights and bias), where
r_i = p_i - y_i is the residual and h_i the layer's input. It has rank one, so inner products factor,

    <g_i, g_j> = (r_i . r_j) (h_i . h_j + 1),        ||g_i - g_j||^2 = <g_i, g_i> + <g_j, g_j> - 2 <g_i, g_j>,

and n gradients cost n (c + h) floats, not n c (h + 1): 15 MB in place of 130 MB for 50,000 rows, 10 classes and
64 features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import SelectionError


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """The gradients of n rows, factored.

    Attributes:
        residuals: float32[n, c], dLoss/dlogits; or whole gradients, one a row, where ``features`` is None.
        features: float32[n, h], the input of the last layer; None for gradients g_i = r_i (of the bias alone, or
            already expanded).

    Raises:
        SelectionError: Shapes or dtypes do not fit, or a value is not finite (names its row).
    """

    residuals: NDArray[np.float32]
    features: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        check_rows("residuals", self.residuals)
        if self.features is not None:
            check_rows("features", self.features)
            if len(self.features) != len(self.residuals):
                raise SelectionError(
                    f"Gradients need one feature row a residual row, got {len(self.features)} and "
                    f"{len(self.residuals)}."
                )

    def __len__(self) -> int:
        return len(self.residuals)

    @property
    def width(self) -> int:
        """Floats that one expanded gradient would have: c, or c (h + 1)."""
        c = int(self.residuals.shape[1])
        return c if self.features is None else c * (self.features.shape[1] + 1)

    def take(self, rows: NDArray[np.int64]) -> Gradients:
        """Return the gradients of some rows. Cost: one copy of them."""
        return Gradients(self.residuals[rows], None if self.features is None else self.features[rows])

    def of_bias(self) -> Gradients:
        """Return the gradients with respect to the bias alone: g_i = r_i."""
        return Gradients(self.residuals)

    def norms(self) -> NDArray[np.float64]:
        """Return float64[n], ||g_i||_2 = ||r_i|| sqrt(||h_i||^2 + 1)."""
        norms: NDArray[np.float64] = np.linalg.norm(self.residuals.astype(np.float64), axis=1)
        if self.features is None:
            return norms
        return np.asarray(norms * np.sqrt((self.features.astype(np.float64) ** 2).sum(axis=1) + 1.0))

    def total(self, weights: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Return sum_i w_i g_i as float64[c, h + 1] (the bias is the last column), or float64[c, 1]."""
        residuals: NDArray[np.float64] = self.residuals.astype(np.float64)
        if weights is not None:
            residuals = residuals * np.asarray(weights, dtype=np.float64)[:, None]
        bias: NDArray[np.float64] = residuals.sum(axis=0)[:, None]
        if self.features is None:
            return bias
        weight = residuals.T @ self.features
        return np.asarray(np.hstack([weight, bias]))

    def expanded(self) -> NDArray[np.float32]:
        """Return float32[n, width], row i the flattened r_i [h_i, 1]^T. Only for few rows: 4 n width bytes."""
        if self.features is None:
            return self.residuals
        ones = np.ones((len(self), 1), dtype=np.float32)
        product = self.residuals[:, :, None] * np.hstack([self.features, ones])[:, None, :]
        return product.reshape(len(self), -1)


def check_rows(name: str, rows: NDArray[Any]) -> None:
    """Refuse anything but a finite float matrix, one row a sample.

    Raises:
        SelectionError: Not two-dimensional, not float32 or float64, or a value is NaN or infinite.
    """
    if rows.ndim != 2:
        raise SelectionError(f"{name} must have shape (n, width), got {rows.shape}.")
    if rows.dtype not in (np.float32, np.float64):
        raise SelectionError(
            f"{name} are {rows.dtype}, need float32 or float64 (float16 loses the small differences that decide): "
            f"convert them by {name}.astype(np.float32)."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        sums = rows.sum(axis=1, dtype=np.float64)
    suspects = np.flatnonzero(~np.isfinite(sums))  # float64 sums may overflow where every value is finite
    for row in suspects[~np.isfinite(rows[suspects]).all(axis=1)][:1]:
        column = int(np.flatnonzero(~np.isfinite(rows[row]))[0])
        raise SelectionError(
            f"{name} of row {row} hold {rows[row, column]} in column {column}; all must be finite."
        )
