"""CRAIG: rows whose gradients stand for the gradients of all.

    max_S f(S) = sum_i (max_D - min_{j in S} d_ij),        w_j = #{i : j is the nearest row of S to i}

with d_ij the distance of the last-layer gradients of rows i and j: sum_j w_j g_j then lies within
sum_i min_j ||g_i - g_j|| of the full gradient [1]. Greedy is within 1 - 1/e of the best f. Usually class by class:
`PerClass(Craig())`.

References:
    [1] Mirzasoleiman, Bilmes, Leskovec, 2020, "Coresets for data-efficient training of machine learning models",
        arXiv:1906.01827.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError
from raysubset.selection.kernels.coverage import MEMORY_BYTES, Cover, cover, flops_of_cover
from raysubset.selection.kernels.pairs import Loss
from raysubset.selection.protocol import Context, check_budget
from raysubset.types import Selection

Distance = Literal["squared", "euclidean"]
Layer = Literal["last-layer", "bias"]


@dataclass(frozen=True, slots=True)
class Craig:
    """k rows by greedy cover of the gradients, weighted by the rows each stands for.

    A row goes to the nearest pick, ties to the earliest pick, and a pick always stands for itself: raw weights
    (``weights * scale``) are whole numbers >= 1 whose sum is n.

    Attributes:
        distance: "squared", as the field's implementations have it, or "euclidean", as the paper's bound has it.
        gradients: "last-layer" (weights and bias) or "bias" (the residuals p - y alone).
        exact: Plain greedy from the first pick on, in pools of more than 1,024 rows, too; see `cover`.
        memory_bytes: Most bytes beyond the gradients and one copy of them.

    Cost: O(n^2 (c + h)) time, O(n (c + h)) bytes and some per cent of n^2 pairs; see `cover`.
    """

    distance: Distance = "squared"
    gradients: Layer = "last-layer"
    exact: bool = False
    memory_bytes: int = MEMORY_BYTES

    def __post_init__(self) -> None:
        faults = []
        if self.distance not in get_args(Distance):
            faults.append(f"distance={self.distance!r}, need one of {', '.join(get_args(Distance))}")
        if self.gradients not in get_args(Layer):
            faults.append(f"gradients={self.gradients!r}, need one of {', '.join(get_args(Layer))}")
        if self.memory_bytes < 1:
            faults.append(f"memory_bytes={self.memory_bytes!r}, need a number >= 1")
        if faults:
            raise OptionsError.of("Craig", faults)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The pool has no gradients.
            BudgetError: ``memory_bytes`` cannot be kept.
        """
        return self.selection(self.cover(context, k, rng))

    def cover(
        self, context: Context, k: int, rng: np.random.Generator, candidates: NDArray[np.int64] | None = None
    ) -> Cover:
        """Cover all rows by k of the candidates (all rows if None)."""
        check_budget(k, context.pool_size)
        points = context.need_gradients("craig")
        return cover(
            points if self.gradients == "last-layer" else points.of_bias(),
            *(k, rng),
            loss=Loss(self.distance),
            candidates=candidates,
            exact=self.exact,
            memory_bytes=self.memory_bytes,
            device=context.device,
        )

    def selection(self, found: Cover) -> Selection:
        """Weigh the picks of a cover."""
        return Selection.weighted(found.rows, found.counts(), len(found.nearest))

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection.

        Args:
            n: Rows.
            k: Rows to choose.
            c: Width of the residuals.
            h: Width of the features.
        """
        return flops_of_cover(n, n, k, c if self.gradients == "bias" else c + h + 1)
