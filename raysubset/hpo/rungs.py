"""Where a trial is judged: rungs placed in samples consumed.

    L_k = C eta^(k-K),   k = 0..K,   C = the samples of a whole trial,   K = the largest with eta^K <= N epochs

A trial reaches rung k at the first epoch end with consumed >= L_k. Subset training is front loaded, so rungs
counted in epochs would hold far more than their share of the cost; HyperBand's guarantee (equal cost per rung)
is in cost. Levels that fall on the same epoch are one rung: they would judge the same report twice.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError


def check_eta(eta: int) -> None:
    """Refuse a reduction factor that reduces nothing.

    Raises:
        OptionsError: eta below 2.
    """
    if eta < 2:
        raise OptionsError(f"eta={eta!r}, need an int of at least 2 (3 keeps the best third at each rung).")


def max_halvings(resource: int, eta: int) -> int:
    """Return the largest K with eta^K <= resource, in integers: log(243)/log(3) floors to 4 in binary.

    Raises:
        OptionsError: eta below 2.
    """
    check_eta(eta)
    halvings, power = 0, eta
    while power <= resource:
        halvings, power = halvings + 1, power * eta
    return halvings


@dataclass(frozen=True, slots=True)
class Rungs:
    """The judged points of a trial.

    Attributes:
        levels: Samples consumed at which each rung is reached, ascending; the last is the whole trial.
        epochs: Epochs done (1-based) at which a trial on the given plan reaches each level, strictly ascending.
    """

    levels: tuple[float, ...]
    epochs: tuple[int, ...]

    @property
    def halvings(self) -> int:
        """How often a trial can be stopped before its end; fewer than two make a poor search."""
        return len(self.levels) - 1

    def reached(self, samples_consumed: int) -> int:
        """Return the index of the highest rung reached, -1 before the first."""
        return bisect_right(self.levels, samples_consumed) - 1


def sample_levels(total: float, halvings: int, eta: int = 3) -> NDArray[np.float64]:
    """Return L_k = total * eta^(k - halvings) for k = 0..halvings, float64[halvings + 1]."""
    return np.asarray(total / eta ** np.arange(halvings, -1, -1, dtype=np.float64))


def place_rungs(costs: NDArray[np.int64], eta: int = 3) -> Rungs:
    """Place rungs over a plan of epochs.

    Args:
        costs: int64[N], samples that each epoch consumes.
        eta: Share of trials stopped at each rung is 1 - 1/eta; >= 2.

    Returns:
        The rungs, levels on the same epoch merged into the highest of them.

    Raises:
        OptionsError: eta below 2.
    """
    consumed = np.cumsum(costs)
    levels = sample_levels(float(consumed[-1]), max_halvings(len(costs), eta), eta)
    epochs = np.searchsorted(consumed, levels, side="left") + 1
    epochs[-1] = len(costs)  # the last level is the end of the plan, whatever rounding says
    last_of_epoch = np.append(epochs[1:] != epochs[:-1], True)
    return Rungs(tuple(levels[last_of_epoch].tolist()), tuple(epochs[last_of_epoch].tolist()))
