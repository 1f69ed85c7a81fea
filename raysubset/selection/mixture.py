"""Which metric chooses an epoch's rows: the mixture of metrics (ASP, section 3.3).

Three groups, g0 = {random}, g1 = {prediction, gradient}, g2 = {loss, entropy}, take turns as training goes on:

    t_e = (e + 1/2) / N,    w_g(e) = exp(-((t_e - mu_g) / sigma)^2 / 2),    P_g = w_g / sum w

with means 1/4, 2/4, 3/4 given to the groups in ``order``, and a metric drawn uniformly inside the group. The
paper names no sigma; 1/8 of training is half the spacing of the means, so a group dominates at its own mean
and neighbours meet at even odds half way.

References:
    [1] ASP, section 3.3 and Table 6 (the six orders).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError

GROUPS: tuple[tuple[str, ...], ...] = (("random",), ("prediction", "gradient"), ("loss", "entropy"))
METRICS: tuple[str, ...] = tuple(metric for group in GROUPS for metric in group)  # also the inverse-CDF order
ORDERS: tuple[str, ...] = ("012", "021", "102", "120", "201", "210")


def metric_probabilities(
    epochs: int, order: str = "012", sigma: float = 1 / 8, metrics: Sequence[str] = METRICS
) -> dict[str, NDArray[np.float64]]:
    """Return the probability of each metric at each epoch.

    Args:
        epochs: N, >= 1.
        order: Which group stands at 1/4, 2/4 and 3/4 of training: a permutation of "012".
        sigma: Width of the Gaussians as a share of training, > 0.
        metrics: Those that take part, at least one; a group shares its turn among its own.

    Returns:
        metric -> float64[epochs], 0 for those that take no part; over the five they sum to 1 at every epoch.

    Raises:
        OptionsError: epochs, order or sigma out of range.
    """
    faults = []
    if epochs < 1:
        faults.append(f"epochs={epochs}, need at least 1")
    if order not in ORDERS:
        faults.append(f"order={order!r}, need one of {', '.join(ORDERS)}")
    if not (np.isfinite(sigma) and sigma > 0):
        faults.append(f"sigma={sigma!r}, need a finite number > 0 (1/8 is the default)")
    if faults:
        raise OptionsError.of("metric mixture", faults)
    present = [[metric for metric in group if metric in metrics] for group in GROUPS]
    time = (np.arange(epochs) + 0.5) / epochs
    logits = np.empty((len(GROUPS), epochs))
    for slot, group in enumerate(order):
        logits[int(group)] = -0.5 * ((time - (slot + 1) / 4) / sigma) ** 2 if present[int(group)] else -np.inf
    share = np.exp(logits - logits.max(axis=0))  # shifted: a narrow sigma must not underflow to 0 / 0
    share /= share.sum(axis=0)
    return {
        metric: share[g] / len(present[g]) if metric in metrics else np.zeros(epochs)
        for g, group in enumerate(GROUPS)
        for metric in group
    }


def draw_metric(probabilities: dict[str, NDArray[np.float64]], epoch: int, rng: np.random.Generator) -> str:
    """Draw the epoch's metric by inverse CDF in the fixed order of `METRICS`."""
    cumulative = np.cumsum([probabilities[metric][epoch] for metric in METRICS])
    position = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
    return METRICS[min(position, len(METRICS) - 1)]
