"""The selectors of ASP and its controls.

| name            | rows                                                | source                      |
| --------------- | --------------------------------------------------- | --------------------------- |
| asp             | by remembered importance, Gumbel-top-m               | ASP, Algorithm 1            |
| adaptive-random | uniform, drawn anew each epoch                       | the honest baseline to ASP  |
| random          | uniform, one fixed draw (smaller subsets are nested) | control                     |
| full            | everything                                           | control                     |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raysubset.errors import SelectionError
from raysubset.selection.protocol import Context, Selector, check_budget
from raysubset.selection.sampling import Scale, class_quotas, gumbel_top_m, top_m
from raysubset.types import Selection


@dataclass(frozen=True, slots=True)
class ProxySampling:
    """Rows by one remembered metric: Plackett-Luce sampling, or the k largest.

    ``metric="random"`` has constant importance, hence a uniform draw.

    Cost: O(n + k log k) time, 16 n bytes.
    """

    metric: str
    temperature: float = 1.0
    scale: Scale = "none"
    deterministic: bool = False

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`."""
        check_budget(k, context.pool_size)
        if self.metric == "random":
            return UniformRandom().select(context, k, rng)
        values = context.signal(self.metric)
        if self.deterministic:
            return Selection.uniform(top_m(values, k, rng), context.pool_size)
        return Selection.uniform(gumbel_top_m(values, k, rng, self.temperature, self.scale), context.pool_size)


@dataclass(frozen=True, slots=True)
class UniformRandom:
    """k rows, each equally likely. With one stream the draw for k is a prefix of the draw for k + 1.

    Cost: O(n + k log k) time, 16 n bytes.
    """

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`."""
        check_budget(k, context.pool_size)
        rows = gumbel_top_m(np.zeros(context.pool_size), k, rng)
        return Selection.uniform(rows, context.pool_size)


@dataclass(frozen=True, slots=True)
class Full:
    """Every row, in order. Cost: O(n)."""

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Return all rows; k must be the pool's size."""
        check_budget(k, context.pool_size)
        if k != context.pool_size:
            raise SelectionError(f"Selector 'full' was asked for k={k} of n={context.pool_size}; use ratio=1.")
        return Selection.uniform(np.arange(k, dtype=np.int64), k)


@dataclass(frozen=True, slots=True)
class PerClass:
    """Another selector inside each class, with quotas by largest remainder (their sum is exactly k).

    Cost: that of the inner selector, plus O(n).
    """

    inner: Selector

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The pool has no labels.
        """
        check_budget(k, context.pool_size)
        if context.labels is None:
            raise SelectionError("per_class needs labels, and this pool has none.")
        by_class = np.argsort(context.labels, kind="stable")
        ends = np.cumsum(np.bincount(context.labels))
        rows, weights = [], []
        for quota, members in zip(class_quotas(context.labels, k), np.split(by_class, ends[:-1]), strict=True):
            if quota:
                part = self.inner.select(context.restrict(members), int(quota), rng)
                rows.append(members[part.indices])
                weights.append(part.weights * (quota / len(part)))  # a class keeps its mass if it gave fewer
        return Selection.weighted(np.concatenate(rows), np.concatenate(weights), context.pool_size)
