"""One stage of a run, digested report by report: nothing that was counted is counted again.

A trial that is trained again after a resume reports earlier epochs once more; the later reports count, as in
`report.records`. Then, and only then, the stage's sums are made anew from what is kept of each report.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from raysubset.report.driver import StagePlan
from raysubset.report.progress import BestPoint, Incumbents
from raysubset.report.trials import score_of
from raysubset.types import TrialRecord

PAUSING = frozenset(
    {"asha-promote", "dasha", "halving", "hyperband", "hyper-tune"}
)  # who lets trials wait at rungs


class Report(NamedTuple):
    """What is kept of a record."""

    epoch: int
    samples: int
    seconds: float
    score: float | None
    loss: float | None
    accuracy: float | None
    rung: int | None
    ratio: float
    metric: str
    train_s: float
    select_s: float
    eval_s: float
    r2: float | None = None


@dataclass(slots=True)
class TrialView:
    """One trial as it stands.

    Attributes:
        trial: Its id.
        config: Its configuration.
        epochs: Planned.
        status: As recorded, or "waiting" (paused at a rung) or "running".
        reason: Why it failed or was stopped.
        reports: Of its epochs, in order.
        version: Of the digest, when it last changed.
    """

    trial: str
    config: Mapping[str, Any]
    epochs: int = 0
    status: str = "running"
    reason: str = ""
    reports: list[Report] = field(default_factory=list)
    version: int = 0

    @property
    def scored(self) -> Report | None:
        """Its last report with a score."""
        return next((one for one in reversed(self.reports) if one.score is not None), None)

    @property
    def rung(self) -> int | None:
        """The highest rung it reached."""
        return max((one.rung for one in self.reports if one.rung is not None), default=None)


@dataclass(slots=True)
class EpochChoice:
    """What chose the rows of one epoch, over the trials that finished it."""

    trials: int = 0
    ratios: float = 0.0
    metrics: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class StageDigest:
    """The state of a stage after all that was heard of it.

    Attributes:
        stage: Its name.
        score: "loss" or "accuracy": what ranks its trials.
        trials: By id, in order of appearance.
        plan: What it may use, None where nobody said.
        levels, level_epochs: Where its rungs are, in samples and in epochs; empty where unknown.
        best: Its incumbents.
        choices: Epoch -> what chose its rows.
        train_s, select_s, eval_s: Seconds of all reports.
        last_s: Of the stage's clock, at the last report.
    """

    stage: str
    score: str
    trials: dict[str, TrialView] = field(default_factory=dict)
    plan: StagePlan | None = None
    scheduler: str = ""
    levels: tuple[float, ...] = ()
    level_epochs: tuple[int, ...] = ()
    best: Incumbents = field(init=False)
    choices: dict[int, EpochChoice] = field(default_factory=dict)
    train_s: float = 0.0
    select_s: float = 0.0
    eval_s: float = 0.0
    last_s: float = 0.0
    _target: dict[str, int] = field(default_factory=dict)
    _stale: bool = False

    def __post_init__(self) -> None:
        self.best = Incumbents(self.score)

    # ------------------------------------------------------------------ hearing

    def hear(self, record: TrialRecord, version: int) -> None:
        """Take in a record. Cost: O(1), but for epochs that are trained again."""
        trial = self.trials.setdefault(record.trial, TrialView(record.trial, record.config))
        report = _kept(record, self.score)
        again: list[Report] = []
        while trial.reports and trial.reports[-1].epoch >= record.epoch:
            again.append(trial.reports.pop())
        trial.reports.append(report)
        trial.config, trial.epochs = record.config, record.epochs
        trial.reason, trial.version = record.reason, version
        if (trial.status, record.status) != ("waiting", "running"):  # the journal says when it goes on
            trial.status = record.status
        if not again:
            self._count(record.trial, report)
        elif [one._replace(seconds=0) for one in again] != [report._replace(seconds=0)]:
            self._stale = True  # other than a last word on an epoch that was counted

    def hear_decision(self, event: Mapping[str, Any], version: int) -> None:
        """Take in a line of the search's journal: it knows trials before they report, and those that wait."""
        kind, name = event.get("event"), event.get("trial")
        if kind is None and "levels" in event:
            self.scheduler = str(event["scheduler"])
            self.levels, self.level_epochs = tuple(event["levels"]), tuple(event["epochs"])
        elif kind == "start":
            trial = self.trials.setdefault(str(name), TrialView(str(name), event["point"]))
            trial.version = version
            self._target[trial.trial] = int(event["bracket"])
        elif kind == "report" and event["judged"] and self._pauses(str(name), event):
            self._set(str(name), "running", "waiting", version)
        elif kind in ("promote", "rewind"):
            if kind == "promote":
                self._target[str(name)] = self._target.get(str(name), 0) + 1
            self._set(str(name), "waiting", "running", version)

    def _pauses(self, name: str, event: Mapping[str, Any]) -> bool:
        """Say whether a trial that was judged now waits: at the rung it headed for, unless that is the top."""
        if self.scheduler not in PAUSING or not self.levels:
            return False
        samples, epochs = int(event["samples"]), int(event.get("epochs", 0))
        rung = max(bisect_right(self.levels, samples), bisect_right(self.level_epochs, epochs)) - 1
        if rung < self._target.get(name, 0):
            return False
        self._target[name] = rung
        return rung < len(self.levels) - 1

    def _set(self, name: str, before: str, now: str, version: int) -> None:
        trial = self.trials.get(name)
        if trial is not None and trial.status == before:
            trial.status, trial.version = now, version

    def _count(self, trial: str, report: Report) -> None:
        self.best.hear(trial, report.epoch, report.samples, report.seconds, report.score)
        choice = self.choices.setdefault(report.epoch, EpochChoice())
        if report.metric != "none":  # an epoch that failed chose nothing
            choice.trials += 1
            choice.ratios += report.ratio
            choice.metrics[report.metric] += 1
        self.train_s += report.train_s
        self.select_s += report.select_s
        self.eval_s += report.eval_s
        self.last_s = report.seconds

    def settle(self) -> None:
        """Make the sums anew if a trial was trained again. Cost: O(r log r) for r reports, else nothing."""
        if not self._stale:
            return
        self.best, self.choices, self._stale = Incumbents(self.score), {}, False
        self.train_s = self.select_s = self.eval_s = 0.0
        reports = ((one, trial.trial) for trial in self.trials.values() for one in trial.reports)
        for report, name in sorted(reports, key=lambda pair: pair[0].seconds):
            self._count(name, report)

    # ------------------------------------------------------------------ saying

    @property
    def counts(self) -> Counter[str]:
        """Trials by status."""
        return Counter(trial.status for trial in self.trials.values())

    @property
    def selection_share(self) -> float | None:
        """Share of the trials' seconds that went into choosing rows, None before the first report."""
        busy = self.train_s + self.select_s + self.eval_s
        return self.select_s / busy if busy else None

    @property
    def incumbent(self) -> BestPoint | None:
        """The best so far."""
        return self.best.changes[-1] if self.best.changes else None

    def leaders(self, count: int) -> list[TrialView]:
        """Return the best trials, best first: scores of later epochs first, as the report ranks them."""
        judged = [
            (one, scored) for one in self.trials.values() if one.status != "failed" and (scored := one.scored)
        ]
        sign = 1.0 if self.score == "loss" else -1.0
        judged.sort(key=lambda pair: (-pair[1].epoch, sign * (pair[1].score or 0.0), pair[0].trial))
        return [trial for trial, _ in judged[:count]]


def _kept(record: TrialRecord, score: str) -> Report:
    return Report(
        record.epoch,
        record.samples_consumed,
        record.finished_s,
        score_of(record, score),
        record.val_loss,
        record.val_accuracy,
        record.rung,
        record.ratio,
        record.metric_used,
        record.train_s,
        record.select_s,
        record.eval_s,
        record.val_r2,
    )


@dataclass(frozen=True, slots=True)
class RungView:
    """How many trials came to one rung, and what became of those whose highest it is.

    Attributes:
        rung: Lowest is 0.
        epoch, samples: Where it is, None where unknown.
        reached: Trials that came here or higher.
        here: Status -> trials whose highest rung it is.
    """

    rung: int
    epoch: int | None
    samples: float | None
    reached: int
    here: Mapping[str, int]


def rungs(stage: StageDigest) -> tuple[RungView, ...]:
    """Count trials by rung, lowest first; empty where trials are judged at their end only. Cost: O(trials)."""
    tops = Counter((rung, trial.status) for trial in stage.trials.values() if (rung := trial.rung) is not None)
    count = max(len(stage.levels), max((rung for rung, _ in tops), default=-1) + 1)
    if count < 2:
        return ()
    return tuple(
        RungView(
            rung,
            stage.level_epochs[rung] if rung < len(stage.level_epochs) else None,
            stage.levels[rung] if rung < len(stage.levels) else None,
            sum(trials for (top, _), trials in tops.items() if top >= rung),
            {status: trials for (top, status), trials in sorted(tops.items()) if top == rung},
        )
        for rung in range(count)
    )


@dataclass(frozen=True, slots=True)
class Failure:
    """A reason that trials gave for failing, how many gave it, and the first and last that did."""

    reason: str
    trials: int
    first: str
    last: str


def failures(trials: Iterable[TrialView]) -> tuple[Failure, ...]:
    """Group failed trials by reason, the most frequent first. Cost: O(trials)."""
    groups: dict[str, list[str]] = {}
    for trial in trials:
        if trial.status == "failed":
            groups.setdefault(trial.reason, []).append(trial.trial)
    found = [Failure(reason, len(names), names[0], names[-1]) for reason, names in groups.items()]
    return tuple(sorted(found, key=lambda one: -one.trials))
