"""Runs to watch: folders that grow line by line, with a driver that lives in this process or died."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from report.synthetic import run_info

from raysubset.report.driver import DRIVER_FILE, Driver, StagePlan
from raysubset.report.fit_info import FitInfo
from raysubset.report.fit_progress import FitProgress
from raysubset.report.records import RECORDS_FILE
from raysubset.types import TrialRecord

PLANS = {"search": StagePlan(24, 50_000.0, 600.0)}


def begun(folder: Path, **facts: object) -> Path:
    """A run that has begun, driven by this process, and nothing more; its last sign of life lies an hour ahead."""
    run_info(**facts).write(folder)
    Driver.here(PLANS).write(folder)
    silence(folder, -3600)
    return folder


def begun_fit(folder: Path, **facts: object) -> FitProgress:
    """A fit of SubSelNet that has begun, driven by this process."""
    folder.mkdir(exist_ok=True)
    plain = {
        "name": "cifar", "seed": 0, "data": "cifar10", "dataset": "CIFAR-10", "dataset_source": "parquet",
        "dataset_note": "", "fingerprint": "f", "n_train": 3600, "n_validation": 400, "num_classes": 10,
        "device": "cpu", "command": "raysubset subselnet fit", "started": "2024-05-01T12:00:00+00:00",
    }  # fmt: skip
    FitInfo(**{**plain, **facts}).write(folder)
    Driver.here({}).write(folder)
    silence(folder, -3600)
    return FitProgress(folder)


def add(folder: Path, rows: Sequence[TrialRecord]) -> None:
    with (folder / RECORDS_FILE).open("a", encoding="utf-8") as file:
        file.writelines(f"{row.to_json()}\n" for row in rows)


def journal(folder: Path, events: Sequence[dict], stage: str = "search") -> None:
    with (folder / f"search-{stage}.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(event)}\n" for event in events)


def silence(folder: Path, seconds: float) -> None:
    """Let the last sign of life be so long ago."""
    at = time.time() - seconds
    os.utime(folder / DRIVER_FILE, (at, at))


def dead_pid() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid
