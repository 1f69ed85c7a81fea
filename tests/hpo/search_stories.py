"""Searches and what happens in them, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from raysubset.hpo.brackets import hyperband_brackets
from raysubset.hpo.budget import Ledger
from raysubset.hpo.halving import StoppingHalving
from raysubset.hpo.history import History, Point
from raysubset.hpo.hyper_tune import HyperTune
from raysubset.hpo.median import MedianStop
from raysubset.hpo.promotion import PromotionHalving
from raysubset.hpo.run_to_end import RunToEnd
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.scheduler import Scheduler
from raysubset.hpo.search import Event, Search
from raysubset.hpo.synchronous import SynchronousHalving


def levels_known(history: History) -> NDArray[np.float64] | None:
    """Stands for fidelity_weights: a pure function of the history, None at first."""
    counts = np.array([len(losses) for losses in history.losses], dtype=np.float64)
    return counts if counts.sum() > 5 else None


SCHEDULERS: dict[str, Callable[[Rungs, int], Scheduler]] = {
    "none": lambda rungs, eta: RunToEnd(len(rungs.levels)),
    "asha": lambda rungs, eta: StoppingHalving(len(rungs.levels), eta),
    "median": lambda rungs, eta: MedianStop(len(rungs.levels)),
    "asha-promote": lambda rungs, eta: PromotionHalving(len(rungs.levels), eta),
    "dasha": lambda rungs, eta: PromotionHalving(len(rungs.levels), eta, delayed=True),
    "dasha-threshold": lambda rungs, eta: PromotionHalving(len(rungs.levels), eta, delayed=True, thresholds=True),
    "halving": lambda rungs, eta: SynchronousHalving(hyperband_brackets(rungs.halvings, eta)[:1], eta),
    "hyperband": lambda rungs, eta: SynchronousHalving(hyperband_brackets(rungs.halvings, eta), eta),
    "hyper-tune": lambda rungs, eta: HyperTune(len(rungs.levels), rungs.levels, eta, 0, levels_known),
}


class Numbered:
    """Proposes its own draw number; ``most`` points at most."""

    def __init__(self, most: float = math.inf) -> None:
        self.most = most

    def propose(self, history: History, draw: int, rung: int) -> Point | None:
        return {"x": draw} if draw < self.most else None


def geometric_rungs(halvings: int, eta: int, first: int = 10) -> Rungs:
    levels = tuple(float(first * eta**k) for k in range(halvings + 1))
    return Rungs(levels, tuple(eta**k for k in range(halvings + 1)))


@dataclass
class Story:
    """A search and what will happen in it, all drawn from ``seed``."""

    scheduler: str
    seed: int
    eta: int = 3
    halvings: int = 2
    trials: int = 12
    concurrency: int = 3
    budget: float = math.inf
    points: float = math.inf
    failures: float = 0.1
    unjudged: float = 0.15
    odd_losses: float = 0.15
    costs: tuple[int, ...] = (5, 10, 20, 35)

    @property
    def rungs(self) -> Rungs:
        return geometric_rungs(self.halvings, self.eta)

    def search(self, journal: Callable[[Event], None] | None = None, watch: Any = None) -> Search:
        scheduler = SCHEDULERS[self.scheduler](self.rungs, self.eta)
        return Search(
            self.rungs,
            scheduler if watch is None else watch(scheduler),
            Numbered(self.points),
            trials=self.trials,
            concurrency=self.concurrency,
            ledger=Ledger(self.budget),
            journal=journal,
        )

    def cost(self, trial: str, epoch: int) -> int:
        return Random(f"{self.seed} cost {trial} {epoch}").choice(self.costs)

    def loss(self, trial: str, epoch: int, last: bool) -> float | None:
        """Few different values, so that there are ties; None where an epoch is not judged."""
        draw = Random(f"{self.seed} loss {trial} {epoch}")
        if not last and draw.random() < self.unjudged:
            return None
        if draw.random() < self.odd_losses:
            return draw.choice([math.nan, math.inf, -math.inf])
        return draw.randrange(6) / 4


@st.composite
def happenings(draw: st.DrawFn) -> dict[str, Any]:
    """Options of a Story other than its scheduler."""
    eta = draw(st.sampled_from([2, 3]))
    return {
        "seed": draw(st.integers(0, 2**32)),
        "eta": eta,
        "halvings": draw(st.integers(0, 2 if eta == 3 else 3)),
        "trials": draw(st.integers(1, 30)),
        "concurrency": draw(st.integers(1, 5)),
        "budget": draw(st.sampled_from([math.inf, 30, 400, 1000])),
        "points": draw(st.sampled_from([math.inf, 7])),
        "failures": draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])),
        "unjudged": draw(st.sampled_from([0.0, 0.3])),
        "odd_losses": draw(st.sampled_from([0.0, 0.2, 1.0])),
    }
