"""Non-negative orthogonal matching pursuit (Batch-OMP) on factored gradients.

    min_w  || sum_i w_i g_i - b ||^2 + lam ||w||^2,     w >= 0,  at most k of them not 0,     g_i = r_i [h_i, 1]^T

Each step takes the atom of largest g_i . residual (it must be > 0) and refits all weights by non-negative least
squares on the support. Weights that would turn negative stop at 0, and their atoms go back to the pool (the drops
of Lawson and Hanson [1]), so the weights are the exact solution on their support at every step, the objective only
falls, and an atom is never twice in the support. It ends with k atoms, or with ||residual|| <= eps ||b||, or when
no atom can lower the objective any more: then w solves the problem without the limit k.

Nothing is expanded: correlations are <r_i, R [h_i, 1]> for the residual matrix R, inner products of atoms
(r_i . r_j)(h_i . h_j + 1). The Gram matrix of the support is factored in float64 and grows by a column a step [2].

Cost: O(k (n c h + k^2 + k c h)) time, 8 k (k + c + h) bytes beyond the atoms, for c residuals and h features a
row; without numba also one transposed copy of the atoms.

References:
    [1] Lawson, Hanson, 1974, "Solving least squares problems", ch. 23.
    [2] Rubinstein, Zibulevsky, Elad, 2008, "Efficient implementation of the K-SVD algorithm using Batch-OMP".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from raysubset.selection.kernels.backend import uses_numba

# An atom whose distance from the span of the support is below 1e-5 of its length is taken to lie in it: float32
# atoms are known to 6e-8 each, and the square, 1e-10, is far above what the float64 factor resolves.
DEPENDENT = 1e-10

# Correlations below 1e-6 |g| |residual| are rounding: float32 sums of some hundred products.
ROUNDING = 1e-6


class Match(NamedTuple):
    """A support in the order of its picks.

    Attributes:
        rows: int64[m], m <= k.
        weights: float64[m], > 0.
        error: ||sum_i w_i g_i - b|| / ||b||.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    error: float


def matching_pursuit(
    residuals: NDArray[np.floating],
    features: NDArray[np.floating] | None,
    target: NDArray[np.float64],
    k: int,
    lam: float,
    eps: float,
    device: str = "cpu",
) -> Match:
    """Match a target gradient by at most k atoms.

    Args:
        residuals: float32 or float64[n, c]; correlations are computed in this precision, all else in float64.
        features: Same type, [n, h]; None for atoms g_i = r_i.
        target: float64[c, h + 1], the bias last; float64[c, 1] without features.
        k: Most atoms, >= 1.
        lam: Ridge, >= 0.
        eps: Relative residual that is good enough, >= 0.
        device: Torch device to compute on.

    Returns:
        The match; empty if b is 0 or no atom points towards it. Ties go to the lowest row.
    """
    if features is None:
        features = np.empty((len(residuals), 0), dtype=residuals.dtype)
    k = min(k, target.size) if lam == 0 else k  # without ridge the support stays independent
    if uses_numba(device) and residuals.dtype == features.dtype == np.float32:  # what it is compiled for
        from raysubset.selection.kernels import omp_numba

        atoms = (omp_numba.frozen(residuals), omp_numba.frozen(features))
        goal, steps = omp_numba.frozen(target), step_limit(k)
        rows, weights, left = omp_numba.pursue(*atoms, goal, k, steps, lam, eps, DEPENDENT, ROUNDING)
    else:
        rows, weights, left = _pursue(_Atoms(residuals, features, device), target, k, lam, eps)
    return Match(rows, weights, left / max(float(np.linalg.norm(target)), np.finfo(np.float64).tiny))


def step_limit(k: int) -> int:
    """Return the steps after which a pursuit ends anyway; most take k and a few."""
    return 4 * k + 16


class _Atoms:
    """Factored atoms on a device, one a column: products with a short matrix run twice as fast that way."""

    def __init__(self, residuals: NDArray[np.floating], features: NDArray[np.floating], device: str) -> None:
        self.residuals = _tensor(residuals, device).T.contiguous()
        self.features = _tensor(features, device).T.to(self.residuals.dtype).contiguous()
        lengths = torch.linalg.vector_norm(self.features, dim=0).square_().add_(1).sqrt_()
        self.norms = lengths * torch.linalg.vector_norm(self.residuals, dim=0)

    def correlations(self, matrix: Tensor) -> Tensor:
        """Return <g_i, matrix> of all atoms, shape (n,)."""
        matrix = matrix.to(self.residuals.dtype)
        products = torch.addmm(matrix[:, -1:], matrix[:, :-1], self.features)  # (c, n)
        return products.mul_(self.residuals).sum(0)

    def factors(self, row: int) -> tuple[Tensor, Tensor]:
        """Return r and [h, 1] of one atom in float64."""
        feature = self.features[:, row].double()
        return self.residuals[:, row].double(), torch.cat([feature, feature.new_ones(1)])


class _Support:
    """Chosen atoms with the Cholesky factor L of their Gram matrix plus lam, and y = L^-1 (g_i . b)."""

    def __init__(self, target: Tensor, lam: float) -> None:
        self.target, self.lam = target, lam
        self.rows: list[int] = []
        self.residuals = target.new_empty(0, target.shape[0])
        self.inputs = target.new_empty(0, target.shape[1])
        self.factor = target.new_empty(0, 0)
        self.y = target.new_empty(0)

    def append(self, row: int, residual: Tensor, inputs: Tensor) -> bool:
        """Add an atom; return False, changing nothing, if it lies in the span of the others."""
        gram = (self.residuals @ residual) * (self.inputs @ inputs)
        column = torch.linalg.solve_triangular(self.factor, gram[:, None], upper=False)[:, 0]
        diagonal = float(residual @ residual) * float(inputs @ inputs) + self.lam
        pivot = diagonal - float(column @ column)
        if pivot <= DEPENDENT * diagonal:
            return False
        m = len(self.rows)
        grown = self.factor.new_zeros(m + 1, m + 1)
        grown[:m, :m], grown[m, :m], grown[m, m] = self.factor, column, pivot**0.5
        last = (residual @ self.target @ inputs - column @ self.y) / pivot**0.5
        self.factor, self.y = grown, torch.cat([self.y, last[None]])
        self.rows.append(row)
        self.residuals = torch.vstack([self.residuals, residual])
        self.inputs = torch.vstack([self.inputs, inputs])
        return True

    def solve(self) -> Tensor:
        """Return the least-squares weights, which may be negative."""
        weights: Tensor = torch.linalg.solve_triangular(self.factor.T, self.y[:, None], upper=True)
        return weights[:, 0]

    def keep(self, kept: Tensor) -> None:
        """Drop atoms: the factor is computed anew from the first dropped one on."""
        first = int((~kept).nonzero()[0])
        tail = kept[first:].nonzero()[:, 0] + first
        block = self.factor[tail, first:]
        m = first + len(tail)
        factor = self.factor.new_zeros(m, m)
        factor[:first, :first] = self.factor[:first, :first]
        factor[first:, :first] = self.factor[tail, :first]
        factor[first:, first:] = corner = torch.linalg.cholesky(block @ block.T)
        rest = torch.linalg.solve_triangular(corner, (block @ self.y[first:])[:, None], upper=False)[:, 0]
        self.factor, self.y = factor, torch.cat([self.y[:first], rest])
        self.rows = [row for row, stays in zip(self.rows, kept.tolist(), strict=True) if stays]
        self.residuals, self.inputs = self.residuals[kept], self.inputs[kept]

    def left(self, weights: Tensor) -> Tensor:
        """Return b - sum_i w_i g_i, shape (c, h + 1)."""
        return self.target - (self.residuals * weights[:, None]).T @ self.inputs


def _pursue(
    atoms: _Atoms, target: NDArray[np.float64], k: int, lam: float, eps: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
    support = _Support(_tensor(target, str(atoms.norms.device)), lam)
    weights, left = support.y, support.target
    enough = eps * float(torch.linalg.vector_norm(left))
    barred = torch.zeros_like(atoms.norms, dtype=torch.bool)  # in the support, or in its span
    for _ in range(step_limit(k)):
        length = float(torch.linalg.vector_norm(left))
        if len(support.rows) == k or length <= enough:
            break
        scores = atoms.correlations(left)
        scores[barred | (scores <= ROUNDING * length * atoms.norms)] = 0
        row = int(scores.argmax())
        if scores[row] <= 0:
            break
        barred[row] = True
        before = len(support.rows)
        if support.append(row, *atoms.factors(row)):
            weights = _refit(support, torch.cat([weights, weights.new_zeros(1)]))
            if (
                len(support.rows) - (row in support.rows) < before
            ):  # the old span's atoms may not lie in the new one
                barred = torch.zeros_like(barred)
                barred[[*support.rows, row]] = True
            left = support.left(weights)
    return np.asarray(support.rows, dtype=np.int64), weights.cpu().numpy(), float(torch.linalg.vector_norm(left))


def _refit(support: _Support, weights: Tensor) -> Tensor:
    """Lawson and Hanson's inner loop: towards the free solution until a weight reaches 0, drop it, again."""
    while True:
        free = support.solve()
        falling = free <= 0
        if not bool(falling.any()):
            return free
        steps = torch.where(falling, weights / (weights - free).clamp_min(torch.finfo(free.dtype).tiny), torch.inf)
        weights = weights + steps.min() * (free - weights)
        kept = ~(falling & (steps <= steps.min()))
        support.keep(kept)
        weights = weights[kept].clamp_min(0)


def _tensor(array: NDArray[np.floating], device: str) -> Tensor:
    return from_dlpack(np.ascontiguousarray(array)).to(device)  # without a copy, read-only arrays too
