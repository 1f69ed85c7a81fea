"""Whole mini-batches in place of rows: a hundred times fewer atoms (GRAD-MATCH-PB, GLISTER-PB, CRAIG-PB) [1].

The pool is cut into random mini-batches, anew at each selection; a batch stands for its members by its mean
gradient, mean features and mean signals. The inner selector chooses k // batch_size of them, and the members of a
chosen batch all get its weight.

References:
    [1] Killamsetty et al., 2021, "GRAD-MATCH", section 4 (per-batch variant), arXiv:2103.00123.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import NothingToMatchError, OptionsError, SelectionError
from raysubset.selection.gradients import Gradients
from raysubset.selection.protocol import Context, Selector, check_budget
from raysubset.types import Selection


@dataclass(frozen=True, slots=True)
class PerBatch:
    """Another selector over random mini-batches.

    Gives at most k rows: k // batch_size batches, one cut short where k < batch_size. Fewer where the inner
    selector gives fewer batches or the last, short batch is among them.

    Attributes:
        inner: Sees a pool of ceil(n / batch_size) batches, without logits; with labels only where the rows of this
            pool all have the same one (inside `PerClass`). Validation rows stay rows.
        batch_size: Rows a batch, >= 1.
        gradients: Mean gradients of the "last-layer" (whole: a mean of rank-one gradients has no factors) or of
            its "bias".

    Raises:
        OptionsError: An option is out of range, or the inner selector wants a part of the gradients itself.

    Cost: O(n c h) time and 4 n c h / batch_size bytes for the means (c for "bias"), plus the inner selector's.
    """

    inner: Selector
    batch_size: int = 20
    gradients: Literal["last-layer", "bias"] = "last-layer"

    def __post_init__(self) -> None:
        faults = []
        if self.batch_size < 1:
            faults.append(f"batch_size={self.batch_size!r}, need at least 1 row")
        if self.gradients not in ("last-layer", "bias"):
            faults.append(f"gradients={self.gradients!r}, need one of last-layer, bias")
        part = getattr(self.inner, "gradients", "last-layer")
        if part != "last-layer":
            faults.append(
                f"the inner selector asks for gradients={part!r}, but a batch's mean gradient has no factors to "
                'take it from (for the bias say PerBatch(inner, gradients="bias"))'
            )
        if faults:
            raise OptionsError.of("PerBatch", faults)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose at most k rows, batch by batch.

        Raises:
            BudgetError: k outside [1, n].
            SelectionError: The inner selector lacks something, maybe what a batch cannot have.
        """
        n = context.pool_size
        check_budget(k, n)
        batches = partition(rng.permutation(n), self.batch_size)
        try:
            chosen = self.inner.select(
                batch_context(context, batches, self.gradients), max(1, k // self.batch_size), rng
            )
        except NothingToMatchError:
            raise
        except SelectionError as error:
            raise SelectionError(
                f"PerBatch, over {len(batches)} batches of {self.batch_size} rows (a batch has a mean gradient, "
                f"mean features and mean signals, no logits and no label of its own): {error}"
            ) from error
        return members_of(chosen, batches, k, n)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Return the operations of the means and of the inner selector (0 if it has no cost model)."""
        width = c if self.gradients == "bias" else c * (h + 1)
        price = getattr(self.inner, "flops", None)
        inner = price(-(-n // self.batch_size), max(1, k // self.batch_size), width, 0) if price else 0.0
        return 2.0 * n * width + float(inner)


def partition(order: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """Cut rows into batches; the last one may be short."""
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def batch_context(
    context: Context, batches: list[NDArray[np.int64]], gradients: Literal["last-layer", "bias"] = "last-layer"
) -> Context:
    """Return the pool of batches; row b of it is ``batches[b]``.

    Mean gradients are sums over the size of the first batch, so that a short last one counts by its rows and all
    of them add up to the pool's sum over that size.
    """
    labels = None
    if context.labels is not None and (context.labels == context.labels[0]).all():
        labels = np.full(len(batches), context.labels[0])
    return Context(
        pool_size=len(batches),
        labels=labels,
        signals={name: _means(values[:, None], batches)[:, 0] for name, values in context.signals.items()},
        features=None if context.features is None else _means(context.features, batches),
        gradients=None if context.gradients is None else _mean_gradients(context.gradients, batches, gradients),
        target=context.target,
        progress=context.progress,
        learning_rate=context.learning_rate,
        device=context.device,
    )


def members_of(chosen: Selection, batches: list[NDArray[np.int64]], k: int, pool_size: int) -> Selection:
    """Return the members of chosen batches with their batch's raw weight, no more than k."""
    members = [batches[batch] for batch in chosen.indices]
    raw = chosen.weights.astype(np.float64) * chosen.scale
    weights = np.repeat(raw, [len(rows) for rows in members])
    return Selection.weighted(np.concatenate(members)[:k], weights[:k], pool_size)


def _means(values: NDArray[np.float32], batches: list[NDArray[np.int64]]) -> NDArray[np.float32]:
    means = np.empty((len(batches), values.shape[1]), dtype=values.dtype)
    for batch, rows in enumerate(batches):
        means[batch] = values[rows].mean(axis=0, dtype=np.float64)
    return means


def _mean_gradients(gradients: Gradients, batches: list[NDArray[np.int64]], part: str) -> Gradients:
    gradients = gradients.of_bias() if part == "bias" else gradients
    means = np.empty((len(batches), gradients.width), dtype=gradients.residuals.dtype)
    for batch, rows in enumerate(batches):
        means[batch] = gradients.take(rows).total().ravel() / len(batches[0])
    return Gradients(means)
