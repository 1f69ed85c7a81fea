"""Which trials of a stage are best: judged furthest first, then by score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from raysubset.types import TrialRecord


@dataclass(frozen=True, slots=True)
class RankedTrial:
    """A trial's last validation result.

    Attributes:
        trial: Its id in the stage.
        config: Its point in the search space.
        epoch: Where it was judged.
        samples_consumed: What it had consumed there.
        val_loss: What was found there.
        val_accuracy: Beside it; nan in a regression.
        val_rmse, val_r2: The same of a regression; nan for classes, val_r2 where all targets are equal.
    """

    trial: str
    config: Mapping[str, Any]
    epoch: int
    samples_consumed: int
    val_loss: float
    val_accuracy: float
    val_rmse: float = math.nan
    val_r2: float = math.nan


def rank_trials(rows: Iterable[TrialRecord], score: str) -> tuple[RankedTrial, ...]:
    """Return the judged trials of one stage, best first.

    A score is compared only with scores of the same epoch: trials judged further along come first, and among those
    of one epoch the score decides. Samples are no yardstick here: a selector may itself decide how many rows it
    leaves out (InfoBatch), and a model that fits well leaves out more. Failed trials and trials never judged are
    left out.

    Args:
        rows: Records of one stage.
        score: "loss" or "accuracy".
    """
    last: dict[str, TrialRecord] = {}
    failed: set[str] = set()
    for row in rows:
        if row.status == "failed":
            failed.add(row.trial)
        elif row.val_loss is not None:
            last[row.trial] = row
    judged = [_ranked(row) for row in last.values() if row.trial not in failed]
    return tuple(sorted(judged, key=lambda t: (-t.epoch, _badness(t, score), t.trial)))


def _ranked(row: TrialRecord) -> RankedTrial:
    measured = (row.val_loss, row.val_accuracy, row.val_rmse, row.val_r2)
    scores = (math.nan if value is None else value for value in measured)
    return RankedTrial(row.trial, row.config, row.epoch, row.samples_consumed, *scores)


def _badness(trial: RankedTrial, score: str) -> float:
    value = trial.val_loss if score == "loss" else -trial.val_accuracy
    return value if math.isfinite(value) else math.inf
