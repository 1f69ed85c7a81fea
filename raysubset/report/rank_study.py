"""What the cells of a study say together: how well training on subsets ranks configurations as all data do.

    tau      mean over repeats r and seeds f of tau(scores on subsets of r, scores on all data of f)
    ceiling  the same between the seeds of training on all data: no proxy can be expected to rank better

Two intervals, never added up: over configurations (bootstrap: another draw from the space), over repeats (Student:
another draw of subsets and initial weights, the configurations and the seeds on all data staying as they are).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from raysubset.report.agreement import (
    bootstrap_interval,
    kendall,
    kendall_resampled,
    pearson,
    resample_counts,
    spearman,
    top_overlap,
    top_regret,
)
from raysubset.report.intervals import Estimate, student
from raysubset.report.rank_cells import END, SCORES, Calibration, Cell, Study

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRow:
    """How one way of training ranks the configurations; nan is not defined (a side is constant).

    Attributes:
        full: A ceiling: one seed on all data against the others.
        ratio, way, pairing: Of the subsets.
        score: What the configurations are ranked by: validation "loss" or "accuracy".
        reference: What they are ranked by on all data, at the end.
        at: When ``score`` was taken: "end", or "epoch 1", ...
        repeats: Of the training.
        tau: Mean of Kendall's tau-b.
        over_configs: tau with its 95 % bootstrap interval, None where there is none to be had.
        over_repeats: tau with its 95 % Student interval, None for a ceiling and where `student` gives none.
        pearson, spearman: Means alike.
        regret: Mean of what the best by ``score`` lacks of the best, by the mean reference over the seeds.
        overlap: Mean share of the best tenth (by the mean reference) that is in the best tenth by ``score``.
        cost: Samples of the training, in units of one on all data.
    """

    full: bool
    ratio: float
    way: str
    pairing: str
    score: str
    reference: str
    at: str
    repeats: int
    tau: float
    over_configs: Estimate | None
    over_repeats: Estimate | None
    pearson: float
    spearman: float
    regret: float
    overlap: float
    cost: float


def rank_rows(study: Study) -> tuple[RankRow, ...]:
    """Return a row for each ratio, way, pairing, score, reference and time of judging; the ceilings last.

    Empty while nothing on all data is finished. Cost: 0.7 s for 30 configurations in 20 cells.
    """
    rows = []
    for reference, score, kind in product(SCORES[::-1], SCORES, kinds(study)):
        cells = study.subsets(*kind)
        for at in _times(cells):
            if row := _row(study, cells, score, reference, at):
                rows.append(row)
    return (*rows, *(row for row in _ceilings(study) if row is not None))


def kinds(study: Study) -> list[tuple[float, str, str]]:
    """Return the ratios, ways and pairings measured, by ratio, the others in order of their first cell."""
    found = dict.fromkeys((cell.ratio, cell.way, cell.pairing) for cell in study.cells if not cell.full)
    return sorted(found, key=lambda kind: kind[0])


def _times(cells: Sequence[Cell]) -> list[str]:
    """When all of these cells were judged."""
    return [at for at in cells[0].scores if all(at in cell.scores for cell in cells)]


def _ceilings(study: Study) -> Iterable[RankRow | None]:
    if len(study.full) < 2:
        return
    for reference, score in product(SCORES[::-1], SCORES):
        for at in _times(study.full):
            yield _row(study, study.full, score, reference, at)


def _row(study: Study, cells: Sequence[Cell], score: str, reference: str, at: str) -> RankRow | None:
    """Compare each cell with all seeds on all data but itself."""
    if not study.full:
        return None
    pairs = score_pairs(study, cells, score, reference, at)
    taus, resampled = cell_taus(pairs)
    full = cells[0].full
    full_samples = sum(cell.samples for cell in study.full) / len(study.full)
    means = [(x, np.mean(ys, axis=0)) for x, ys in pairs]
    return RankRow(
        full=full,
        ratio=cells[0].ratio,
        way=cells[0].way,
        pairing=cells[0].pairing,
        score=score,
        reference=reference,
        at=at,
        repeats=len(cells),
        tau=mean_of(taus),
        over_configs=bootstrap_interval(mean_of(taus), resampled.mean(axis=0), len(study.configs)),
        over_repeats=None if full else student(taus),
        pearson=mean_of([pearson(x, y) for x, ys in pairs for y in ys]),
        spearman=mean_of([spearman(x, y) for x, ys in pairs for y in ys]),
        regret=mean_of([top_regret(x, y) for x, y in means]),
        overlap=mean_of([top_overlap(x, y) for x, y in means]),
        cost=sum(cell.samples for cell in cells) / len(cells) / full_samples,
    )


def score_pairs(
    study: Study, cells: Sequence[Cell], score: str, reference: str, at: str = END
) -> list[tuple[Vector, list[Vector]]]:
    """Return each cell's scores with those that they are compared with."""
    return [
        (cell.goodness(score, at), [full.goodness(reference) for full in study.full if full is not cell])
        for cell in cells
    ]


def cell_taus(pairs: Sequence[tuple[Vector, list[Vector]]]) -> tuple[list[float], Vector]:
    """Return each cell's tau, mean over what it is compared with, and float64[cells, b] of the resamples."""
    counts = resample_counts(len(pairs[0][0]))
    taus = [mean_of([kendall(x, y) for y in ys]) for x, ys in pairs]
    resampled = [np.mean([kendall_resampled(x, y, counts) for y in ys], axis=0) for x, ys in pairs]
    return taus, np.stack(resampled)


def mean_of(values: Sequence[float]) -> float:
    """Return the mean, exact to the last digit; nan or an infinity among the values shows."""
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else float(np.mean(values))


def holds(row: RankRow, calibration: Calibration) -> bool:
    """Say whether tau reaches what a calibration asks for; without an interval it has no lower end that could."""
    if calibration.by == "estimate":
        return row.tau >= calibration.threshold
    return row.over_configs is not None and row.over_configs.low >= calibration.threshold


def calibration_rows(study: Study, calibration: Calibration) -> tuple[RankRow, ...]:
    """Return the rows that a calibration judges by, smallest ratio first: one score on both sides, at the end."""
    return tuple(
        row
        for ratio, way, pairing in kinds(study)
        if pairing == calibration.pairing
        and (row := _row(study, study.subsets(ratio, way, pairing), calibration.score, calibration.score, END))
    )


def recommended(study: Study) -> float | None:
    """Return the smallest ratio at which what the study's calibration asks for holds; None if there is none."""
    asked = study.calibration
    if asked is None:
        return None
    return next((row.ratio for row in calibration_rows(study, asked) if holds(row, asked)), None)
