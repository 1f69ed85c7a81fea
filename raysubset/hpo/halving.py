"""Asynchronous successive halving, stopping type: a pure core without clock, cluster or randomness.

When a trial reaches a rung, its loss is compared with those already there: it goes on if it is not worse than
the best 1/eta quantile of them, else it stops for good. The first trial at a rung always goes on. A trial is
judged at a rung once, at the highest rung its report reached.

References:
    [1] Li et al., 2020, "A system for massively parallel hyperparameter tuning", arXiv:1810.05934.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raysubset.hpo.rungs import Rungs


@dataclass(slots=True)
class StoppingHalving:
    """Rungs, and the losses seen at each; state goes to and from JSON.

    Attributes:
        rungs: Where trials are judged.
        eta: Reduction factor.
        losses: rung index -> trial -> loss (inf for a failed one).
    """

    rungs: Rungs
    eta: int = 3
    losses: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.losses = self.losses or [{} for _ in self.rungs.levels]

    def keep(self, trial: str, samples_consumed: int, loss: float) -> bool:
        """Judge a report.

        Args:
            trial: Trial id.
            samples_consumed: Where the trial stands.
            loss: Its score, smaller is better; NaN counts as infinitely bad.

        Returns:
            True if the trial may go on. A report between rungs, or at a rung already judged, may.
        """
        rung = self.rungs.reached(samples_consumed)
        if rung < 0 or any(trial in judged for judged in self.losses[rung:]):
            return True
        earlier = list(self.losses[rung].values())
        loss = math.inf if math.isnan(loss) else loss
        self.losses[rung][trial] = loss
        return not earlier or loss <= _quantile(earlier, 1 / self.eta)

    def forget(self, trial: str, beyond: float = 0.0) -> None:
        """Take back what was judged of a trial above ``beyond`` samples: it will train that part again."""
        for level, judged in zip(self.rungs.levels, self.losses, strict=True):
            if level > beyond:
                judged.pop(trial, None)

    def to_json(self) -> dict[str, Any]:
        """Return the state in plain types; an infinite loss becomes None."""
        finite = [{t: x if math.isfinite(x) else None for t, x in judged.items()} for judged in self.losses]
        return {
            "levels": list(self.rungs.levels),
            "epochs": list(self.rungs.epochs),
            "eta": self.eta,
            "losses": finite,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> StoppingHalving:
        """Rebuild the core from `to_json`."""
        losses = [
            {t: math.inf if x is None else float(x) for t, x in judged.items()} for judged in state["losses"]
        ]
        return cls(Rungs(tuple(state["levels"]), tuple(state["epochs"])), int(state["eta"]), losses)


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


def _quantile(losses: list[float], share: float) -> float:
    """Linear quantile that survives infinities (numpy's would make inf - inf = NaN)."""
    ordered = np.sort(losses)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    below, above = float(ordered[low]), float(ordered[min(low + 1, len(ordered) - 1)])
    if position == low or above == below:
        return below
    return below + (above - below) * (position - low)
