"""Trials that fail under the virtual clock, and what cannot be simulated."""

from __future__ import annotations

import math
from typing import Any

import pytest

from raysubset.errors import OptionsError, SchedulerError
from raysubset.hpo.brackets import hyperband_brackets
from raysubset.hpo.proposer import ListedPoints
from raysubset.hpo.run_to_end import RunToEnd
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.search import Search
from raysubset.hpo.simulator import simulate
from tests.hpo.listed_losses import SCHEDULERS, Listed, search_of


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
def test_a_trial_that_fails_ends_there(scheduler: str, bad: float) -> None:
    """Odd trials fail at their first rung; the others go on as if alone at it with infinitely bad ones."""
    task = Listed([1, 1, 1, 1], lambda x, epoch: bad if x % 2 else 1.0 + x)
    search = search_of(task, scheduler, trials=12, workers=2)
    trace = simulate(search, task)
    assert search.history.failed == {f"{x:04d}" for x in range(1, 12, 2)}
    spent = {trial: samples for trial, samples in search.ledger.spent.items() if int(trial) % 2}
    first = {bracket.start for bracket in hyperband_brackets(2, 2)} if scheduler == "hyperband" else {0}
    assert set(spent.values()) <= {2**start for start in first}
    assert int(trace.incumbents[-1].trial) % 2 == 0
    assert all(math.isfinite(one.loss) for one in trace.incumbents)


def test_only_failures_leave_no_incumbent() -> None:
    task = Listed([1, 1], lambda x, epoch: math.inf)
    trace = simulate(search_of(task, "asha", 3, 2), task)
    assert trace.incumbents == ()
    assert trace.samples == 3


class Deaf(RunToEnd):
    """Starts one trial and waits for ever."""

    def opening(self, history: Any) -> int | None:  # type: ignore[override]
        return None if history.points else 0


def test_a_standstill_is_an_error() -> None:
    task = Listed([1], lambda x, epoch: 0.0)
    search = Search(Rungs((1.0,), (1,)), Deaf(1), ListedPoints([{"x": 0}] * 3), trials=3, concurrency=2)
    with pytest.raises(SchedulerError, match="stands still after 1 jobs"):
        simulate(search, task)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"startup_s": -1.0}, "startup_s=-1.0, need a number >= 0"),
        ({"startup_s": math.nan}, "startup_s=nan"),
        ({"straggling": -0.1}, "straggling=-0.1, need a number >= 0"),
        ({"seconds_per_sample": 0.0}, "seconds_per_sample=0.0, need a number > 0"),
        ({"seconds_per_sample": math.inf, "startup_s": -1.0}, "startup_s=-1.0.*seconds_per_sample=inf"),
    ],
)
def test_costs_out_of_range(options: dict[str, float], said: str) -> None:
    task = Listed([1], lambda x, epoch: 0.0)
    with pytest.raises(OptionsError, match=said):
        simulate(search_of(task, "asha", 1, 1), task, **options)


def test_rungs_beyond_the_end_of_a_trial() -> None:
    task = Listed([1, 1], lambda x, epoch: 0.0)
    longer = Listed([1] * 4, task.of)
    with pytest.raises(
        OptionsError, match="highest rung is at 4 samples, but a whole trial of this task consumes 2"
    ):
        simulate(search_of(longer, "asha", 1, 1), task)


def test_a_search_that_has_begun() -> None:
    task = Listed([1, 1], lambda x, epoch: 0.0)
    search = search_of(task, "asha", 3, 1)
    search.ask()
    with pytest.raises(SchedulerError, match="fresh search; this one has started 1 trials"):
        simulate(search, task)


def test_a_scheduler_that_lets_a_trial_go_on_beyond_its_end() -> None:
    task = Listed([1], lambda x, epoch: 0.0)
    search = Search(Rungs((1.0,), (1,)), RunToEnd(2), ListedPoints([{"x": 0}]), trials=1, concurrency=1)
    with pytest.raises(SchedulerError, match="go on after epoch 1, its last"):
        simulate(search, task)
