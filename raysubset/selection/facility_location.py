"""Facility location: rows such that every row has a similar one among them.

    f(S) = sum_i max_{j in S} s_ij,        s_ij >= 0,  f(empty) = 0

    euclidean    s_ij = max(D) - D_ij,  D_ij = ||x_i - x_j||^2
    cosine       s_ij = (1 + cos(x_i, x_j)) / 2
    rbf          s_ij = exp(-D_ij / (2 bandwidth^2))

Greedy is within 1 - 1/e of the best f [1].

References:
    [1] Nemhauser, Wolsey, Fisher, 1978, doi:10.1007/BF01588971.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError
from raysubset.selection.gradients import Gradients
from raysubset.selection.kernels.coverage import MEMORY_BYTES, Cover, cover, flops_of_cover
from raysubset.selection.kernels.pairs import SQUARED, Loss
from raysubset.selection.protocol import Context, check_budget
from raysubset.types import Selection

Similarity = Literal["euclidean", "cosine", "rbf"]


@dataclass(frozen=True, slots=True)
class FacilityLocation:
    """k rows by greedy facility location on the features; ties go to the lowest row, all weights are 1.

    Attributes:
        similarity: "euclidean", "cosine" (a zero row is like other zero rows and orthogonal to the rest) or "rbf".
        bandwidth: Of "rbf", in units of the features; None takes the one that gives two rows at the root mean
            squared distance of the data the similarity 1/e.
        exact: Plain greedy from the first pick on, in pools of more than 1,024 rows, too; see `cover`.
        memory_bytes: Most bytes beyond the features and one copy of them.

    Cost: O(n^2 h) time, O(n h) bytes and some per cent of n^2 pairs; see `cover`.
    """

    similarity: Similarity = "euclidean"
    bandwidth: float | None = None
    exact: bool = False
    memory_bytes: int = MEMORY_BYTES

    def __post_init__(self) -> None:
        faults = []
        if self.similarity not in get_args(Similarity):
            faults.append(f"similarity={self.similarity!r}, need one of {', '.join(get_args(Similarity))}")
        if self.bandwidth is not None and not 0 < self.bandwidth < np.inf:
            faults.append(f"bandwidth={self.bandwidth!r}, need a finite number > 0 or None")
        if self.bandwidth is not None and self.similarity != "rbf":
            faults.append(f"bandwidth={self.bandwidth!r} belongs to similarity='rbf', not {self.similarity!r}")
        if self.memory_bytes < 1:
            faults.append(f"memory_bytes={self.memory_bytes!r}, need a number >= 1")
        if faults:
            raise OptionsError.of("FacilityLocation", faults)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The pool has no features, or a value is not finite.
            BudgetError: ``memory_bytes`` cannot be kept.
        """
        return self.selection(self.cover(context, k, rng))

    def cover(
        self, context: Context, k: int, rng: np.random.Generator, candidates: NDArray[np.int64] | None = None
    ) -> Cover:
        """Cover all rows by k of the candidates (all rows if None)."""
        check_budget(k, context.pool_size)
        features = context.need_features("facility_location")
        return cover(
            Gradients(unit_rows(features) if self.similarity == "cosine" else features),
            *(k, rng),
            loss=Loss("rbf", self.bandwidth or typical_bandwidth(features))
            if self.similarity == "rbf"
            else SQUARED,
            candidates=candidates,
            exact=self.exact,
            memory_bytes=self.memory_bytes,
            device=context.device,
        )

    def selection(self, found: Cover) -> Selection:
        """Return the picks of a cover, all weighted alike."""
        return Selection.uniform(found.rows, len(found.nearest))

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection.

        Args:
            n: Rows.
            k: Rows to choose.
            c: Width of the residuals, not used.
            h: Width of the features.
        """
        return flops_of_cover(n, n, k, h)


def unit_rows(features: NDArray[Any]) -> NDArray[Any]:
    """Return the rows divided by their norms: 1 - cos is half their squared distance.

    Zero rows become a direction of their own, in one more column.
    """
    norms = np.sqrt(np.einsum("ij,ij->i", features, features, dtype=np.float64))
    units = features / np.where(norms > 0, norms, 1.0)[:, None].astype(features.dtype)
    if (norms > 0).all():
        return np.asarray(units)
    return np.concatenate([units, (norms == 0)[:, None].astype(features.dtype)], axis=1)


def typical_bandwidth(features: NDArray[Any]) -> float:
    """Return b with 2 b^2 = mean_ij ||x_i - x_j||^2, or 1 where all rows are equal. Cost: O(n h)."""
    variance = float(features.var(axis=0, dtype=np.float64).sum())
    return float(np.sqrt(variance)) if variance > 0 else 1.0
