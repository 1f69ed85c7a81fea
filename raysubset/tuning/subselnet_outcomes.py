"""An evaluation's outcomes as facts of a report: what queries cost, and how subsets rank cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from raysubset.report.subselnet_facts import (
    FACILITY_LOCATION,
    HYBRID,
    INDUCTIVE,
    CostFacts,
    QueryCost,
    RankingFacts,
)
from raysubset.runtime.subset_methods import FITTED
from raysubset.subselnet.controls import TRUE_LOSS
from raysubset.tuning.recommend import recommend
from raysubset.tuning.subselnet_evaluate import EvaluationOptions
from raysubset.tuning.subselnet_piece import FULL, Outcome, Piece

ONCE = ("features", "encoder", "supervisors", "approximator", "inductive")  # stages of a fit
BEST = 5  # cells that count as best, of at least twice as many
FEWEST_RANKED = 3

Outcomes = Mapping[Piece, Outcome]


def cost_facts(stages: Mapping[str, Mapping[str, float]], outcomes: Outcomes, supervisors: int) -> CostFacts:
    """Return what was paid once and what queries cost.

    Args:
        stages: Of the fit, each with its "seconds".
        outcomes: With those on all rows.
        supervisors: Cells trained by the fit.
    """
    once = {stage: stages[stage]["seconds"] for stage in ONCE}
    groups: dict[tuple[float, str], list[Outcome]] = {}
    for piece, outcome in outcomes.items():
        groups.setdefault((piece.ratio, piece.method), []).append(outcome)
    queries = tuple(
        QueryCost(method, ratio, paid_once(method, once), _mean(of, "select_s"), _mean(of, "train_s"))
        for (ratio, method), of in sorted(groups.items())
        if method != FULL and TRUE_LOSS not in method  # the oracle trains the cell on all rows first
    )
    cells = len({piece.cell for piece in outcomes})
    return CostFacts(once, _mean(groups[1.0, FULL], "train_s"), supervisors, cells, queries)


def paid_once(method: str, once: Mapping[str, float]) -> float:
    """Return the seconds of the stages that a method cannot do without, of ``once``, stage -> seconds."""
    if method == FACILITY_LOCATION:
        return once["features"]
    if method not in FITTED:
        return 0.0
    scored = method in (INDUCTIVE, HYBRID)
    return sum(seconds for stage, seconds in once.items() if scored or stage != INDUCTIVE)


def ranking_facts(outcomes: Outcomes, options: EvaluationOptions) -> tuple[RankingFacts, ...]:
    """Return how each method's subsets rank the cells, full training first; nothing for fewer than three cells."""
    cells = len({piece.cell for piece in outcomes})
    if cells < FEWEST_RANKED:
        return ()
    k = min(BEST, max(1, cells // 2))
    ways = [(FULL, 1.0), *((method, ratio) for ratio in sorted(set(options.ratios)) for method in options.methods)]
    found = ((way, recommend(outcomes, *way, k)) for way in ways)
    return tuple(RankingFacts(*way, one.tau, one.interval, one.jaccard, one.k) for way, one in found)


def validation_means(outcomes: Outcomes) -> dict[tuple[str, float], float]:
    """Return (method, ratio) -> mean accuracy on the held-out rows."""
    keys = dict.fromkeys((piece.method, piece.ratio) for piece in outcomes)
    return {
        key: fmean(found.val_accuracy for piece, found in outcomes.items() if (piece.method, piece.ratio) == key)
        for key in keys
    }


def _mean(outcomes: Sequence[Outcome], name: str) -> float:
    return fmean(getattr(outcome, name) for outcome in outcomes)
