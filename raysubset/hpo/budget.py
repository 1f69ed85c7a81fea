"""How much a search may spend, counted in samples."""

from __future__ import annotations

from dataclasses import dataclass, field

from raysubset.errors import BudgetError


@dataclass(slots=True)
class SampleLedger:
    """What a search has spent and has promised to spend.

    A trial is admitted while spent + committed < budget; committed is what the live trials still need to their
    next rung. Running trials are never cut, so a search overshoots by at most the open commitments.

    Attributes:
        budget: Samples the search may spend.
        spent: trial -> samples consumed.
        committed: live trial -> samples to its next rung.
    """

    budget: float
    spent: dict[str, int] = field(default_factory=dict)
    committed: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Samples spent so far, over all trials."""
        return sum(self.spent.values())

    def admits(self) -> bool:
        """True while another trial may start."""
        return self.total + sum(self.committed.values()) < self.budget

    def update(self, trial: str, samples_consumed: int, next_level: float | None) -> None:
        """Note where a trial stands, and the level it is heading for (None when it has ended)."""
        self.spent[trial] = max(samples_consumed, self.spent.get(trial, 0))
        if next_level is None:
            self.committed.pop(trial, None)
        else:
            self.committed[trial] = max(0.0, next_level - samples_consumed)


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
