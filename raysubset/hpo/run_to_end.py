"""No halving: every trial is trained to its end, and judged at the rungs only so that others can learn from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from raysubset.errors import SchedulerError
from raysubset.hpo.history import History
from raysubset.hpo.scheduler import Verdict


@dataclass(slots=True)
class RunToEnd:
    """The scheduler that stops nobody.

    Attributes:
        rungs: How many, >= 1; 1 judges trials at their end only.
    """

    rungs: int
    pauses: bool = field(default=False, init=False)

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
        raise SchedulerError(f"Trial {trial!r} cannot be promoted: without halving no trial is paused.")

    def judge(self, trial: str, rung: int, loss: float) -> Verdict:
        """Let a trial go on to its end."""
        return Verdict.CONTINUE if rung < self.rungs - 1 else Verdict.STOP

    def withdraw(self, trial: str) -> None:
        """Change nothing."""

    def close(self) -> None:
        """Change nothing: nobody waits."""

    def rewind(self, trial: str, rung: int) -> None:
        """Change nothing: nothing was kept."""
