"""What the picks made so far left behind for every row: sums of similarities, the nearest pick, determinants.

Where similarities are inner products of known vectors, sums and determinants live in feature space (`LinearSums`,
`LinearRemainders`), and a pick costs O(n d) however many there are. Otherwise each row folds in the picks that it
has not met yet when it is asked for (`PairSums`, `Nearest`, `CholeskyRemainders`): rows that nobody asks for cost
nothing, and rows that met nothing for long catch up in one matrix product.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from raysubset.errors import BudgetError

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


class Pairs(Protocol):
    """Similarities s of n rows, 1 between a row and itself.

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


class _Memo(ABC):
    """Which picks each row has met, and what they left in its state.

    ``_meet`` brings rows from pick ``start`` to now. ``unmet`` (bool[r, now - start]) says which of these picks
    are new to which row; None: all to all.
    """

    def __init__(self, kernel: Pairs, state: float) -> None:
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
            new = self._since(start)
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

    def _since(self, start: int) -> Rows:
        """Return the picks from ``start`` on; a single one as a slice, which copies nothing."""
        if start == len(self.picks) - 1:
            return slice(self.picks[start], self.picks[start] + 1)
        return torch.tensor(self.picks[start:], device=self.kernel.device)

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

    @abstractmethod
    def _meet(self, rows: Rows, start: int, new: Rows, unmet: Tensor | None) -> None: ...


class PairSums(_Memo):
    """sum over the picks of s(j, p), pair by pair."""

    def __init__(self, kernel: Pairs) -> None:
        super().__init__(kernel, 0.0)

    def _meet(self, rows: Rows, start: int, new: Rows, unmet: Tensor | None) -> None:
        block = self.kernel.block(rows, new)
        self.state[rows] += (block if unmet is None else block * unmet).sum(dim=1, dtype=torch.float64)


class Nearest(_Memo):
    """min over the picks of 1 - s(j, p); 1, the most there can be, as long as there is none."""

    def __init__(self, kernel: Pairs) -> None:
        super().__init__(kernel, 1.0)

    def _meet(self, rows: Rows, start: int, new: Rows, unmet: Tensor | None) -> None:
        apart = self.kernel.apart(rows, new)  # meeting a pick twice changes nothing
        closest = apart[:, 0] if isinstance(new, slice) else apart.amin(dim=1)
        self.state[rows] = torch.minimum(self.state[rows], closest.double())


class CholeskyRemainders(_Memo):
    """det(S_{A+j} + ridge I) / det(S_A + ridge I), by the row that j would add to the Cholesky factor of A.

    With L L^T = S_A + ridge I and c_j solving L c_j = S_{A,j} it is s(j, j) + ridge - ||c_j||^2 [1]; c_j grows by
    one entry a pick. In float64, for small ridges lose digits.

    References:
        [1] Chen, Zhang, Zhou, 2018, "Fast greedy MAP inference for determinantal point process", NeurIPS.
    """

    def __init__(self, kernel: Pairs, ridge: float, k: int) -> None:
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

    def _meet(self, rows: Rows, start: int, new: Rows, unmet: Tensor | None) -> None:
        right = self.kernel.block(rows, new).double()
        now = start + right.shape[1]
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
        return (self.count + times(self.unit[rows], self.total)) / 2


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
        self.state -= (times(self.unit, change[:-1]) + change[-1]).square_() / 2
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


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return float64 matrix @ vector, computed in the matrix's own precision."""
    return (matrix @ vector.to(matrix.dtype)).double()
