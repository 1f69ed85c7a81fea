"""A run's driver shows that it lives, and does what it is asked in the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from raysubset.errors import InterruptedRunError
from raysubset.hpo.budget import Ledger
from raysubset.report.driver import BEAT_EVERY_S, Driver, touch
from raysubset.report.requests import STOP_RUN, STOPPED_BY_REQUEST, StopRequest, asked, clear, done
from raysubset.runtime.judges import Judgement
from raysubset.tuning.faults import StageStopped

LOOK_EVERY_S = 0.5


@contextmanager
def attended(folder: Path) -> Iterator[None]:
    """Say in the run's folder that this process drives it, for as long as the block lasts.

    A thread touches the file: the driver's own loop stands still while data are placed or a winner is tested.

    Raises:
        StorageError: The folder cannot be written.
    """
    clear(folder)
    before = Driver.read(folder)
    Driver.here({} if before is None else before.stages).write(folder)
    over = Event()

    def beat() -> None:
        while not over.wait(BEAT_EVERY_S):
            with suppress(OSError):  # a full disk shows elsewhere; this is a sign of life only
                touch(folder)

    thread = Thread(target=beat, name="raysubset-driver", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if (now := Driver.read(folder)) is not None:
            now.over().write(folder)
        clear(folder)


def end_with_next_report(trial: Trial) -> None:
    """Have Tune end a trial, whatever its scheduler says: it asks the trial's own criterion first."""
    trial.stopping_criterion = {"training_iteration": 0}


class BudgetEnd(Callback):
    """Ends the trials of a foreign scheduler, which knows of no budget, once it is spent: each an epoch later.

    Args:
        ledger: Of the search.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look at the ledger."""
        if self._ledger.exhausted:
            for trial in trials:
                end_with_next_report(trial)


class StopRequests(Callback):
    """Ends what somebody asked to end: a trial with the epoch it is in, or the stage as Ctrl-C would.

    Args:
        folder: The run's folder.
        stage: The stage that runs.
        give_up: Told of each trial to end; None where trials cannot be ended one by one (a retraining and a cell
            of a study need all of theirs).

    Attributes:
        trials: Trials whose end was asked for, ended or not.
    """

    def __init__(self, folder: Path, stage: str, give_up: Callable[[str], None] | None = None) -> None:
        self._folder, self._stage, self._give_up = folder, stage, give_up
        self._next_look = perf_counter()
        self.trials: set[str] = set()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look for requests, if it is time.

        Raises:
            StageStopped: The search is to end; it can be resumed.
        """
        if perf_counter() < self._next_look:
            return
        self._next_look = perf_counter() + LOOK_EVERY_S
        requests = asked(self._folder)
        if STOP_RUN in requests:
            done(self._folder, STOP_RUN)
            raise StageStopped(STOPPED_BY_REQUEST)
        for request in requests:
            self._end(request, trials)

    def _end(self, request: StopRequest, trials: Sequence[Trial]) -> None:
        """Have a trial end with its next report; a request for one that has ended, or is none, is done with."""
        trial = next((one for one in trials if one.config["trial"] == request.trial), None)
        mine = request.stage == self._stage and self._give_up is not None
        if not mine or trial is None or trial.is_finished():  # type: ignore[no-untyped-call]
            done(self._folder, request)
        elif request.trial not in self.trials and self._give_up is not None:
            self.trials.add(request.trial)
            end_with_next_report(trial)
            self._give_up(request.trial)


Judging = Callable[[Sequence[str]], Iterable[Judgement]]


def heeding(judge: Judging, folder: Path) -> Judging:
    """Return the same judge, which stops between two judgements if the run is asked to stop.

    Raises:
        InterruptedRunError: When called, after the judgement that was under way.
    """

    def judged(cells: Sequence[str]) -> Iterator[Judgement]:
        for one in judge(cells):
            yield one
            if STOP_RUN in asked(folder):
                raise InterruptedRunError(
                    f"The judging of candidates was {STOPPED_BY_REQUEST}; those judged are kept."
                )

    return judged
