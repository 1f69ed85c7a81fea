"""Which metric chooses next, learnt from progress: a bandit in place of the mixture's hand-set phases.

A metric's rate is what samples repay that it chose: how fast such rows gain from one meeting to the next. Rates
drift, theta = c 1 + d: c, common to all, is a random walk (as training goes on every row gains less), and d, a
metric's own part, falls back to 0 unless it is learnt anew, since what helps early need not help late. A Kalman
filter follows them [1], and the next metric is the best of one draw from its posterior: Thompson sampling [2] of
restless arms. While nothing is known it draws uniformly. One epoch tells of every metric that chose rows which are
met again in it, so metrics are compared on the same model, whatever training gains in that epoch.

The reward is that of self prediction gain [3], measured without a pass of its own (see `proxy.adaptive`).

References:
    [1] Kalman, 1960, "A new approach to linear filtering and prediction problems", J. Basic Eng. 82.
    [2] Thompson, 1933, "On the likelihood that one unknown probability exceeds another", Biometrika 25.
    [3] Graves, Bellemare, Menick, Munos, Kavukcuoglu, 2017, "Automated curriculum learning for neural networks",
        ICML, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import SelectorError
from raysubset.selection.mixture import METRICS

COMMON, OWN = 1.0, 0.5  # deviations of c and d before anything is known; a gain is at most 3
WALK = 1.0  # deviation by which c walks over a whole training
FADE = 2.0  # d falls by exp(-FADE) over a training, but for what is learnt anew
JITTER = 0.05  # a network's own ups and downs, as a deviation of a rate


class MetricBandit:
    """Rates of progress of the metrics, as a Gaussian posterior; 30 numbers.

    Args:
        epochs: N, the length of a training.
    """

    def __init__(self, epochs: int) -> None:
        arms = len(METRICS)
        ones, keep = np.full((arms, arms), 1.0), float(np.exp(-FADE / epochs))
        own = np.eye(arms) - ones / arms  # the part that sums to 0
        self._step = ones / arms + keep * own
        self._walk = WALK**2 / epochs * ones + OWN**2 * (1 - keep**2) * own
        self._mean = np.zeros(arms)
        self._covariance = COMMON**2 * ones + OWN**2 * np.eye(arms)

    @property
    def rates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The posterior of the rates: mean float64[5] in the order of `METRICS`, covariance float64[5, 5]."""
        return self._mean.copy(), self._covariance.copy()

    def learn(self, rates: Mapping[str, tuple[float, float]]) -> None:
        """Let the rates drift by an epoch, then take in what was measured in it.

        Args:
            rates: metric -> the rate of rows that it chose, and its variance, >= 0; metrics of which nothing was
                seen are left out.
        """
        self._mean = self._step @ self._mean
        self._covariance = self._step @ self._covariance @ self._step.T + self._walk
        for metric, (rate, variance) in rates.items():
            arm = METRICS.index(metric)
            toward = self._covariance[:, arm].copy()
            weight = toward / (toward[arm] + variance + JITTER**2)
            self._mean = self._mean + weight * (rate - self._mean[arm])
            self._covariance = self._covariance - np.outer(weight, toward)

    def choose(self, rng: np.random.Generator, metrics: Sequence[str] = METRICS) -> str:
        """Return the one of ``metrics`` (at least one) whose rate is largest in one draw from the posterior."""
        root = np.linalg.cholesky(self._covariance + 1e-12 * np.eye(len(METRICS)))
        draw = dict(zip(METRICS, self._mean + root @ rng.standard_normal(len(METRICS)), strict=True))
        return max((metric for metric in METRICS if metric in metrics), key=lambda metric: float(draw[metric]))

    def state(self) -> dict[str, Any]:
        """Return what was learnt, ready for a checkpoint."""
        return {"mean": self._mean.copy(), "covariance": self._covariance.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a `state`.

        Raises:
            SelectorError: It is of another number of metrics.
        """
        mean, covariance = np.array(state["mean"]), np.array(state["covariance"])
        if mean.shape != self._mean.shape or covariance.shape != self._covariance.shape:
            raise SelectorError(f"The saved bandit has {len(mean)} metrics, need {len(METRICS)}.")
        self._mean, self._covariance = mean, covariance
