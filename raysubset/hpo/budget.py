"""How much a search may spend, counted in samples and, if asked, in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from raysubset.errors import BudgetError


@dataclass(slots=True)
class Ledger:
    """What a search has spent and has promised to spend.

    A job (a trial on its way to a rung) is admitted while spent + committed < samples and the time is not up;
    committed is what the running trials still need to reach their rungs. Once the samples are spent or the time is
    up, running trials end with the epoch they are in: a search overshoots by at most one epoch a worker.

    Attributes:
        samples: Samples the search may spend.
        seconds: Wall seconds it may take.
        elapsed_s: The last time heard of.
        spent: trial -> samples consumed.
        committed: running trial -> samples to its next rung.
        total, promised: Their sums.
    """

    samples: float = math.inf
    seconds: float = math.inf
    elapsed_s: float = 0.0
    spent: dict[str, int] = field(default_factory=dict)
    committed: dict[str, float] = field(default_factory=dict)
    total: int = 0
    promised: float = 0.0

    @property
    def exhausted(self) -> bool:
        """True once nothing may be trained any more."""
        return self.total >= self.samples or self.elapsed_s >= self.seconds

    def admits(self) -> bool:
        """True while another job may start."""
        return not self.exhausted and self.total + self.promised < self.samples

    def update(self, trial: str, samples_consumed: int, next_level: float | None) -> None:
        """Note where a trial stands, and the level it is heading for (None when it does not run)."""
        before = self.spent.get(trial, 0)
        self.spent[trial] = max(samples_consumed, before)
        self.total += self.spent[trial] - before
        self.promised -= self.committed.pop(trial, 0.0)
        if next_level is not None:
            self.committed[trial] = max(0.0, next_level - samples_consumed)
            self.promised += self.committed[trial]
        if not self.committed:
            self.promised = 0.0  # and not what roundings left of it

    def tick(self, elapsed_s: float) -> None:
        """Note the time; it never goes back."""
        self.elapsed_s = max(self.elapsed_s, elapsed_s)


def sample_budget(full_epochs: float, ratio: float, n: int, first_level: float) -> float:
    """Return the budget of a search at ``ratio`` that is to cost that share of its full-data twin.

    Args:
        full_epochs: Epochs over all n rows that the full-data search may spend.
        ratio: r of the plan.
        n: Rows of the pool.
        first_level: Samples of one trial up to its first rung.

    Raises:
        BudgetError: Not even one trial would reach its first rung.
    """
    budget = ratio * full_epochs * n
    if budget < first_level:
        raise BudgetError(
            f"A budget of {full_epochs:g} full epochs at ratio {ratio:g} is {budget:,.0f} samples; one trial "
            f"needs {first_level:,.0f} to be judged once. Raise the budget or the ratio."
        )
    return budget


def time_budget(full_seconds: float, ratio: float) -> float:
    """Return the seconds of a search at ``ratio`` whose full-data twin may take ``full_seconds``."""
    return ratio * full_seconds
