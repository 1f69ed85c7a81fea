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
from dataclasses import dataclass, field

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
    found = Incumbents(score)
    for row in sorted(records, key=lambda r: r.finished_s):
        found.hear(row.trial, row.epoch, row.samples_consumed, row.finished_s, score_of(row, score))
    return found.curve()


@dataclass(slots=True)
class Incumbents:
    """The incumbents of a stage, one report after another.

    Attributes:
        score: "loss" or "accuracy".
        changes: A point for each change of incumbent.
        total: Samples consumed by all trials so far.
        seconds: When the last report came in.
    """

    score: str
    changes: list[BestPoint] = field(default_factory=list)
    total: int = 0
    seconds: float = 0.0
    _spent: dict[str, int] = field(default_factory=dict, repr=False)

    def hear(self, trial: str, epoch: int, samples: int, seconds: float, value: float | None) -> None:
        """Take in a report: samples its trial consumed in all, its score (None if not judged). Cost: O(1)."""
        before = self._spent.get(trial, 0)
        self._spent[trial] = max(before, samples)
        self.total += self._spent[trial] - before
        self.seconds = seconds
        if value is not None and (not self.changes or self._replaces(epoch, value)):
            self.changes.append(BestPoint(self.total, seconds, value, trial, epoch))

    def _replaces(self, epoch: int, value: float) -> bool:
        best = self.changes[-1]
        return epoch > best.epoch or (epoch == best.epoch and is_better(value, best.score, self.score))

    def curve(self) -> tuple[BestPoint, ...]:
        """Return the changes and, where samples were consumed since the last, a point for the end."""
        if not self.changes or self.changes[-1].samples >= self.total:
            return tuple(self.changes)
        last = self.changes[-1]
        return (*self.changes, BestPoint(self.total, self.seconds, last.score, last.trial, last.epoch))


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
