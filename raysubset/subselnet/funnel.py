"""The samplers that read a trained network: inductive, and the hybrid that narrows the transductive one's pool.

The hybrid is a funnel, not a split of the budget: the inductive sampler draws B >= k candidates in one pass, and
the transductive one chooses k among them, so its cost falls from n to B [1]. B = k is the inductive sampler alone
and B = n the transductive.

References:
    [1] Jain, Nandy, Aggarwal, Tendulkar, Iyer, De, 2023, arXiv:2409.12255, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError, SelectionError
from raysubset.selection.protocol import Context, check_budget
from raysubset.selection.sampling import gumbel_top_m
from raysubset.subselnet.inductive import InductiveScorer
from raysubset.subselnet.plackett_luce import Vector
from raysubset.subselnet.samplers import Logits, Transductive, drawn
from raysubset.types import Selection


@dataclass(frozen=True, slots=True, eq=False)
class Inductive:
    """Draws by the logits of a trained `InductiveScorer`.

    The context's features and labels are the rows', its ``logits`` what the approximator predicts.

    Attributes:
        scorer: The network.
        cell: float32[16], the architecture's mean embedding.
    """

    scorer: InductiveScorer
    cell: NDArray[np.float32]

    def logits(self, context: Context, k: int, rng: np.random.Generator) -> Vector:
        """Return the logits: one pass over the rows.

        Raises:
            SelectionError: The context lacks features, labels or predictions.
        """
        if context.logits is None:
            raise SelectionError("Inductive reads the predictions of each row, and this pool has none.")
        features, labels = context.need_features("Inductive"), context.need_labels("Inductive")
        return self.scorer.logits(self.cell, features, labels, context.logits, k / context.pool_size)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`."""
        return drawn(self, context, k, rng)


@dataclass(frozen=True, slots=True, eq=False)
class Hybrid:
    """Chooses among what a cheaper sampler lets through.

    Attributes:
        wide: Draws the candidates.
        narrow: Chooses among them.
        candidates: B / k >= 1; B is at most n.
    """

    wide: Logits
    narrow: Transductive = field(default_factory=Transductive)
    candidates: float = 4.0

    def __post_init__(self) -> None:
        if not self.candidates >= 1:
            raise OptionsError(f"Hybrid: candidates={self.candidates!r}, need at least 1 (times the rows chosen).")

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`."""
        n = context.pool_size
        check_budget(k, n)
        kept = min(n, max(k, round(min(self.candidates * k, n))))
        if kept == n:
            return self.narrow.select(context, k, rng)
        rows = gumbel_top_m(self.wide.logits(context, kept, rng), kept, rng)
        if kept == k:
            return Selection.uniform(rows, n)
        rows = np.sort(rows)
        chosen = self.narrow.select(context.restrict(rows), k, rng)
        return Selection.uniform(rows[chosen.indices], n)
