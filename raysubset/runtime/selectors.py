"""How many selector actors serve a session, where trials find theirs, and whether they get a GPU.

One actor serves every trial of a small pool: it is idle between epochs. From a million rows on a choice takes tens
of milliseconds, trials queue for it, and several actors share the trials by a hash of their ids. One actor serves
all, whatever the pool's size, where trials must meet: those with ``first_epoch="shared"`` learn from each other
there, and a subset that depends on nothing a trial learns is chosen there once for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.actor import ActorHandle
from torch import nn

from raysubset.errors import OptionsError
from raysubset.models.head import last_linear
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.service import SelectorService
from raysubset.proxy.stream import EpochSubset, StreamSpec
from raysubset.runtime.affordable import Priced
from raysubset.runtime.client import RaySelector, SelectorClient, start_selector
from raysubset.runtime.session import told_apart
from raysubset.seeds import seed64
from raysubset.selection.outputs import Outputs
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context

SPREAD_FROM = 1_000_000  # rows from which choices take tens of milliseconds
MOST_SELECTORS = 8  # one serves some 40 choices a second from a million rows; each is a process of 150 MB
GPU_WORTH_FLOPS = 1e11  # two seconds of a CPU core, which runs these kernels at some 50 GFLOPS


def selectors_needed(plan: SubsetPlan, n: int, concurrency: int) -> int:
    """Return how many selector actors serve the trials of a plan.

    Args:
        plan: Of all trials.
        n: Rows of the pool.
        concurrency: Trials at a time; more actors than that would stand idle.
    """
    if n < SPREAD_FROM or plan.shares_memory or plan.habits.informed_at_start:
        return 1
    return max(1, min(concurrency, MOST_SELECTORS))


def gpu_gains(plan: SubsetPlan, model: nn.Module, n: int, epochs: int) -> bool:
    """Return True if the selector should have a share of a GPU.

    It should where it chooses for each trial by what that trial's model says (CRAIG, GRAD-MATCH, GLISTER), and one
    choice takes a CPU core more than about two seconds by the selector's own account. Elsewhere the CPU is the
    choice: ASP draws from a million rows in 10 ms, choices made once for all trials are soon made, and on the GPU
    there would be a CUDA context of some 400 MB and, before each choice, a copy of the arrays to the device.

    Args:
        plan: Of all trials.
        model: Its last layer's width is that of the gradients.
        n: Rows of the pool.
        epochs: Planned.
    """
    if plan.habits.evidence != "model" or plan.habits.in_batch:
        return False
    selector, head = plan.compose(), last_linear(model)
    if not isinstance(selector, Priced):
        return False
    sizes = plan.timetable(n, epochs).sizes
    k = int(sizes[sizes < n].max(initial=0))
    return k > 0 and selector.flops(n, k, head.out_features, head.in_features) >= GPU_WORTH_FLOPS


@dataclass(frozen=True, slots=True)
class Selectors:
    """The selector actors of a session; a few handles, so it travels with every task.

    Attributes:
        actors: At least one, in an order that is the same everywhere.
    """

    actors: tuple[ActorHandle[SelectorService], ...]

    @property
    def only(self) -> ActorHandle[SelectorService]:
        """The actor where all trials meet.

        Raises:
            OptionsError: There are several, so they do not.
        """
        if len(self.actors) != 1:
            raise OptionsError(f"{len(self.actors)} selectors share these trials: none knows all of them.")
        return self.actors[0]

    def client(
        self,
        known: Context | ray.ObjectRef[Context] | None = None,
        key: str = "labels",
        shared: Mapping[str, Any] | None = None,
    ) -> SelectorClient:
        """Return a client for the trials of this process; arguments are those of `RaySelector`."""
        clients = [RaySelector(actor, known, key, shared) for actor in self.actors]
        return clients[0] if len(clients) == 1 else RoutedSelector(clients)

    def stop(self) -> None:
        """End the actors."""
        for actor in self.actors:
            ray.kill(actor)


def start_selectors(
    name: str, plan: SubsetPlan, n: int, *, concurrency: int, gpus: float = 0.0, detached: bool = False
) -> Selectors:
    """Return the selector actors of a session, started now if they are not there.

    Nothing ties them to a node: one whose node dies starts on another.

    Args:
        name: They are found by ``name/0``, ``name/1``, ...
        plan: Of all trials.
        n: Rows of the pool.
        concurrency: Trials at a time.
        gpus: GPU share of all of them together.
        detached: Outlive the process that starts them.
    """
    count = selectors_needed(plan, n, concurrency)
    share = told_apart(gpus / count)
    return Selectors(tuple(start_selector(f"{name}/{i}", n, gpus=share, detached=detached) for i in range(count)))


class RoutedSelector:
    """A `SelectorClient` that hands each trial to one of several, by a hash of its id.

    The hash is the same in every process and Python (BLAKE2): all clients of a session agree.

    Args:
        clients: In the same order everywhere.
    """

    def __init__(self, clients: Sequence[SelectorClient]) -> None:
        self._clients = tuple(clients)

    def of(self, trial: str) -> SelectorClient:
        """Return the client that serves a trial."""
        return self._clients[seed64(0, "selector", trial) % len(self._clients)]

    def open(self, trial: str, spec: StreamSpec, state: Mapping[str, Any] | None = None) -> None:
        """Start (or restart) a trial's stream, see `SelectorService.open`."""
        self.of(trial).open(trial, spec, state)

    def observe(self, trial: str, epoch: int, outputs: Outputs) -> None:
        """Send what a trial's model says, see `SelectorService.observe`."""
        self.of(trial).observe(trial, epoch, outputs)

    def next(self, trial: str, epoch: int) -> EpochSubset:
        """Return the rows of an epoch, see `SelectorService.next`."""
        return self.of(trial).next(trial, epoch)

    def record(self, trial: str, epoch: int, signals: EpochSignals) -> None:
        """Send an epoch's signals, see `SelectorService.record`."""
        self.of(trial).record(trial, epoch, signals)

    def rate(self, trial: str, loss: float) -> None:
        """Send a trial's validation loss, see `SelectorService.rate`."""
        self.of(trial).rate(trial, loss)

    def state(self, trial: str) -> dict[str, Any]:
        """Return a trial's state, see `SelectorService.state`."""
        return self.of(trial).state(trial)

    def close(self, trial: str) -> None:
        """Forget a trial, see `SelectorService.close`."""
        self.of(trial).close(trial)
