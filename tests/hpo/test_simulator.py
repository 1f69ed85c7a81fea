"""The virtual clock: by hand, against a naive one, on the golden traces, and killed at every event."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import OptionsError, SchedulerError
from raysubset.hpo.brackets import Bracket, hyperband_brackets
from raysubset.hpo.budget import Ledger
from raysubset.hpo.halving import StoppingHalving
from raysubset.hpo.median import MedianStop
from raysubset.hpo.promotion import PromotionHalving
from raysubset.hpo.proposer import ListedPoints
from raysubset.hpo.run_to_end import RunToEnd
from raysubset.hpo.rungs import Rungs, place_rungs
from raysubset.hpo.scheduler import Scheduler
from raysubset.hpo.search import Search, Start
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


# ---------------------------------------------------------------------- by hand


def test_two_workers_by_hand() -> None:
    """Rungs after epochs 1 and 2 (10 and 30 samples), eta 2, 1 s to start, 0.1 s a sample.

    worker 0: trial 0, at the first rung at 2 s (first there: on), whole at 4 s; then trial 3, the best, to 8 s.
    worker 1: trial 1, worse than trial 0, stopped at 2 s; then trial 2, no better, stopped at 4 s.
    """
    task = Listed([10, 20], lambda x, epoch: [0.5, 0.9, 0.8, 0.1][x] / epoch)
    rungs = Rungs((10.0, 30.0), (1, 2))
    points = ListedPoints([{"x": x} for x in range(4)])
    search = Search(rungs, StoppingHalving(2, 2), points, trials=4, concurrency=2)
    trace = simulate(search, task, startup_s=1.0, seconds_per_sample=0.1)
    assert [
        (job.kind, job.trial, job.rung, job.worker, job.begin_s, job.end_s, job.samples) for job in trace.jobs
    ] == [
        ("start", "0000", 0, 0, 0.0, 4.0, 30),
        ("start", "0001", 0, 1, 0.0, 2.0, 10),
        ("start", "0002", 0, 1, 2.0, 4.0, 10),
        ("start", "0003", 0, 0, 4.0, 8.0, 30),
    ]
    assert (trace.samples, trace.wall_s, trace.promotions) == (80, 8.0, 0)
    assert trace.idle_share == pytest.approx(4 / 16)  # worker 1 from 4 s on
    assert [(one.elapsed_s, one.samples, one.trial, one.rung, one.loss) for one in trace.incumbents] == [
        (2.0, 20, "0000", 0, 0.5),
        (4.0, 50, "0000", 1, 0.25),
        (8.0, 80, "0003", 1, 0.05),
    ]
    assert [one.regret for one in trace.incumbents] == [0.25, 0.25, 0.05]
    assert trace.regret == 0.05


def test_a_pause_costs_a_second_start_and_frees_the_worker() -> None:
    """Promotion type, eta 2, one worker: 0, 1, promote 1; 2 and 3 are worse; at the end nobody else is due."""
    task = Listed([10, 20], lambda x, epoch: [0.5, 0.4, 0.9, 0.8][x] / epoch)
    search = Search(
        Rungs((10.0, 30.0), (1, 2)),
        PromotionHalving(2, 2),
        ListedPoints([{"x": x} for x in range(4)]),
        trials=4,
        concurrency=1,
    )
    trace = simulate(search, task, startup_s=1.0, seconds_per_sample=0.1)
    assert [(job.kind, job.trial, job.rung, job.begin_s, job.end_s, job.samples) for job in trace.jobs] == [
        ("start", "0000", 0, 0.0, 2.0, 10),
        ("start", "0001", 0, 2.0, 4.0, 10),
        ("promote", "0001", 1, 4.0, 7.0, 20),
        ("start", "0002", 0, 7.0, 9.0, 10),
        ("start", "0003", 0, 9.0, 11.0, 10),
        ("promote", "0000", 1, 11.0, 14.0, 20),
    ]
    assert trace.promotions == 2
    assert trace.idle_share == 0.0
    assert sorted(search.paused) == ["0002", "0003"]


GOLDEN = {
    "asha": lambda: PromotionHalving(3, 2),
    "delayed": lambda: PromotionHalving(3, 2, delayed=True),
    "delayed_threshold_4_2": lambda: PromotionHalving(3, 2, delayed=True, thresholds=True),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_traces_at_one_worker(name: str) -> None:
    values = golden("asha_trace")
    base = values["base"]

    def loss(x: int, epoch: int) -> float:
        first = 0.9 * base[x] + 0.02 * (x % 2)
        return {1: base[x], 2: first, 4: 0.9 * first}[epoch]

    task = Listed([1, 1, 1, 1], loss)
    points = ListedPoints([{"x": x} for x in range(len(base))])
    rungs = place_rungs(task.epoch_costs, 2)
    search = Search(rungs, GOLDEN[name](), points, trials=len(base), concurrency=1)
    trace = simulate(search, task)
    kinds = {"start": "new", "promote": "promote"}
    jobs = [[kinds[job.kind], int(job.trial), job.rung] for job in trace.jobs]
    assert jobs[: len(values[name])] == values[name]


# ---------------------------------------------------------------------- against a naive clock


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


# ---------------------------------------------------------------------- budgets


def test_a_budget_of_samples_ends_trials_at_an_epoch_not_at_a_rung() -> None:
    """Two workers, trials of 4 epochs of 10, no halving; the 50 samples are spent when both did 2.5 epochs."""
    task = Listed([10] * 4, lambda x, epoch: 1.0)
    search = Search(
        Rungs((40.0,), (4,)),
        RunToEnd(1),
        ListedPoints([{"x": x} for x in range(9)]),
        trials=9,
        concurrency=2,
        ledger=Ledger(samples=50),
    )
    trace = simulate(search, task, startup_s=0.0, seconds_per_sample=1.0)
    assert [(job.trial, job.samples, job.end_s) for job in trace.jobs] == [("0000", 30, 30.0), ("0001", 30, 30.0)]
    assert trace.incumbents == ()
    assert trace.regret is None


def test_a_budget_of_seconds_ends_trials_at_an_epoch_not_at_a_rung() -> None:
    """Whole trials take 41 s; the second two stand at 52 s after an epoch and at 62 s after two."""
    task = Listed([10] * 4, lambda x, epoch: 1.0)
    search = Search(
        Rungs((40.0,), (4,)),
        RunToEnd(1),
        ListedPoints([{"x": x} for x in range(9)]),
        trials=9,
        concurrency=2,
        ledger=Ledger(seconds=55),
    )
    trace = simulate(search, task, startup_s=1.0, seconds_per_sample=1.0)
    assert [(job.trial, job.samples, job.end_s) for job in trace.jobs] == [
        ("0000", 40, 41.0),
        ("0001", 40, 41.0),
        ("0002", 20, 62.0),
        ("0003", 20, 62.0),
    ]


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


# ---------------------------------------------------------------------- killed


@FEW
@given(searches, st.integers(0, 10**6))
def test_a_simulation_killed_at_any_event_goes_on_to_the_same_trace(story: dict[str, Any], cut: int) -> None:
    whole: list[Any] = []
    trace, _, task = run(story, journal=lambda event: whole.append(json.loads(json.dumps(event, allow_nan=False))))
    cut %= len(whole) + 1
    ledger = Ledger(samples=story["samples"], seconds=story["seconds"])
    rest: list[Any] = []
    search = search_of(
        task,
        story["scheduler"],
        story["trials"],
        story["workers"],
        ledger,
        journal=lambda event: rest.append(event),
    )
    again = simulate(
        search,
        task,
        startup_s=story["startup_s"],
        seconds_per_sample=0.25,
        straggling=story["straggling"],
        journal=whole[:cut],
    )
    assert again == trace
    assert [json.loads(json.dumps(event)) for event in rest] == whole[cut:]


def test_the_journal_of_another_simulation_is_refused() -> None:
    task = Listed([1, 1], lambda x, epoch: float(x))
    events: list[Any] = []
    simulate(search_of(task, "asha", 4, 2, journal=events.append), task)
    other = Listed([2, 1], task.of)
    with pytest.raises(SchedulerError, match="journal is of another simulation"):
        simulate(search_of(other, "asha", 4, 2), other, journal=events)
    for wrong in (events[:1] + events[2:], [{"event": "rewind", "trial": "0000", "samples": 0}]):
        with pytest.raises(SchedulerError, match="cannot come next"):
            simulate(search_of(task, "asha", 4, 2), task, journal=wrong)
    with pytest.raises(SchedulerError, match="'event': 'start'.* cannot come next"):
        simulate(search_of(task, "asha", 4, 1), task, journal=events)


# ---------------------------------------------------------------------- failures and misuse


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


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bracket_that_never_fills_goes_on_when_the_points_run_out(workers: int) -> None:
    """Synchronous halving of 8 with 5 points: closed when the list ends, and then 2 and 1 go on."""
    task = Listed([1] * 4, lambda x, epoch: float(x))
    rungs = place_rungs(task.epoch_costs, 2)
    scheduler = SynchronousHalving((Bracket(0, (8, 4, 2)),), 2)
    points = ListedPoints([{"x": x} for x in range(5)])
    search = Search(rungs, scheduler, points, trials=100, concurrency=workers)
    trace = simulate(search, task)
    assert [job.trial for job in trace.jobs if job.kind == "promote"] == ["0000", "0001", "0000"]
