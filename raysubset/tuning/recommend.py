"""Which of some cells to take: each is trained on the subset chosen for it, and validation rows decide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from raysubset.errors import OptionsError
from raysubset.report.agreement import agreement
from raysubset.report.intervals import Estimate
from raysubset.report.subselnet_measures import top_k_jaccard
from raysubset.tuning.subselnet_piece import FULL, Outcome, Piece


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Cells ranked by what they reach on their subsets.

    Attributes:
        ranked: (cell, validation accuracy, mean over seeds), best first; ties by name.
        tau: Kendall's tau-b of that ranking to the test accuracies after training on everything.
        interval: Of tau, by bootstrap over cells; None where it is not defined.
        jaccard: Of the k best by subset and the k best by full training.
        k: What "best" means there.
    """

    ranked: tuple[tuple[str, float], ...]
    tau: float
    interval: Estimate | None
    jaccard: float
    k: int


def recommend(outcomes: Mapping[Piece, Outcome], method: str, ratio: float, k: int) -> Recommendation:
    """Rank the cells of an evaluation.

    Args:
        outcomes: Of `evaluate_fit`, with the trainings on everything.
        method: Whose subsets.
        ratio: Of which size.
        k: Cells that count as best, 1 <= k <= cells.

    Raises:
        BudgetError: k out of range.
        OptionsError: Fewer than two cells were trained both so and on everything.
    """
    found, full = _means(outcomes, method, ratio, "val_accuracy"), _means(outcomes, FULL, 1.0, "accuracy")
    cells = sorted(found.keys() & full.keys())
    if len(cells) < 2:
        raise OptionsError(
            f"{len(cells)} cells were trained on subsets of {method!r}, ratio {ratio:g}, and on everything: need "
            "at least 2 to rank."
        )
    found = {cell: found[cell] for cell in cells}
    ours, gold = [found[cell] for cell in cells], [full[cell] for cell in cells]
    agreed = agreement(ours, gold)
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return Recommendation(tuple(ranked), agreed.tau, agreed.interval, top_k_jaccard(gold, ours, k), k)


def _means(outcomes: Mapping[Piece, Outcome], method: str, ratio: float, name: str) -> dict[str, float]:
    values = defaultdict(list)
    for piece, outcome in outcomes.items():
        if (piece.method, piece.ratio) == (method, ratio):
            values[piece.cell].append(getattr(outcome, name))
    return {cell: float(np.mean(many)) for cell, many in values.items()}
