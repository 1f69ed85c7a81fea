"""Selectors made of selectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raysubset.selection.protocol import Context, Selector, check_budget
from raysubset.selection.sampling import class_quotas
from raysubset.types import Selection


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
        labels = context.need_labels("per_class")
        by_class = np.argsort(labels, kind="stable")
        ends = np.cumsum(np.bincount(labels))
        rows, weights = [], []
        for quota, members in zip(class_quotas(labels, k), np.split(by_class, ends[:-1]), strict=True):
            if quota:
                part = self.inner.select(context.restrict(members), int(quota), rng)
                rows.append(members[part.indices])
                weights.append(part.weights.astype(np.float64) * part.scale)
        return Selection.weighted(np.concatenate(rows), np.concatenate(weights), context.pool_size)
