"""SubsetPlan: how a training run chooses its data, as one frozen object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import BudgetError, OptionsError, UnknownNameError
from raysubset.seeds import generator
from raysubset.selection.asp import ProxySampling
from raysubset.selection.mixture import METRICS, ORDERS, draw_metric, metric_probabilities
from raysubset.selection.protocol import Selector
from raysubset.selection.ratio import (
    BUDGETS,
    FIRST_EPOCHS,
    SCHEDULES,
    Budget,
    FirstEpoch,
    Schedule,
    subset_sizes,
)
from raysubset.selection.sampling import SCALES, Scale
from raysubset.selection.uniform import Full, UniformRandom
from raysubset.selection.wrappers import PerClass

FirstEpochChoice = Literal["auto", "full", "scheduled"]
SELECTORS: tuple[str, ...] = ("asp", "adaptive-random", "random", "full")
METRIC_CHOICES: tuple[str, ...] = ("mixture", *METRICS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetPlan:
    """Which rows, how many, when.

    Attributes:
        selector: "asp" (remembered importance), "adaptive-random", "random" (one fixed draw) or "full".
        metric: For asp: "mixture" or one of random, prediction, gradient, loss, entropy.
        ratio: r, mean share of the data an epoch trains on, in (0, 1].
        schedule: "dynamic" (large subsets first) or "static".
        budget: "paper" (about r N n samples, see `selection.ratio`) or "exact" (r N n).
        first_epoch: "full", "scheduled", or "auto": full for a single run, scheduled inside a search, where a
            full first epoch would cost more than the lower rungs.
        select_every: Epochs between selections, >= 1; in between the last subset is kept.
        temperature: T of the Plackett-Luce draw, > 0.
        scale: "none" (paper), "zscore" or "rank".
        per_class: Keep the class proportions (largest remainder) inside every subset.
        deterministic: The k most important rows instead of a draw.
        order, sigma: The mixture's phases, see `selection.mixture`.

    Raises:
        UnknownNameError: selector or metric is unknown (lists the known ones).
        BudgetError: ratio outside (0, 1].
        OptionsError: Any other option out of range; all of them in one message.
    """

    selector: str = "asp"
    metric: str = "mixture"
    ratio: float = 0.1
    schedule: Schedule = "dynamic"
    budget: Budget = "paper"
    first_epoch: FirstEpochChoice = "auto"
    select_every: int = 1
    temperature: float = 1.0
    scale: Scale = "none"
    per_class: bool = False
    deterministic: bool = False
    order: str = "012"
    sigma: float = 1 / 8

    def __post_init__(self) -> None:
        if self.selector not in SELECTORS:
            raise UnknownNameError.of("selector", self.selector, SELECTORS)
        if self.metric not in METRIC_CHOICES:
            raise UnknownNameError.of("metric", self.metric, METRIC_CHOICES)
        if not 0 < self.ratio <= 1:
            raise BudgetError(f"ratio={self.ratio!r}, need 0 < ratio <= 1 (0.1 trains on a tenth of the data).")
        if faults := self._faults():
            raise OptionsError.of("SubsetPlan", faults)

    def _faults(self) -> list[str]:
        faults = [
            f"{name}={value!r}, need one of {', '.join(allowed)}"
            for name, value, allowed in (
                ("schedule", self.schedule, SCHEDULES),
                ("budget", self.budget, BUDGETS),
                ("first_epoch", self.first_epoch, ("auto", *FIRST_EPOCHS)),
                ("scale", self.scale, SCALES),
                ("order", self.order, ORDERS),
            )
            if value not in allowed
        ]
        if self.select_every < 1:
            faults.append(f"select_every={self.select_every}, need at least 1 epoch")
        if not self.temperature > 0:
            faults.append(f"temperature={self.temperature!r}, need a number > 0")
        if not 0 < self.sigma < np.inf:
            faults.append(f"sigma={self.sigma!r}, need a finite number > 0")
        if self.budget == "exact" and self.select_every > 1:
            faults.append(
                "budget='exact' needs select_every=1: sizes kept between selections sum to something else"
            )
        if self.selector == "full" and self.ratio != 1:
            faults.append(f"selector='full' trains on everything, so ratio must be 1, got {self.ratio!r}")
        return faults

    @classmethod
    def full(cls) -> SubsetPlan:
        """Return the plan that trains on everything."""
        return cls(selector="full", ratio=1.0, schedule="static", metric="random")

    def resolved(self, first_epoch: FirstEpoch) -> SubsetPlan:
        """Return the plan with ``first_epoch="auto"`` decided."""
        return replace(self, first_epoch=first_epoch) if self.first_epoch == "auto" else self

    @property
    def is_adaptive(self) -> bool:
        """True where rows follow what training reveals, so that signals must be recorded."""
        return self.selector == "asp" and self.metric != "random" and self.ratio < 1

    def chosen_at(self, epoch: int) -> int:
        """Return the epoch whose selection ``epoch`` trains on.

        Epoch 0 stands alone (it may be full and it is chosen blindly); then every ``select_every`` epochs.
        """
        return 0 if epoch == 0 else epoch - (epoch - 1) % self.select_every

    def sizes(self, n: int, epochs: int) -> NDArray[np.int64]:
        """Return rows trained on in each epoch, int64[epochs]; at least 2, since BatchNorm needs two.

        Raises:
            BudgetError: See `subset_sizes`.
        """
        first: FirstEpoch = "full" if self.first_epoch == "auto" else self.first_epoch
        sizes = subset_sizes(n, epochs, self.ratio, self.schedule, self.budget, first, minimum=min(2, n))
        return sizes[[self.chosen_at(epoch) for epoch in range(epochs)]]

    def metric_at(self, epoch: int, epochs: int, seed: int) -> str:
        """Return the metric that chooses the rows of ``epoch``; keyed, so asking twice gives the same."""
        if self.selector == "full":
            return "full"
        if self.selector != "asp":
            return "random"
        if self.metric != "mixture":
            return self.metric
        chosen_at = self.chosen_at(epoch)
        probabilities = metric_probabilities(epochs, self.order, self.sigma)
        return draw_metric(probabilities, chosen_at, generator(seed, chosen_at, "metric"))

    def selector_for(self, metric: str) -> Selector:
        """Compose the selector that applies ``metric`` under this plan's options."""
        inner: Selector
        if self.selector == "full":
            return Full()
        if self.selector == "asp":
            inner = ProxySampling(metric, self.temperature, self.scale, self.deterministic)
        else:
            inner = UniformRandom()
        return PerClass(inner) if self.per_class else inner

    def stream(self, epoch: int, seed: int) -> np.random.Generator:
        """Return the generator of the selection that ``epoch`` trains on; one for all epochs if "random"."""
        return generator(seed, 0 if self.selector == "random" else self.chosen_at(epoch), "subset")
