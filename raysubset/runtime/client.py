"""How a trial talks to its selector: in this process, or over Ray.

`SelectorService` itself is the in-process client. `RaySelector` speaks to a service inside an actor and hides its
faults. `record` does not wait. Ray runs one caller's calls in order, but for those that it sends again after a
connection broke, so every question says how much the trial has recorded. An actor that does not know all of it,
because a record is late, because it died and came back empty, or because another process opened the same trial, is
told again: the client opens its trial anew and replays the signals recorded since their last saved state, and the
subsets go on as if nothing had happened.

Trials that share their memories leave something behind when they are closed: the client keeps that too, and gives
it back to a restarted actor. What a trial was told when it was opened is part of its state, which the client
fetches at once. Lost is only what was left by trials of a process that died before the actor did. Other processes
give back theirs when they ask for something next, so a trial opened between a restart and that moment is told less
than it might have been.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import ray
from ray.actor import ActorHandle

from raysubset.errors import SelectorError
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.service import SelectorService, UnknownTrialError
from raysubset.proxy.stream import EpochSubset, StreamSpec
from raysubset.runtime.backlog import Backlog
from raysubset.runtime.failure import POLICIES, Fault, SelectorLostError
from raysubset.selection.outputs import Outputs
from raysubset.selection.protocol import Context

SelectorActor = ray.remote(SelectorService)


class SelectorClient(Protocol):
    """What a trial may ask of a selector; `SelectorService` says what each call does."""

    def open(self, trial: str, spec: StreamSpec, state: Mapping[str, Any] | None = None) -> None: ...  # noqa: D102
    def observe(self, trial: str, epoch: int, outputs: Outputs) -> None: ...  # noqa: D102
    def next(self, trial: str, epoch: int) -> EpochSubset: ...  # noqa: D102
    def record(self, trial: str, epoch: int, signals: EpochSignals) -> None: ...  # noqa: D102
    def rate(self, trial: str, loss: float) -> None: ...  # noqa: D102
    def state(self, trial: str) -> dict[str, Any]: ...  # noqa: D102
    def close(self, trial: str) -> None: ...  # noqa: D102


def start_selector(
    name: str, pool_size: int, *, gpus: float = 0.0, detached: bool = False
) -> ActorHandle[SelectorService]:
    """Return the named selector actor, started now if it is not there.

    The actor restarts as often as the failure policy says, and needs no CPU slot: it never takes a trial's place.
    It is made from its pool's size alone: a large argument would lie in the object store, and a restart would fail
    once it is gone.

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
        scheduling_strategy="DEFAULT",  # not in the placement group of a Tune trial, which ends with the trial
        max_restarts=POLICIES[Fault.SELECTOR].retries,
        max_task_retries=-1,
    ).remote(Context(pool_size, device="cuda" if gpus else "cpu"))
    return cast("ActorHandle[SelectorService]", actor)


@dataclass(slots=True)
class _Opened:
    """What it takes to open a trial again: its spec, last saved state, and what came since.

    Of the model's outputs only the last are kept: they made the subset that is in use.
    """

    spec: StreamSpec
    state: Mapping[str, Any] | None
    since: list[tuple[int, EpochSignals]] = field(default_factory=list)
    outputs: tuple[int, Outputs] | None = None
    loss: float | None = None
    last_epoch: int = -1

    @property
    def recorded(self) -> int:
        """The last epoch recorded, -1 if none was."""
        if self.since:
            return self.since[-1][0]
        return -1 if self.state is None else int(self.state["recorded"])


class RaySelector:
    """A `SelectorClient` over an actor.

    It keeps the signals recorded since a trial's last `state` (21 bytes a sample) and, for plans that look at the
    model, its last outputs (4 (c + h) bytes a row): that log is what survives the actor's death, wherever it
    restarts. What closed trials share it keeps while the actor does: all clients together 4 n bytes for each of at
    most 32 trials.

    Args:
        actor: From `start_selector`.
        key: Names what the trials know of the pool; equal keys, equal knowledge.
        known: Labels and shared evidence, sent (or referred to) when a plan needs more than the pool's size.
        shared: What trials of an earlier session shared, from `SelectorService.shared_state`; given to the actor
            (and to a restarted one) when the first trial that shares is opened.

    Raises:
        SelectorLostError: The actor is gone for good: its restarts are spent.
    """

    def __init__(
        self,
        actor: ActorHandle[SelectorService],
        known: Context | ray.ObjectRef[Context] | None = None,
        key: str = "labels",
        shared: Mapping[str, Any] | None = None,
    ) -> None:
        self._actor, self._known, self._key = actor, known, key
        self._opened: dict[str, _Opened] = {}
        self._backlog = Backlog()
        self._left: dict[str, Mapping[str, Any]] = {}
        for left in shared["contributions"] if shared else ():
            self._left[left["trial"]] = left

    def open(self, trial: str, spec: StreamSpec, state: Mapping[str, Any] | None = None) -> None:
        """Start (or restart) a trial's stream, see `SelectorService.open`."""
        self._backlog.settle(trial)  # what it recorded before must not come after this
        self._opened[trial] = _Opened(spec, state)
        self._open(trial)
        if state is None and spec.plan.shares_memory:
            while self._give_back():  # the actor died before it could tell the trial
                self._open(trial)
            self.state(trial)  # what the trial was told: a restarted actor would tell it something else

    def _open(self, trial: str) -> None:
        opened = self._opened[trial]
        if opened.spec.plan.needs_pool and self._known is not None:
            self._get(self._actor.provide.remote(self._key, self._known))
        if opened.spec.plan.shares_memory:
            self._give_back()
        self._get(self._actor.open.remote(trial, opened.spec, opened.state))

    def observe(self, trial: str, epoch: int, outputs: Outputs) -> None:
        """Send what a trial's model says of the pool; see `SelectorService.observe`."""
        if trial in self._opened:
            self._opened[trial].outputs = (epoch, outputs)
        self._ask(trial, "observe", trial, epoch, outputs)

    def next(self, trial: str, epoch: int) -> EpochSubset:
        """Return the rows of an epoch, see `SelectorService.next`."""
        self._backlog.asked(trial)
        subset: EpochSubset = self._ask(trial, "next", trial, epoch, self._recorded(trial))
        if trial in self._opened:
            self._opened[trial].last_epoch = epoch
        return subset

    def record(self, trial: str, epoch: int, signals: EpochSignals) -> None:
        """Send an epoch's signals and return at once; see `SelectorService.record`."""
        if trial in self._opened:
            self._opened[trial].since.append((epoch, signals))
        self._backlog.sent(trial, self._actor.record.remote(trial, epoch, signals))

    def rate(self, trial: str, loss: float) -> None:
        """Send a trial's validation loss; see `SelectorService.rate`."""
        if trial in self._opened:
            self._opened[trial].loss = loss
        self._ask(trial, "rate", trial, loss)

    def state(self, trial: str) -> dict[str, Any]:
        """Return a trial's state, see `SelectorService.state`; the log up to here is dropped."""
        state: dict[str, Any] = self._ask(trial, "state", trial, self._recorded(trial))
        if trial in self._opened:
            opened = self._opened[trial]
            opened.state, opened.since = state, []
            if opened.outputs is not None and opened.outputs[0] <= opened.last_epoch:
                opened.outputs = None  # the state holds the subset that they made
        return state

    def close(self, trial: str) -> None:
        """Forget a trial, here and at the actor, but for what it shares."""
        if trial in self._opened and self._opened[trial].spec.plan.shares_memory:
            with suppress(SelectorError):  # the actor is gone for good: whoever asks it for something will hear
                if contribution := self._ask(trial, "contribution", trial, self._recorded(trial)):
                    self._left[trial] = contribution
        self._opened.pop(trial, None)
        self._backlog.settle(trial)
        self._actor.close.remote(trial)

    def _give_back(self) -> bool:
        """Tell a restarted actor what closed trials left, and let go of what it has no place for.

        Returns:
            Whether it had lost anything.
        """
        held: dict[str, int] = self._get(self._actor.contributors.remote())
        if lost := [left for trial, left in self._left.items() if held.get(trial, 0) < left["number"]]:
            held = self._get(self._actor.restore_shared.remote({"contributions": lost}))
        self._left = {trial: left for trial, left in self._left.items() if trial in held}
        return bool(lost)

    def _recorded(self, trial: str) -> int:
        return self._opened[trial].recorded if trial in self._opened else -1

    def _ask(self, trial: str, method: str, *arguments: Any) -> Any:
        """Call a method; if the actor does not know all of the trial, tell it again and ask once more."""
        try:
            return self._get(getattr(self._actor, method).remote(*arguments))
        except UnknownTrialError:
            if trial not in self._opened:
                raise
            self._reopen(trial)
            return self._get(getattr(self._actor, method).remote(*arguments))

    def _reopen(self, trial: str) -> None:
        """Tell an actor what it knew: a refresh must see the memory it saw the first time. Waits for each step."""
        self._backlog.settle(trial)  # a late record must not come between those that are replayed
        opened = self._opened[trial]
        self._open(trial)
        observed = -1 if opened.outputs is None else opened.outputs[0]
        looks = opened.spec.plan.habits.evidence == "model"
        replay = dict(opened.since)
        for epoch in sorted({*replay, *([observed] if observed >= 0 else [])}):
            if epoch == observed and opened.outputs is not None:
                self._get(self._actor.observe.remote(trial, *opened.outputs))
            if not looks or observed <= epoch <= opened.last_epoch:  # older outputs are gone, their subsets unused
                self._get(self._actor.next.remote(trial, epoch))
            if epoch in replay:
                self._get(self._actor.record.remote(trial, epoch, replay[epoch]))
        if opened.loss is not None:
            self._get(self._actor.rate.remote(trial, opened.loss))

    @staticmethod
    def _get(reference: ray.ObjectRef[Any]) -> Any:
        try:
            return ray.get(reference)
        except ray.exceptions.RayActorError as error:
            raise SelectorLostError(f"The selector actor is gone and did not come back: {error}") from error
