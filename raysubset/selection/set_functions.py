"""Set functions, by the gain of one more row.

    coverage:       f(A) = sum_i max_{j in A} s(i, j)                       (facility location)
    graph cut:      f(A) = sum_{i in V, j in A} s(i, j) - lam sum_{i, j in A} s(i, j)
    log-determinant f(A) = log det(S_A + ridge I)
    disparity-min:  f(A) = min_{i != j in A} 1 - s(i, j)
    disparity-sum:  f(A) = sum_{i < j in A} 1 - s(i, j)

Each holds what the picks so far left behind, never an n x n matrix. `raysubset.selection.greedy` maximises them.

References:
    [1] Iyer, Khargoankar, Bilmes, Asanani, 2021, "Submodular combinatorial information measures", ALT.
    [2] Chen, Zhang, Zhou, 2018, "Fast greedy MAP inference for determinantal point process", NeurIPS.
    [3] Dasgupta, Kumar, Ravi, 2013, "Summarization through submodularity and dispersion", ACL.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch
from torch import Tensor

from raysubset.selection.pick_folds import ALL, Nearest, Rows, split
from raysubset.selection.similarity import Kernel


class SetFunction(Protocol):
    """A function of the picks made so far.

    Attributes:
        diminishing: No gain ever grows as rows are added (submodular functions): an old gain bounds the new one.
        size: n, rows that can be added.
        device: Where gains are computed.
    """

    diminishing: ClassVar[bool]

    @property
    def size(self) -> int: ...  # noqa: D102  # said above

    @property
    def device(self) -> torch.device: ...  # noqa: D102  # said above

    def gains(self, rows: Rows) -> Tensor:
        """Return float64[r], what each of these rows would add to f; picks among them get no sensible value."""
        ...

    def add(self, row: int) -> None:
        """Make a row a pick."""
        ...


class _OverKernel:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    @property
    def size(self) -> int:
        """Return n."""
        return self.kernel.size

    @property
    def device(self) -> torch.device:
        """Return where the kernel's rows lie."""
        return self.kernel.device


class Coverage(_OverKernel):
    """Facility location: gain_j = sum_i max(0, s(i, j) - max_{p in A} s(i, p)). Monotone, submodular.

    Cost: O(n d) a gain, O(n d) a pick, 8 n bytes.
    """

    diminishing: ClassVar[bool] = True

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.covered = torch.zeros(kernel.size, dtype=torch.float64, device=kernel.device)

    def gains(self, rows: Rows) -> Tensor:
        """See `SetFunction.gains`."""
        parts = split(rows, self.size, self.size)
        return torch.cat([self._gains(part) for part in parts])

    def _gains(self, rows: Rows) -> Tensor:
        block = self.kernel.block(rows, ALL)
        return block.sub_(self.covered.to(block.dtype)).clamp_min_(0).sum(dim=1, dtype=torch.float64)

    def add(self, row: int) -> None:
        """See `SetFunction.add`."""
        column = self.kernel.block(ALL, slice(row, row + 1))[:, 0]
        self.covered = torch.maximum(self.covered, column.double())


class GraphCut(_OverKernel):
    """gain_j = sum_i s(i, j) - lam (2 sum_{p in A} s(p, j) + s(j, j)). Submodular; monotone for lam <= 1/2.

    Args:
        kernel: Similarities.
        lam: Weight of the redundancy, >= 0.
        totals: float64[n], ``kernel.totals()`` where it is known already.

    Cost: that of the kernel's sums: cosine O(n d), then O(d) a gain; RBF O(n^2 d), then O(d) a pair. 16 n bytes.
    """

    diminishing: ClassVar[bool] = True

    def __init__(self, kernel: Kernel, lam: float, totals: Tensor | None = None) -> None:
        super().__init__(kernel)
        self.lam, self.sums = lam, kernel.sums()
        self.totals = kernel.totals() if totals is None else totals

    def gains(self, rows: Rows) -> Tensor:
        """See `SetFunction.gains`."""
        return self.totals[rows] - self.lam * (2 * self.sums.of(rows) + 1)

    def add(self, row: int) -> None:
        """See `SetFunction.add`."""
        self.sums.add(row)


class LogDeterminant(_OverKernel):
    """gain_j = log(det(S_{A+j} + ridge I) / det(S_A + ridge I)). Submodular; monotone for ridge >= 1.

    A row close to a pick gains next to nothing, log(ridge) at the least.

    Args:
        kernel: Similarities.
        ridge: > 0.
        k: Most picks there will be.

    Raises:
        BudgetError: An RBF kernel's factor would need more than 4 GiB.

    Cost: cosine O(n d) a pick and 8 n bytes; RBF O(n k) a pick [2] and 8 n k bytes.
    """

    diminishing: ClassVar[bool] = True

    def __init__(self, kernel: Kernel, ridge: float, k: int) -> None:
        super().__init__(kernel)
        self.remainders = kernel.remainders(ridge, k)

    def gains(self, rows: Rows) -> Tensor:
        """See `SetFunction.gains`."""
        return self.remainders.of(rows).log_()

    def add(self, row: int) -> None:
        """See `SetFunction.add`."""
        self.remainders.add(row)


class DisparityMin(_OverKernel):
    """gain_j = min_{p in A} 1 - s(p, j): farthest-first. Neither monotone nor submodular [3].

    That is f(A + j), not f(A + j) - f(A): the difference has the same maximiser, and this one never grows, so its
    past bounds it. The first pick knows no pair: all rows tie.

    Guarantee: sqrt(1 - s) is a metric (s is positive semidefinite and 1 on the diagonal), and naive and lazy
    greedy keep half of the best smallest distance in it; hence f >= OPT / 4.

    Cost: O(d) a pair of row and pick, 16 n bytes.
    """

    diminishing: ClassVar[bool] = True

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.nearest = Nearest(kernel)

    def gains(self, rows: Rows) -> Tensor:
        """See `SetFunction.gains`."""
        return self.nearest.of(rows)

    def add(self, row: int) -> None:
        """See `SetFunction.add`."""
        self.nearest.add(row)


class DisparitySum(_OverKernel):
    """gain_j = sum_{p in A} 1 - s(p, j). Monotone, supermodular: gains grow with every pick.

    The first pick knows no pair: all rows tie.

    Cost: that of the kernel's sums: cosine O(d) a gain, RBF O(d) a pair of row and pick. 16 n bytes.
    """

    diminishing: ClassVar[bool] = False

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.sums, self.count = kernel.sums(), 0

    def gains(self, rows: Rows) -> Tensor:
        """See `SetFunction.gains`."""
        return self.count - self.sums.of(rows)

    def add(self, row: int) -> None:
        """See `SetFunction.add`."""
        self.count += 1
        self.sums.add(row)
