"""What a fit's samplers come to, by their own objective, beside a uniform draw and the closed form.

Draw d of a cell meets the same noise under every sampler, so differences are those of the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from raysubset.report.subselnet_facts import GIBBS, INDUCTIVE, TRANSDUCTIVE, UNIFORM, ObjectiveFacts
from raysubset.seeds import generator
from raysubset.selection.protocol import Context
from raysubset.selection.sampling import gumbel_top_m
from raysubset.subselnet.funnel import Inductive
from raysubset.subselnet.inductive import Prediction
from raysubset.subselnet.plackett_luce import Picks, Vector
from raysubset.subselnet.predictor import ArchitecturePredictor
from raysubset.subselnet.samplers import Gibbs, Transductive, predicted_losses

DRAWS = 8  # per cell, behind an objective


def objectives(
    predictor: ArchitecturePredictor,
    cells: Sequence[Any],
    ratio: float,
    entropy: float,
    seed: int,
    draws: int = DRAWS,
) -> ObjectiveFacts:
    """Estimate what a uniform draw, the closed form and both samplers come to.

    Args:
        predictor: The fit.
        cells: Of the space; unseen ones, for a judgement.
        ratio: b / n, in (0, 1).
        entropy: lambda, in nats of loss.
        seed: Of the optimisation and of the draws.
        draws: For each number, >= 1.

    Cost: a transductive optimisation and 4 ``draws`` passes over the rows a cell.
    """
    found: dict[str, list[float]] = {name: [] for name in (UNIFORM, GIBBS, TRANSDUCTIVE, INDUCTIVE)}
    k = max(1, round(ratio * len(predictor.labels)))
    for cell in cells:
        seen = predictor.predict(cell)
        context = predictor.context(seen)
        optimising = generator(seed, "objective", str(cell), k, "optimise")
        for name, logits in _logits(predictor, seen, context, k, entropy, optimising).items():
            judging = (generator(seed, "objective", str(cell), k, number) for number in range(draws))
            values = [per_pick(logits, predicted_losses(context), k, entropy, rng) for rng in judging]
            found[name].append(fmean(values))
    return ObjectiveFacts(ratio, draws, {name: tuple(values) for name, values in found.items()})


def _logits(
    predictor: ArchitecturePredictor,
    seen: Prediction,
    context: Context,
    k: int,
    entropy: float,
    rng: np.random.Generator,
) -> dict[str, Vector]:
    return {
        UNIFORM: np.zeros(context.pool_size),
        GIBBS: Gibbs(entropy).logits(context, k, rng),
        INDUCTIVE: Inductive(predictor.scorer, seen.cell).logits(context, k, rng),
        TRANSDUCTIVE: Transductive(entropy).logits(context, k, rng),
    }


def per_pick(logits: Vector, losses: Vector, k: int, entropy: float, rng: np.random.Generator) -> float:
    """Return one draw's unbiased estimate of (E[sum of losses] - lambda * entropy) / k, in nats.

    Args:
        logits: float64[n].
        losses: float64[n], in nats.
        k: Rows drawn.
        entropy: lambda.
        rng: Of the draw.
    """
    picks = Picks.of(logits, losses, gumbel_top_m(logits, k, rng))
    return float(np.mean(picks.losses - entropy * picks.entropies))
