"""How the workers of a team talk to the selector: worker 0 does, for all.

    next     worker 0 asks, the others are told: each trains on the rows that it owns
    record   every worker's signals come together at worker 0, which sends them on as one epoch's
    observe  so do the model's outputs, each worker having looked at its own rows

So to the selector a trial is one client whatever its workers, with the same calls, the same state and the same
way back after a fault; the signals of an epoch arrive whole or not at all. A trial of two workers leaves the
selector the memory, to float rounding, that a trial of one would have left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.stream import EpochSubset, StreamSpec
from raysubset.runtime.client import SelectorClient
from raysubset.selection.outputs import Outputs
from raysubset.training.team import Team


class TeamClient:
    """A `SelectorClient` for every worker of a team.

    Args:
        team: The workers; they make the same calls in the same order.
        client: Worker 0's, None elsewhere.
    """

    def __init__(self, team: Team, client: SelectorClient | None) -> None:
        self._team, self._client = team, client

    def open(self, trial: str, spec: StreamSpec, state: Mapping[str, Any] | None = None) -> None:
        """Start a trial's stream."""
        if self._client is not None:
            self._client.open(trial, spec, state)

    def observe(self, trial: str, epoch: int, outputs: Outputs) -> None:
        """Put together what the model says of every worker's rows. Cost: 4 (c + h) bytes a row to worker 0."""
        parts: list[Outputs] = self._team.gathered(outputs)
        if self._client is not None:
            self._client.observe(trial, epoch, joined_outputs(parts))

    def next(self, trial: str, epoch: int) -> EpochSubset:
        """Return the rows of an epoch, those of all workers. Cost: 12 bytes a row to each worker."""
        asked = self._client.next(trial, epoch) if self._client is not None else None
        subset: EpochSubset = self._team.shared(asked)
        return subset

    def record(self, trial: str, epoch: int, signals: EpochSignals) -> None:
        """Put together every worker's signals. Cost: 21 bytes a row to worker 0."""
        parts: list[EpochSignals] = self._team.gathered(signals)
        if self._client is not None:
            self._client.record(trial, epoch, joined_signals(parts))

    def rate(self, trial: str, loss: float) -> None:
        """Pass on a trial's validation loss."""
        if self._client is not None:
            self._client.rate(trial, loss)

    def state(self, trial: str) -> dict[str, Any]:
        """Return a trial's state at worker 0, which writes the checkpoints; elsewhere it is empty."""
        return self._client.state(trial) if self._client is not None else {}

    def close(self, trial: str) -> None:
        """Forget a trial."""
        if self._client is not None:
            self._client.close(trial)


def joined_signals(parts: Sequence[EpochSignals]) -> EpochSignals:
    """Return the signals of all parts as one epoch's, parts in order."""
    return EpochSignals(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(EpochSignals)))


def joined_outputs(parts: Sequence[Outputs]) -> Outputs:
    """Return outputs over contiguous ranges of rows as outputs over all rows, parts in order."""
    logits = np.concatenate([part.logits for part in parts])
    return Outputs(logits, np.concatenate([part.features for part in parts]), parts[0].learning_rate)
