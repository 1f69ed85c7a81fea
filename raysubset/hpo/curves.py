"""Learning curves to simulate a search with: what a task is, and a synthetic one whose optimum is known.

    acc(c) = a_inf - (a_inf - a_0) (1 + c / c_0)^-b + noise            after c samples

a_inf and c_0 depend on the configuration, through its effective step s = log10(lr / (1 - momentum) * 128 / B):

    a_inf = a_0 + (top - a_0) / (1 + q / 10)
    q     = ((s + .5) / .8)^2 + ((momentum - .9) / .4)^2 + ((log10(weight_decay) + 3.3) / 1.5)^2 + .1 [no nesterov]
    c_0   = n / 4 * 10^(-(s + .5) / 2),   b = .7

so a_inf is smooth with one summit, and curves cross: large steps lead early and end lower, small ones are slow.
A curve knows how many samples were trained on, not which: it cannot tell what a selector is worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raysubset.hpo.history import Point
from raysubset.hpo.space import Space, choice, loguniform, uniform
from raysubset.seeds import Key, seed64

POWER_LAW_SPACE: Space = {
    "lr": loguniform(1e-3, 1e-1),
    "momentum": uniform(0.5, 0.99),
    "nesterov": choice([False, True]),
    "batch_size": choice([64, 128, 256]),
    "weight_decay": loguniform(1e-5, 1e-2),
}
"""What `PowerLaw` reads of a point: the space of Hyper-Tune's ResNet, less its step decay."""

_STEP, _MOMENTUM, _DECAY = -0.5, 0.9, -3.3  # the summit
_POWER = 0.7  # b
_NORMAL = NormalDist()


class Task(Protocol):
    """What a simulated search searches over."""

    @property
    def epoch_costs(self) -> NDArray[np.int64]:
        """int64[N], samples that each epoch of a whole trial consumes, the same for every trial; their sum > 0."""
        ...

    def loss(self, point: Point, trial: str, epoch: int) -> float:
        """Return a trial's validation loss after ``epoch`` epochs (1..N), smaller is better.

        A function of its arguments alone; a loss that is not finite says that the trial failed.
        """
        ...

    def regret(self, point: Point) -> float | None:
        """Return how much a configuration is worse than the best there is, free of noise; None if not known."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PowerLaw:
    """The synthetic task over `POWER_LAW_SPACE`; losses are 1 - accuracy.

    The noise belongs to (seed, configuration, epoch): whoever trains a configuration sees the same losses, so
    searches by different schedulers are compared on the same draws.

    Attributes:
        epoch_costs: int64[N], samples of each epoch.
        rows: n, samples of an epoch on all data: the scale of c_0.
        seed: Of the noise.
        noise: Its standard deviation, in accuracy.
        start: a_0, accuracy before training.
        top: Accuracy of the best configuration after infinitely many samples.
    """

    epoch_costs: NDArray[np.int64]
    rows: int
    seed: int = 0
    noise: float = 0.01
    start: float = 0.1
    top: float = 0.95

    def loss(self, point: Point, trial: str, epoch: int) -> float:
        """See `Task`. Cost: about 10 µs."""
        consumed = int(self.epoch_costs[:epoch].sum())
        scale = self.rows / 4 * math.pow(10, (_STEP - _step(point)) / 2)
        limit = self._limit(point)
        accuracy = limit - (limit - self.start) * math.pow(1 + consumed / scale, -_POWER)
        return 1 - accuracy + self.noise * standard_normal(self.seed, repr(sorted(point.items())), epoch, "noise")

    def regret(self, point: Point) -> float:
        """Return top - a_inf: what the configuration misses when trained for ever."""
        return self.top - self._limit(point)

    def _limit(self, point: Point) -> float:
        """Return a_inf."""
        squares = (
            ((_step(point) - _STEP) / 0.8) ** 2
            + ((float(point["momentum"]) - _MOMENTUM) / 0.4) ** 2
            + ((math.log10(float(point["weight_decay"])) - _DECAY) / 1.5) ** 2
            + (0.0 if point["nesterov"] else 0.1)
        )
        return self.start + (self.top - self.start) / (1 + squares / 10)


def _step(point: Point) -> float:
    """Return s, the logarithm of the effective step."""
    momentum, batch_size = float(point["momentum"]), float(point["batch_size"])
    return math.log10(float(point["lr"]) / (1 - momentum) * 128 / batch_size)


def standard_normal(seed: int, *key: Key) -> float:
    """Return one draw from N(0, 1), a function of seed and key: 52 bits through the inverse. Cost: about 4 µs."""
    return _NORMAL.inv_cdf(((seed64(seed, *key) >> 11) + 0.5) * 2.0**-52)
