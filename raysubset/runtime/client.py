"""How a trial talks to its selector: in this process, or over Ray.

`SelectorService` itself is the in-process client. `RaySelector` speaks to a service inside an actor and hides
its faults: `record` is fire and forget, and since Ray runs one caller's calls in order, the next `next` sees it.
If the actor died and came back empty, the client opens its trials again and replays the signals recorded since
their last saved state, so the subsets go on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import ray
from numpy.typing import NDArray
from ray.actor import ActorHandle

from raysubset.errors import SelectorError
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.service import SelectorService, UnknownTrialError
from raysubset.proxy.stream import EpochSubset, StreamSpec

SelectorActor = ray.remote(SelectorService)


class SelectorClient(Protocol):
    """What a trial may ask of a selector; `SelectorService` says what each call does."""

    def open(self, trial: str, spec: StreamSpec, state: Mapping[str, Any] | None = None) -> None: ...  # noqa: D102
    def next(self, trial: str, epoch: int) -> EpochSubset: ...  # noqa: D102
    def record(self, trial: str, epoch: int, signals: EpochSignals) -> None: ...  # noqa: D102
    def state(self, trial: str) -> dict[str, Any]: ...  # noqa: D102
    def close(self, trial: str) -> None: ...  # noqa: D102


def start_selector(
    name: str, pool_size: int, *, gpus: float = 0.0, detached: bool = False
) -> ActorHandle[SelectorService]:
    """Return the named selector actor, started now if it is not there.

    The actor restarts without end and needs no CPU slot, so it never takes a trial's place. It is made from its
    pool's size alone: a large argument would lie in the object store, and a restart would fail once it is gone.

    Args:
        name: Found by this name in the driver's namespace.
        pool_size: n, rows of the training pool.
        gpus: GPU share.
        detached: Outlive the process that starts it (needed when a trial starts it, not the driver).
    """
    actor = SelectorActor.options(
        name=name,
        get_if_exists=True,
        lifetime="detached" if detached else None,
        num_cpus=0,
        num_gpus=gpus,
        max_restarts=-1,
        max_task_retries=-1,
    ).remote(pool_size)
    return cast("ActorHandle[SelectorService]", actor)


@dataclass(slots=True)
class _Opened:
    """What it takes to open a trial again: its spec, last saved state, and the signals since."""

    spec: StreamSpec
    state: Mapping[str, Any] | None
    since: list[tuple[int, EpochSignals]] = field(default_factory=list)


class RaySelector:
    """A `SelectorClient` over an actor.

    It keeps the signals recorded since a trial's last `state` (21 bytes a sample): that log is what survives the
    actor's death, wherever it restarts.

    Args:
        actor: From `start_selector`.
        labels: int64[n] of the pool, sent when a plan keeps class proportions.

    Raises:
        SelectorError: The actor is gone for good (its node and every retry failed).
    """

    def __init__(self, actor: ActorHandle[SelectorService], labels: NDArray[np.int64] | None = None) -> None:
        self._actor, self._labels = actor, labels
        self._opened: dict[str, _Opened] = {}

    def open(self, trial: str, spec: StreamSpec, state: Mapping[str, Any] | None = None) -> None:
        """Start (or restart) a trial's stream, see `SelectorService.open`."""
        self._opened[trial] = _Opened(spec, state)
        self._get(self._open(trial))

    def _open(self, trial: str) -> ray.ObjectRef[Any]:
        opened = self._opened[trial]
        if opened.spec.plan.per_class and self._labels is not None:
            self._actor.provide.remote(self._labels)
        reference: ray.ObjectRef[Any] = self._actor.open.remote(trial, opened.spec, opened.state)
        return reference

    def next(self, trial: str, epoch: int) -> EpochSubset:
        """Return the rows of an epoch, see `SelectorService.next`."""
        subset: EpochSubset = self._ask(trial, "next", trial, epoch)
        return subset

    def record(self, trial: str, epoch: int, signals: EpochSignals) -> None:
        """Send an epoch's signals and return at once; see `SelectorService.record`."""
        if trial in self._opened:
            self._opened[trial].since.append((epoch, signals))
        self._actor.record.remote(trial, epoch, signals)

    def state(self, trial: str) -> dict[str, Any]:
        """Return a trial's state, see `SelectorService.state`; the log up to here is dropped."""
        state: dict[str, Any] = self._ask(trial, "state", trial)
        if trial in self._opened:
            self._opened[trial].state, self._opened[trial].since = state, []
        return state

    def close(self, trial: str) -> None:
        """Forget a trial, here and at the actor."""
        self._opened.pop(trial, None)
        self._actor.close.remote(trial)

    def _ask(self, trial: str, method: str, *arguments: Any) -> Any:
        """Call a method; if a restarted actor does not know the trial, tell it again and ask once more."""
        try:
            return self._get(getattr(self._actor, method).remote(*arguments))
        except UnknownTrialError:
            if trial not in self._opened:
                raise
            self._open(trial)
            for epoch, signals in self._opened[trial].since:
                self._actor.next.remote(trial, epoch)  # a refresh must see the memory it saw the first time
                self._actor.record.remote(trial, epoch, signals)
            return self._get(getattr(self._actor, method).remote(*arguments))

    @staticmethod
    def _get(reference: ray.ObjectRef[Any]) -> Any:
        try:
            return ray.get(reference)
        except ray.exceptions.RayActorError as error:
            raise SelectorError(f"The selector actor is gone and did not come back: {error}") from error
