"""What became of each trial: its last word, its rank, the rungs it reached, the rows its epochs used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysubset.types import TrialRecord


def score_of(record: TrialRecord, score: str) -> float | None:
    """Return the report's validation loss or accuracy (``score``), None when not measured or not finite."""
    value = record.val_loss if score == "loss" else record.val_accuracy
    return value if value is not None and math.isfinite(value) else None


def is_better(value: float, than: float, score: str) -> bool:
    """Lower losses and higher accuracies are better; equals are not."""
    return value < than if score == "loss" else value > than


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """One trial after its last report.

    Attributes:
        trial, config, status, reason: As in its last record.
        epochs: Epochs finished.
        samples: Samples consumed.
        seconds: Training, selection and evaluation together.
        score: Its last measured score, None if never evaluated.
        score_epoch: The epoch of that score, 0 if never evaluated.
        val_loss, val_accuracy: Of that same report.
        rung: Highest rung reached, None without rungs.
        val_rmse, val_r2: Of that same report, in a regression.
    """

    trial: str
    config: Mapping[str, Any]
    status: str
    reason: str
    epochs: int
    samples: int
    seconds: float
    score: float | None
    score_epoch: int
    val_loss: float | None
    val_accuracy: float | None
    rung: int | None
    val_rmse: float | None = None
    val_r2: float | None = None


def by_trial(records: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """Group the records of one stage by trial, each trial in order of epochs."""
    groups: dict[str, list[TrialRecord]] = {}
    for record in sorted(records, key=lambda r: r.epoch):
        groups.setdefault(record.trial, []).append(record)
    return groups


def outcomes(records: Iterable[TrialRecord], score: str) -> tuple[TrialOutcome, ...]:
    """Return one outcome per trial of a stage, best first.

    Order: trials whose score comes from a later epoch first (scores of different epochs do not compare), then
    the better score, then the trial's id. Failed and never evaluated trials come last.
    """
    sign = 1.0 if score == "loss" else -1.0

    def rank(outcome: TrialOutcome) -> tuple[bool, int, float, str]:
        lost = outcome.status == "failed" or outcome.score is None
        return lost, -outcome.score_epoch, sign * (outcome.score or 0.0), outcome.trial

    return tuple(sorted((_outcome(rows, score) for rows in by_trial(records).values()), key=rank))


def _outcome(rows: Sequence[TrialRecord], score: str) -> TrialOutcome:
    last = rows[-1]
    scored = next((row for row in reversed(rows) if score_of(row, score) is not None), None)
    return TrialOutcome(
        trial=last.trial,
        config=last.config,
        status=last.status,
        reason=last.reason,
        epochs=last.epoch,
        samples=max(row.samples_consumed for row in rows),
        seconds=sum(row.train_s + row.select_s + row.eval_s for row in rows),
        score=score_of(scored, score) if scored else None,
        score_epoch=scored.epoch if scored else 0,
        val_loss=scored.val_loss if scored else None,
        val_accuracy=scored.val_accuracy if scored else None,
        rung=max((row.rung for row in rows if row.rung is not None), default=None),
        val_rmse=scored.val_rmse if scored else None,
        val_r2=scored.val_r2 if scored else None,
    )


@dataclass(frozen=True, slots=True)
class RungCount:
    """How many trials came to one rung, and how many left there.

    Attributes:
        rung: Lowest is 0.
        epoch: Earliest epoch at which a trial reported at this rung; None if it was only passed through.
        reached: Trials that reported at this rung or a higher one.
        stopped: Trials the scheduler stopped with this as their highest rung.
        failed: Trials that failed with this as their highest rung.
    """

    rung: int
    epoch: int | None
    reached: int
    stopped: int
    failed: int


def rung_counts(records: Sequence[TrialRecord], trials: Sequence[TrialOutcome]) -> tuple[RungCount, ...]:
    """Count trials by rung, lowest first; empty when no report names a rung."""
    highest = [(trial.rung, trial.status) for trial in trials if trial.rung is not None]
    epochs: dict[int, int] = {}
    for record in records:
        if record.rung is not None:
            epochs[record.rung] = min(record.epoch, epochs.get(record.rung, record.epoch))
    return tuple(
        RungCount(
            rung=rung,
            epoch=epochs.get(rung),
            reached=sum(top >= rung for top, _ in highest),
            stopped=highest.count((rung, "stopped")),
            failed=highest.count((rung, "failed")),
        )
        for rung in range(max(epochs, default=-1) + 1)
    )


@dataclass(frozen=True, slots=True)
class EpochMix:
    """What the trials that finished one epoch trained on.

    Attributes:
        epoch: First is 1.
        ratio_mean, ratio_low, ratio_high: Mean, least and greatest share of the pool used.
        metrics: What chose the rows -> number of trials.
    """

    epoch: int
    ratio_mean: float
    ratio_low: float
    ratio_high: float
    metrics: Mapping[str, int]


def epoch_mix(records: Iterable[TrialRecord]) -> tuple[EpochMix, ...]:
    """Return the subset ratios and the metrics used at each epoch, first epoch first.

    An epoch that failed chose nothing and is left out.
    """
    groups: dict[int, list[TrialRecord]] = {}
    for record in records:
        if record.metric_used != "none":
            groups.setdefault(record.epoch, []).append(record)
    return tuple(_mix(epoch, rows) for epoch, rows in sorted(groups.items()))


def _mix(epoch: int, rows: Sequence[TrialRecord]) -> EpochMix:
    ratios = [row.ratio for row in rows]
    used = Counter(row.metric_used for row in rows)
    return EpochMix(epoch, math.fsum(ratios) / len(ratios), min(ratios), max(ratios), used)
