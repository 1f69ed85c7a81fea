"""progress.jsonl: what a fit of SubSelNet or its evaluation is doing, a line the moment it happens.

{"event": "stage", "stage": s, "pieces": p, "done": d, "seconds": t, "at": u}   begins, d of its p pieces kept
{"event": "piece", "stage": s, "name": cell, "seconds": t, "score": a, "at": u}  one is done; a may be null
{"event": "failed", "stage": s, "reason": words, "at": u}                       the run ended in it

Seconds are of work, u is Unix time. The file is for who watches: a fit goes on by what its stages keep, never by
this. A stage that begins again (a fit that goes on, another evaluation) is told anew from there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysubset.errors import RecordError, StorageError

PROGRESS_FILE = "progress.jsonl"


@dataclass(slots=True)
class FitProgress:
    """Writes the file; no stage is under way at first.

    Args:
        folder: Of the fit.
    """

    folder: Path
    _left: dict[str, int] = field(default_factory=dict, init=False)

    def stage(self, stage: str, pieces: int, done: int = 0, seconds: float = 0.0) -> None:
        """Say that a stage begins, or goes on: ``done`` of its pieces are kept, which took ``seconds``."""
        self._left[stage] = pieces - done
        self._say(event="stage", stage=stage, pieces=pieces, done=done, seconds=seconds)

    def piece(self, stage: str, name: str, seconds: float, score: float | None = None) -> None:
        """Say that a piece is done, e.g. a cell's network, with its accuracy in [0, 1] where it has one."""
        self._left[stage] -= 1
        self._say(event="piece", stage=stage, name=name, seconds=seconds, score=score)

    def failed(self, reason: str) -> None:
        """Say why the run ended in the stages that are under way."""
        for stage, left in self._left.items():
            if left:
                self._say(event="failed", stage=stage, reason=reason)

    def _say(self, **facts: Any) -> None:
        line, path = json.dumps({**facts, "at": time.time()}) + "\n", self.folder / PROGRESS_FILE
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise StorageError(f"Cannot write {path}: {error.strerror or error}.") from error


@dataclass(slots=True)
class StageProgress:
    """A stage as told so far.

    Attributes:
        stage: Its name.
        pieces, done: How many there are, and are done.
        seconds: Of work on those that are done.
        last: What was done last; "" for nothing yet.
        score: Its accuracy, None where it has none.
        reason: Why the run ended in it; "" if it did not.
        pace_s: Wall seconds a piece since the stage last began, None before its first.
    """

    stage: str
    pieces: int
    done: int = 0
    seconds: float = 0.0
    last: str = ""
    score: float | None = None
    reason: str = ""
    pace_s: float | None = None
    _began: tuple[float, int] = (0.0, 0)

    @property
    def ended(self) -> bool:
        """True when every piece is done."""
        return self.done >= self.pieces


def hear(stages: dict[str, StageProgress], event: Mapping[str, Any]) -> None:
    """Take in a line of the file; the stage told of last stands last.

    Raises:
        RecordError: It is no such line.
    """
    try:
        name, kind, at = str(event["stage"]), event["event"], float(event["at"])
        if kind == "stage":
            stages.pop(name, None)
            pieces, done = int(event["pieces"]), int(event["done"])
            stages[name] = StageProgress(name, pieces, done, float(event["seconds"]), _began=(at, done))
            return
        stage = stages[name]
        if kind == "failed":
            stage.reason = str(event["reason"])
            return
        if kind != "piece":
            raise ValueError(f"event {kind!r}")
        score = event["score"]
        stage.seconds += float(event["seconds"])
        stage.last, stage.score = str(event["name"]), None if score is None else float(score)
        stage.done += 1
        began, kept = stage._began
        stage.pace_s = max(0.0, at - began) / (stage.done - kept)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"not a line of a fit's progress ({type(error).__name__}: {error})") from error
