"""SubsetStream: one trial's subsets, epoch by epoch (ASP, Algorithm 1 turned into a value).

    for e in 0 .. N-1:   selection = stream.next(e);  train on it;  stream.record(e, signals)

`next` and `record` are idempotent on the epoch: asking again returns the same rows, recording again changes
nothing, so a caller may retry after a fault. Every draw comes from a keyed generator, so a stream restored
from its state goes on exactly as the uninterrupted one would have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import SelectorError
from raysubset.proxy.memory import REMEMBERED, EpochSignals, ProxyMemory
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.types import Selection


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What a stream is made from: plan, planned epochs, and the seed of its subset noise."""

    plan: SubsetPlan
    epochs: int
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class EpochSubset:
    """The rows of one epoch, the metric that chose them ("full" where all were taken) and their share."""

    epoch: int
    selection: Selection
    metric: str

    @property
    def ratio(self) -> float:
        """Share of the pool in this epoch, in (0, 1]."""
        return len(self.selection) / self.selection.pool_size


class SubsetStream:
    """The subsets of one trial: plan, memory, and the epoch they stand at.

    Args:
        spec: Plan, epochs and seed.
        pool_size: n, rows in the training pool.
        labels: int64[n], or None for a task without classes.

    Raises:
        BudgetError: The plan's budget does not fit this pool (see `selection.ratio`).
    """

    def __init__(self, spec: StreamSpec, pool_size: int, labels: NDArray[np.int64] | None) -> None:
        self.spec = spec
        self.sizes = spec.plan.sizes(pool_size, spec.epochs)
        self.memory = ProxyMemory(pool_size)
        self._labels = labels
        self._active: EpochSubset | None = None
        self._recorded = -1

    def next(self, epoch: int) -> EpochSubset:
        """Return the rows of ``epoch``. Cost: O(n + m log m) at a refresh, else O(1).

        Raises:
            SelectorError: The epoch is not planned, or lies before the one already served.
        """
        if not 0 <= epoch < self.spec.epochs:
            raise SelectorError(f"Epoch {epoch} is not planned: this trial has epochs 0..{self.spec.epochs - 1}.")
        active = self._active
        if active is not None:
            if epoch < active.epoch:
                raise SelectorError(
                    f"Epoch {epoch} was asked for after epoch {active.epoch}: restore the stream first."
                )
            if self.spec.plan.chosen_at(epoch) <= active.epoch:
                self._active = EpochSubset(epoch, active.selection, active.metric)
                return self._active
        self._active = self._choose(epoch)
        return self._active

    def _choose(self, epoch: int) -> EpochSubset:
        plan, seed, n = self.spec.plan, self.spec.seed, len(self.memory)
        size = int(self.sizes[epoch])
        if size == n:
            return EpochSubset(epoch, Selection.uniform(np.arange(n), n), "full")
        metric = plan.metric_at(epoch, self.spec.epochs, seed)
        signals = {metric: self.memory.importance(metric)} if metric in REMEMBERED else {}
        context = Context(n, self._labels, signals)
        selection = plan.selector_for(metric).select(context, size, plan.stream(epoch, seed))
        return EpochSubset(epoch, selection, metric)

    def record(self, epoch: int, signals: EpochSignals) -> bool:
        """Remember an epoch's signals; returns False (and changes nothing) if that epoch was recorded already."""
        if epoch <= self._recorded:
            return False
        self.memory.record(epoch, signals)
        self._recorded = epoch
        return True

    def state(self) -> dict[str, Any]:
        """Return memory, served subset and position, ready for a checkpoint: 21 n + 12 m bytes."""
        active = self._active
        return {
            "memory": self.memory.state(),
            "recorded": self._recorded,
            "active": None
            if active is None
            else {
                "epoch": active.epoch,
                "metric": active.metric,
                "indices": active.selection.indices,
                "weights": active.selection.weights,
            },
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back (or forward) to a saved state.

        Raises:
            SelectorError: The state is of a pool of another size.
        """
        memory = ProxyMemory.from_state(state["memory"])
        if len(memory) != len(self.memory):
            raise SelectorError(f"The saved memory has {len(memory)} rows, this pool has {len(self.memory)}.")
        self.memory, self._recorded, self._active = memory, int(state["recorded"]), None
        if (active := state["active"]) is not None:
            selection = Selection(np.asarray(active["indices"]), np.asarray(active["weights"]), len(memory))
            self._active = EpochSubset(int(active["epoch"]), selection, str(active["metric"]))
