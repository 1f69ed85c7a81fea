"""Similarities between rows, from their features, without an n x n matrix.

    cosine:  s(i, j) = (1 + cos(x_i, x_j)) / 2
    rbf:     s(i, j) = exp(-||x_i - x_j||^2 / (2 bandwidth^2))

Both lie in [0, 1], are positive semidefinite, and are 1 between a row and itself. A set function needs three
things of the picks made so far: sums of s, the nearest pick, and what a determinant leaves of a row
(`raysubset.selection.pick_folds`); each kernel knows its cheapest way to the sums and determinants.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysubset.errors import SelectionError
from raysubset.selection.pick_folds import (
    ALL,
    CholeskyRemainders,
    LinearRemainders,
    LinearSums,
    Pairs,
    PairSums,
    PickFold,
    Rows,
    split,
    times,
)

KernelName = Literal["cosine", "rbf"]
KERNELS: tuple[KernelName, ...] = ("cosine", "rbf")


class Kernel(Pairs, Protocol):
    """Similarities of n rows, and what is known of them in closed form."""

    def totals(self) -> Tensor:
        """Return float64[n], sum_i s(i, j) over all rows i, j itself included."""
        ...

    def sums(self) -> PickFold:
        """Return a fold that gives sum over the picks p of s(j, p)."""
        ...

    def remainders(self, ridge: float, k: int) -> PickFold:
        """Return a fold that gives det(S_{A+j} + ridge I) / det(S_A + ridge I), for up to k picks A."""
        ...


def kernel_of(
    features: NDArray[Any], kernel: KernelName, bandwidth: float | None = None, device: str = "cpu"
) -> Kernel:
    """Return the kernel of that name over these rows; see `Cosine` and `Rbf`."""
    return Cosine(features, device) if kernel == "cosine" else Rbf(features, bandwidth, device)


def kernel_faults(kernel: str, bandwidth: float | None) -> list[str]:
    """Return what is wrong with a kernel's options, for `OptionsError.of`."""
    faults = [] if kernel in KERNELS else [f"kernel={kernel!r}, need one of {', '.join(KERNELS)}"]
    if bandwidth is not None:
        if kernel == "cosine":
            faults.append(f"bandwidth={bandwidth!r} is given, but kernel='cosine' has none")
        if not 0 < bandwidth < float("inf"):
            faults.append(f"bandwidth={bandwidth!r}, need a finite number > 0, or None for the data's own")
    return faults


class Cosine:
    """s(i, j) = (1 + cos(x_i, x_j)) / 2.

    A row of zeros has no direction: all such rows count as equal to each other and at right angles to the rest.

    Args:
        features: float32 or float64 [n, d], finite.
        device: Torch device.

    Raises:
        SelectionError: A row is so large that its norm overflows.

    Cost: one copy of the features.
    """

    def __init__(self, features: NDArray[Any], device: str = "cpu") -> None:
        norms = _finite_norms(features)
        none = norms == 0
        unit = np.zeros((len(features), features.shape[1] + bool(none.any())), dtype=features.dtype)
        np.divide(
            features,
            np.where(none, 1.0, norms)[:, None],
            out=unit[:, : features.shape[1]],
            dtype=np.float64,
            casting="same_kind",
        )
        unit[none, -1] = 1
        self.size = len(unit)
        self.unit = torch.from_numpy(unit).to(device)
        self.device = self.unit.device

    def block(self, rows: Rows, others: Rows) -> Tensor:
        """See `Pairs.block`."""
        return self._cosines(rows, others).add_(1).mul_(0.5)

    def apart(self, rows: Rows, others: Rows) -> Tensor:
        """See `Pairs.apart`."""
        return self._cosines(rows, others).neg_().add_(1).mul_(0.5).clamp_min_(0)

    def totals(self) -> Tensor:
        """See `Kernel.totals`. Cost: O(n d)."""
        return (self.size + times(self.unit, self.unit.sum(dim=0, dtype=torch.float64))) / 2

    def sums(self) -> PickFold:
        """See `Kernel.sums`. Cost: O(d) a pick, O(d) a row."""
        return LinearSums(self.unit)

    def remainders(self, ridge: float, k: int) -> PickFold:
        """See `Kernel.remainders`. Cost: O(n d + d^2) a pick, 8 (n + d^2) bytes, whatever k."""
        return LinearRemainders(self.unit, ridge)

    def _cosines(self, rows: Rows, others: Rows) -> Tensor:
        ours, theirs = self.unit[rows], self.unit[others]
        return torch.mv(ours, theirs[0])[:, None] if len(theirs) == 1 else ours @ theirs.T


class Rbf:
    """s(i, j) = exp(-||x_i - x_j||^2 / (2 bandwidth^2)).

    Rows are centred first, so that float32 squared distances are right to 1e-6 of the mean squared distance.

    Args:
        features: float32 or float64 [n, d], finite.
        bandwidth: In units of the features; None takes the one that gives two rows at the root mean squared
            distance of the data the similarity 1/e.
        device: Torch device.

    Raises:
        SelectionError: A row is so large that its norm overflows.

    Cost: one copy of the features.
    """

    def __init__(self, features: NDArray[Any], bandwidth: float | None = None, device: str = "cpu") -> None:
        norms = _finite_norms(centred := centre(features))
        width = float(np.sqrt(2 * np.mean(norms**2))) if bandwidth is None else float(np.sqrt(2)) * bandwidth
        scaled = np.divide(centred, width or 1.0, out=centred, dtype=np.float64, casting="same_kind")
        _finite_norms(scaled)
        self.size = len(scaled)
        self.points = torch.from_numpy(scaled).to(device)
        self.squares = (self.points * self.points).sum(dim=1)
        self.device = self.points.device

    def block(self, rows: Rows, others: Rows) -> Tensor:
        """See `Pairs.block`."""
        return self._squared_distances(rows, others).neg_().exp_()

    def apart(self, rows: Rows, others: Rows) -> Tensor:
        """See `Pairs.apart`."""
        return self._squared_distances(rows, others).neg_().expm1_().neg_()

    def totals(self) -> Tensor:
        """See `Kernel.totals`. Cost: O(n^2 d) time: an RBF has no short cut."""
        parts = split(ALL, self.size, self.size)
        return torch.cat([self.block(part, ALL).sum(dim=1, dtype=torch.float64) for part in parts])

    def sums(self) -> PickFold:
        """See `Kernel.sums`. Cost: O(d) a pair of row and pick."""
        return PairSums(self)

    def remainders(self, ridge: float, k: int) -> PickFold:
        """See `Kernel.remainders`. Cost: O(k + d) a pair of row and pick, 8 n k bytes for rows in use."""
        return CholeskyRemainders(self, ridge, k)

    def _squared_distances(self, rows: Rows, others: Rows) -> Tensor:
        ours, theirs = self.points[rows], self.points[others]
        inner = torch.mv(ours, theirs[0])[:, None] if len(theirs) == 1 else ours @ theirs.T
        return inner.mul_(-2).add_(self.squares[rows][:, None]).add_(self.squares[others]).clamp_min_(0)


def centre(features: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of the features less their mean; the mean and the difference are taken in float64."""
    mean = features.mean(axis=0, dtype=np.float64)
    centred: NDArray[Any] = np.empty_like(features)
    np.subtract(features, mean, out=centred, dtype=np.float64, casting="same_kind")
    return centred


def unit_scale(features: NDArray[Any]) -> NDArray[Any]:
    """Return the features centred, and divided by their largest absolute value, so that no square overflows."""
    centred = centre(features)
    peak = float(np.abs(centred).max(initial=0.0))
    centred /= peak or 1.0
    return centred


def _finite_norms(features: NDArray[Any]) -> NDArray[np.float64]:
    """Return float64[n], the Euclidean norms."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", features, features, dtype=np.float64))
        finite = np.isfinite(norms.astype(features.dtype))
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise SelectionError(f"Features of row {row} are too large to measure distances: scale them down.")
    return np.asarray(norms)
