"""How many rows the next epoch takes when the ratio follows the model, within the samples of the dynamic schedule.

    change_e   1 - Spearman's rho between the remembered and the new losses of rows met again in epoch e
    size_e     planned_e * (samples left / planned for the epochs left) * change_{e-1} / mean change

While the ranking of the rows changes more than it used to, what is remembered is out of date and an epoch takes
more of them; while it stands still, fewer. What is spent more or less is made up for by all later epochs in
proportion, and the last one takes what is left, so that the sum is the schedule's to the sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 2.0  # an epoch takes this much more or less than planned, at most
FADE = 4.0  # the mean change is that of the last quarter of training, as weights exp(-FADE / N) an epoch


class Pacing:
    """Sizes of the epochs to come; three numbers.

    Args:
        planned: int64[N], the dynamic schedule's sizes, each in [least, n].
        n: Rows of the pool.
        least: Rows an epoch needs.
    """

    def __init__(self, planned: NDArray[np.int64], n: int, least: int) -> None:
        self._planned, self._n, self._least = planned, n, least
        self._fade = float(np.exp(-FADE / len(planned)))
        self._last, self._sum, self._weight = 0.0, 0.0, 0.0

    def learn(self, change: float) -> None:
        """Take in an epoch's change of ranking, in [0, 2]."""
        self._last = change
        self._sum, self._weight = self._fade * self._sum + change, self._fade * self._weight + 1

    @property
    def factor(self) -> float:
        """The last change over the mean one, in [1 / MOST, MOST]; 1 while nothing is known."""
        if not self._sum > 0:
            return 1.0
        return float(np.clip(self._last * self._weight / self._sum, 1 / MOST, MOST))

    def size(self, epoch: int, spent: int) -> int:
        """Return the rows of ``epoch`` after ``spent`` samples; every later one can still have least to n rows.

        Args:
            epoch: In [0, N).
            spent: Sum of the sizes of the epochs before.
        """
        ahead = len(self._planned) - epoch - 1
        left = int(self._planned.sum()) - spent
        wanted = self.factor * float(self._planned[epoch]) * left / float(self._planned[epoch:].sum())
        low, high = max(self._least, left - ahead * self._n), min(self._n, left - ahead * self._least)
        return int(np.clip(np.floor(wanted + 0.5), low, high))

    def state(self) -> dict[str, Any]:
        """Return what was learnt, ready for a checkpoint."""
        return {"last": self._last, "sum": self._sum, "weight": self._weight}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a `state`."""
        self._last, self._sum, self._weight = float(state["last"]), float(state["sum"]), float(state["weight"])
