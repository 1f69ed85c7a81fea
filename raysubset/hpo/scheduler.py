"""What a multi-fidelity scheduler is: the rule that decides which trial goes on, driven by events alone.

A scheduler knows neither clock nor cluster nor randomness of its own. Two of its methods decide and change nothing
(`opening`, `promotable`); the others take in what has happened. Fed the same events in the same order it is in the
same state, which is all that persistence needs: the journal of events is the state.

Trials are judged at rungs 0..K, K being a whole training. Ties between losses go to the trial that arrived first.
A failed trial counts as a loss of inf.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from raysubset.hpo.history import History


class Verdict(StrEnum):
    """What becomes of a trial that has reported."""

    CONTINUE = "continue"
    PAUSE = "pause"  # its worker is free; `promotable` may name it later
    STOP = "stop"  # for good


class Scheduler(Protocol):
    """Decides which trials start, go on, wait and end."""

    @property
    def pauses(self) -> bool:
        """True if trials may be paused and promoted later; False if they only continue or stop."""
        ...

    def opening(self, history: History) -> int | None:
        """Return the bracket (its lowest rung) that a new trial would join, or None if none may start yet.

        None only while some trial runs or can be promoted: a search must not come to a standstill.

        Decides only; the same until the next event. Cost: O(1) but for Hyper-Tune.
        """
        ...

    def start(self, trial: str, bracket: int) -> int:
        """Take in a new trial; returns the rung it trains to first."""
        ...

    def promotable(self) -> str | None:
        """Return the paused trial that should go on next, or None. Decides only; the same until the next event."""
        ...

    def promote(self, trial: str) -> int:
        """Take in that a paused trial goes on; returns the rung it trains to next."""
        ...

    def judge(self, trial: str, rung: int, loss: float) -> Verdict:
        """Take in a running trial's loss at a rung; a report may have passed several, then it is the highest.

        Judged again at a rung, or below one at which it was judged, a trial continues and nothing changes.
        """
        ...

    def withdraw(self, trial: str) -> None:
        """Take in that a running or paused trial is gone without a loss: it failed, or the budget ended it."""
        ...

    def close(self) -> None:
        """Take in that no more trials will start: a bracket that waits for more goes on with those it has."""
        ...

    def rewind(self, trial: str, rung: int) -> None:
        """Take back a trial's judgements at ``rung`` and above: after a fault it runs to that rung again.

        ``rung`` is one of its bracket's, and at most the one it heads for, or at which it was judged last. It
        keeps its place in the order of arrival, so that the same losses give the same decisions.
        """
        ...
