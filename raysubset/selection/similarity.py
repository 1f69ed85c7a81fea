"""Similarities between rows, from their features, without an n x n matrix.

    cosine:  s(i, j) = (1 + cos(x_i, x_j)) / 2
    rbf:     s(i, j) = exp(-||x_i - x_j||^2 / (2 bandwidth^2))

Both lie in [0, 1], are positive semidefinite, and are 1 between a row and itself. A set function needs three
things of the picks made so far: sums of s, the nearest pick, and what a determinant leaves of a row. Where s is an
inner product of known vectors (cosine), sums and determinants live in feature space, and a pick costs O(n d)
however many there are. Otherwise each row folds in the picks that it has not met yet when it is asked for: rows
that nobody asks for cost nothing, and rows that met nothing for long catch up in one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysubset.errors import BudgetError, SelectionError

KernelName = Literal["cosine", "rbf"]
KERNELS: tuple[KernelName, ...] = ("cosine", "rbf")
Rows = Tensor | slice  # int64[r] on the kernel's device, or ALL
ALL = slice(None)
CELLS = 1 << 21  # similarities held at a time: 8 MB of float32
FACTOR_BYTES = 4 << 30  # most that `CholeskyRemainders` may hold


class PickFold(Protocol):
    """A number per row that depends on the picks made so far."""

    def add(self, row: int) -> None:
        """Make a row a pick."""
        ...

    def of(self, rows: Rows) -> Tensor:
        """Return float64[r], the number of each of these rows."""
        ...


class Kernel(Protocol):
    """Similarities of n rows.

    Attributes:
        size: n.
        device: Where the rows lie.
    """

    size: int
    device: torch.device

    def block(self, rows: Rows, others: Rows) -> Tensor:
        """Return s between rows and others, float[r, m] in the precision of the features."""
        ...

    def apart(self, rows: Rows, others: Rows) -> Tensor:
        """Return 1 - s, float[r, m], without the cancellation of the subtraction."""
        ...

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
        """See `Kernel.block`."""
        return self._cosines(rows, others).add_(1).mul_(0.5)

    def apart(self, rows: Rows, others: Rows) -> Tensor:
        """See `Kernel.apart`."""
        return self._cosines(rows, others).neg_().add_(1).mul_(0.5).clamp_min_(0)

    def totals(self) -> Tensor:
        """See `Kernel.totals`. Cost: O(n d)."""
        return (self.size + _times(self.unit, self.unit.sum(dim=0, dtype=torch.float64))) / 2

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
        """See `Kernel.block`."""
        return self._squared_distances(rows, others).neg_().exp_()

    def apart(self, rows: Rows, others: Rows) -> Tensor:
        """See `Kernel.apart`."""
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


class _Memo:
    """Which picks each row has met, and what they left in its state.

    ``_meet`` brings rows from pick ``start`` to now. ``unmet`` (bool[r, now - start]) says which of these picks
    are new to which row; None: all to all.
    """

    def __init__(self, kernel: Kernel, state: float) -> None:
        self.kernel = kernel
        self.picks: list[int] = []
        self.state = torch.full((kernel.size,), state, dtype=torch.float64, device=kernel.device)
        self.met = torch.zeros(kernel.size, dtype=torch.int64, device=kernel.device)
        self.level: int | None = 0  # picks that all rows have met; None: ``met`` says how many each

    def add(self, row: int) -> None:
        self.picks.append(row)

    def of(self, rows: Rows) -> Tensor:
        start, even = self._start(rows)
        if start < (now := len(self.picks)):
            new = torch.tensor(self.picks[start:], device=self.kernel.device)
            for part in split(rows, self.kernel.size, now - start):
                self._meet(part, start, new, None if even else self._unmet(part, start, now))
            self._note(rows, now)
        return self.state[rows].clone()

    def _start(self, rows: Rows) -> tuple[int, bool]:
        """Return how many picks each of these rows has met, and whether none has met more."""
        if self.level is not None:
            return self.level, True
        low, high = torch.aminmax(self.met[rows])
        return int(low), bool(low == high)

    def _unmet(self, rows: Rows, start: int, now: int) -> Tensor:
        return torch.arange(start, now, device=self.kernel.device) >= self.met[rows][:, None]

    def _note(self, rows: Rows, now: int) -> None:
        if isinstance(rows, slice):
            self.level = now
            return
        if self.level is not None:
            self.met.fill_(self.level)
            self.level = None
        self.met[rows] = now

    def _meet(self, rows: Rows, start: int, new: Tensor, unmet: Tensor | None) -> None:
        raise NotImplementedError


class PairSums(_Memo):
    """sum over the picks of s(j, p), pair by pair."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel, 0.0)

    def _meet(self, rows: Rows, start: int, new: Tensor, unmet: Tensor | None) -> None:
        block = self.kernel.block(rows, new)
        self.state[rows] += (block if unmet is None else block * unmet).sum(dim=1, dtype=torch.float64)


class Nearest(_Memo):
    """min over the picks of 1 - s(j, p); 1, the most there can be, as long as there is none."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel, 1.0)

    def _meet(self, rows: Rows, start: int, new: Tensor, unmet: Tensor | None) -> None:
        closest = self.kernel.apart(rows, new).amin(dim=1)  # meeting a pick twice changes nothing
        self.state[rows] = torch.minimum(self.state[rows], closest.double())


class CholeskyRemainders(_Memo):
    """det(S_{A+j} + ridge I) / det(S_A + ridge I), by the row that j would add to the Cholesky factor of A.

    With L L^T = S_A + ridge I and c_j solving L c_j = S_{A,j} it is s(j, j) + ridge - ||c_j||^2 [1]; c_j grows by
    one entry a pick. In float64, for small ridges lose digits.

    References:
        [1] Chen, Zhang, Zhou, 2018, "Fast greedy MAP inference for determinantal point process", NeurIPS.
    """

    def __init__(self, kernel: Kernel, ridge: float, k: int) -> None:
        super().__init__(kernel, 1.0 + ridge)
        if (needed := 8 * kernel.size * k) > FACTOR_BYTES:
            raise BudgetError(
                f"A log-determinant of k={k} rows of n={kernel.size} by an RBF kernel holds "
                f"{needed / 2**30:.1f} GiB, allowed {FACTOR_BYTES >> 30}: "
                f"k <= {FACTOR_BYTES // (8 * kernel.size)} fits. Select per class, or with kernel='cosine', "
                "which holds none of it."
            )
        self.ridge = ridge
        self.rows = torch.empty((kernel.size, k), dtype=torch.float64, device=kernel.device)  # c_j, as far as met
        self.factor = torch.zeros((k, k), dtype=torch.float64, device=kernel.device)  # L

    def add(self, row: int) -> None:
        """See `PickFold.add`. Completes the pick's own row of L."""
        at = len(self.picks)
        remainder = self.of(torch.tensor([row], device=self.kernel.device))
        self.factor[at, :at] = self.rows[row, :at]
        self.factor[at, at] = remainder.sqrt()
        super().add(row)

    def _meet(self, rows: Rows, start: int, new: Tensor, unmet: Tensor | None) -> None:
        now = start + len(new)
        right = self.kernel.block(rows, new).double()
        right -= self.rows[rows, :start] @ self.factor[start:now, :start].T
        corner = self.factor[start:now, start:now]
        entries = torch.linalg.solve_triangular(corner.T, right, upper=True, left=False)
        self.rows[rows, start:now] = entries
        left = self.state[rows] - (entries if unmet is None else entries * unmet).square().sum(dim=1)
        self.state[rows] = left.clamp_min_(self.ridge)  # what rounding may not take away


class LinearSums:
    """sum over the picks of (1 + z_j . z_p) / 2, from the sum of the z_p alone."""

    def __init__(self, unit: Tensor) -> None:
        self.unit, self.count = unit, 0
        self.total = torch.zeros(unit.shape[1], dtype=torch.float64, device=unit.device)

    def add(self, row: int) -> None:
        """See `PickFold.add`."""
        self.count += 1
        self.total += self.unit[row]

    def of(self, rows: Rows) -> Tensor:
        """See `PickFold.of`."""
        return (self.count + _times(self.unit[rows], self.total)) / 2


class LinearRemainders:
    """The same ratio of determinants where S = Y Y^T, with y_j = [z_j, 1] / sqrt(2): ridge + y_j^T C y_j.

    C = ridge (ridge I + Y_A^T Y_A)^-1 has d + 1 rows, and a pick changes it by rank one (Sherman-Morrison):
    u = C y_p, C -= u u^T / v_p, v_j -= (y_j . u)^2 / v_p.
    """

    def __init__(self, unit: Tensor, ridge: float) -> None:
        n, d = unit.shape
        self.unit, self.ridge = unit, ridge
        self.inverse = torch.eye(d + 1, dtype=torch.float64, device=unit.device)
        self.state = torch.full((n,), 1.0 + ridge, dtype=torch.float64, device=unit.device)

    def add(self, row: int) -> None:
        """See `PickFold.add`."""
        pick = torch.cat([self.unit[row].double(), torch.ones(1, dtype=torch.float64, device=self.unit.device)])
        change = self.inverse @ pick / (2 * self.state[row]).sqrt()
        self.inverse -= torch.outer(change, change)
        self.state -= (_times(self.unit, change[:-1]) + change[-1]).square_() / 2
        self.state.clamp_min_(self.ridge)

    def of(self, rows: Rows) -> Tensor:
        """See `PickFold.of`."""
        return self.state[rows].clone()


def split(rows: Rows, n: int, width: int) -> Iterator[Rows]:
    """Cut rows into parts of at most `CELLS` similarities, ``width`` a row."""
    step = max(1, CELLS // max(width, 1))
    if isinstance(rows, slice):
        yield from (slice(low, min(low + step, n)) for low in range(0, n, step))
    else:
        yield from torch.split(rows, step)


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


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return float64 matrix @ vector, computed in the matrix's own precision."""
    return (matrix @ vector.to(matrix.dtype)).double()
