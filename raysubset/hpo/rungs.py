"""Where a trial is judged: rungs placed in samples consumed, or in epochs.

    samples   L_k = C eta^(k-K),   k = 0..K,   C = the samples of a whole trial,   K = the largest with eta^K <= N
    epochs    L_k = what a trial has consumed after ceil(N eta^(k-K)) of its N epochs
    auto      samples; epochs where samples leave fewer than two halvings and epochs leave more

A trial reaches rung k at the first epoch end with consumed >= L_k. Subset training is front loaded, so rungs
counted in epochs hold far more than their share of the cost; HyperBand's guarantee (equal cost per rung) is in
cost. Levels in samples that fall on the same epoch are one rung: they would judge the same report twice. Where the
first epoch is a large part of the whole (c(1) of C), few rungs remain: about log_eta(C / c(1)) halvings.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import BudgetError, OptionsError

Place = Literal["samples", "epochs", "auto"]
PLACES: tuple[Place, ...] = get_args(Place)

ENOUGH_HALVINGS = 2


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

    def reached(self, samples_consumed: int, epochs: int = 0) -> int:
        """Return the index of the highest rung reached, -1 before the first.

        Args:
            samples_consumed: What a trial has consumed.
            epochs: What it has done. A trial may consume less than was planned (InfoBatch decides itself how many
                rows it leaves out); it is at a rung where the plan would be.
        """
        return max(bisect_right(self.levels, samples_consumed), bisect_right(self.epochs, epochs)) - 1


def sample_levels(total: float, halvings: int, eta: int = 3) -> NDArray[np.float64]:
    """Return L_k = total * eta^(k - halvings) for k = 0..halvings, float64[halvings + 1]."""
    return np.asarray(total / eta ** np.arange(halvings, -1, -1, dtype=np.float64))


def place_rungs(
    costs: NDArray[np.int64], eta: int = 3, place: Place = "samples", halvings: int | None = None
) -> Rungs:
    """Place rungs over a plan of epochs.

    Args:
        costs: int64[N], samples that each epoch consumes, >= 0; the first > 0.
        eta: Share of trials stopped at each rung is 1 - 1/eta; >= 2.
        place: "samples", "epochs" or "auto".
        halvings: K, times that a trial can be stopped before its end, before levels merge; None: as often as N
            allows.

    Returns:
        The rungs, levels on the same epoch merged into the highest of them.

    Raises:
        OptionsError: eta below 2, or no such placement.
        BudgetError: N epochs do not allow that many halvings.
    """
    most = max_halvings(len(costs), eta)
    if place not in PLACES:
        raise OptionsError(f"place={place!r}, need one of {', '.join(PLACES)}.")
    if halvings is not None and not 0 <= halvings <= most:
        raise BudgetError(
            f"{halvings} halvings by eta={eta} need {eta}^{halvings} epochs at least; {len(costs)} epochs allow "
            f"{most}, that is {most + 1} levels. Ask for fewer levels, more epochs or a smaller eta."
        )
    depth = most if halvings is None else halvings
    if place == "auto":
        by_samples, by_epochs = (_place(costs, eta, unit, depth) for unit in ("samples", "epochs"))
        return by_epochs if by_samples.halvings < min(ENOUGH_HALVINGS, by_epochs.halvings) else by_samples
    return _place(costs, eta, place, depth)


def _place(costs: NDArray[np.int64], eta: int, unit: str, halvings: int) -> Rungs:
    levels, epochs = _levels(costs, eta, unit, halvings)
    last_of_epoch = np.append(epochs[1:] != epochs[:-1], True)
    return Rungs(tuple(levels[last_of_epoch].tolist()), tuple(epochs[last_of_epoch].tolist()))


def _levels(
    costs: NDArray[np.int64], eta: int, unit: str, halvings: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return all levels and the epochs that reach them, before any merge."""
    consumed = np.cumsum(costs)
    if unit == "samples":
        levels = sample_levels(float(consumed[-1]), halvings, eta)
    else:
        ends = [-(-len(costs) // eta**k) for k in range(halvings, -1, -1)]  # ceil, in integers
        levels = consumed[np.array(ends) - 1].astype(np.float64)
    epochs = np.searchsorted(consumed, levels, side="left") + 1
    epochs[-1] = len(costs)  # the last level is the end of the plan, whatever rounding says
    return levels, epochs


def merging(costs: NDArray[np.int64], eta: int, halvings: int) -> str:
    """Return, in words, which levels in samples fall on one epoch, and why; "" where none do.

    Args:
        costs: int64[N], samples that each epoch consumes.
        eta: Reduction factor, >= 2.
        halvings: K that was asked for.
    """
    consumed = np.cumsum(costs)
    levels, epochs = _levels(costs, eta, "samples", halvings)
    shared = [epoch for epoch in np.unique(epochs) if np.count_nonzero(epochs == epoch) > 1]
    if not shared:
        return ""
    places = ", ".join(
        f"levels {' and '.join(f'{level:,.0f}' for level in levels[epochs == epoch])} are one rung, for epoch "
        f"{epoch} ends at {consumed[epoch - 1]:,} samples"
        for epoch in shared
    )
    first, total = int(consumed[0]), int(consumed[-1])
    return (
        f"{places} (a whole trial, C = {total:,} samples, is {total / first:.3g} times its first epoch, "
        f"c(1) = {first:,}; K halvings want C / c(1) of about {eta}^K)"
    )
