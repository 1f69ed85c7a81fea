"""GRAD-MATCH: weighted rows whose gradients add up to the gradient of all.

    min_w  || sum_i w_i g_i - G ||^2 + lam ||w||^2,     w >= 0, at most k of them not 0,     G = sum of all g_i [1]

by non-negative orthogonal matching pursuit on last-layer gradients. The weights are the coefficients: the mean
training loss over the selection, weighted, has the direction of the full gradient.

    GradMatch()                                     over the whole pool
    PerClass(GradMatch())                           each class matches its own sum
    PerClass(GradMatch(gradients="own-class"))      the same with the class's own row of the last layer alone
    PerBatch(GradMatch(), batch_size=20)            whole mini-batches are chosen: GRAD-MATCH-PB

References:
    [1] Killamsetty et al., 2021, "GRAD-MATCH: gradient matching based data subset selection", arXiv:2103.00123.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import NothingToMatchError, OptionsError, SelectionError
from raysubset.selection.gradients import Gradients
from raysubset.selection.kernels.omp import matching_pursuit
from raysubset.selection.outputs import Outputs
from raysubset.selection.protocol import Context, check_budget
from raysubset.types import Selection

Part = Literal["last-layer", "bias", "own-class"]
PARTS: tuple[Part, ...] = ("last-layer", "bias", "own-class")

# float32 residuals are known to 6e-8 of their length: a sum that is smaller still is rounding.
NOTHING = 1e-7


@dataclass(frozen=True, slots=True)
class GradMatch:
    """At most k rows and non-negative weights that match a gradient sum.

    May give fewer than k rows: it stops when the residual is small enough or no row lowers it, and never fills up
    with rows that the method did not choose. Without ridge no more rows carry weight than gradients have
    dimensions: c (h + 1), or c for ``gradients="bias"``; there choose lam > 0 or expect few rows.

    Attributes:
        lam: Ridge on the weights, >= 0, in squared gradient units; it spreads the weight over more rows.
        eps: Relative residual ||sum w g - G|| / ||G|| that is good enough, >= 0.
        target: "train", G of the pool; or "validation", G of the context's target rows scaled to the pool's size
            (n / V). Where the pool has labels, validation rows of classes it does not hold are left out, so that
            inside `PerClass` each class matches its own.
        gradients: Of which parameters: "last-layer" weights and bias; "bias" alone (g_i = r_i); "own-class", the
            row of the last layer that belongs to the row's own class (needs labels).

    Raises:
        OptionsError: An option is out of range.

    Cost: O(k (n c h + k^2 + k c h)) time, 8 k (k + c + h) bytes, and a copy of the gradients where they are not
    float32 in row order. Deterministic; ties go to the lowest row.
    """

    lam: float = 0.5
    eps: float = 1e-4
    target: Literal["train", "validation"] = "train"
    gradients: Part = "last-layer"

    def __post_init__(self) -> None:
        faults = [
            f"{name}={value!r}, need a finite number >= 0"
            for name, value in (("lam", self.lam), ("eps", self.eps))
            if not 0 <= value < np.inf
        ]
        if self.target not in ("train", "validation"):
            faults.append(f"target={self.target!r}, need one of train, validation")
        if self.gradients not in PARTS:
            faults.append(f"gradients={self.gradients!r}, need one of {', '.join(PARTS)}")
        if faults:
            raise OptionsError.of("GradMatch", faults)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose at most k rows, in the order of their picks; raw weights are the coefficients.

        Raises:
            BudgetError: k outside [1, n].
            SelectionError: Gradients, labels or validation rows are missing.
            NothingToMatchError: The target is 0 (a model that fits its rows perfectly has nothing left to match),
                or no row points towards it.
        """
        check_budget(k, context.pool_size)
        atoms = self._part(context.need_gradients("GradMatch"), context, context.labels)
        goal = atoms.total() if self.target == "train" else self._validation_goal(context, atoms)
        length = float(np.linalg.norm(goal))
        if length == 0 or (self.target == "train" and length <= NOTHING * float(atoms.norms().sum())):
            raise NothingToMatchError(
                f"GradMatch has nothing to match: the {self.target} gradients sum to {length:.3g}. "
                f"The model fits these {context.pool_size} rows perfectly, or their gradients cancel out."
            )
        match = matching_pursuit(
            atoms.residuals, atoms.features, goal, k, self.lam, self.eps, device=context.device
        )
        if len(match.rows) == 0:
            raise NothingToMatchError(
                f"GradMatch chose no row: not one of {context.pool_size} gradients points towards the "
                f"{self.target} gradient."
            )
        return Selection.weighted(match.rows, match.weights, context.pool_size)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Return the floating-point operations of k picks from n rows of c residuals and h features."""
        c = 1 if self.gradients == "own-class" else c
        h = 0 if self.gradients == "bias" else h
        k = k if self.lam > 0 else min(k, c * (h + 1))
        correlations = 2.0 * n * c * (h + 1)
        refit = k * (c + h) + 2 / 3 * k * k + k * c * (h + 1)  # Gram column, substitutions, residual: means over k
        return k * (correlations + refit)

    def _part(self, of_layer: Gradients, context: Context, labels: NDArray[np.int64] | None) -> Gradients:
        """Return the gradients of the chosen parameters; "own-class" keeps columns of the pool's classes only."""
        if self.gradients == "last-layer":
            return of_layer
        if self.gradients == "bias":
            return of_layer.of_bias()
        classes = np.unique(context.need_labels('GradMatch(gradients="own-class")'))
        own = np.asarray(labels)[:, None] == classes
        return Gradients(of_layer.residuals[:, classes] * own, of_layer.features)

    def _validation_goal(self, context: Context, atoms: Gradients) -> NDArray[np.float64]:
        """Return the validation rows' gradient sum, scaled to the pool's size, in the shape of the atoms."""
        rows = context.target
        if rows is None:
            raise SelectionError('GradMatch(target="validation") needs validation rows, and this pool has none.')
        known = np.ones(len(rows.labels), dtype=bool)
        if context.labels is not None:
            known = np.isin(rows.labels, context.labels)
            if not known.any():
                raise SelectionError(
                    f"GradMatch: of {len(known)} validation rows none is of the pool's classes "
                    f"{np.unique(context.labels).tolist()}."
                )
        labels = rows.labels[known]
        gradients = Outputs(rows.logits[known], rows.features[known]).gradients(labels)
        part = self._part(gradients, context, labels)
        goal = part.total() * (context.pool_size / len(labels))
        if atoms.features is None and part.features is not None:
            return _in_width(goal, atoms.width)
        return goal


def _in_width(goal: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return a goal [c, h + 1] for expanded atoms: whole or, where they are c wide, of the bias."""
    for fitting in (goal.reshape(-1, 1), goal[:, -1:]):
        if len(fitting) == width:
            return fitting
    raise SelectionError(
        f"GradMatch: the pool's gradients are {width} wide; those of the validation rows {goal.size} for the last "
        f"layer and {len(goal)} for its bias."
    )
