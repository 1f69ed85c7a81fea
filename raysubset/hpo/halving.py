"""Asynchronous successive halving, stopping type: a pure core without clock, cluster or randomness.

When a trial reaches a rung, its loss is compared with those already there: it goes on if it is not worse than
the best 1/eta quantile of them, else it stops for good. The first trial at a rung always goes on. No trial is ever
paused, so no checkpoint is needed; the price is that early trials are judged by few.

References:
    [1] Li et al., 2020, "A system for massively parallel hyperparameter tuning", arXiv:1810.05934.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import dataclass, field

from raysubset.errors import SchedulerError
from raysubset.hpo.history import History
from raysubset.hpo.rungs import Rungs, check_eta
from raysubset.hpo.scheduler import Verdict


@dataclass(slots=True)
class StoppingHalving:
    """Asynchronous halving that never pauses.

    Attributes:
        rungs: How many, >= 1.
        eta: Reduction factor, >= 2.
        losses: For each rung, trial -> loss.
    """

    rungs: int
    eta: int = 3
    losses: list[dict[str, float]] = field(init=False)
    _sorted: list[list[float]] = field(init=False)

    def __post_init__(self) -> None:
        check_eta(self.eta)
        self.losses = [{} for _ in range(self.rungs)]
        self._sorted = [[] for _ in range(self.rungs)]

    @property
    def pauses(self) -> bool:
        """False: trials go on or stop."""
        return False

    def opening(self, history: History) -> int:
        """Return the only bracket."""
        return 0

    def start(self, trial: str, bracket: int) -> int:
        """Let every trial head for the lowest rung."""
        return 0

    def promotable(self) -> None:
        """Name nobody: no trial is ever paused."""

    def promote(self, trial: str) -> int:
        """Refuse: no trial is ever paused."""
        raise SchedulerError(f"Trial {trial!r} cannot be promoted: halving of the stopping type pauses no trial.")

    def judge(self, trial: str, rung: int, loss: float) -> Verdict:
        """Let a trial go on if it is not worse than the best 1/eta of those judged before. Cost: O(log n)."""
        if any(trial in judged for judged in self.losses[rung:]):
            return Verdict.CONTINUE
        earlier = self._sorted[rung]
        loss = math.inf if math.isnan(loss) else loss
        keeps = not earlier or loss <= _quantile(earlier, 1 / self.eta)
        self.losses[rung][trial] = loss
        insort(earlier, loss)
        return Verdict.CONTINUE if keeps and rung < self.rungs - 1 else Verdict.STOP

    def withdraw(self, trial: str) -> None:
        """Leave what was judged."""

    def close(self) -> None:
        """Change nothing: nobody waits."""

    def rewind(self, trial: str, rung: int) -> None:
        """Take back what was judged of a trial from ``rung`` on."""
        for judged, ordered in zip(self.losses[rung:], self._sorted[rung:], strict=True):
            if (loss := judged.pop(trial, None)) is not None:
                del ordered[bisect_left(ordered, loss)]


def expected_samples(rungs: Rungs, trials: int, eta: int) -> float:
    """Return the samples that a search is expected to consume if losses are exchangeable.

    A trial that arrives when i losses are at its rung is not worse than their 1/eta quantile with probability
    (1 + (i - 1) / eta) / (i + 1), and 1 for i = 0: more than 1/eta while few have arrived, which is why a search
    of 16 trials costs a third more than synchronous halving would.
    """
    total, previous, alive = 0.0, 0.0, float(trials)
    for level in rungs.levels:
        total += alive * (level - previous)
        previous, alive = level, _expected_survivors(alive, eta)
    return total


def _expected_survivors(arrivals: float, eta: int) -> float:
    whole = math.floor(arrivals)
    passing = [1.0] + [(1 + (i - 1) / eta) / (i + 1) for i in range(1, whole + 1)]
    return sum(passing[:whole]) + (arrivals - whole) * passing[whole]


def _quantile(ordered: list[float], share: float) -> float:
    """Linear quantile of sorted losses that survives infinities (numpy's would make inf - inf = NaN)."""
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    below, above = ordered[low], ordered[min(low + 1, len(ordered) - 1)]
    if position == low or above == below:
        return below
    return below + (above - below) * (position - low)
