"""Median stopping: a trial ends at a rung where it is worse than half of the others were there.

    stop  <=>  loss > median of the losses of the trials judged at this rung before,  once there are enough of them

Vizier [1] compares a trial's best value so far with the median of the others' running averages, at any step. Ours
compares losses at rungs, where all trials have consumed as much: no average over a curve is needed. About half of
the trials end at each rung, so it spends more than halving by eta = 3, and errs less.

References:
    [1] Golovin et al., 2017, "Google Vizier: a service for black-box optimization", section 3.2.2,
        doi:10.1145/3097983.3098043.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raysubset.errors import OptionsError
from raysubset.hpo.stopping import StoppingRule


@dataclass(slots=True)
class MedianStop(StoppingRule):
    """Stops trials that are worse than the median.

    Attributes:
        rungs: How many, >= 1.
        grace: Lowest rungs at which nobody is stopped, >= 0.
        min_trials: Others that must have been judged at a rung before anybody is stopped there, >= 1.
        losses: For each rung, trial -> loss.

    Raises:
        OptionsError: grace below 0 or min_trials below 1.
    """

    grace: int = 1
    min_trials: int = 3

    def __post_init__(self) -> None:
        faults = [f"grace={self.grace!r}, need an int >= 0"] if self.grace < 0 else []
        faults += [f"min_trials={self.min_trials!r}, need an int >= 1"] if self.min_trials < 1 else []
        if faults:
            raise OptionsError.of("MedianStop", faults)
        StoppingRule.__post_init__(self)  # super() would mean the class before it had slots

    def keeps(self, rung: int, loss: float, earlier: Sequence[float]) -> bool:
        """Keep a trial that is not worse than the median; a tie with it goes on."""
        return rung < self.grace or len(earlier) < self.min_trials or loss <= _median(earlier)


def _median(ordered: Sequence[float]) -> float:
    """Return the median of sorted losses; the mean of two infinities is inf."""
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
