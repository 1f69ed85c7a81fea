"""The controls: uniform draws, the honest baseline to every selector, and everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raysubset.errors import SelectionError
from raysubset.selection.protocol import Context, check_budget
from raysubset.selection.sampling import gumbel_top_m
from raysubset.types import Selection


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
