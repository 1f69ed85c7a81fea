"""A fit of SubSelNet as plain JSON types: a row for each stage, with what is done of it."""

from __future__ import annotations

from typing import Any

from raysubset.dashboard.run import FIT_STAGES, RunDigest
from raysubset.report.fit_info import FitInfo
from raysubset.report.fit_progress import StageProgress


def fit_rows(run: RunDigest) -> list[dict[str, Any]]:
    """Return the stages in the order in which they run; those of a fit that are still to come too.

    Each has ``status``: "done", "running", "failed" (the run ended in it; ``reason`` says why), "unfinished" (its
    driver is gone) or "to come"; ``done`` of ``pieces`` cells or trainings, ``seconds`` of work on them, what was
    done ``last`` and its accuracy ``score``, and seconds ``left_s`` at the pace so far. Empty for other runs.

    Stages of a fit by an earlier version, which told no progress, are known once they are finished.
    """
    if not isinstance(run.info, FitInfo):
        return []
    rows = [_row(stage, run.state == "running") for stage in run.fit.values()]
    order = {name: place for place, name in enumerate(FIT_STAGES)}
    kept = {name: facts for name, facts in run.info.stages.items() if name not in run.fit}
    rows += [_kept(name, facts.get("seconds", 0.0)) for name, facts in kept.items()]
    if run.fit:
        missing = [name for name in FIT_STAGES if name not in (*run.fit, *kept)]
        rows += [_plain(StageProgress(name, 0), "to come") for name in missing]
    return sorted(rows, key=lambda row: order.get(row["stage"], len(order)))


def _kept(name: str, seconds: float) -> dict[str, Any]:
    return _plain(StageProgress(name, 1, 1, seconds), "done")


def _row(stage: StageProgress, runs: bool) -> dict[str, Any]:
    if stage.ended:
        return _plain(stage, "done")
    return _plain(stage, "failed" if stage.reason else "running" if runs else "unfinished")


def _plain(stage: StageProgress, status: str) -> dict[str, Any]:
    left = None
    if status == "running" and stage.pace_s is not None:
        left = stage.pace_s * (stage.pieces - stage.done)
    return {
        "stage": stage.stage,
        "status": status,
        "pieces": stage.pieces,
        "done": stage.done,
        "seconds": stage.seconds,
        "last": stage.last,
        "score": stage.score,
        "left_s": left,
        "reason": stage.reason,
    }
