"""One run, followed: its facts, its stages, who drives it, and what it is asked to do.

Files read: run.json, nas.json or fit.json, records.jsonl, search-<stage>.jsonl, candidates.jsonl, progress.jsonl,
driver.json, requests/.
Whatever cannot be read is said beside what can be, and looked at again the next time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from raysubset.dashboard.follow import Follower
from raysubset.dashboard.stage import StageDigest
from raysubset.errors import RaysubsetError, RecordError
from raysubset.report.driver import Driver, Presence, presence
from raysubset.report.fit_info import FIT_FILE, FitInfo
from raysubset.report.fit_progress import PROGRESS_FILE, StageProgress, hear
from raysubset.report.nas_info import NAS_FILE, NasInfo
from raysubset.report.records import RECORDS_FILE, parse_record
from raysubset.report.requests import StopRequest, asked
from raysubset.report.run_info import RUN_FILE, RunInfo

CANDIDATES_FILE = "candidates.jsonl"
JOURNAL = "search-{}.jsonl"
TRIALS_CAN_STOP = ("search", "search-full")  # the others need every one of their trials
MOST_WARNINGS = 20
FIT_STAGES = ("features", "encoder", "supervisors", "approximator", "inductive")

State = Literal["running", "finished", "interrupted", "lost", "unknown"]


@dataclass(frozen=True, slots=True)
class CandidatePoint:
    """The best judged cell of an architecture search, from this many judgements on."""

    judged: int
    score: float
    cell: str


@dataclass(slots=True)
class RunDigest:
    """A run's folder after the last look.

    Attributes:
        folder: The run's.
        key: Names it in addresses.
        info: What was asked; None before it could be read.
        driver, presence: Who drives it, and whether it still does.
        requests: What it is asked to do and has not done.
        stages: By name, in order of appearance.
        judged, candidates: Cells judged, and the changes of the best (architecture searches).
        fit: Stages of a fit of SubSelNet and its evaluation, by name, in the order in which they began last.
        warnings: What could not be read, and why.
        version: Of the digest, when anything here last changed.
        reset: Its version when it was last begun anew: what was told before is void.
        changed_at: Unix time of the last line of records (of a fit: of its progress), 0 before the first.
    """

    folder: Path
    key: str
    info: RunInfo | NasInfo | FitInfo | None = None
    driver: Driver | None = None
    presence: Presence = "unknown"
    requests: frozenset[StopRequest] = frozenset()
    stages: dict[str, StageDigest] = field(default_factory=dict)
    judged: int = 0
    candidates: list[CandidatePoint] = field(default_factory=list)
    fit: dict[str, StageProgress] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    version: int = 0
    reset: int = 0
    changed_at: float = 0.0
    _records: Follower = field(init=False)
    _candidates: Follower = field(init=False)
    _progress: Follower = field(init=False)
    _journals: dict[str, Follower] = field(default_factory=dict)
    _seen: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._records = Follower(self.folder / RECORDS_FILE)
        self._candidates = Follower(self.folder / CANDIDATES_FILE)
        self._progress = Follower(self.folder / PROGRESS_FILE)

    # ------------------------------------------------------------------ looking

    def look(self, version: int) -> bool:
        """Take in what is new; says whether anything is, and then carries ``version``.

        Cost: a few ``stat`` calls where nothing changed, else O(bytes added).
        """
        changes = [
            self._look_at_facts(),
            self._look_at_driver(),
            self._look_at_records(version),
            self._look_at_journals(version),
            self._look_at_candidates(version),
            self._look_at_progress(version),
        ]
        if not any(changes):
            return False
        for stage in self.stages.values():
            stage.settle()
        self.version = version
        return True

    def _look_at_facts(self) -> bool:
        for name, kind in ((RUN_FILE, RunInfo), (NAS_FILE, NasInfo), (FIT_FILE, FitInfo)):
            if not self._is_news(name):
                continue
            try:
                self.info = kind.read(self.folder)
                self.warnings.pop(name, None)
            except RaysubsetError as error:
                self.warnings[name] = str(error)
            return True
        return False

    def _look_at_driver(self) -> bool:
        before = (self.driver, self.presence, self.requests)
        try:
            self.driver = Driver.read(self.folder)
            self.warnings.pop("driver", None)
        except RaysubsetError as error:
            self.warnings["driver"] = str(error)
        self.presence, self.requests = presence(self.folder, self.driver), asked(self.folder)
        for name, plan in (self.driver.stages if self.driver else {}).items():
            if name in self.stages:
                self.stages[name].plan = plan
        return (self.driver, self.presence, self.requests) != before

    def _look_at_records(self, version: int) -> bool:
        found = self._records.look()
        if found.anew:
            self._begin_anew(version)
        for number, line in enumerate(found.lines, found.first):
            try:
                record = parse_record(line, f"{RECORDS_FILE}, line {number}")
            except RecordError as error:
                self._warn(f"records {number}", f"Left out: {error}")
            else:
                self._stage(record.stage).hear(record, version)
        if found.lines:
            self.changed_at = self._records.path.stat().st_mtime
        return bool(found.lines) or found.anew

    def _look_at_journals(self, version: int) -> bool:
        """Follow the journal of each stage; a stage may have one before its first record."""
        for path in sorted(self.folder.glob(JOURNAL.format("*"))):
            name = path.name.removeprefix("search-").removesuffix(".jsonl")
            self._journals.setdefault(name, Follower(path))
        news = False
        for name, follower in self._journals.items():
            for number, line in enumerate((found := follower.look()).lines, found.first):
                news = True
                try:
                    self._stage(name).hear_decision(json.loads(line), version)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    self._warn(
                        f"journal {name} {number}", f"Left out: {follower.path.name}, line {number}: {error!r}"
                    )
        return news

    def _look_at_candidates(self, version: int) -> bool:
        found = self._candidates.look()
        for number, line in enumerate(found.lines, found.first):
            try:
                plain = json.loads(line)
                score, cell = float(plain["score"]), str(plain["cell"])
            except (ValueError, KeyError, TypeError) as error:
                self._warn(f"candidates {number}", f"Left out: {CANDIDATES_FILE}, line {number}: {error!r}")
                continue
            self.judged += 1
            if not self.candidates or score > self.candidates[-1].score:
                self.candidates.append(CandidatePoint(self.judged, score, cell))
        return bool(found.lines)

    def _look_at_progress(self, version: int) -> bool:
        found = self._progress.look()
        if found.anew:
            self.fit, self.reset = {}, version
        for number, line in enumerate(found.lines, found.first):
            try:
                hear(self.fit, json.loads(line))
            except (ValueError, RecordError) as error:
                self._warn(f"progress {number}", f"Left out: {PROGRESS_FILE}, line {number}: {error}")
        if found.lines:
            self.changed_at = self._progress.path.stat().st_mtime
        return bool(found.lines) or found.anew

    def _stage(self, name: str) -> StageDigest:
        if (stage := self.stages.get(name)) is None:
            score = self.info.score if isinstance(self.info, RunInfo) else "accuracy"
            stage = self.stages[name] = StageDigest(name, score)
            stage.plan = self.driver.stages.get(name) if self.driver else None
        return stage

    def _begin_anew(self, version: int) -> None:
        """Forget the stages: the records were replaced by others."""
        self.stages, self.reset = {}, version
        self._journals.clear()

    def _is_news(self, name: str) -> bool:
        try:
            facts = (self.folder / name).stat()
        except OSError:
            return False
        mark = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        return self._seen.get(name) != mark and self._seen.update({name: mark}) is None

    def _warn(self, key: str, words: str) -> None:
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings[key] = words

    # ------------------------------------------------------------------ saying

    @property
    def name(self) -> str:
        """The run's name, that of its folder before its facts could be read."""
        return self.info.name if self.info else self.folder.name

    @property
    def state(self) -> State:
        """Whether it runs, came to its end, or neither."""
        if self.presence == "running":
            return "running"
        if self._has_result:
            return "finished"
        if self.presence == "unknown":
            return "unknown"
        return "lost" if self.presence == "lost" else "interrupted"

    @property
    def _has_result(self) -> bool:
        if isinstance(self.info, NasInfo):
            return self.info.cell is not None
        if isinstance(self.info, FitInfo):
            ended = all(stage.ended for stage in self.fit.values())
            return ended and set(FIT_STAGES) <= set(self.fit) | set(self.info.stages)
        return self.info is not None and self.info.result is not None

    @property
    def current(self) -> StageDigest | None:
        """The stage to show first: the running one, the search of a run that has ended."""
        if self.state != "running" and "search" in self.stages:
            return self.stages["search"]
        return next(reversed(self.stages.values()), None)

    @property
    def main(self) -> StageDigest | None:
        """The stage that says how good the run is: the search, where there is one."""
        return self.stages.get("search") or self.current

    def can_stop(self, stage: str) -> bool:
        """Say whether a single trial of a stage can be stopped."""
        return isinstance(self.info, RunInfo) and stage in TRIALS_CAN_STOP

    def settings(self) -> dict[str, Any]:
        """Return the experiment's own settings, empty where there are none."""
        return dict(self.info.settings) if isinstance(self.info, RunInfo) else {}
