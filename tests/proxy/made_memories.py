"""Memories of made-up losses, what they say together, and trials that speak or listen."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from tolerances import PROPERTY

from raysubset.proxy.memory import REMEMBERED, EpochSignals, ProxyMemory
from raysubset.proxy.service import SelectorService
from raysubset.proxy.shared import Prior, SharedMemory
from raysubset.proxy.stream import StreamSpec
from raysubset.selection.plan import SubsetPlan
from raysubset.testing.clients import run

N, EPOCHS = 60, 8  # those of raysubset.testing.clients
SMALL = settings(PROPERTY, max_examples=25)  # eight rows have few cases
LOSS = REMEMBERED.index("loss")
BY_LOSS = SubsetPlan(metric="loss", ratio=0.2, first_epoch="shared", deterministic=True)


def remembered(values: list[float] | np.ndarray, seen: list[int] | None = None) -> ProxyMemory:
    """A memory of these losses; the other metrics are 2, 3 and -1 times as large, so that a mix-up shows."""
    memory = ProxyMemory(len(values))
    for name, factor in (("loss", 1), ("entropy", 2), ("gradient", 3), ("prediction", -1)):
        memory.values[name][:] = factor * np.asarray(values)
    memory.seen[:] = True if seen is None else np.isin(np.arange(len(values)), seen)
    return memory


def shared_by(*memories: ProxyMemory) -> SharedMemory:
    shared = SharedMemory(len(memories[0]))
    for number, memory in enumerate(memories):
        shared.learn(f"t{number}", 1, None, memory)
    return shared


def prior_of(*memories: ProxyMemory) -> Prior:
    prior = shared_by(*memories).prior("new", "equal")
    assert prior is not None
    return prior


def hard_rows(service: SelectorService, trial: str, loss: np.ndarray) -> None:
    service.open(trial, StreamSpec(BY_LOSS, EPOCHS, 0))
    service.record(trial, 0, EpochSignals(np.arange(N), loss, loss, loss, loss < 1))
    service.close(trial)


def outcome(service: SelectorService, trial: str, plan: SubsetPlan, seed: int = 0):
    service.open(trial, StreamSpec(plan, EPOCHS, seed))
    return run(service, trial, plan, range(EPOCHS), seed)
