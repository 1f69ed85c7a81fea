"""How good the search was after so many samples and seconds.

Scores of different epochs do not compare: after one epoch a loss is high for good and bad configurations alike.
So the incumbent is the best score among the reports *at the highest epoch evaluated so far* (the rule of
BOHB [1], epochs standing for budgets). Its curve may step back when a trial first reaches a later epoch; from
the first trial that runs to the end it only improves.

References:
    [1] Falkner, Klein, Hutter, 2018, "BOHB: Robust and Efficient Hyperparameter Optimization at Scale",
        arXiv:1807.01774.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from raysubset.report.trials import by_trial, is_better, score_of
from raysubset.types import TrialRecord


@dataclass(frozen=True, slots=True)
class BestPoint:
    """The incumbent from this moment on.

    Attributes:
        samples: Samples consumed so far by all trials of the stage.
        seconds: Since the start of the stage.
        score: The incumbent's validation loss or accuracy.
        trial, epoch: Where that score was reported.
    """

    samples: int
    seconds: float
    score: float
    trial: str
    epoch: int


def best_so_far(records: Iterable[TrialRecord], score: str) -> tuple[BestPoint, ...]:
    """Return a point for each change of incumbent and one for the end of the stage; empty if none was evaluated.

    Reports are taken in order of ``finished_s``, equal times in file order. Equal scores keep the earlier
    incumbent. Cost: O(r log r) for r records.
    """
    points: list[BestPoint] = []
    spent: dict[str, int] = {}
    total, seconds = 0, 0.0
    for record in sorted(records, key=lambda r: r.finished_s):
        before = spent.get(record.trial, 0)
        spent[record.trial] = max(before, record.samples_consumed)
        total += spent[record.trial] - before
        seconds = record.finished_s
        value = score_of(record, score)
        if value is not None and (not points or _replaces(record.epoch, value, points[-1], score)):
            points.append(BestPoint(total, seconds, value, record.trial, record.epoch))
    if points and points[-1].samples < total:
        last = points[-1]
        points.append(BestPoint(total, seconds, last.score, last.trial, last.epoch))
    return tuple(points)


def _replaces(epoch: int, value: float, best: BestPoint, score: str) -> bool:
    return epoch > best.epoch or (epoch == best.epoch and is_better(value, best.score, score))


@dataclass(frozen=True, slots=True)
class Curve:
    """One trial's scores: ``scores[i]`` was measured after ``samples[i]`` samples of that trial."""

    trial: str
    samples: tuple[int, ...]
    scores: tuple[float, ...]


def curves(records: Iterable[TrialRecord], score: str) -> tuple[Curve, ...]:
    """Return a curve per trial of a stage that was evaluated at least once."""
    found = []
    for trial, rows in by_trial(records).items():
        scored = [(row.samples_consumed, value) for row in rows if (value := score_of(row, score)) is not None]
        if scored:
            samples, scores = zip(*scored, strict=True)
            found.append(Curve(trial, samples, scores))
    return tuple(found)
