"""The virtual clock against a naive one, and what holds for every trace."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from tolerances import FLOAT64

from raysubset.hpo.budget import Ledger
from raysubset.hpo.search import Search, Start
from raysubset.hpo.simulator import simulate
from tests.hpo.listed_losses import FEW, SCHEDULERS, Listed, run, search_of, searches


def naive(search: Search, task: Listed, startup_s: float, per_sample: float) -> list[tuple[Any, ...]]:
    """Epoch by epoch, no queue: the earliest end of an epoch is looked for among all workers."""
    consumed = [0, *np.cumsum(task.costs).tolist()]
    workers: list[dict[str, Any] | None] = [None] * search.concurrency
    jobs: list[dict[str, Any]] = []
    epochs: dict[str, int] = {}
    now = 0.0

    def end_of_epoch(job: dict[str, Any]) -> float:
        return (
            job["begin"] + startup_s + (consumed[epochs[job["trial"]] + 1] - consumed[job["first"]]) * per_sample
        )

    while True:
        while None in workers:
            asked = search.ask()
            if asked is None:
                break
            kind = "start" if isinstance(asked, Start) else "promote"
            first = epochs.setdefault(asked.trial, 0)
            job = {"kind": kind, "trial": asked.trial, "rung": asked.rung, "begin": now, "first": first}
            job["worker"] = workers.index(None)
            workers[job["worker"]] = job
            jobs.append(job)
        busy = [job for job in jobs if job in workers]
        if not busy:
            break
        job = min(busy, key=end_of_epoch)  # of equals the first begun
        now = end_of_epoch(job)
        trial = job["trial"]
        epochs[trial] += 1
        target = search.rungs.levels[search.running[trial]]
        samples = consumed[epochs[trial]]
        loss = task.loss(search.history.points[trial], trial, epochs[trial]) if samples >= target else None
        search.report(trial, samples, loss, now)
        if trial not in search.running:
            workers[job["worker"]] = None
            job["end"], job["samples"] = now, samples - consumed[job["first"]]
    return [
        tuple(job[key] for key in ("kind", "trial", "rung", "worker", "begin", "end", "samples")) for job in jobs
    ]


@FEW
@given(searches)
def test_the_trace_is_that_of_a_naive_clock(story: dict[str, Any]) -> None:
    """Also shows that jumping from rung to rung changes nothing: the naive clock reports every epoch."""
    trace, _, task = run({**story, "straggling": 0.0})
    ledger = Ledger(samples=story["samples"], seconds=story["seconds"])
    twin = search_of(task, story["scheduler"], story["trials"], story["workers"], ledger)
    assert [tuple(job) for job in trace.jobs] == naive(twin, task, story["startup_s"], 0.25)


@FEW
@given(searches)
def test_invariants(story: dict[str, Any]) -> None:
    trace, search, task = run(story)
    assert trace == run(story)[0], "deterministic"
    assert search.finished
    assert not search.running
    begins = [job.begin_s for job in trace.jobs]
    assert begins == sorted(begins), "the clock never goes back"
    for key in ("trial", "worker"):
        ends: dict[Any, float] = {}
        for job in trace.jobs:
            assert job.begin_s >= ends.get(getattr(job, key), 0.0), f"no {key} does two jobs at once"
            ends[getattr(job, key)] = job.end_s
    assert {job.worker for job in trace.jobs} <= set(range(story["workers"]))
    for job in trace.jobs:
        assert job.samples > 0
        seconds, least = job.end_s - job.begin_s, story["startup_s"] + 0.25 * job.samples
        assert seconds == pytest.approx(least, rel=FLOAT64) or (story["straggling"] and seconds > least)
    assert trace.samples == search.ledger.total == sum(search.ledger.spent.values())
    assert trace.samples <= story["samples"] + story["workers"] * max(task.costs)
    starts = [job.trial for job in trace.jobs if job.kind == "start"]
    assert len(set(starts)) == len(starts) == search.started <= story["trials"]
    assert 0 <= trace.idle_share < 1
    curve = [(-one.rung, one.loss) for one in trace.incumbents]
    assert curve == sorted(curve, reverse=True)
    assert [one.samples for one in trace.incumbents] == sorted(one.samples for one in trace.incumbents)


@FEW
@given(searches)
def test_delayed_promotions_never_exceed_their_share(story: dict[str, Any]) -> None:
    trace, search, _ = run({**story, "scheduler": "dasha"})
    promoted = [0] * len(search.rungs.levels)
    for job in trace.jobs:
        if job.kind == "promote":
            promoted[job.rung] += 1
    for rung, count in enumerate(promoted[1:]):
        assert count <= len(search.history.losses[rung]) // 2


@FEW
@given(searches)
def test_the_samples_of_an_incumbent_are_those_trained_until_then(story: dict[str, Any]) -> None:
    trace, _, _ = run(story)
    for one in trace.incumbents:
        trained = 0.0
        for job in trace.jobs:
            begin = job.begin_s + story["startup_s"]
            share = (min(one.elapsed_s, job.end_s) - begin) / (job.end_s - begin)
            trained += job.samples * max(0.0, share)
        assert one.samples == pytest.approx(trained, abs=0.51)


def test_stragglers_are_half_normal_and_belong_to_their_trial_and_place() -> None:
    """|z| of a unit normal has mean sqrt(2 / pi) and variance 1 - 2 / pi; five standard errors of 600 draws."""
    task = Listed([1, 1], lambda x, epoch: float(x))
    slowdowns: dict[int, dict[tuple[str, int], float]] = {}
    for workers, seed in ((1, 0), (7, 0), (1, 1)):
        search = search_of(task, "asha-promote", 400, workers)
        trace = simulate(search, task, startup_s=5.0, seconds_per_sample=2.0, straggling=0.5, seed=seed)
        seconds = {(job.trial, job.rung): (job.end_s - job.begin_s - 5.0) / 2.0 for job in trace.jobs}
        assert len(seconds) == 600
        slowdowns[workers + 10 * seed] = seconds
    assert slowdowns[1].keys() == slowdowns[7].keys()
    assert list(slowdowns[1].values()) == pytest.approx([slowdowns[7][key] for key in slowdowns[1]], rel=1e-6)
    assert slowdowns[1] != slowdowns[11]
    assert all(slowdowns[1][trial, 0] != seconds for (trial, rung), seconds in slowdowns[1].items() if rung)
    draws = (np.array(list(slowdowns[1].values())) - 1) / 0.5
    assert draws.min() >= 0
    assert abs(draws.mean() - math.sqrt(2 / math.pi)) < 5 * math.sqrt((1 - 2 / math.pi) / 600)


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
def test_a_budget_too_large_to_matter_changes_nothing(scheduler: str) -> None:
    story = {
        "costs": [5, 1, 1, 2, 3, 1, 1, 9],
        "scheduler": scheduler,
        "trials": 40,
        "workers": 3,
        "seed": 1,
        "samples": math.inf,
        "seconds": math.inf,
        "startup_s": 0.3,
        "straggling": 1.0,
    }
    assert run(story)[0] == run({**story, "samples": 10**9, "seconds": 10**9})[0]
