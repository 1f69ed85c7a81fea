"""Asynchronous successive halving, stopping type: a pure core without clock, cluster or randomness.

When a trial reaches a rung, its loss is compared with those already there: it goes on if it is not worse than
the best 1/eta quantile of them, else it stops for good. The first trial at a rung always goes on. No trial is ever
paused, so no checkpoint is needed; the price is that early trials are judged by few.

References:
    [1] Li et al., 2020, "A system for massively parallel hyperparameter tuning", arXiv:1810.05934.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from raysubset.hpo.rungs import Rungs, check_eta
from raysubset.hpo.stopping import StoppingRule


@dataclass(slots=True)
class StoppingHalving(StoppingRule):
    """Asynchronous halving that never pauses.

    Attributes:
        rungs: How many, >= 1.
        eta: Reduction factor, >= 2.
        losses: For each rung, trial -> loss.

    Raises:
        OptionsError: eta below 2.
    """

    eta: int = 3

    def __post_init__(self) -> None:
        check_eta(self.eta)
        StoppingRule.__post_init__(self)  # super() would mean the class before it had slots

    def keeps(self, rung: int, loss: float, earlier: Sequence[float]) -> bool:
        """Keep a trial that is not worse than the best 1/eta of those judged before, and the first."""
        return not earlier or loss <= _quantile(earlier, 1 / self.eta)


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


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear quantile of sorted losses that survives infinities (numpy's would make inf - inf = NaN)."""
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    below, above = ordered[low], ordered[min(low + 1, len(ordered) - 1)]
    if position == low or above == below:
        return below
    return below + (above - below) * (position - low)
