"""A search under a virtual clock: days of training in a second, decided by the very code that Ray drives.

    busy(job) = startup_s + samples * seconds_per_sample * (1 + |z|)       z ~ N(0, straggling^2)

a job being a start or a resumption. With z of its own for each job some straggle, as in [1].

Whenever a worker is free the search is asked for a job; whenever a trial reaches a rung the search hears its loss.
Events come in order of their virtual time, and at the same time in order of the jobs' begin, so the trace is a
function of search, task and the two costs alone.

Between rungs a trial's reports carry no loss and decide nothing, unless a budget of samples or seconds may end the
trial at the end of an epoch. So without a budget the clock jumps from rung to rung, and the trace is the same. A
trial that fails is noticed at its next rung, where it ends.

References:
    [1] Li et al., 2020, "A system for massively parallel hyperparameter tuning", arXiv:1810.05934, appendix A.1.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from raysubset.errors import OptionsError, SchedulerError
from raysubset.hpo.curves import Task, standard_normal
from raysubset.hpo.search import Event, Search, Start
from raysubset.hpo.trace import Incumbent, Job, Trace, samples_trained


def simulate(
    search: Search,
    task: Task,
    *,
    startup_s: float = 1.0,
    seconds_per_sample: float = 2.5e-4,
    straggling: float = 0.0,
    seed: int = 0,
    journal: Iterable[Event] = (),
) -> Trace:
    """Run a search to its end on as many virtual workers as its concurrency.

    Args:
        search: A fresh one, its rungs within the task's epochs.
        task: Costs and losses.
        startup_s: Seconds to start or to resume a trial, >= 0.
        seconds_per_sample: Of training, > 0; the default is LeNet on one core.
        straggling: Standard deviation of z, >= 0; 0 lets all jobs run alike.
        seed: Of z; a job's depends on its trial and where that stands.
        journal: Events of the same simulation, cut off anywhere: it goes on from there to the same trace.

    Returns:
        The trace; its samples are the ledger's total.

    Raises:
        OptionsError: A cost out of range, or a rung beyond the end of the task's trials.
        SchedulerError: The search comes to a standstill, lets a trial go on beyond its end, is not fresh, or the
            journal is not one of this simulation.

    Cost: about 30 µs a job beside what proposer, scheduler and task take; O(jobs + workers) memory.
    """
    faults = [
        f"{name}={value!r}, need a number >= 0"
        for name, value in (("startup_s", startup_s), ("straggling", straggling))
        if not 0 <= value < math.inf
    ]
    if not 0 < seconds_per_sample < math.inf:
        faults.append(f"seconds_per_sample={seconds_per_sample!r}, need a number > 0")
    if faults:
        raise OptionsError.of("simulate", faults)
    if search.started:
        raise SchedulerError(f"simulate needs a fresh search; this one has started {search.started} trials.")
    clock = _Clock(search, task, _Pace(startup_s, seconds_per_sample, straggling, seed))
    for event in journal:
        _follow(search, clock, event)
    while True:
        while clock.idle and (job := search.ask()) is not None:
            clock.begin("start" if isinstance(job, Start) else "promote", job.trial)
        if not clock.queue:
            break
        _report(search, task, clock)
    if not search.finished:
        raise SchedulerError(
            f"The search stands still after {len(clock.jobs)} jobs: nothing runs and nothing may start, yet it is "
            f"not finished ({len(search.paused)} trials are paused). The scheduler waits for what cannot come."
        )
    return clock.trace()


def _report(search: Search, task: Task, clock: _Clock) -> None:
    """Let the next trial end its epoch and tell the search."""
    running = clock.advance()
    trial, samples = running.trial, clock.consumed[running.epoch]
    loss = task.loss(search.history.points[trial], trial, running.epoch) if clock.judges(running) else None
    if loss is None or math.isfinite(loss):
        search.report(trial, samples, loss, clock.now_s)
    else:
        search.end(trial, samples, failed=True)
    clock.settle(running, loss)


def _follow(search: Search, clock: _Clock, event: Event) -> None:
    """Do what an event of the journal says was done."""
    kind, running = event["event"], None
    if kind in ("start", "promote"):
        fits = bool(clock.idle)
    elif kind in ("report", "end"):
        running = clock.advance() if clock.queue else None
        told = (event["trial"], event["samples"])
        fits = running is not None and (running.trial, clock.consumed[running.epoch]) == told
    else:
        fits = kind == "close"
    if not fits:
        raise SchedulerError(f"The journal is of another simulation: {dict(event)} cannot come next.")
    search.replay([event])
    if running is not None:
        clock.settle(running, event.get("loss"))
    elif kind != "close":
        clock.begin(kind, event["trial"])


@dataclass(frozen=True, slots=True)
class _Pace:
    """How fast jobs run."""

    startup_s: float
    seconds_per_sample: float
    straggling: float
    seed: int

    def of(self, trial: str, first: int) -> float:
        """Return the seconds a sample takes in a trial's job that begins after ``first`` epochs."""
        if not self.straggling:
            return self.seconds_per_sample
        return self.seconds_per_sample * (
            1 + self.straggling * abs(standard_normal(self.seed, trial, first, "pace"))
        )


@dataclass(slots=True)
class _Running:
    """A job under way: ``number`` in the trace, ``first`` epochs done before it, heading for ``epoch``."""

    number: int
    kind: str
    trial: str
    rung: int
    worker: int
    begin_s: float
    per_sample_s: float
    first: int
    epoch: int


class _Clock:
    """Workers, the queue of epoch ends, and what has been done."""

    def __init__(self, search: Search, task: Task, pace: _Pace) -> None:
        self.search, self.task, self.pace = search, task, pace
        self.consumed: list[int] = [0, *np.cumsum(task.epoch_costs).tolist()]
        self.reach = _epochs_of_rungs(search, self.consumed)
        self.every_epoch = search.ledger.samples < math.inf or search.ledger.seconds < math.inf
        self.now_s = 0.0
        self.idle = list(range(search.concurrency))  # a heap: the lowest free worker takes the job
        self.queue: list[tuple[float, int]] = []  # a heap of (time, job number)
        self.running: dict[int, _Running] = {}
        self.done: dict[str, int] = {}  # trial -> epochs
        self.jobs: list[Job | None] = []
        self.best = (1, math.inf)
        self.incumbents: list[Incumbent] = []

    def begin(self, kind: str, trial: str) -> None:
        """Give a trial that the search has set running to the lowest free worker."""
        first = self.done.get(trial, 0)
        rung = self.search.running[trial]
        number, worker, per_sample_s = len(self.jobs), heappop(self.idle), self.pace.of(trial, first)
        running = _Running(number, kind, trial, rung, worker, self.now_s, per_sample_s, first, first)
        self.jobs.append(None)
        self.running[running.number] = running
        self._go_on(running)

    def advance(self) -> _Running:
        """Move the clock to the next epoch end that matters."""
        self.now_s, number = heappop(self.queue)
        return self.running[number]

    def judges(self, running: _Running) -> bool:
        """True if a trial is at the rung it was heading for."""
        return running.epoch >= self.reach[self.search.running[running.trial]]

    def settle(self, running: _Running, loss: float | None) -> None:
        """After the search has heard: let the trial go on, or free its worker."""
        if loss is not None and math.isfinite(loss):
            self._compare(running, loss)
        if running.trial in self.search.running:
            self._go_on(running)
            return
        self.done[running.trial] = running.epoch
        heappush(self.idle, running.worker)
        del self.running[running.number]
        samples = self.consumed[running.epoch] - self.consumed[running.first]
        self.jobs[running.number] = Job(
            running.kind, running.trial, running.rung, running.worker, running.begin_s, self.now_s, samples
        )

    def _go_on(self, running: _Running) -> None:
        """Head for the next epoch end that matters; times are counted from the job's begin, however it is cut."""
        target = self.reach[self.search.running[running.trial]]
        if target <= running.epoch:
            raise SchedulerError(f"Trial {running.trial!r} is to go on after epoch {running.epoch}, its last.")
        running.epoch = running.epoch + 1 if self.every_epoch else target
        samples = self.consumed[running.epoch] - self.consumed[running.first]
        end_s = running.begin_s + self.pace.startup_s + samples * running.per_sample_s
        heappush(self.queue, (end_s, running.number))

    def _compare(self, running: _Running, loss: float) -> None:
        """Note a new incumbent; its samples are counted at the end."""
        rung = self.search.rungs.reached(self.consumed[running.epoch])
        if (-rung, loss) < self.best:
            self.best = (-rung, loss)
            regret = self.task.regret(self.search.history.points[running.trial])
            self.incumbents.append(Incumbent(self.now_s, 0, running.trial, rung, loss, regret))

    def trace(self) -> Trace:
        """Return what was done."""
        jobs = tuple(job for job in self.jobs if job is not None)
        times = [incumbent.elapsed_s for incumbent in self.incumbents]
        trained = samples_trained(jobs, times, self.pace.startup_s)
        incumbents = (one._replace(samples=n) for one, n in zip(self.incumbents, trained, strict=True))
        return Trace(jobs, self.search.concurrency, tuple(incumbents))


def _epochs_of_rungs(search: Search, consumed: list[int]) -> list[int]:
    """Return the first epoch (1-based) at whose end each rung is reached."""
    epochs = [max(1, bisect_left(consumed, level)) for level in search.rungs.levels]
    if epochs[-1] >= len(consumed):
        raise OptionsError(
            f"The highest rung is at {search.rungs.levels[-1]:,.0f} samples, but a whole trial of this task "
            f"consumes {consumed[-1]:,}. Place the rungs over the task's own epoch_costs."
        )
    return epochs
