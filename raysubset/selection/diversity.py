"""Rows that are diverse in feature space, by greedy maximisation of a set function.

What each function rewards: graph cut rows that are central and unlike each other, the log-determinant the volume
that they span, disparity-min the smallest distance among them, disparity-sum the sum of their distances. Formulas
and guarantees: `raysubset.selection.set_functions`; the four ways of greedy: `raysubset.selection.greedy`.

All four are global; `PerClass` makes them choose inside each class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from raysubset.errors import OptionsError
from raysubset.selection import set_functions
from raysubset.selection.greedy import EPSILON, Greedy, greedy_faults, maximise
from raysubset.selection.protocol import Context, check_budget
from raysubset.selection.set_functions import SetFunction
from raysubset.selection.similarity import Kernel, KernelName, kernel_faults, kernel_of
from raysubset.types import Selection

PER_PAIR = 10  # operations beside the inner product: an exponential or a few sums


@dataclass(frozen=True, slots=True, kw_only=True)
class _Diverse:
    """Options shared by the four.

    Attributes:
        kernel: "cosine", shifted to [0, 1], or "rbf".
        bandwidth: Of "rbf", in units of the features: s = exp(-d^2 / (2 bandwidth^2)). None: the root mean squared
            distance over sqrt(2).
        greedy: "naive", "lazy", "stochastic" or "lazier".
        epsilon: Of the two sampling ones: they ask (n / k) ln(1 / epsilon) rows a pick.
    """

    kernel: KernelName = "cosine"
    bandwidth: float | None = None
    greedy: Greedy = "naive"
    epsilon: float = EPSILON

    def _check(self, diminishing: bool, *faults: str) -> None:
        name = type(self).__name__
        found = [*faults, *kernel_faults(self.kernel, self.bandwidth)]
        found += greedy_faults(self.greedy, self.epsilon, name, diminishing)
        if found:
            raise OptionsError.of(name, found)

    def _select(
        self, context: Context, k: int, rng: np.random.Generator, function: Callable[[Kernel], SetFunction]
    ) -> Selection:
        check_budget(k, context.pool_size)
        features = context.need_features(type(self).__name__)
        kernel = kernel_of(features, self.kernel, self.bandwidth, context.device)
        picks = maximise(function(kernel), k, self.greedy, rng, self.epsilon)
        return Selection.uniform(picks.rows, context.pool_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphCut(_Diverse):
    """f(A) = sum_{i in V, j in A} s(i, j) - lam sum_{i, j in A} s(i, j).

    Attributes:
        lam: Weight of the redundancy, >= 0; 0 takes the most central rows. Monotone, hence (1 - 1/e) OPT, to 0.5.

    Cost: cosine O(n d) a pick; RBF O(n^2 d) once, O(n d) a pick. One copy of the features, and 50 n bytes.
    """

    lam: float = 0.4

    def __post_init__(self) -> None:
        fine = 0 <= self.lam < math.inf
        self._check(True, *([] if fine else [f"lam={self.lam!r}, need a finite number >= 0"]))

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The pool has no features, or they are not finite.
        """
        return self._select(context, k, rng, lambda kernel: set_functions.GraphCut(kernel, self.lam))

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection; see `Selector`."""
        once = n * n if self.kernel == "rbf" else 2 * n
        return (once + float(n) * k) * (2 * h + PER_PAIR)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDeterminant(_Diverse):
    """f(A) = log det(S_A + ridge I), the volume that the rows span (greedy inference of a DPP).

    Attributes:
        ridge: > 0. From 1 on f is monotone, hence (1 - 1/e) OPT.

    Cost: cosine O(n d + d^2) a pick and 30 n bytes. RBF O(n k) a pick and 8 n k bytes, at most 4 GiB (BudgetError
    beyond); "lazy" asks far fewer rows there.
    """

    ridge: float = 1.0

    def __post_init__(self) -> None:
        fine = 0 < self.ridge < math.inf
        self._check(True, *([] if fine else [f"ridge={self.ridge!r}, need a finite number > 0"]))

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The pool has no features, or they are not finite.
            BudgetError: Also where an RBF kernel's factor would need more than 4 GiB.
        """
        return self._select(context, k, rng, lambda kernel: set_functions.LogDeterminant(kernel, self.ridge, k))

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection; see `Selector`."""
        a_pick = float(n) * (2 * h + PER_PAIR) + (float(n) * k if self.kernel == "rbf" else 4 * h * h)
        return a_pick * k


@dataclass(frozen=True, slots=True, kw_only=True)
class DisparityMin(_Diverse):
    """f(A) = min_{i != j in A} 1 - s(i, j): farthest-first from row 0, the lowest of a tie of all rows.

    Cost: O(n d) a pick, 50 n bytes.
    """

    def __post_init__(self) -> None:
        self._check(True)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The pool has no features, or they are not finite.
        """
        return self._select(context, k, rng, set_functions.DisparityMin)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection; see `Selector`."""
        return float(n) * k * (2 * h + PER_PAIR)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisparitySum(_Diverse):
    """f(A) = sum_{i < j in A} 1 - s(i, j), from row 0, the lowest of a tie of all rows.

    Gains grow with every pick, so "lazy" and "lazier" are refused.

    Cost: O(n d) a pick, 50 n bytes.
    """

    def __post_init__(self) -> None:
        self._check(False)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The pool has no features, or they are not finite.
        """
        return self._select(context, k, rng, set_functions.DisparitySum)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection; see `Selector`."""
        return float(n) * k * (2 * h + PER_PAIR)
