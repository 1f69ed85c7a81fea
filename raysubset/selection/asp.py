"""Rows by remembered importance (ASP, Algorithm 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from raysubset.selection.protocol import Context, check_budget
from raysubset.selection.sampling import Scale, draw, top_m
from raysubset.selection.uniform import UniformRandom
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
        rows = draw(values, k, rng, self.temperature, self.scale, context.device)
        return Selection.uniform(rows, context.pool_size)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection: two logarithms a row, and k keys sorted."""
        return 60.0 * n + k * math.log2(k + 1.0)
