"""A fit's samplers looked at without training anything: objective, time, soundness and overlap of their subsets.

Draws that are compared share their random numbers: draw d of a cell meets the same noise under every sampler, so
differences are those of the logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.nas.cell101 import Cell101
from raysubset.report.subselnet_facts import (
    GIBBS,
    HYBRID,
    INDUCTIVE,
    TRANSDUCTIVE,
    UNIFORM,
    ObjectiveFacts,
)
from raysubset.report.subselnet_measures import mean_overlap
from raysubset.seeds import generator
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.sampling import gumbel_top_m
from raysubset.subselnet.controls import CONTROLS
from raysubset.subselnet.embeddings import ArchitectureEncoder
from raysubset.subselnet.funnel import Inductive
from raysubset.subselnet.inductive import Prediction
from raysubset.subselnet.plackett_luce import Picks, Vector
from raysubset.subselnet.predictor import SAMPLERS, ArchitecturePredictor
from raysubset.subselnet.samplers import Gibbs, Transductive, predicted_losses

DRAWS = 8  # per cell, behind an objective
BOTTOM = "bottom-loss"
COMPARED = (*SAMPLERS, BOTTOM)
TWINS = ("conv3x3-bn-relu~0+maxpool3x3~0~1+output~0~1~2", "maxpool3x3~0+conv3x3-bn-relu~0~1+output~0~1~2")

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Draws:
    """Which draws.

    Attributes:
        k: Rows of each.
        entropy, candidates: Of the samplers, see `ArchitecturePredictor.sampler`.
        seed: The experiment's.
        repeat: Another number, other noise.
    """

    k: int
    entropy: float
    candidates: float
    seed: int
    repeat: int = 0

    def rng(self, cell: Cell101) -> np.random.Generator:
        """Return the cell's stream, the same for every method."""
        return generator(self.seed, "diagnostics", str(cell), self.k, self.repeat)


# ------------------------------------------------------------------ objective


def objectives(
    predictor: ArchitecturePredictor,
    cells: Sequence[Cell101],
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
        *judging, optimising = (Draws(k, entropy, 1.0, seed, number).rng for number in range(draws + 1))
        for name, logits in _logits(predictor, seen, context, k, entropy, optimising(cell)).items():
            values = (per_pick(logits, predicted_losses(context), k, entropy, rng(cell)) for rng in judging)
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


# ------------------------------------------------------------------ subsets


def draw(
    predictor: ArchitecturePredictor, method: str, cells: Sequence[Cell101], asked: Draws
) -> tuple[list[Rows], float]:
    """Draw a subset for every cell, one after another.

    Args:
        predictor: The fit.
        method: One of `COMPARED`.
        cells: At least one.
        asked: What to draw.

    Returns:
        The rows in drawing order, int64[k] a cell, and the mean wall seconds a cell, prediction included; a first
        draw, which is slower, is not counted.
    """
    _select(predictor, method, cells[0], asked)
    subsets, seconds = [], []
    for cell in cells:
        started = perf_counter()
        subsets.append(_select(predictor, method, cell, asked))
        seconds.append(perf_counter() - started)
    return subsets, fmean(seconds)


def _select(predictor: ArchitecturePredictor, method: str, cell: Cell101, asked: Draws) -> Rows:
    seen = predictor.predict(cell)
    chooser: Selector = (
        CONTROLS[BOTTOM]()
        if method == BOTTOM
        else predictor.sampler(
            next(kind for kind in SAMPLERS if kind == method), seen, asked.entropy, candidates=asked.candidates
        )
    )
    return chooser.select(predictor.context(seen), asked.k, asked.rng(cell)).indices


def faults(
    predictor: ArchitecturePredictor,
    cells: Sequence[Cell101],
    asked: Draws,
    found: Mapping[str, Sequence[Rows]],
) -> tuple[int, tuple[str, ...]]:
    """Check draws: b different rows of the pool each, the same again from the same seed, the hybrid's two ends.

    Args:
        predictor: The fit.
        cells: Drawn for.
        asked: As they were drawn.
        found: Method -> its subsets, by `draw`.

    Returns:
        How many were checked, and what was wrong, in words.

    Cost: every draw once more, and two of the hybrid's a cell.
    """
    n, said = len(predictor.labels), []
    for method, subsets in found.items():
        again, _ = draw(predictor, method, cells, asked)
        for cell, rows, twice in zip(cells, subsets, again, strict=True):
            if len(rows) != asked.k or len(np.unique(rows)) != asked.k or rows.min() < 0 or rows.max() >= n:
                said.append(f"{method} for {cell}: not {asked.k} different rows of {n}")
            if not np.array_equal(rows, twice):
                said.append(f"{method} for {cell}: other rows from the same seed")
    for candidates, method in ((1.0, INDUCTIVE), (n / asked.k, TRANSDUCTIVE)):
        ends, _ = draw(predictor, HYBRID, cells, replace(asked, candidates=candidates))
        for cell, rows, end in zip(cells, found[method], ends, strict=True):
            if not np.array_equal(rows, end):
                said.append(f"hybrid at {candidates:g} b candidates for {cell}: not the {method} sampler's rows")
    return len(cells) * (len(found) + 2), tuple(said)


def same_cell_overlap(
    first: Mapping[str, Sequence[Rows]], second: Mapping[str, Sequence[Rows]]
) -> dict[tuple[str, str], float]:
    """Return (method, method) -> mean Jaccard coefficient for the same cell: the noise is never shared.

    Args:
        first: Method -> one draw a cell.
        second: The same of other noise.
    """
    return {
        (one, other): fmean(mean_overlap(pair) for pair in zip(first[one], second[other], strict=True))
        for place, one in enumerate(first)
        for other in list(first)[place:]
    }


# ------------------------------------------------------------------ cells


def farthest_apart(vectors: NDArray[np.float32], count: int) -> list[int]:
    """Return ``count`` rows far apart, ascending: the farthest pair, then each the one farthest from its nearest.

    Args:
        vectors: float32[m, d].
        count: Rows, >= 2; all m if there are no more. Ties go to the lowest row.
    """
    m = len(vectors)
    if m <= count:
        return list(range(m))
    exact = vectors.astype(np.float64)
    distance = np.linalg.norm(exact[:, None] - exact[None], axis=2)
    kept = list(max(combinations(range(m), 2), key=lambda pair: distance[pair]))
    while len(kept) < count:
        nearest = distance[:, kept].min(axis=1)
        nearest[kept] = -1.0
        kept.append(int(nearest.argmax()))
    return sorted(kept)


def twin_distance(encoder: ArchitectureEncoder) -> float:
    """Return the greatest difference of the vectors of `TWINS`, which some encoders cannot tell apart."""
    embedded = encoder.embed([Cell101.parse(name) for name in TWINS])
    return float(torch.abs(embedded.vectors[0] - embedded.vectors[1]).max())
