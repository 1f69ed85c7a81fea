"""What rules that stop trials have in common: at each rung a trial goes on or ends; none is ever paused.

Hence no checkpoint is needed to go on. The price is that early trials are judged by few.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from raysubset.errors import SchedulerError
from raysubset.hpo.history import History
from raysubset.hpo.scheduler import Verdict


@dataclass(slots=True)
class StoppingRule(ABC):
    """A scheduler (`hpo.scheduler.Scheduler`) that asks `keeps` at each rung.

    Attributes:
        rungs: How many, >= 1; who reaches the last has come to its end.
        losses: For each rung, trial -> loss, in order of arrival; what is not finite became inf.
    """

    rungs: int
    losses: list[dict[str, float]] = field(init=False)
    _ordered: list[list[float]] = field(init=False)
    _arrivals: list[dict[str, int]] = field(init=False)
    _started: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.losses = [{} for _ in range(self.rungs)]
        self._ordered = [[] for _ in range(self.rungs)]
        self._arrivals = [{} for _ in range(self.rungs)]
        self._started = set()

    @abstractmethod
    def keeps(self, rung: int, loss: float, earlier: Sequence[float]) -> bool:
        """Say whether a trial goes on.

        Args:
            rung: Where it is judged, below the last.
            loss: Its loss there, finite or inf.
            earlier: Losses of the trials judged there before it, ascending, maybe none.
        """
        ...

    @property
    def pauses(self) -> bool:
        """False: trials go on or stop."""
        return False

    def opening(self, history: History) -> int:
        """Return the only bracket."""
        return 0

    def start(self, trial: str, bracket: int) -> int:
        """Let every trial head for the lowest rung."""
        if trial in self._started:
            raise SchedulerError(f"Trial id {trial!r} is given twice; every trial needs its own.")
        self._started.add(trial)
        return 0

    def promotable(self) -> None:
        """Name nobody: no trial is ever paused."""
        return None

    def promote(self, trial: str) -> int:
        """Refuse: no trial is ever paused."""
        raise SchedulerError(f"Trial {trial!r} cannot be promoted: {type(self).__name__} pauses no trial.")

    def judge(self, trial: str, rung: int, loss: float) -> Verdict:
        """Let the trial go on if the rule keeps it.

        Cost: O(log n) comparisons and a move of 8 n bytes; O(n log n) for one that comes again after a fault.
        """
        self._check_known(trial)
        if any(trial in judged for judged in self.losses[rung:]):
            return Verdict.CONTINUE
        loss = loss if math.isfinite(loss) else math.inf
        goes_on = rung < self.rungs - 1 and self.keeps(rung, loss, self._earlier(trial, rung))
        self.losses[rung][trial] = loss
        insort(self._ordered[rung], loss)
        return Verdict.CONTINUE if goes_on else Verdict.STOP

    def _earlier(self, trial: str, rung: int) -> Sequence[float]:
        """Return the losses of those that arrived before a trial; one that comes again keeps its place."""
        arrivals = self._arrivals[rung]
        place = arrivals.setdefault(trial, len(arrivals))
        if place == len(arrivals) - 1:
            return self._ordered[rung]
        return sorted(loss for other, loss in self.losses[rung].items() if arrivals[other] < place)

    def withdraw(self, trial: str) -> None:
        """Leave what was judged."""
        self._check_known(trial)

    def close(self) -> None:  # noqa: B027 - not abstract: nobody waits under any such rule
        """Change nothing: nobody waits."""

    def rewind(self, trial: str, rung: int) -> None:
        """Take back what was judged of a trial from ``rung`` on."""
        self._check_known(trial)
        for judged, ordered in zip(self.losses[rung:], self._ordered[rung:], strict=True):
            if (loss := judged.pop(trial, None)) is not None:
                del ordered[bisect_left(ordered, loss)]

    def _check_known(self, trial: str) -> None:
        if trial not in self._started:
            raise SchedulerError(f"Trial {trial!r} was never started; {len(self._started)} others were.")
