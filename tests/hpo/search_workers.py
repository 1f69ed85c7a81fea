"""Workers that drive a Search epoch by epoch, in an order drawn from a seed, and check what holds for every one.

They share no code with the searches they drive: what they know comes from their own bookkeeping.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Any

from search_stories import Story

from raysubset.hpo.history import History
from raysubset.hpo.scheduler import Verdict
from raysubset.hpo.search import Event, Start


class KilledError(Exception):
    """The driver died right after an event was written."""


@dataclass
class Workers:
    """Trains what the search asks for; the driver dies after the ``kill_at``-th events of the journal."""

    story: Story
    kill_at: frozenset[int] = frozenset()
    watch: Any = None
    events: list[Any] = field(default_factory=list)
    verdicts: list[tuple[str, int, Verdict]] = field(default_factory=list)
    consumed: dict[str, int] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.search = self.story.search(self.write, self.watch)
        self.order = Random(self.story.seed)
        self.due = True  # idle workers ask now; else after the next event

    def write(self, event: Event) -> None:
        self.events.append(json.loads(json.dumps(event, allow_nan=False)))
        if len(self.events) in self.kill_at:
            raise KilledError

    def reload(self) -> None:
        """A new search reads the journal; workers do what it says."""
        self.search = self.story.search(self.write, self.watch)
        self.search.replay(json.loads(json.dumps(self.events)))
        self.running, self.paused = set(self.search.running), set(self.search.paused)
        for trial in self.running:
            self.consumed.setdefault(trial, 0)
            self.epochs.setdefault(trial, 0)

    def run(self) -> Workers:
        for _ in range(100_000):
            try:
                self.due = self.due or not self.running
                if self.due:
                    self.fill()
                if not self.running:
                    assert self.search.finished, "nothing runs, nothing starts, and the search is not over"
                    self.check()
                    return self
                self.step(self.order.choice(sorted(self.running)))
            except KilledError:
                self.reload()
            self.check()
        raise AssertionError("the search never ends")

    def fill(self) -> None:
        while (job := self.search.ask()) is not None:
            assert job.trial not in self.running, "a trial runs twice"
            if isinstance(job, Start):
                assert job.trial not in self.consumed, "an id is given twice"
                self.consumed[job.trial] = self.epochs[job.trial] = 0
            else:
                assert job.trial in self.paused, "who is promoted must be paused"
                self.paused.remove(job.trial)
            self.running.add(job.trial)
            self.check()
        waits = not self.search.closed and self.search.ledger.admits()
        assert len(self.running) == self.story.concurrency or not waits, "a worker idles"

    def step(self, trial: str) -> None:
        fails, self.due = self.order.random() < self.story.failures, self.order.random() < 0.7
        if fails:
            self.running.remove(trial)
            self.search.end(trial, self.consumed[trial], failed=True)
            return
        self.epochs[trial] += 1
        self.consumed[trial] += self.story.cost(trial, self.epochs[trial])
        last = self.consumed[trial] >= self.story.rungs.levels[-1]
        loss = self.story.loss(trial, self.epochs[trial], last)
        verdict = self.search.report(trial, self.consumed[trial], loss)
        self.verdicts.append((trial, self.epochs[trial], verdict))
        if verdict is not Verdict.CONTINUE:
            self.running.remove(trial)
        if verdict is Verdict.PAUSE:
            self.paused.add(trial)
        assert not (last and verdict is Verdict.CONTINUE), "a trial goes on past its end"

    def check(self) -> None:
        assert set(self.search.running) == self.running
        assert set(self.search.paused) == self.paused
        assert len(self.running) <= self.story.concurrency
        assert len(self.consumed) <= self.story.trials
        assert sum(self.consumed.values()) == self.search.ledger.total
        assert self.search.ledger.total <= self.story.budget + self.story.concurrency * max(self.story.costs)


def verdicts(workers: Workers) -> dict[tuple[str, int], Verdict]:
    """(trial, epoch), in the order in which they were first reached, and the last verdict there."""
    return {(trial, epoch): verdict for trial, epoch, verdict in workers.verdicts}


class Faulty(Workers):
    """After one step in five the trial, whatever became of it, runs again from an earlier epoch."""

    def step(self, trial: str) -> None:
        super().step(trial)
        chance = Random(f"{self.story.seed} {len(self.events)}")
        if chance.random() < 0.2:
            self.epochs[trial] = chance.randint(0, self.epochs[trial])
            self.consumed[trial] = sum(self.story.cost(trial, e + 1) for e in range(self.epochs[trial]))
            self.search.rewind(trial, self.consumed[trial])
            self.paused.discard(trial)
            self.running.add(trial)

    def check(self) -> None:
        """Check all but the sums: what is trained twice is spent once."""
        assert set(self.search.running) == self.running
        assert set(self.search.paused) == self.paused
        assert len(self.running) <= self.story.concurrency


class Crashing(Workers):
    """Before one step in three the trial loses epochs, but none from before another trial had its turn."""

    last = ""
    since = 0  # epoch of the running trial when its turn began
    crashes = 0

    def step(self, trial: str) -> None:
        if trial != self.last:
            self.last, self.since = trial, self.epochs[trial]
        chance = Random(f"{self.story.seed} {len(self.events)}")
        if chance.random() < 0.3:
            self.crashes += 1
            self.epochs[trial] = chance.randint(self.since, self.epochs[trial])
            self.consumed[trial] = sum(self.story.cost(trial, e + 1) for e in range(self.epochs[trial]))
            self.search.rewind(trial, self.consumed[trial])
        super().step(trial)

    def check(self) -> None:
        """Let the sums be: what is trained twice is spent once."""


class Watched:
    """A scheduler, and what it hears: no rung is judged twice, and deciding changes nothing."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.heading: dict[str, int] = {}
        self.finished: dict[int, set[str]] = defaultdict(set)  # rung -> trials judged or failed there
        self.promoted: dict[int, set[str]] = defaultdict(set)  # rung -> trials that went on from there

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scheduler, name)

    def opening(self, history: History) -> int:
        bracket = self.scheduler.opening(history)
        assert all(bracket == self.scheduler.opening(history) for _ in range(2))
        assert bracket is not None
        return int(bracket)

    def promotable(self) -> str | None:
        trial = self.scheduler.promotable()
        assert trial == self.scheduler.promotable()
        return None if trial is None else str(trial)

    def start(self, trial: str, bracket: int) -> int:
        self.heading[trial] = self.scheduler.start(trial, bracket)
        return self.heading[trial]

    def promote(self, trial: str) -> int:
        level = max(rung for rung, trials in self.finished.items() if trial in trials)
        self.promoted[level].add(trial)
        self.heading[trial] = self.scheduler.promote(trial)
        assert self.heading[trial] == level + 1
        return level + 1

    def judge(self, trial: str, rung: int, loss: float) -> Verdict:
        assert not any(trial in self.finished[k] for k in range(rung, 9)), "judged twice"
        assert rung >= self.heading.pop(trial), "judged below where it was heading"
        self.finished[rung].add(trial)
        verdict: Verdict = self.scheduler.judge(trial, rung, loss)
        assert self.scheduler.pauses or verdict is not Verdict.PAUSE
        if verdict is Verdict.CONTINUE:
            self.heading[trial] = rung + 1
        return verdict

    def withdraw(self, trial: str) -> None:
        if trial in self.heading:
            self.finished[self.heading.pop(trial)].add(trial)
        self.scheduler.withdraw(trial)

    def rewind(self, trial: str, rung: int) -> None:
        for k in range(rung, 9):
            self.finished[k].discard(trial)
            self.promoted[k].discard(trial)
        self.heading[trial] = rung
        self.scheduler.rewind(trial, rung)
