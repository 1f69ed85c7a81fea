"""Warm start: what an earlier search found, as the history that a new one begins with.

A loss is of use only at the fidelity at which the new search judges. Fidelities are compared as shares of a whole
training: the caller sees to it that a whole training means the same in both (model, data, plan and score).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from raysubset.errors import SearchSpaceError
from raysubset.hpo.history import History, Point
from raysubset.hpo.space import Space, in_space
from raysubset.types import TrialRecord

TOLERANCE = 0.05  # relative difference of two shares that count as one fidelity


@dataclass(frozen=True, slots=True)
class Result:
    """What a trial of an earlier search had come to at one moment.

    Attributes:
        trial: Its name.
        point: Its configuration.
        share: Samples it had consumed, as a share of a whole training, in (0, 1]; 0 if it failed at once.
        loss: Its validation score, smaller is better; None where it was not judged.
        failed: It ended here without a loss.
    """

    trial: str
    point: Point
    share: float
    loss: float | None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A history, and what it could not take in.

    Attributes:
        history: Trials are called "earlier/<name>".
        trials: How many it has.
        outside: Trials left out because the new space does not contain their configuration.
        unmatched: Losses left out because the new search judges at none of their fidelities.
    """

    history: History
    trials: int
    outside: int
    unmatched: int


def results_of(records: Iterable[TrialRecord], score: Literal["loss", "accuracy"]) -> list[Result]:
    """Return the results of a search's records.

    Args:
        records: Lines of records.jsonl; stages other than "search" are passed over.
        score: What both searches compare: the validation loss, or 1 - the validation accuracy.

    Raises:
        SearchSpaceError: No trial of the search was trained to its end, so nobody knows what a whole training is.
    """
    rows = [record for record in records if record.stage == "search"]
    whole = max((row.samples_consumed for row in rows if row.epoch == row.epochs), default=0)
    if whole == 0:
        raise SearchSpaceError(
            f"The earlier search has {len(rows)} records, but trained no trial to its end: its fidelities have "
            "nothing to be compared with."
        )
    return [
        Result(row.trial, row.config, row.samples_consumed / whole, _score(row, score), row.status == "failed")
        for row in rows
    ]


def _score(row: TrialRecord, score: Literal["loss", "accuracy"]) -> float | None:
    if score == "accuracy":
        return None if row.val_accuracy is None else 1.0 - row.val_accuracy
    return row.val_loss


def history_from(results: Iterable[Result], space: Space, shares: Sequence[float]) -> WarmStart:
    """Return the history that a new search begins with.

    A loss counts at the rung whose share is within 5 % of its own (of several losses of a trial, the nearest, the
    first on ties); a failed trial at the rung it was heading for.

    Args:
        results: Of an earlier search.
        space: Of the new one.
        shares: Where the new search judges: samples consumed by the end of the epoch that reaches each rung, as
            shares of a whole training, ascending; the last is 1.

    Raises:
        SearchSpaceError: Nothing is left.
    """
    by_trial: dict[str, list[Result]] = {}
    for result in results:
        by_trial.setdefault(result.trial, []).append(result)
    history = History(len(shares))
    outside = unmatched = 0
    for trial, own in by_trial.items():
        if not in_space(space, own[-1].point):
            outside += 1
            continue
        losses, strange = _judged(own, shares)
        unmatched += strange
        name = f"earlier/{trial}"
        if losses:
            history.points[name] = own[-1].point
        for rung, loss in losses.items():
            history.observe(name, rung, loss)
        if losses and any(result.failed for result in own):
            history.failed.add(name)
    if not history.points:
        points = [own[-1].point for own in by_trial.values()]
        raise SearchSpaceError(_nothing_left(points, outside, unmatched, space, shares))
    return WarmStart(history, len(history.points), outside, unmatched)


def _judged(results: Sequence[Result], shares: Sequence[float]) -> tuple[dict[int, float], int]:
    """Return rung -> loss of one trial, and how many of its losses are of other fidelities."""
    nearest: dict[int, tuple[float, float]] = {}  # rung -> (distance, loss)
    unmatched = 0
    for result in results:
        if result.failed:
            heading = next((k for k, share in enumerate(shares) if share > result.share), len(shares) - 1)
            nearest.setdefault(heading, (0.0, math.inf))
        elif result.loss is not None:
            distance, rung = min((abs(result.share / share - 1), k) for k, share in enumerate(shares))
            unmatched += distance > TOLERANCE
            if distance <= TOLERANCE and (rung not in nearest or distance < nearest[rung][0]):
                nearest[rung] = (distance, result.loss)
    return {rung: loss for rung, (_, loss) in sorted(nearest.items())}, unmatched


def _nothing_left(
    points: Sequence[Point], outside: int, unmatched: int, space: Space, shares: Sequence[float]
) -> str:
    first, levels = dict(next(iter(points), {})), ", ".join(f"{share:.3g}" for share in shares)
    return (
        f"The earlier search has nothing for this one. {outside} of its {len(points)} configurations lie outside "
        f"the space of {', '.join(space)}; its first is {first!r}. {unmatched} of the others' losses are of other "
        f"fidelities than {levels} of a training."
    )
