"""GLISTER: rows whose gradients, in one virtual step, lower the loss of held-out rows the most.

    min_{|A| = k}  L_V(theta_A),   theta_A = theta - eta sum_{i in A} g_i,    gain_j = eta <g_j, grad L_V(theta_A)>

The greedy choice takes the largest gain and moves the virtual last layer by the chosen gradient, in closed form,
so that a second row in the same direction gains less. Gains may turn negative before k rows are chosen; the budget
is filled all the same. Weights are 1.

References:
    [1] Killamsetty et al., 2021, "GLISTER: generalization based data subset selection", arXiv:2012.10630.
    [2] Mirzasoleiman et al., 2015, "Lazier than lazy greedy", arXiv:1409.7938.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError, SelectionError
from raysubset.selection.gradients import Gradients
from raysubset.selection.kernels.one_step import OneStep
from raysubset.selection.protocol import Context, Target, check_budget
from raysubset.types import Selection

Greedy = Literal["stochastic", "exact", "rounds"]
GREEDY: tuple[Greedy, ...] = ("stochastic", "exact", "rounds")

STEERING_SHARE = 0.1  # target rows for each pool row, where only the pool's size is known


@dataclass(frozen=True, slots=True)
class Glister:
    """k rows for the sake of the target rows' loss.

    Attributes:
        greedy: "exact" looks at every row for each pick; "stochastic" at (n / k) ln(1 / epsilon) rows drawn anew
            for each pick [2]; "rounds" takes the k / rounds best at once, ``rounds`` times (rounds=1: by one
            first-order ranking, without any update).
        eta: Virtual step for each chosen row, > 0. None: the learning rate, as the paper has it. That overshoots
            (k summed steps raise the target's loss, where learning_rate / k lowers it), yet it is what spreads the
            picks: they are trained on for many epochs, and with the short step all of them may be of one class.
        target: "validation", the context's target rows; or "train", the pool itself.
        gradients: Of the "last-layer" weights and bias, or of its "bias" alone (no features needed).
        epsilon: Of "stochastic", in (0, 1).
        rounds: Of "rounds", >= 1; never more than k.

    Raises:
        OptionsError: An option is out of range.

    Cost: a pick (a round) costs O(V c h) for V target rows, and O(c h) for each row looked at. 8 V c bytes and one
    copy of the target's features; 8 n bytes more, or n (h + 1) floats in "exact" and "rounds". Ties go to the
    lowest row.
    """

    greedy: Greedy = "stochastic"
    eta: float | None = None
    target: Literal["validation", "train"] = "validation"
    gradients: Literal["last-layer", "bias"] = "last-layer"
    epsilon: float = 0.01
    rounds: int = 15

    def __post_init__(self) -> None:
        faults = []
        for name, allowed in (
            ("greedy", GREEDY),
            ("target", ("validation", "train")),
            ("gradients", ("last-layer", "bias")),
        ):
            if (value := getattr(self, name)) not in allowed:
                faults.append(f"{name}={value!r}, need one of {', '.join(allowed)}")
        if self.eta is not None and not 0 < self.eta < math.inf:
            faults.append(f"eta={self.eta!r}, need a finite number > 0, or None")
        if not 0 < self.epsilon < 1:
            faults.append(f"epsilon={self.epsilon!r}, need a number in (0, 1)")
        if self.rounds < 1:
            faults.append(f"rounds={self.rounds!r}, need at least 1")
        if faults:
            raise OptionsError.of("Glister", faults)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows in the order of their picks.

        Raises:
            BudgetError: k outside [1, n].
            SelectionError: Gradients, target rows or the learning rate are missing, or do not fit each other.
        """
        check_budget(k, context.pool_size)
        state = self._state(context, self._step_size(context))
        n = context.pool_size
        if self.greedy == "stochastic":
            looked_at = math.ceil(n / k * math.log(1 / self.epsilon))
            rows = stochastic_picks(state, n, k, looked_at, rng)
        else:
            rows = picks_by_rounds(state, n, k, k if self.greedy == "exact" else self.rounds)
        return Selection.uniform(rows, n)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Return the floating-point operations of one selection; validation rows are taken to be a tenth of n."""
        width = c if self.gradients == "bias" else c * (h + 1)
        moves = min(self.rounds, k) if self.greedy == "rounds" else k
        looked_at = min(n, n / k * math.log(1 / self.epsilon)) if self.greedy == "stochastic" else n
        rows = n if self.target == "train" else STEERING_SHARE * n
        return moves * 2.0 * (2 * rows * width + looked_at * width)

    def _step_size(self, context: Context) -> float:
        if self.eta is not None:
            return self.eta
        if context.learning_rate is None:
            raise SelectionError("Glister needs the learning rate for its virtual step, or eta; it has neither.")
        if context.learning_rate <= 0:
            raise SelectionError(
                f"Glister cannot look one step ahead at learning rate {context.learning_rate}: give it an eta > 0."
            )
        return context.learning_rate

    def _state(self, context: Context, eta: float) -> OneStep:
        gradients = context.need_gradients("Glister")
        if self.gradients == "bias":
            gradients = gradients.of_bias()
        target = self._target(context, gradients)
        c, h = target.logits.shape[1], target.features.shape[1]
        if gradients.features is None and gradients.width == c:  # of the bias alone
            h = 0
        if gradients.width != c * (h + 1):
            raise SelectionError(
                f"Glister: the pool's gradients are {gradients.width} wide, but the target rows have {c} logits "
                f"and {target.features.shape[1]} features: they belong to different layers."
            )
        inputs = target.features[:, :h]
        return OneStep(
            gradients.residuals, gradients.features, target.logits, target.labels, inputs, eta, context.device
        )

    def _target(self, context: Context, gradients: Gradients) -> Target:
        if self.target == "validation":
            if context.target is None:
                raise SelectionError(
                    "Glister needs validation rows (logits, labels and features of rows held out from the pool), "
                    'and this pool has none; Glister(target="train") steers by the pool itself.'
                )
            return context.target
        labels = context.need_labels('Glister(target="train")')
        if context.logits is None:
            raise SelectionError('Glister(target="train") needs the logits of the pool, and it has none.')
        features = gradients.features
        if features is None:
            features = np.empty((context.pool_size, 0), dtype=np.float32)
        return Target(context.logits, labels, features)


def picks_by_rounds(state: OneStep, n: int, k: int, rounds: int) -> NDArray[np.int64]:
    """Take the best ceil(k / rounds) free rows, move, again, until there are exactly k."""
    share = math.ceil(k / min(rounds, k))
    free = np.ones(n, dtype=bool)
    picks: list[NDArray[np.int64]] = []
    for done in range(0, k, share):
        gains = np.where(free, state.gains(), -np.inf)
        rows = _best(gains, min(share, k - done))
        free[rows] = False
        picks.append(rows)
        state.choose(rows)
    return np.concatenate(picks)


def stochastic_picks(
    state: OneStep, n: int, k: int, looked_at: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Take, k times, the best of ``looked_at`` free rows drawn with replacement (of all, if no more are free)."""
    free = np.arange(n)
    picks = np.empty(k, dtype=np.int64)
    for done in range(k):
        left = n - done
        places = rng.integers(0, left, looked_at) if looked_at < left else np.arange(left)
        gains = state.gains(free[places])
        best = places[gains == gains.max()]
        place = best[np.argmin(free[best])]
        picks[done], free[place] = free[place], free[left - 1]
        state.choose(picks[done : done + 1])
    return picks


def _best(gains: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Rows of the largest gains, largest first, ties to the lowest row."""
    if count == 1:
        return np.asarray(np.argmax(gains, keepdims=True))
    return np.argsort(-gains, kind="stable")[:count]
