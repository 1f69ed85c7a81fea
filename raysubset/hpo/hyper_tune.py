"""Hyper-Tune: delayed asynchronous halving that learns at which rung new trials should start.

Bracket b starts its trials at rung b. A low rung is cheap but may rank configurations wrongly; theta_b, from the
surrogates of the levels, says how well level b ranks what the best-known level has seen. The first three passes go
through HyperBand's brackets in turn, each as often as HyperBand would; then bracket b is drawn with probability

    w_b = (theta_b / r_b) / sum_j theta_j / r_j,     r_b = samples of a trial at level b

as Syne Tune does; the authors' code weighs theta_b by HyperBand's n_0 and keeps the best two brackets. Promotion
is D-ASHA over levels shared by all brackets (`promotion`), without start thresholds, as in the paper.

References:
    [1] Li et al., 2022, "Hyper-Tune: towards efficient hyper-parameter tuning at scale", arXiv:2201.06834.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError, SchedulerError
from raysubset.hpo.brackets import hyperband_brackets
from raysubset.hpo.history import History
from raysubset.hpo.promotion import PromotionHalving
from raysubset.hpo.scheduler import Verdict
from raysubset.seeds import generator

PASSES = 3  # of HyperBand before theta is asked; with smax = 3 they end with 24 trials trained to the last rung


def bracket_shares(theta: NDArray[np.float64], levels: Sequence[float]) -> NDArray[np.float64]:
    """Return the probability of each bracket.

    Args:
        theta: float64[rungs], >= 0, not all 0.
        levels: Samples at which each rung is reached, > 0.

    Returns:
        float64[rungs] that sum to 1.

    Raises:
        SchedulerError: theta has another length, or is no weighting.
    """
    if theta.shape != (len(levels),) or not np.isfinite(theta).all() or theta.min() < 0 or not theta.any():
        raise SchedulerError(f"theta={theta}: need {len(levels)} finite weights >= 0, one of them above 0.")
    worth = theta / np.asarray(levels, dtype=np.float64)
    return np.asarray(worth / worth.sum())


@dataclass(slots=True)
class HyperTune:
    """D-ASHA with a choice of brackets.

    Attributes:
        rungs: How many, >= 1.
        levels: Samples at which each is reached, ascending.
        eta: Reduction factor, >= 2.
        seed: Of the draws of brackets; the i-th trial's comes from a stream of its own.
        weights: What a history says of theta, float64[rungs], or None while it says too little: then the brackets
            stay in turn. A pure function.

    Raises:
        OptionsError: eta below 2, or levels of another number.
    """

    rungs: int
    levels: tuple[float, ...]
    eta: int
    seed: int
    weights: Callable[[History], NDArray[np.float64] | None]
    _halving: PromotionHalving = field(init=False)
    _turns: tuple[int, ...] = field(init=False)  # brackets of one pass, trial by trial
    _started: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if len(self.levels) != self.rungs:
            raise OptionsError(f"rungs={self.rungs}, but levels={self.levels}: need one level a rung.")
        self._halving = PromotionHalving(self.rungs, self.eta, delayed=True)
        brackets = hyperband_brackets(self.rungs - 1, self.eta)
        self._turns = tuple(bracket.start for bracket in brackets for _ in range(bracket.sizes[0]))

    @property
    def pauses(self) -> bool:
        """True."""
        return True

    def opening(self, history: History) -> int:
        """Return the bracket of the next trial. Cost: that of ``weights``, once three passes are through."""
        passes, turn = divmod(self._started, len(self._turns))
        theta = self.weights(history) if passes >= PASSES else None
        if theta is None:
            return self._turns[turn]
        stream = generator(self.seed, self._started, "bracket")
        return int(stream.choice(self.rungs, p=bracket_shares(theta, self.levels)))

    def start(self, trial: str, bracket: int) -> int:
        """Let a trial head for the lowest rung of its bracket."""
        rung = self._halving.start(trial, bracket)
        self._started += 1
        return rung

    def promotable(self) -> str | None:
        """Return the best candidate of the highest rung that has one. Cost: O(rungs)."""
        return self._halving.promotable()

    def promote(self, trial: str) -> int:
        """Let a paused trial head for the next rung."""
        return self._halving.promote(trial)

    def judge(self, trial: str, rung: int, loss: float) -> Verdict:
        """Pause a trial at its rung; stop it at the last one, or if its loss is not finite."""
        return self._halving.judge(trial, rung, loss)

    def withdraw(self, trial: str) -> None:
        """Count a running trial as infinitely bad at the rung it headed for; a paused one keeps its rank."""
        self._halving.withdraw(trial)

    def close(self) -> None:
        """Change nothing: nobody waits."""

    def rewind(self, trial: str, rung: int) -> None:
        """Take back a trial's ranks and promotions from ``rung`` on."""
        self._halving.rewind(trial, rung)
