"""The packages and textbook codes that our kernels are measured against.

Each takes its inputs in the form it wants them, made beforehand and free of charge: dense similarity matrices,
expanded gradients, probabilities. What they return is rows in the order picked.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysubset.bench.quality import Picked
from raysubset.selection.gradients import Gradients

TILE = 2048  # rows of a similarity matrix made at a time


def similarities(gradients: Gradients) -> NDArray[np.float32]:
    """Return float32[n, n], max D - D_ij with D_ij = ||g_i - g_j||^2: what facility location maximises.

    Cost: 4 n^2 bytes and a few tiles beside.
    """
    residuals = gradients.residuals
    matrix: NDArray[np.float32] = np.empty((len(gradients), len(gradients)), dtype=np.float32)
    squares = (gradients.norms() ** 2).astype(np.float32)
    for start in range(0, len(matrix), TILE):
        part = slice(start, start + TILE)
        np.matmul(residuals[part], residuals.T, out=matrix[part])
        if gradients.features is not None:
            matrix[part] *= gradients.features[part] @ gradients.features.T + 1
        matrix[part] *= -2
        matrix[part] += squares[part, None]
        matrix[part] += squares
    np.maximum(matrix, 0, out=matrix)
    np.fill_diagonal(matrix, 0)
    np.subtract(matrix.max(), matrix, out=matrix)
    return matrix


def submodlib_lazy(matrix: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Submodlib's exact lazy greedy facility location on a dense matrix (extra ``peers``)."""
    from submodlib import FacilityLocationFunction

    function = FacilityLocationFunction(n=len(matrix), mode="dense", sijs=matrix, separate_rep=False)
    picks = function.maximize(budget=k, optimizer="LazyGreedy", show_progress=False)
    return np.array([row for row, _ in picks], dtype=np.int64)


def apricot_lazy(matrix: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Apricot's exact lazy greedy facility location on a dense matrix (extra ``peers``).

    It compiles its inner loop anew in every fit: a second or so that its users pay for each selection.
    """
    from apricot import FacilityLocationSelection

    selection = FacilityLocationSelection(k, metric="precomputed", optimizer="lazy")
    return np.asarray(selection.fit(matrix).ranking, dtype=np.int64)


def apricot_lazy_compiled(matrix: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The same with the inner loop compiled once a process, which apricot does not offer: its greedy alone."""
    selection = _compiled_apricot()(k, metric="precomputed", optimizer="lazy")
    return np.asarray(selection.fit(matrix).ranking, dtype=np.int64)


@cache
def _compiled_apricot() -> Any:
    from apricot.functions.base import BaseGraphSelection
    from apricot.functions.facilityLocation import FacilityLocationSelection, calculate_gains, dtypes

    compiled = calculate_gains(dtypes, False, True, False)  # as its own `_initialize` has it for "lazy"

    class Compiled(FacilityLocationSelection):  # type: ignore[misc]
        def _initialize(self, matrix: NDArray[np.float64]) -> None:
            BaseGraphSelection._initialize(self, matrix)
            self.current_values_sum = self.current_values.sum()
            self.calculate_gains_ = compiled

    return Compiled


def textbook_matching_pursuit(
    atoms: NDArray[np.float64], target: NDArray[np.float64], k: int, eps: float
) -> Picked:
    """Orthogonal matching pursuit as textbooks have it: the largest correlation, least squares on the support.

    Its weights may be negative: an easier problem than the non-negative one. Ends as GradMatch does.

    Args:
        atoms: float64[n, width], one a row.
        target: float64[width].
        k: Most atoms.
        eps: Relative residual that is good enough.
    """
    support: list[int] = []
    weights: NDArray[np.float64] = np.empty(0)
    left = target
    while len(support) < k and np.linalg.norm(left) > eps * np.linalg.norm(target):
        support.append(int(np.abs(atoms @ left).argmax()))
        chosen = atoms[support].T
        weights = np.asarray(np.linalg.lstsq(chosen, target, rcond=None)[0])
        left = target - chosen @ weights
    return Picked(np.array(support, dtype=np.int64), weights)


def multinomial(probabilities: Tensor, m: int, seed: int) -> NDArray[np.int64]:
    """torch.multinomial without replacement; no more than 2^24 rows."""
    generator = torch.Generator().manual_seed(seed)
    return np.asarray(torch.multinomial(probabilities, m, generator=generator).numpy())


def gumbel_topk(values: Tensor, m: int, seed: int) -> NDArray[np.int64]:
    """Every row's perturbed value, then torch.topk: the draw as most codes make it."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.empty_like(values).exponential_(generator=generator).log_().neg_().add_(values)
    return np.asarray(keys.topk(m).indices.numpy())
