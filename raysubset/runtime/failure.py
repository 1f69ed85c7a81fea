"""Failure policy: what broke decides whether to try again, give up a trial, or stop the run so that it can go on.

| fault      | what it is                                     | tries again           | then        |
| ---------- | ---------------------------------------------- | --------------------- | ----------- |
| worker     | a trial's process died                         | 2 times a trial       | trial fails |
| memory     | it was killed for its memory, or got no more   | 2 times, after 2, 4 s | trial fails |
| node       | the machine under it went away                 | 8 times a trial       | trial fails |
| user code  | model, data or options raised                  | never: would again    | trial fails |
| checkpoint | a trial's saved state is truncated, tampered   | never                 | trial fails |
| storage    | disk full, no permission, store unreachable    | once, after 1 s       | run stops   |
| selector   | its actor died                                 | 20 restarts a run     | run stops   |
| driver     | it died, or what it had put into the store did | cannot                | run stops   |

A trial fails for a reason of its own: it is recorded as failed and the searcher learns from it. A run stops for a
reason that would fail every trial in turn: nothing is recorded as failed, and a resumed run goes on as if nothing
had happened. Restarts of the selector are counted by Ray, except those after a spot machine was taken back.

Everything here is a function of its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from ray import exceptions

from raysubset.errors import RaysubsetError, SelectorError, StorageError, WorkersError

Scope = Literal["trial", "run"]


class SelectorLostError(SelectorError):
    """The selector died and its restarts are spent, or no node can take it."""


class Fault(StrEnum):
    """What broke."""

    WORKER = "worker"
    MEMORY = "memory"
    NODE = "node"
    USER_CODE = "user code"
    CHECKPOINT = "checkpoint"
    STORAGE = "storage"
    SELECTOR = "selector"
    DRIVER = "driver"


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, ``after_s`` seconds from now."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Raise:
    """Give up: the trial, or the run."""

    stops: Scope


@dataclass(frozen=True, slots=True)
class Policy:
    """How often to try again, after how long, and what ends when that is spent.

    Attributes:
        retries: At most; counted for each trial, of the selector for the run.
        then: What gives up.
        backoff_s: Seconds before the first retry, doubled for each further one.
    """

    retries: int
    then: Scope
    backoff_s: float = 0.0


POLICIES: Mapping[Fault, Policy] = {
    Fault.WORKER: Policy(2, "trial"),
    Fault.MEMORY: Policy(2, "trial", backoff_s=2.0),  # time for whoever else fills the machine to end
    Fault.NODE: Policy(8, "trial"),  # spot machines come and go; it is not the trial's doing
    Fault.USER_CODE: Policy(0, "trial"),
    Fault.CHECKPOINT: Policy(0, "trial"),
    Fault.STORAGE: Policy(1, "run", backoff_s=1.0),
    Fault.SELECTOR: Policy(20, "run"),
    Fault.DRIVER: Policy(0, "run"),
}

_TYPES: tuple[tuple[type[BaseException], Fault], ...] = (
    (SelectorLostError, Fault.SELECTOR),
    (exceptions.NodeDiedError, Fault.NODE),
    (exceptions.LocalRayletDiedError, Fault.NODE),
    (exceptions.ObjectLostError, Fault.DRIVER),  # all that trials read was put into the store by the driver
    (exceptions.OutOfMemoryError, Fault.MEMORY),
    (exceptions.OutOfDiskError, Fault.STORAGE),
    (exceptions.RayActorError, Fault.WORKER),
    (exceptions.WorkerCrashedError, Fault.WORKER),
    (exceptions.RaySystemError, Fault.WORKER),
    (MemoryError, Fault.MEMORY),
    (StorageError, Fault.STORAGE),
    (RaysubsetError, Fault.USER_CODE),  # some are OSErrors too: data that are not there
    (OSError, Fault.STORAGE),  # what a file system or an object store raised
)
_TOLD: tuple[tuple[str, Fault], ...] = (  # the cause of an actor's death, or of a team's, is given in words only
    (SelectorLostError.__name__, Fault.SELECTOR),
    (StorageError.__name__, Fault.STORAGE),
    ("its node has died", Fault.NODE),
    ("node was preempted", Fault.NODE),
    ("running low on memory", Fault.MEMORY),
    ("out of memory", Fault.MEMORY),
)


def fault_of(error: BaseException) -> Fault:
    """Say what broke.

    Args:
        error: As caught on the driver or in a worker, wrapped by a Ray task or a Ray Train group or not.
    """
    error = root_cause(error)
    if isinstance(error, exceptions.RayActorError | WorkersError):
        words = str(error).lower()
        told = next((fault for text, fault in _TOLD if text.lower() in words), None)
        return told or (Fault.USER_CODE if getattr(error, "actor_init_failed", False) else Fault.WORKER)
    if type(error).__name__ == "OutOfMemoryError":  # PyTorch's, without importing it
        return Fault.MEMORY
    if isinstance(error, RuntimeError) and "CUDA error" in str(error):
        return Fault.WORKER  # whatever this process does on the device from now on fails as well
    return next((fault for kind, fault in _TYPES if isinstance(error, kind)), Fault.USER_CODE)


def root_cause(error: BaseException) -> BaseException:
    """Return the error that a Ray task wraps, or that of the first failed worker of a Ray Train group."""
    while True:
        failures = getattr(error, "worker_failures", None)
        inner = next(iter(failures.values()), None) if failures else getattr(error, "cause", None)
        if not isinstance(inner, BaseException):
            return error
        error = inner


def decide(fault: Fault, earlier: int) -> Retry | Raise:
    """Say what to do about a fault.

    Args:
        fault: What broke.
        earlier: How often it has broken before: for this trial, or of the selector in this run.
    """
    policy = POLICIES[fault]
    if earlier < policy.retries:
        return Retry(policy.backoff_s * 2**earlier)
    return Raise(policy.then)


def ends_only_the_trial(error: BaseException) -> bool:
    """Say whether this error, raised where a trial trains, is the trial's own and would come again."""
    return decide(fault_of(error), 0) == Raise("trial")
