"""Tasks and searches for the virtual clock: losses from a function, stories drawn by hypothesis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import PROPERTY

from raysubset.hpo.brackets import hyperband_brackets
from raysubset.hpo.budget import Ledger
from raysubset.hpo.halving import StoppingHalving
from raysubset.hpo.median import MedianStop
from raysubset.hpo.promotion import PromotionHalving
from raysubset.hpo.proposer import ListedPoints
from raysubset.hpo.run_to_end import RunToEnd
from raysubset.hpo.rungs import Rungs, place_rungs
from raysubset.hpo.scheduler import Scheduler
from raysubset.hpo.search import Search
from raysubset.hpo.simulator import simulate
from raysubset.hpo.synchronous import SynchronousHalving
from raysubset.hpo.trace import Trace

Point = Mapping[str, Any]

FEW = settings(PROPERTY, max_examples=25)  # each runs one to three whole searches


@dataclass
class Listed:
    """Losses by trial and epoch from a function, costs from a list; the optimum is loss 0."""

    costs: list[int]
    of: Callable[[int, int], float]

    @property
    def epoch_costs(self) -> NDArray[np.int64]:
        return np.array(self.costs, dtype=np.int64)

    def loss(self, point: Point, trial: str, epoch: int) -> float:
        return self.of(int(point["x"]), epoch)

    def regret(self, point: Point) -> float:
        return self.of(int(point["x"]), len(self.costs))


def scattered(seed: int, ties: int = 7) -> Callable[[int, int], float]:
    """Losses on a coarse grid, so that many are equal."""
    return lambda x, epoch: float(np.random.default_rng((seed, x, epoch)).integers(ties)) / ties


SCHEDULERS: dict[str, Callable[[Rungs], Scheduler]] = {
    "none": lambda rungs: RunToEnd(len(rungs.levels)),
    "median": lambda rungs: MedianStop(len(rungs.levels)),
    "asha": lambda rungs: StoppingHalving(len(rungs.levels), 2),
    "asha-promote": lambda rungs: PromotionHalving(len(rungs.levels), 2),
    "dasha": lambda rungs: PromotionHalving(len(rungs.levels), 2, delayed=True),
    "halving": lambda rungs: SynchronousHalving(hyperband_brackets(rungs.halvings, 2)[:1], 2),
    "hyperband": lambda rungs: SynchronousHalving(hyperband_brackets(rungs.halvings, 2), 2),
}


def search_of(
    task: Listed, scheduler: str, trials: int, workers: int, ledger: Ledger | None = None, **options: Any
) -> Search:
    rungs = place_rungs(task.epoch_costs, 2)
    points = [{"x": i} for i in range(trials + 2)]  # more than are to be tried
    return Search(
        rungs,
        SCHEDULERS[scheduler](rungs),
        ListedPoints(points),
        trials=trials,
        concurrency=workers,
        ledger=ledger,
        **options,
    )


costs = st.lists(st.integers(1, 9), min_size=1, max_size=9)
searches = st.fixed_dictionaries(
    {
        "costs": costs,
        "scheduler": st.sampled_from(sorted(SCHEDULERS)),
        "trials": st.integers(1, 14),
        "workers": st.integers(1, 5),
        "seed": st.integers(0, 5),
        "samples": st.one_of(st.just(math.inf), st.integers(1, 200)),
        "seconds": st.one_of(st.just(math.inf), st.integers(1, 60)),
        "startup_s": st.sampled_from([0.0, 1.0, 0.5]),
        "straggling": st.sampled_from([0.0, 0.0, 1.0]),
    }
)


def run(story: Mapping[str, Any], **options: Any) -> tuple[Trace, Search, Listed]:
    task = Listed(story["costs"], scattered(story["seed"]))
    ledger = Ledger(samples=story["samples"], seconds=story["seconds"])
    search = search_of(task, story["scheduler"], story["trials"], story["workers"], ledger, **options)
    trace = simulate(
        search,
        task,
        startup_s=story["startup_s"],
        seconds_per_sample=0.25,
        straggling=story["straggling"],
    )
    return trace, search, task
