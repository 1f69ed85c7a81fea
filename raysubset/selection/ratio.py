"""How many rows each epoch trains on: the ratio scheduler (ASP, Algorithm 2).

    static              ratio_e = r
    dynamic, r <= 1/2   ratio_e = 2r (1 - 0.99 e / (N-1))     from 2r down to 0.02 r, mean 1.01 r
    dynamic, r >  1/2   ratio_e = 1 - 2(1-r) e / (N-1)        from 1 down to 2r - 1,  mean r

``budget="paper"`` keeps these ratios, so a run costs a little more than r N n (1 % for r <= 1/2, and a full
first epoch on top). ``budget="exact"`` keeps the linear shape but rescales it so that the sizes sum to
round(r N n) exactly.

The size of epoch e uses the ratio of the epoch it is *used* in; Algorithm 2's own index is undefined, and the
other reading would never use the last value.

References:
    [1] ASP, "Efficient architecture search with a proxy memory", Algorithms 1 and 2.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import BudgetError

Schedule = Literal["static", "dynamic", "adaptive"]
Budget = Literal["paper", "exact"]
FirstEpoch = Literal["full", "scheduled", "shared"]

SCHEDULES: tuple[Schedule, ...] = ("static", "dynamic", "adaptive")
BUDGETS: tuple[Budget, ...] = ("paper", "exact")
FIRST_EPOCHS: tuple[FirstEpoch, ...] = ("full", "scheduled", "shared")

_FLOOR = 0.01  # the paper's linspace ends at 1 % of its start, so the mean of linspace(1, .01) is .505
_ROUNDING = 0.5 + 1e-9  # floor(x + this): .29 * 100 is 28.999… in binary and must give 29


def epoch_ratios(epochs: int, ratio: float, schedule: Schedule = "dynamic") -> NDArray[np.float64]:
    """Return the ratio of each epoch before rounding and before any full first epoch.

    Args:
        epochs: N, planned epochs, >= 1.
        ratio: r, the mean share of the data, in (0, 1].
        schedule: "static", "dynamic", or "adaptive", which begins from the ratios of "dynamic".

    Returns:
        float64[epochs], each in (0, 1]; a single epoch gets ``ratio`` itself.
    """
    if schedule == "static" or epochs == 1:
        return np.full(epochs, float(ratio))
    if ratio <= 0.5:
        return 2 * ratio * np.linspace(1.0, _FLOOR, epochs)
    return np.linspace(1.0, 2 * ratio - 1.0, epochs)


def subset_sizes(
    n: int,
    epochs: int,
    ratio: float,
    schedule: Schedule = "dynamic",
    budget: Budget = "paper",
    first_epoch: FirstEpoch = "full",
    minimum: int = 1,
) -> NDArray[np.int64]:
    """Return how many of n rows each epoch trains on.

    Args:
        n: Rows in the pool, >= 1.
        epochs: N, planned epochs, >= 1.
        ratio: r, mean share of the data, in (0, 1].
        schedule: "static" (the same size), "dynamic" (large first, Algorithm 2) or "adaptive" (that is planned as
            dynamic, and each size is set anew in its turn, see `selection.pacing`).
        budget: "paper" (Algorithm 2 as printed) or "exact" (sizes sum to round(r N n)).
        first_epoch: "full" (Algorithm 1: epoch 0 sees everything), "scheduled" or "shared" (epoch 0 follows the
            ratio; by what its rows are chosen is not a question of size).
        minimum: Rows an epoch needs at least, in [1, n]; an exact budget takes them from the largest epochs.

    Returns:
        int64[epochs], each in [minimum, n].

    Raises:
        BudgetError: An argument is out of range, or an exact budget cannot pay for the first full epoch.
    """
    _check(n, epochs, ratio, schedule, budget, first_epoch, minimum)
    full_first = first_epoch == "full"
    if budget == "exact":
        return _exact_sizes(n, epochs, ratio, schedule, full_first, minimum)
    sizes = np.floor(epoch_ratios(epochs, ratio, schedule) * n + _ROUNDING).astype(np.int64).clip(minimum, n)
    if full_first:
        sizes[0] = n
    return sizes


def _exact_sizes(
    n: int, epochs: int, ratio: float, schedule: Schedule, full_first: bool, minimum: int
) -> NDArray[np.int64]:
    """Sizes of the scheduled shape that sum to round(r N n), by cumulative rounding."""
    total = int(np.floor(ratio * epochs * n + _ROUNDING))
    paid = n if full_first else 0
    rest = epochs - 1 if full_first else epochs
    if total < paid + rest * minimum:
        cause = "a full first epoch" if full_first else f"{minimum} row(s) an epoch"
        raise BudgetError(
            f"Budget too small for {cause}: ratio={ratio:g} over epochs={epochs} of n={n} allows {total} samples, "
            f"{paid + rest * minimum} are needed. Raise ratio or epochs, or use budget='paper' or "
            "first_epoch='scheduled'."
        )
    if rest == 0:
        return np.array([n], dtype=np.int64)
    mean = (total - paid) / (rest * n)
    if schedule == "static" or rest == 1:
        shape = np.full(rest, mean)
    elif mean <= 0.5:
        shape = np.linspace(1.0, _FLOOR, rest) * mean / ((1 + _FLOOR) / 2)
    else:
        shape = np.linspace(1.0, 2 * mean - 1.0, rest)
    cumulative = np.floor(np.cumsum(shape) * n + _ROUNDING).astype(np.int64)
    cumulative[-1] = total - paid
    sizes = _raise_to(minimum, np.diff(cumulative, prepend=0))
    return np.concatenate([[n], sizes]).astype(np.int64) if full_first else sizes


def _raise_to(minimum: int, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give every epoch ``minimum`` rows, taken from the last of the largest epochs; sum and order stay."""
    while (small := np.flatnonzero(sizes < minimum)).size:
        sizes[np.flatnonzero(sizes == sizes.max())[-1]] -= 1
        sizes[small[0]] += 1
    return sizes


def _check(n: int, epochs: int, ratio: float, schedule: str, budget: str, first_epoch: str, minimum: int) -> None:
    faults = []
    if n < 1:
        faults.append(f"n={n}, need at least 1 row")
    if epochs < 1:
        faults.append(f"epochs={epochs}, need at least 1")
    if not 0 < ratio <= 1:
        faults.append(f"ratio={ratio!r}, need 0 < ratio <= 1 (0.1 trains on a tenth of the data)")
    if not 1 <= minimum <= max(n, 1):
        faults.append(f"minimum={minimum}, need 1 <= minimum <= n")
    for name, value, allowed in (
        ("schedule", schedule, SCHEDULES),
        ("budget", budget, BUDGETS),
        ("first_epoch", first_epoch, FIRST_EPOCHS),
    ):
        if value not in allowed:
            faults.append(f"{name}={value!r}, need one of {', '.join(allowed)}")
    if faults:
        raise BudgetError("Cannot size the subsets: " + "; ".join(faults) + ".")
