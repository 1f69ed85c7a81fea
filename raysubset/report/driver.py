"""driver.json: which process drives a run, whether it still does, and what it set out to spend.

The driver writes the file when it begins, touches it every two seconds and notes its end. So a reader on the same
file system can tell a search that runs from one that ended, and both from one whose driver was killed.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from raysubset.errors import RecordError, StorageError
from raysubset.report.atomic import write_text

DRIVER_FILE = "driver.json"
DRIVER_SCHEMA = 1
BEAT_EVERY_S = 2.0
LATE_S = 3 * BEAT_EVERY_S  # enough where the process is known to be gone
SILENT_S = 30.0  # without that knowledge: a busy machine or a network file system may hold back a few beats

Presence = Literal["running", "ended", "lost", "unknown"]


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What a stage may use at most.

    Attributes:
        trials: Trials.
        samples: Samples consumed by all of them.
        seconds: Wall seconds of the stage, None where only samples count.
    """

    trials: int
    samples: float
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Driver:
    """The process that drives, or last drove, a run.

    Attributes:
        host, pid: Where it runs.
        started, ended: ISO 8601 times; "" while it has not ended.
        stages: Stage name -> what it may use, of every stage begun so far.
    """

    host: str
    pid: int
    started: str
    ended: str = ""
    stages: Mapping[str, StagePlan] = field(default_factory=dict)
    schema: int = DRIVER_SCHEMA

    @classmethod
    def here(cls, stages: Mapping[str, StagePlan]) -> Self:
        """Return this process, starting now."""
        return cls(socket.gethostname(), os.getpid(), _now(), stages=stages)

    def over(self) -> Driver:
        """Return the same driver, ended now."""
        return replace(self, ended=_now())

    def write(self, folder: Path) -> None:
        """Replace ``folder``/driver.json in one step; raises StorageError."""
        write_text(folder / DRIVER_FILE, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Driver | None:
        """Read ``folder``/driver.json; None if there is none (a run of an earlier version, or not begun).

        Raises:
            StorageError: It cannot be read.
            RecordError: It is not one of ours.
        """
        path = folder / DRIVER_FILE
        try:
            plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if plain["schema"] != DRIVER_SCHEMA:
                raise ValueError(f"schema {plain['schema']!r}, this version reads {DRIVER_SCHEMA}")
            stages = {name: StagePlan(**plan) for name, plan in plain.pop("stages").items()}
            return cls(**plain, stages=stages)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RecordError(f"{path} is not what a driver writes: {error}.") from error


def note_stage(folder: Path, stage: str, plan: StagePlan) -> None:
    """Add what a stage may use to ``folder``/driver.json; nothing happens where nobody attends the run."""
    if (driver := Driver.read(folder)) is not None:
        replace(driver, stages={**driver.stages, stage: plan}).write(folder)


def touch(folder: Path) -> None:
    """Give a sign of life."""
    os.utime(folder / DRIVER_FILE)


def presence(folder: Path, driver: Driver | None) -> Presence:
    """Say whether a run is being driven.

    Returns:
        "running": its driver gave a sign lately. "ended": it said that it ended. "lost": it neither ended nor
        gives signs, so it was killed or its machine is gone. "unknown": nothing tells.
    """
    if driver is None:
        return "unknown"
    if driver.ended:
        return "ended"
    try:
        silent_s = time.time() - (folder / DRIVER_FILE).stat().st_mtime
    except OSError:
        return "unknown"
    gone = driver.host == socket.gethostname() and not _lives(driver.pid)
    return "lost" if silent_s > (LATE_S if gone else SILENT_S) else "running"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's process
        return True
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
