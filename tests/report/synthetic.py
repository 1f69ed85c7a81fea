"""Made-up runs with the shape of real ones: losses fall with samples, rungs stop trials, some fail."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from raysubset.report.records import RECORDS_FILE, RecordWriter
from raysubset.report.run_info import Result, RunInfo, StageInfo
from raysubset.types import TrialRecord

N_TRAIN = 4000


def record(trial: str = "t0", epoch: int = 1, **changes: Any) -> TrialRecord:
    """One plain record; every field can be overridden."""
    fields: dict[str, Any] = {
        "stage": "search", "trial": trial, "epoch": epoch, "epochs": 4, "config": {"lr": 0.1},
        "status": "running", "samples_consumed": 100 * epoch, "equiv_epochs": epoch / 10, "ratio": 0.1,
        "metric_used": "gradient", "train_loss": 1.0, "train_s": 1.0, "select_s": 0.5, "eval_s": 0.25,
        "finished_s": float(epoch), "seed": 0, "rung": None, "val_loss": 1.0 / epoch, "val_accuracy": 0.5,
    }  # fmt: skip
    return TrialRecord(**(fields | changes))


def run_info(**changes: Any) -> RunInfo:
    """The facts of a run that has just started; every field can be overridden."""
    fields: dict[str, Any] = {
        "name": "demo", "dataset": "MNIST sample", "dataset_source": "embedded", "n_train": N_TRAIN,
        "n_validation": 500, "n_test": 500, "model": "lenet", "selector": "asp", "metric": "mixture",
        "ratio": 0.1, "schedule": "dynamic", "budget": "exact", "first_epoch": "shared", "search": "tpe",
        "scheduler": "asha", "score": "loss", "trials": 24, "epochs": 9, "seed": 0, "device": "cpu",
        "command": "raysubset hpo --data mnist --seed 0", "started": "2024-05-01T12:00:00+00:00",
        "versions": {"python": "3.11.9", "numpy": "2.1.0"},
    }  # fmt: skip
    return RunInfo(**(fields | changes))


def search_records(stage: str = "search", trials: int = 24, epochs: int = 9, ratio: float = 0.1, seed: int = 0,
                   evaluate: bool = True) -> list[TrialRecord]:  # fmt: skip
    """A search under rungs at epochs 1, 3, 9, ...: the worse half leaves at each, every eleventh trial fails."""
    rng = np.random.default_rng(seed)
    rungs = [3**k for k in range(10) if 3**k <= epochs]
    rows: list[TrialRecord] = []
    clock = 0.0
    for number in range(trials):
        lr, width = float(10 ** rng.uniform(-4, -0.5)), int(rng.integers(8, 129))
        optimizer, augment = str(rng.choice(["sgd", "adam", "adamw"])), bool(rng.integers(2))
        config = {"lr": lr, "width": width, "optimizer": optimizer, "augment": augment}
        quality = 0.15 + 0.25 * abs(math.log10(lr) + 1.8) + 0.05 * float(rng.normal())
        fails = number % 11 == 7
        samples = 0
        for epoch in range(1, epochs + 1):
            share = min(1.0, ratio * (1 + 3 / epoch)) if ratio < 1 else 1.0
            samples += round(share * N_TRAIN)
            clock += 0.02 + 0.4 * share
            loss = quality + 2.0 * math.exp(-samples / N_TRAIN * 2) + 0.02 * float(rng.normal())
            rung = rungs.index(epoch) if epoch in rungs else None
            status = "running"
            if fails and epoch == min(3, epochs):
                status = "failed"
            elif epoch == epochs:
                status = "done"
            elif rung is not None and quality > 0.35 - 0.08 * rung:
                status = "stopped"
            seen = evaluate and status != "failed"
            metric = "full" if ratio == 1 else ("random" if epoch == 1 else ("gradient", "entropy")[number % 2])
            changes = {
                "config": config, "status": status, "rung": rung, "samples_consumed": samples, "ratio": share,
                "reason": "loss is not finite" if status == "failed" else "", "metric_used": metric,
                "equiv_epochs": samples / N_TRAIN, "train_loss": math.nan if status == "failed" else loss,
                "train_s": 0.4 * share, "select_s": 0.02 * (ratio < 1), "eval_s": 0.05 * seen,
                "finished_s": clock, "val_loss": loss if seen else None,
                "val_accuracy": max(0.0, 1 - loss / 3) if seen else None,
            }  # fmt: skip
            rows.append(record(f"trial_{number:04d}", epoch, stage=stage, epochs=epochs, **changes))
            if status != "running":
                break
    return rows


def stage_info(rows: list[TrialRecord], finished: bool = True) -> StageInfo:
    last: dict[str, int] = {}
    for row in rows:
        last[row.trial] = row.samples_consumed
    return StageInfo(wall_s=max(r.finished_s for r in rows) + 1, samples=sum(last.values()), trials=len(last),
                     finished=finished)  # fmt: skip


def write_run(folder: Path, run: RunInfo, rows: list[TrialRecord]) -> Path:
    run.write(folder)
    with RecordWriter(folder / RECORDS_FILE) as writer:
        for row in rows:
            writer.append(row)
    return folder


def whole_run(folder: Path, trials: int = 24, epochs: int = 9, full: bool = True, **changes: Any) -> Path:
    """A finished run, compared with the search on all data when ``full``."""
    stages = {"search": search_records(trials=trials, epochs=epochs)}
    stages["retrain"] = search_records("retrain", 1, epochs, ratio=1.0, seed=3)
    facts: dict[str, Any] = {
        "result": Result({"lr": 0.0158489, "width": 64}, 0.95, 0.93, 0.24, epochs, 36000, 4.0)
    }
    if full:
        stages["search-full"] = search_records("search-full", trials, epochs, ratio=1.0)
        stages["retrain-full"] = search_records("retrain-full", 1, epochs, ratio=1.0, seed=3)
        facts["result_full"] = Result({"lr": 0.02, "width": 96}, 0.96, 0.936, 0.22)
    facts["stages"] = {name: stage_info(rows) for name, rows in stages.items()}
    run = run_info(trials=trials, epochs=epochs, **(facts | changes))
    return write_run(folder, run, [row for rows in stages.values() for row in rows])
