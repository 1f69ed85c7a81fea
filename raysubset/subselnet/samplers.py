"""How a subset is drawn for an architecture whose per-row losses are predicted.

Every sampler gives the rows logits and draws by Plackett-Luce; what differs is where the logits come from.

    Gibbs           -loss / lambda: the optimum's closed form where b << n, so the optimisation's yardstick
    Transductive    optimised for this architecture by Adam [1, equation 9]
    Released        what the authors' published code optimises, for comparison

lambda weighs the sampler's entropy against the losses and is measured in their units: towards 0 the b rows of
least loss, towards infinity a uniform draw. A value tuned on losses near 0 is wrong for lightly trained networks.

References:
    [1] Jain, Nandy, Aggarwal, Tendulkar, Iyer, De, 2023, arXiv:2409.12255; github.com/structlearning/subselnet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import torch

from raysubset.errors import OptionsError, SelectionError
from raysubset.selection.protocol import Context, check_budget
from raysubset.selection.sampling import gumbel_top_m, top_m
from raysubset.subselnet.plackett_luce import Estimate, Vector, full_estimate, prefix_estimate
from raysubset.types import Selection

LOSS = "loss"  # the signal: predicted cross-entropy of every row, in nats
LIMIT = 500.0  # nats below the greatest logit, inside what `Picks` takes: e^-500 is never drawn but of equals

Gradient = Literal["prefix", "full"]
Start = Literal["zeros", "gibbs"]

_PATIENCE = 10  # steps over which the mean of the estimates must still improve
_IMPROVEMENT = 1e-4  # relative


class Logits(Protocol):
    """Something that gives the rows of a pool their Plackett-Luce logits."""

    def logits(self, context: Context, k: int, rng: np.random.Generator) -> Vector:
        """Return float64[n], finite, for a draw of k rows."""
        ...


@dataclass(frozen=True, slots=True)
class Gibbs:
    """Draws in proportion to exp(-loss / lambda).

    Over all distributions of b rows, E[sum of losses] - lambda * entropy is least where Pr(S) is proportional to
    exp(-sum of losses / lambda); for b = 1 that is this draw exactly, for b << n nearly.

    Attributes:
        entropy: lambda > 0, in nats of loss.
    """

    entropy: float = 0.3

    def __post_init__(self) -> None:
        _check_entropy(type(self).__name__, self.entropy)

    def logits(self, context: Context, k: int, rng: np.random.Generator) -> Vector:
        """Return the logits; O(n)."""
        return -predicted_losses(context) / self.entropy

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`. Needs the signal "loss". Cost: O(n + k log k)."""
        return drawn(self, context, k, rng)


@dataclass(frozen=True, slots=True)
class Transductive:
    """Draws by logits that are optimised for the architecture at hand.

    Attributes:
        entropy: lambda > 0, in nats of loss.
        steps: Of Adam, >= 1; ends sooner when the mean estimate of 10 steps stops improving by 1e-4 of itself.
        lr: Adam's rate, > 0.
        gradient: "prefix" (one draw a step, biased, of low variance) or "full" (unbiased, ``draws`` a step).
        draws: Of a "full" step, >= 2.
        start: Logits begin at "zeros" or at the "gibbs" form.
    """

    entropy: float = 0.3
    steps: int = 100
    lr: float = 0.1
    gradient: Gradient = "prefix"
    draws: int = 4
    start: Start = "zeros"

    def __post_init__(self) -> None:
        _check_entropy(type(self).__name__, self.entropy)
        faults = [
            f"{name}={value!r}, need one of {', '.join(get_args(allowed))}"
            for name, value, allowed in (("gradient", self.gradient, Gradient), ("start", self.start, Start))
            if value not in get_args(allowed)
        ]
        if self.steps < 1:
            faults.append(f"steps={self.steps}, need at least 1")
        if self.draws < 2:
            faults.append(f"draws={self.draws}, need at least 2: each is the other's baseline")
        if not 0 < self.lr < math.inf:
            faults.append(f"lr={self.lr!r}, need a finite number > 0")
        if faults:
            raise OptionsError.of("Transductive", faults)

    def logits(self, context: Context, k: int, rng: np.random.Generator) -> Vector:
        """Optimise; 100 "prefix" steps for n = 40,000 and k = 4,000 take about 0.3 s of one core."""
        losses = predicted_losses(context)
        first = np.zeros(len(losses)) if self.start == "zeros" else Gibbs(self.entropy).logits(context, k, rng)
        logits = torch.from_numpy(first.copy())
        adam = torch.optim.Adam([logits], lr=self.lr)
        values: list[float] = []
        while len(values) < self.steps and not _settled(values):
            now = bounded(logits.numpy())
            estimate = self._estimate(now, losses, k, rng)
            logits.copy_(torch.from_numpy(now))
            logits.grad = torch.from_numpy(estimate.gradient)
            adam.step()
            values.append(estimate.value)
        return bounded(logits.numpy())

    def _estimate(self, logits: Vector, losses: Vector, k: int, rng: np.random.Generator) -> Estimate:
        if self.gradient == "prefix":
            return prefix_estimate(logits, losses, gumbel_top_m(logits, k, rng), self.entropy)
        orders = [gumbel_top_m(logits, k, rng) for _ in range(self.draws)]
        return full_estimate(logits, losses, orders, self.entropy)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`. Needs the signal "loss"."""
        return drawn(self, context, k, rng)


@dataclass(frozen=True, slots=True)
class Released:
    """What the authors' published code does, kept to be compared with: no draw, no entropy to speak of.

    Scores start uniform in [0, 1] and follow plain gradient steps, held at 0 from below, on
    sum(scores * losses) + entropy(softmax(scores)) + count_weight |sum(scores) - k|; the k largest are taken. Its
    entropy has the wrong sign and a gradient of about 1/n: with it or without, the same rows. For lr * steps up to
    5 they are the k largest of uniform - lr * steps * loss. Neither number is documented there. Of lightly trained
    networks, whose losses are above 1 / (lr * steps), most scores end at 0, and what is taken is random.

    Attributes:
        lr: Of a step, > 0.
        steps: >= 1.
        entropy_weight, count_weight: As released.
    """

    lr: float = 0.05
    steps: int = 100
    entropy_weight: float = 1.0
    count_weight: float = 0.1

    def __post_init__(self) -> None:
        faults = []
        if not 0 < self.lr < math.inf:
            faults.append(f"lr={self.lr!r}, need a finite number > 0")
        if self.steps < 1:
            faults.append(f"steps={self.steps}, need at least 1")
        for name, weight in (("entropy_weight", self.entropy_weight), ("count_weight", self.count_weight)):
            if not math.isfinite(weight):
                faults.append(f"{name}={weight!r}, need a finite number")
        if faults:
            raise OptionsError.of("Released", faults)

    def scores(self, losses: Vector, k: int, rng: np.random.Generator) -> Vector:
        """Return float64[n] >= 0. Cost: O(n steps)."""
        scores = rng.random(len(losses))
        for _ in range(self.steps):
            p = np.exp(scores - scores.max())
            p /= p.sum()
            log_p = np.log(np.maximum(p, np.finfo(np.float64).tiny))
            entropy_slope = -p * (log_p - np.sum(p * log_p))
            count_slope = np.sign(scores.sum() - k)
            slope = losses + self.entropy_weight * entropy_slope + self.count_weight * count_slope
            scores = np.maximum(scores - self.lr * slope, 0.0)
        return scores

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`. Ties, of scores at 0 above all, are broken at random."""
        check_budget(k, context.pool_size)
        scores = self.scores(predicted_losses(context), k, rng)
        return Selection.uniform(top_m(scores, k, rng), context.pool_size)


def predicted_losses(context: Context) -> Vector:
    """Return float64[n], the signal "loss".

    Raises:
        SelectionError: It is not there, or not finite; names the row.
    """
    losses = context.signal(LOSS).astype(np.float64)
    if not np.isfinite(losses).all():
        row = int(np.flatnonzero(~np.isfinite(losses))[0])
        raise SelectionError(f"The predicted loss of row {row} is {losses[row]}, need {len(losses)} finite ones.")
    return losses


def bounded(logits: Vector) -> Vector:
    """Return logits shifted to a greatest of 0, which draws do not see, none of them below -500.

    The bound is far out, for what lies beyond it is drawn as equals: near the middle it would make the b rows of
    least loss a random part of the lower half.
    """
    held: Vector = np.maximum(logits - logits.max(), -LIMIT)
    return held


def drawn(source: Logits, context: Context, k: int, rng: np.random.Generator) -> Selection:
    """Draw k rows by a source's logits, in drawing order.

    Raises:
        BudgetError: k outside [1, n].
        SelectionError: A logit is not finite.
    """
    check_budget(k, context.pool_size)
    return Selection.uniform(gumbel_top_m(source.logits(context, k, rng), k, rng), context.pool_size)


def _settled(values: list[float]) -> bool:
    """Return True when the last ten estimates are no better than the ten before."""
    if len(values) < 2 * _PATIENCE:
        return False
    before, now = np.mean(values[-2 * _PATIENCE : -_PATIENCE]), np.mean(values[-_PATIENCE:])
    return bool(before - now < _IMPROVEMENT * abs(before))


def _check_entropy(name: str, entropy: float) -> None:
    if not 0 < entropy < math.inf:
        raise OptionsError(f"{name}: entropy={entropy!r}, need a finite weight > 0 in nats of loss.")
