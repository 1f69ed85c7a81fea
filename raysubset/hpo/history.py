"""History: what a search has tried and what came of it, each result with its fidelity.

A configuration is known at the rungs it reached, and a loss means something only beside others of its rung: a
third of the training makes every configuration look worse. Proposers read a history and nothing else, so that a
search that is read back from its journal proposes what the uninterrupted one would have proposed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from raysubset.hpo.space import Value

Point = Mapping[str, Value]


@dataclass(slots=True)
class History:
    """Points and losses of one search, and of the earlier ones it starts from.

    Attributes:
        rungs: Number of rungs, >= 1; the last is a whole training.
        points: trial -> configuration, in order of their start.
        losses: For each rung, trial -> loss (smaller is better, inf for a failed trial), in order of arrival.
        failed: Trials that ended without a loss at some rung they were heading for.
    """

    rungs: int
    points: dict[str, Point] = field(default_factory=dict)
    losses: list[dict[str, float]] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.losses = self.losses or [{} for _ in range(self.rungs)]

    def observe(self, trial: str, rung: int, loss: float) -> None:
        """Note a loss; NaN is as bad as inf."""
        self.losses[rung][trial] = math.inf if math.isnan(loss) else loss

    def forget(self, trial: str, rung: int = 0) -> None:
        """Take back what was observed of a trial from ``rung`` on: it will train that part again."""
        for losses in self.losses[rung:]:
            losses.pop(trial, None)

    def informed_rung(self, least: int) -> int | None:
        """Return the highest rung with at least ``least`` losses, None if there is none."""
        return next((k for k in reversed(range(self.rungs)) if len(self.losses[k]) >= least), None)

    def at(self, rung: int) -> tuple[list[Point], list[float]]:
        """Return the points judged at a rung and their losses, in order of arrival."""
        losses = self.losses[rung]
        return [self.points[trial] for trial in losses], list(losses.values())

    def pending(self) -> list[Point]:
        """Return the points of trials that have no loss yet and have not failed."""
        judged = set().union(*self.losses) | self.failed
        return [point for trial, point in self.points.items() if trial not in judged]
