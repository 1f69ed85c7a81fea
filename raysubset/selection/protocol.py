"""What a selector is given and what it must return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import BudgetError, SelectionError
from raysubset.selection.gradients import Gradients, check_rows
from raysubset.types import Selection


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Rows whose loss shall fall: the validation rows that steer GLISTER-like selectors.

    Attributes:
        logits: float32[V, c].
        labels: int64[V].
        features: float32[V, h], the input of the last layer.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    features: NDArray[np.float32]

    def __post_init__(self) -> None:
        check_rows("validation logits", self.logits)
        check_rows("validation features", self.features)
        if not len(self.logits) == len(self.labels) == len(self.features):
            raise SelectionError(
                f"The validation rows need one label and one feature row each, got {len(self.logits)} logits, "
                f"{len(self.labels)} labels, {len(self.features)} feature rows."
            )
        outside = np.flatnonzero((self.labels < 0) | (self.labels >= self.logits.shape[1]))
        if len(outside):
            row, classes = int(outside[0]), self.logits.shape[1]
            raise SelectionError(f"Validation row {row} has label {self.labels[row]}, need [0, {classes}).")


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What is known about the pool when rows are chosen: arrays, never a network.

    Attributes:
        pool_size: n, rows that may be chosen.
        labels: int64[n] class of each row, or None where the task has none.
        signals: metric name -> float32[n], finite unless a metric says otherwise (forgetting counts may be inf).
        features: float32[n, d], where distances between rows are measured, or None.
        gradients: Last-layer gradients of the rows, or None.
        logits: float32[n, c] of the model that ``gradients`` belong to, or None.
        target: Validation rows of the same model, or None.
        progress: Share of training done, in [0, 1).
        learning_rate: Now, or None where nothing is trained.
        device: Torch device for the kernels; arrays stay on the host.
    """

    pool_size: int
    labels: NDArray[np.int64] | None = None
    signals: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    features: NDArray[np.float32] | None = None
    gradients: Gradients | None = None
    logits: NDArray[np.float32] | None = None
    target: Target | None = None
    progress: float = 0.0
    learning_rate: float | None = None
    device: str = "cpu"

    def restrict(self, rows: NDArray[np.int64]) -> Context:
        """Return the context of a part of the pool; row i of it is ``rows[i]`` of this one. The target stays."""
        return replace(
            self,
            pool_size=len(rows),
            labels=None if self.labels is None else self.labels[rows],
            signals={name: values[rows] for name, values in self.signals.items()},
            features=None if self.features is None else self.features[rows],
            gradients=None if self.gradients is None else self.gradients.take(rows),
            logits=None if self.logits is None else self.logits[rows],
        )

    def need_labels(self, who: str) -> NDArray[np.int64]:
        """Return the labels.

        Raises:
            SelectionError: The pool has none.
        """
        if self.labels is None:
            raise SelectionError(f"{who} needs labels, and this pool has none.")
        if len(self.labels) != self.pool_size:
            raise SelectionError(f"{who} got {len(self.labels)} labels for a pool of {self.pool_size} rows.")
        return self.labels

    def need_features(self, who: str) -> NDArray[np.float32]:
        """Return the features, checked.

        Raises:
            SelectionError: The pool has none, not one a row, or a value is not finite.
        """
        if self.features is None:
            raise SelectionError(f"{who} measures distances between features, and this pool has none.")
        check_rows("features", self.features)
        if len(self.features) != self.pool_size:
            raise SelectionError(f"{who} got {len(self.features)} feature rows for a pool of {self.pool_size}.")
        return self.features

    def need_gradients(self, who: str) -> Gradients:
        """Return the gradients.

        Raises:
            SelectionError: The pool has none, or not one a row.
        """
        if self.gradients is None:
            raise SelectionError(
                f"{who} needs last-layer gradients (residuals p - y, and the features they go with), and this "
                "pool has none."
            )
        if len(self.gradients) != self.pool_size:
            raise SelectionError(f"{who} got {len(self.gradients)} gradients for a pool of {self.pool_size}.")
        return self.gradients

    def signal(self, name: str) -> NDArray[np.float32]:
        """Return the importances of one metric.

        Raises:
            SelectionError: Nobody measured that metric; the message lists the measured ones.
        """
        if name not in self.signals:
            known = ", ".join(sorted(self.signals)) or "none"
            raise SelectionError(f"Metric {name!r} was not measured for this pool. Measured: {known}.")
        if len(self.signals[name]) != self.pool_size:
            raise SelectionError(
                f"Metric {name!r} has {len(self.signals[name])} values for a pool of {self.pool_size} rows."
            )
        return self.signals[name]


class Selector(Protocol):
    """Anything that chooses k rows. Selectors hold options only; what changes comes in the context."""

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows of the pool.

        Args:
            context: The pool.
            k: Rows to choose, 1 <= k <= context.pool_size.
            rng: The only source of randomness; equal streams and contexts give equal selections.

        Returns:
            A Selection of at most k rows over ``context.pool_size``.

        Raises:
            BudgetError: k outside [1, pool_size].
        """
        ...


def check_budget(k: int, pool_size: int) -> None:
    """Refuse a k that the pool cannot serve.

    Raises:
        BudgetError: k outside [1, pool_size].
    """
    if not 1 <= k <= pool_size:
        raise BudgetError(
            f"Cannot select k={k} of n={pool_size} rows: need 1 <= k <= n. "
            f"If k came from a ratio, {k / max(pool_size, 1):.4g} of the pool was asked for."
        )
