"""Search: proposer, scheduler and ledger behind one face, driven by a clock that is not ours.

    job = search.ask()                                  a Start, a Promotion, or None: wait (or `finished`)
    verdict = search.report(trial, samples, loss)       after every epoch
    search.end(trial, failed=True)                      when a trial ends by itself

Two drivers exist: Ray Tune (`tuning`) and a virtual clock (`hpo.simulator`). Every event is handed to ``journal``
as plain JSON; `replay` of the events gives the same search, wherever it was killed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from raysubset.errors import OptionsError, SchedulerError
from raysubset.hpo.budget import Ledger
from raysubset.hpo.history import History, Point
from raysubset.hpo.proposer import Proposer
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.scheduler import Scheduler, Verdict

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Start:
    """A new trial, to be trained to ``rung``."""

    trial: str
    point: Point
    rung: int


@dataclass(frozen=True, slots=True)
class Promotion:
    """A paused trial, to be trained on to ``rung``."""

    trial: str
    rung: int


class Search:
    """A search in progress.

    Args:
        rungs: Where trials are judged, in samples consumed.
        scheduler: Who goes on.
        proposer: What is tried.
        trials: Configurations at most, >= 1.
        concurrency: Running trials at most, >= 1.
        ledger: The budget.
        history: What earlier searches found; a fresh one otherwise.
        journal: Hears every event, in order.

    Attributes:
        running: trial -> rung it is heading for.
        paused: Trials that may be promoted.
        closed: No configuration will be started any more.

    Raises:
        OptionsError: trials or concurrency below 1.
    """

    def __init__(
        self,
        rungs: Rungs,
        scheduler: Scheduler,
        proposer: Proposer,
        *,
        trials: int,
        concurrency: int,
        ledger: Ledger | None = None,
        history: History | None = None,
        journal: Callable[[Event], None] | None = None,
    ) -> None:
        asked = {"trials": trials, "concurrency": concurrency}
        if faults := [f"{name}={value!r}, need an int >= 1" for name, value in asked.items() if value < 1]:
            raise OptionsError.of("Search", faults)
        self.rungs, self.scheduler, self.proposer = rungs, scheduler, proposer
        self.trials, self.concurrency = trials, concurrency
        self.ledger = ledger or Ledger()
        self.history = history or History(len(rungs.levels))
        self.running: dict[str, int] = {}
        self.paused: dict[str, int] = {}
        self.started = 0
        self.closed = False
        self._journal = journal
        self._judged: dict[
            str, list[tuple[int, int]]
        ] = {}  # samples and rung, after (0, the rung below its first)
        self._target: dict[str, int] = {}  # the rung a trial heads for, or where it ended or waits

    # ------------------------------------------------------------------ deciding

    def ask(self) -> Start | Promotion | None:
        """Return the next job and count it as running, or None if nothing may start now."""
        job = self.next_promotion() or self.next_start()
        return job or self.next_promotion()  # a bracket may have waited for the close

    def next_promotion(self) -> Promotion | None:
        """Promote a paused trial, if one deserves it, a worker is free and the budget allows."""
        trial = self._promotable()
        if trial is None or len(self.running) >= self.concurrency:
            return None
        self._apply({"event": "promote", "trial": trial})
        return Promotion(trial, self.running[trial])

    def next_start(self) -> Start | None:
        """Start a new trial if no paused one comes first, a worker is free and the budget allows."""
        if self.closed or len(self.running) >= self.concurrency or self._promotable() is not None:
            return None
        if not self.ledger.admits():
            if not self.running:
                self._apply({"event": "close"})
            return None
        bracket = self.scheduler.opening(self.history)
        if bracket is None:
            return None
        point = self.proposer.propose(self.history, self.started, bracket)
        if point is None:
            self._apply({"event": "close"})
            return None
        trial = f"{self.started:04d}"
        self._apply({"event": "start", "trial": trial, "bracket": bracket, "point": dict(point)})
        return Start(trial, point, self.running[trial])

    def close(self) -> None:
        """Start no more configurations; paused trials are promoted as far as what has begun goes."""
        if not self.closed:
            self._apply({"event": "close"})

    def _promotable(self) -> str | None:
        return self.scheduler.promotable() if self.paused and self.ledger.admits() else None

    @property
    def finished(self) -> bool:
        """True when nothing runs and nothing will; paused trials that are left have lost."""
        return self.closed and not self.running and self._promotable() is None

    # ------------------------------------------------------------------ hearing

    def report(
        self, trial: str, samples: int, loss: float | None = None, elapsed_s: float = 0.0, epochs: int = 0
    ) -> Verdict:
        """Take in an epoch's end.

        Args:
            trial: A running trial.
            samples: Samples it has consumed in all.
            loss: Its validation score, smaller is better, None where it was not judged; a rung reached without
                one is judged at the next report that has one.
            elapsed_s: Seconds since the search began.
            epochs: Epochs it has done, for trials that may consume less than planned; see `Rungs.reached`.

        Raises:
            SchedulerError: No such trial is running.
        """
        if trial not in self.running:
            raise SchedulerError(f"Trial {trial!r} reported, but is not running. Running: {self._names()}.")
        plain = None if loss is None or not math.isfinite(loss) else loss
        event = {"event": "report", "trial": trial, "samples": samples, "loss": plain, "elapsed_s": elapsed_s}
        return self._apply({**event, "judged": loss is not None, "epochs": epochs})

    def end(self, trial: str, samples: int = 0, failed: bool = False) -> None:
        """Take in that a trial ended by itself: it failed, or somebody else stopped it.

        Args:
            trial: Any started trial; one that has ended already is left as it is.
            samples: Samples it has consumed in all, as far as known.
            failed: It counts as infinitely bad at the rung it was heading for.

        Raises:
            SchedulerError: No such trial was started.
        """
        self._check_started(trial)
        if trial in self.running or trial in self.paused:
            self._apply({"event": "end", "trial": trial, "samples": samples, "failed": failed})

    def rewind(self, trial: str, samples: int) -> None:
        """Take back what a trial did after ``samples``: it runs again from there, after a fault.

        It does not rise by this: it heads at most for the rung it was heading for, or where it was judged last.

        Raises:
            SchedulerError: No such trial was started.
        """
        self._check_started(trial)
        self._apply({"event": "rewind", "trial": trial, "samples": samples})

    def replay(self, events: Iterable[Event]) -> None:
        """Bring a fresh search to where the journal ends; nothing is journaled."""
        journal, self._journal = self._journal, None
        try:
            for event in events:
                self._apply(event)
        finally:
            self._journal = journal

    # ------------------------------------------------------------------ changing, by events alone

    def _apply(self, event: Event) -> Verdict:
        kind = event["event"]
        verdict = Verdict.CONTINUE
        if kind == "start":
            self._start(event["trial"], event["bracket"], event["point"])
        elif kind == "promote":
            self._run(event["trial"], self.scheduler.promote(event["trial"]))
        elif kind == "report":
            self.ledger.tick(event["elapsed_s"])
            loss = event["loss"] if event["loss"] is not None else math.inf
            reached = self.rungs.reached(event["samples"], event.get("epochs", 0))
            verdict = self._hear(event["trial"], event["samples"], reached, loss if event["judged"] else None)
        elif kind == "end":
            self._end(event["trial"], event["samples"], event["failed"])
        elif kind == "rewind":
            self._rewind(event["trial"], event["samples"])
        else:
            self._close()
        if self._journal is not None:
            self._journal(event)
        return verdict

    def _start(self, trial: str, bracket: int, point: Point) -> None:
        if trial in self.history.points:
            raise SchedulerError(f"Trial id {trial!r} is given twice; every trial needs its own.")
        self.history.points[trial] = point
        self.started += 1
        first = self.scheduler.start(trial, bracket)
        self._judged[trial] = [(0, first - 1)]
        self._run(trial, first)
        if self.started >= self.trials:  # not an event of its own: a kill in between would let one more start
            self._close()

    def _run(self, trial: str, rung: int) -> None:
        self.paused.pop(trial, None)
        self.running[trial] = self._target[trial] = rung
        self.ledger.update(trial, self.ledger.spent.get(trial, 0), self.rungs.levels[rung])

    def _hear(self, trial: str, samples: int, rung: int, loss: float | None) -> Verdict:
        verdict = Verdict.CONTINUE
        if loss is not None and rung >= self.running[trial]:
            self.history.observe(trial, rung, loss)
            verdict = self.scheduler.judge(trial, rung, loss)
            self._judged[trial].append((samples, rung))
            self.running[trial] = min(rung + 1, len(self.rungs.levels) - 1)
            self._target[trial] = self.running[trial] if verdict is Verdict.CONTINUE else rung
        self.ledger.update(trial, samples, self.rungs.levels[self.running[trial]])
        if verdict is Verdict.CONTINUE and self.ledger.exhausted:
            self.scheduler.withdraw(trial)
            verdict = Verdict.STOP
        if verdict is not Verdict.CONTINUE:
            self.ledger.update(trial, samples, None)
            target = self.running.pop(trial)
            if verdict is Verdict.PAUSE:
                self.paused[trial] = target
        return verdict

    def _end(self, trial: str, samples: int, failed: bool) -> None:
        rung = self.running.pop(trial, None)
        self.paused.pop(trial, None)
        self.ledger.update(trial, samples, None)
        if failed and rung is not None:
            self.history.observe(trial, rung, math.inf)
            self.history.failed.add(trial)
        self.scheduler.withdraw(trial)

    def _close(self) -> None:
        self.closed = True
        self.scheduler.close()

    def _rewind(self, trial: str, samples: int) -> None:
        judged = self._judged[trial]
        while judged[-1][0] > samples:
            judged.pop()
        rung = min(judged[-1][1] + 1, self._target[trial])
        if judged[-1][1] == rung:  # it ended or waits here; now it is judged here again
            judged.pop()
        self.history.forget(trial, rung)
        self.history.failed.discard(trial)
        self.scheduler.rewind(trial, rung)
        self._run(trial, rung)

    def _check_started(self, trial: str) -> None:
        if trial not in self._judged:
            raise SchedulerError(f"Trial {trial!r} was never started. Running: {self._names()}.")

    def _names(self) -> str:
        return ", ".join(self.running) or "none"
