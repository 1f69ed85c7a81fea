"""What a stage does about a trial that Ray Tune reports as broken, by the policy of `runtime.failure`.

Tune knows one number of retries for everything. It is told the budget of a worker's deaths; a node's death is not
counted against that, a fault of the trial's own is tried once more at most, and a fault that would meet every
trial in turn stops the stage before the search hears that a trial failed, so that it can go on later.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from raysubset.errors import RaysubsetError, StorageError
from raysubset.runtime.failure import (
    POLICIES,
    Fault,
    Raise,
    Retry,
    SelectorLostError,
    decide,
    fault_of,
    root_cause,
)

RETRIES = POLICIES[Fault.WORKER].retries  # what Tune is told


class StageStopped(Exception):  # noqa: N818  an event on the way to run_stage, never seen outside
    """A fault ended a stage; what is done is kept and can be resumed."""


class Faults(Callback):
    """Applies the failure policy to the trials of a stage.

    `SearchScheduler` asks it before anybody else hears of a fault; as a callback it hears what a foreign scheduler
    was told instead.
    """

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, Fault]] = Counter()
        self._known: dict[str, tuple[int, int]] = {}

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Take in a fault after which Tune tries again."""
        self.met(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Take in a fault after which Tune gives up."""
        self.met(trial)

    def met(self, trial: Trial) -> None:
        """Take in a fault, once, however often it is told; where the policy waits, the driver does.

        Trials go on training meanwhile, only their reports wait.

        Raises:
            StageStopped: The fault would meet every trial in turn.
        """
        name = trial.trial_id
        if (error := self._news(trial)) is None:
            return
        fault = fault_of(error)
        if fault is Fault.STORAGE and trial.is_restoring:
            fault = Fault.CHECKPOINT
        spent = fault is Fault.SELECTOR  # Ray counts its restarts: it is lost when there is none left
        decision = decide(fault, POLICIES[fault].retries if spent else self._seen[name, fault])
        self._seen[name, fault] += 1
        if decision == Raise("run"):
            raise StageStopped(f"{fault.value} lost: {reason(error)}")
        if isinstance(decision, Retry):
            trial.max_failures += fault in (Fault.NODE, Fault.STORAGE)
            sleep(decision.after_s)
        else:
            trial.max_failures = 0

    def _news(self, trial: Trial) -> BaseException | None:
        """Return the trial's latest error unless it was taken in before."""
        error = latest_error(trial)
        path = trial.pickled_error_file
        if error is None or path is None:
            return None
        key = (trial.num_failures, Path(path).stat().st_mtime_ns)
        if self._known.get(trial.trial_id) == key:
            return None
        self._known[trial.trial_id] = key
        return error


def latest_error(trial: Trial) -> BaseException | None:
    """Return what a trial broke from, None if Tune kept no such error: it has just written it to the disk."""
    path = trial.pickled_error_file
    if path is None or not Path(path).exists():
        return None
    error: BaseException = pickle.loads(Path(path).read_bytes())
    return error


def reason(error: BaseException) -> str:
    """Say in a line what an error is."""
    cause = root_cause(error)
    lines = [line.strip() for line in str(cause).strip().splitlines() if line.strip()]
    if fault_of(cause) in (Fault.WORKER, Fault.NODE, Fault.MEMORY) and len(lines) > 1:
        return f"{lines[0]} {lines[-1]}"  # Ray puts ids between what happened and why
    if isinstance(cause, RaysubsetError) and lines:
        return lines[0]
    return ": ".join([type(cause).__name__, *lines[:1]])


def stopping(error: BaseException) -> StageStopped | None:
    """Return the event that stopped a stage, or None if it was none.

    Tune replaces what its callbacks raise by a `TuneError` of text; the chain of contexts keeps the original.

    Raises:
        RaysubsetError: An error of ours that a callback raised.
        StorageError: A file of Ray Tune's own could not be written.
    """
    for link in _chain(error):
        if isinstance(link, StageStopped):
            return link
        if isinstance(link, SelectorLostError):  # the driver asked it for something
            return StageStopped(f"selector lost: {reason(link)}")
        if isinstance(link, RaysubsetError):
            raise link
        if isinstance(link, OSError):
            raise StorageError(f"Ray Tune cannot write its state: {link}") from error
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__
