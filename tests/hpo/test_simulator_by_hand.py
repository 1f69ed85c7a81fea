"""The virtual clock by hand: rungs, pauses, budgets, a bracket that never fills; and the golden traces."""

from __future__ import annotations

import pytest
from golden_values import golden

from raysubset.hpo.brackets import Bracket
from raysubset.hpo.budget import Ledger
from raysubset.hpo.halving import StoppingHalving
from raysubset.hpo.promotion import PromotionHalving
from raysubset.hpo.proposer import ListedPoints
from raysubset.hpo.run_to_end import RunToEnd
from raysubset.hpo.rungs import Rungs, place_rungs
from raysubset.hpo.search import Search
from raysubset.hpo.simulator import simulate
from raysubset.hpo.synchronous import SynchronousHalving
from tests.hpo.listed_losses import Listed


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


def unhalved(ledger: Ledger) -> Search:
    """Nine trials of 40 samples on two workers, none stopped before its end."""
    points = ListedPoints([{"x": x} for x in range(9)])
    return Search(Rungs((40.0,), (4,)), RunToEnd(1), points, trials=9, concurrency=2, ledger=ledger)


def test_a_budget_of_samples_ends_trials_at_an_epoch_not_at_a_rung() -> None:
    """Two workers, trials of 4 epochs of 10, no halving; the 50 samples are spent when both did 2.5 epochs."""
    task = Listed([10] * 4, lambda x, epoch: 1.0)
    trace = simulate(unhalved(Ledger(samples=50)), task, startup_s=0.0, seconds_per_sample=1.0)
    assert [(job.trial, job.samples, job.end_s) for job in trace.jobs] == [("0000", 30, 30.0), ("0001", 30, 30.0)]
    assert trace.incumbents == ()
    assert trace.regret is None


def test_a_budget_of_seconds_ends_trials_at_an_epoch_not_at_a_rung() -> None:
    """Whole trials take 41 s; the second two stand at 52 s after an epoch and at 62 s after two."""
    task = Listed([10] * 4, lambda x, epoch: 1.0)
    trace = simulate(unhalved(Ledger(seconds=55)), task, startup_s=1.0, seconds_per_sample=1.0)
    assert [(job.trial, job.samples, job.end_s) for job in trace.jobs] == [
        ("0000", 40, 41.0),
        ("0001", 40, 41.0),
        ("0002", 20, 62.0),
        ("0003", 20, 62.0),
    ]


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
