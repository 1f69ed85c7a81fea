"""A digest as plain JSON types: a summary of every run, and one stage in detail, whole or only what changed."""

from __future__ import annotations

from typing import Any

from raysubset.dashboard.fit import fit_rows
from raysubset.dashboard.run import RunDigest
from raysubset.dashboard.stage import StageDigest, TrialView, failures, rungs
from raysubset.report.fit_info import FitInfo
from raysubset.report.nas_info import NasInfo
from raysubset.report.requests import STOP_RUN
from raysubset.report.run_info import RunInfo

LEADERS = 8
RUNNERS = 8  # trials still running whose curves are drawn beside the leaders'
MOST_FAILURES = 20
MOST_POINTS = 500  # of a curve: more than a screen has columns for


def summary(run: RunDigest, stage: StageDigest | None = None) -> dict[str, Any]:
    """Return what stands in the table of runs and in the tiles, and the run's curve.

    Args:
        run: The run.
        stage: Which stage to speak of; None for the one that matters most now. Where it has judged nothing, the
            best and the curve are the search's.
    """
    stage, info = stage or run.current, run.info
    judged = stage if stage is not None and stage.incumbent is not None else run.main
    counts = stage.counts if stage else {}
    return {
        "key": run.key,
        "name": run.name,
        "folder": str(run.folder),
        "kind": _kind(run),
        "state": run.state,
        "driver": {"host": run.driver.host, "pid": run.driver.pid} if run.driver else None,
        "changed_at": run.changed_at,
        "stopping": STOP_RUN in run.requests,
        "stage": stage.stage if stage else None,
        "stages": list(run.stages),
        "counts": {"total": len(stage.trials) if stage else 0, **counts},
        "samples": stage.best.total if stage else 0,
        "plan": _plan(run, stage),
        "seconds": stage.last_s if stage else 0.0,
        "left_s": _left(run, stage) if stage else None,
        "selection_share": stage.selection_share if stage else None,
        "score": stage.score if stage else None,
        "best": _best(judged),
        "judged": run.judged,
        "candidate": _candidate(run),
        "fit": fit_rows(run),
        "curve": _curve(run, judged),
        "facts": _facts(run),
        "result": _result(info),
        "warnings": list(run.warnings.values()),
    }


def detail(run: RunDigest, stage: StageDigest, since: int = 0) -> dict[str, Any]:
    """Return one stage: sums whole, and of its trials those that changed after version ``since``."""
    stopping = {request.trial for request in run.requests if request.stage == stage.stage}
    return {
        "stage": stage.stage,
        "whole": since == 0,
        "score": stage.score,
        "can_stop": run.state == "running" and run.can_stop(stage.stage),
        "stopping": sorted(stopping),
        "rungs": [
            {
                "rung": one.rung,
                "epoch": one.epoch,
                "samples": one.samples,
                "reached": one.reached,
                "here": dict(one.here),
            }
            for one in rungs(stage)
        ],
        "choices": [
            {"epoch": epoch, "trials": one.trials, "ratio": one.ratios / one.trials, "metrics": dict(one.metrics)}
            for epoch, one in sorted(stage.choices.items())
            if one.trials
        ],
        "seconds": {"train": stage.train_s, "select": stage.select_s, "evaluate": stage.eval_s},
        "failures": [
            {"reason": one.reason, "trials": one.trials, "first": one.first, "last": one.last}
            for one in failures(stage.trials.values())[:MOST_FAILURES]
        ],
        "curves": [_learning(trial) for trial in _drawn(stage)],
        "trials": [_row(trial) for trial in stage.trials.values() if trial.version > since],
    }


def _row(trial: TrialView) -> dict[str, Any]:
    last, scored = (trial.reports[-1] if trial.reports else None), trial.scored
    return {
        "trial": trial.trial,
        "status": trial.status,
        "reason": trial.reason,
        "config": dict(trial.config),
        "epoch": last.epoch if last else 0,
        "epochs": trial.epochs,
        "samples": last.samples if last else 0,
        "rung": trial.rung,
        "score": scored.score if scored else None,
        "scored_at": scored.epoch if scored else 0,
        "accuracy": scored.accuracy if scored else None,
        "r2": scored.r2 if scored else None,
        "ratio": last.ratio if last else None,
        "metric": last.metric if last else None,
    }


def _drawn(stage: StageDigest) -> list[TrialView]:
    """Return the trials whose curves are drawn: the best, and the latest of those that run."""
    running = [trial for trial in stage.trials.values() if trial.status == "running" and trial.reports]
    chosen = {trial.trial: trial for trial in (*stage.leaders(LEADERS), *running[-RUNNERS:])}
    return list(chosen.values())


def _learning(trial: TrialView) -> dict[str, Any]:
    points = [(one.samples, one.score) for one in trial.reports if one.score is not None]
    return {
        "trial": trial.trial,
        "status": trial.status,
        "samples": [samples for samples, _ in points],
        "scores": [score for _, score in points],
    }


def _kind(run: RunDigest) -> str:
    if isinstance(run.info, FitInfo):
        return "fit"
    return "nas" if isinstance(run.info, NasInfo) else "study" if "correlation" in run.settings() else "search"


def _best(stage: StageDigest | None) -> dict[str, Any] | None:
    if stage is None or (point := stage.incumbent) is None:
        return None
    return {"stage": stage.stage, "trial": point.trial, "epoch": point.epoch, "score": point.score}


def _candidate(run: RunDigest) -> dict[str, Any] | None:
    if not run.candidates:
        return None
    best = run.candidates[-1]
    return {"cell": best.cell, "score": best.score, "judged": best.judged}


def _curve(run: RunDigest, stage: StageDigest | None) -> dict[str, Any]:
    """Return best so far over what it cost: samples of a search, judgements of an architecture search.

    Scores at different epochs do not compare: ``epochs`` says at which each point was measured.
    """
    if run.candidates:
        found = run.candidates
        ends = [*found, found[-1]]
        return {
            "stage": None,
            "over": "cells judged",
            "score": "accuracy",
            "x": [*(one.judged for one in found), run.judged],
            "y": [one.score for one in ends],
            "epochs": [None] * len(ends),
            "trials": [one.cell for one in ends],
            "seconds": [None] * len(ends),
        }
    points = stage.best.curve() if stage else ()
    points = (
        points[:: max(1, -(-len(points) // MOST_POINTS))] + points[-1:] if len(points) > MOST_POINTS else points
    )
    return {
        "stage": stage.stage if stage else None,
        "over": "samples",
        "score": stage.score if stage else None,
        "x": [one.samples for one in points],
        "y": [one.score for one in points],
        "epochs": [one.epoch for one in points],
        "trials": [one.trial for one in points],
        "seconds": [one.seconds for one in points],
    }


def _plan(run: RunDigest, stage: StageDigest | None) -> dict[str, Any]:
    """Return what the stage may use at most; what nobody wrote down is None."""
    if stage is None:
        return {"trials": None, "samples": None, "seconds": None}
    if stage.plan is not None:
        return {"trials": stage.plan.trials, "samples": stage.plan.samples, "seconds": stage.plan.seconds}
    info = run.info
    planned = info.stages.get(stage.stage) if isinstance(info, RunInfo) else None
    trials = info.trials if isinstance(info, RunInfo) and stage.stage.startswith("search") else None
    return {"trials": trials, "samples": planned.planned_samples if planned else None, "seconds": None}


def _left(run: RunDigest, stage: StageDigest) -> float | None:
    """Return seconds to go at the pace so far, None where the run does not run or nothing tells.

    Done is the largest of three shares: of the trials that ended, of the samples, of the time.
    """
    plan, counts = _plan(run, stage), stage.counts
    ended = len(stage.trials) - counts["running"] - counts["waiting"]
    shares = [
        done / most
        for done, most in (
            (ended, plan["trials"]),
            (stage.best.total, plan["samples"]),
            (stage.last_s, plan["seconds"]),
        )
        if most
    ]
    share = min(1.0, max(shares, default=0.0))
    return stage.last_s * (1.0 - share) / share if share and run.state == "running" else None


def _facts(run: RunDigest) -> dict[str, Any]:
    """Return what was asked: the data, the model, how rows and configurations are chosen."""
    info = run.info
    if info is None:
        return {}
    data = {
        "data": info.dataset,
        "source": info.dataset_source,
        "note": info.dataset_note,
        "rows": info.n_train,
    }
    if isinstance(info, FitInfo):
        return {**data, **{name: getattr(info, name) for name in ("seed", "device", "started", "command")}}
    common = {
        **data,
        "selector": info.selector,
        "metric": info.metric,
        "ratio": info.ratio,
        "seed": info.seed,
        "device": info.device,
        "started": info.started,
        "command": info.command,
    }
    if isinstance(info, NasInfo):
        return {**common, "model": info.space, "search": info.algo, "scheduler": "", "epochs": None}
    return {
        **common,
        "model": info.model,
        "search": info.search,
        "scheduler": info.scheduler,
        "epochs": info.epochs,
        "schedule": info.schedule,
        "first_epoch": info.first_epoch,
    }


def _result(info: RunInfo | NasInfo | FitInfo | None) -> dict[str, Any] | None:
    """Return what the run came to, None before its end."""
    if isinstance(info, NasInfo) and info.cell is not None:
        return {"cell": info.cell, "score": info.score}
    if isinstance(info, RunInfo) and info.result is not None:
        found = info.result
        return {
            "config": dict(found.best_config),
            "val_accuracy": found.val_accuracy,
            "test_accuracy": found.test_accuracy,
            "val_r2": found.val_r2,
            "test_r2": found.test_r2,
            "val_rmse": found.val_rmse,
            "test_rmse": found.test_rmse,
        }
    return None
