"""SelectorService: the streams of every trial of an experiment over one pool.

This is all the selector actor does; the actor itself is a shell around it, and the in-process client calls it
directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raysubset.errors import SelectorError
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.pool import Pool
from raysubset.proxy.stream import EpochSubset, StreamSpec, SubsetStream
from raysubset.selection.outputs import Outputs
from raysubset.selection.protocol import Context


class UnknownTrialError(SelectorError):
    """The selector has no such trial: it was never opened, was closed, or the selector was restarted."""


class SelectorService:
    """One `SubsetStream` a trial.

    Args:
        known: What is known of the training pool: its size at least, and the device of the selection kernels.
    """

    def __init__(self, known: Context) -> None:
        self._pool, self._provided = Pool(known), ""
        self._streams: dict[str, SubsetStream] = {}

    def provide(self, key: str, context: Context) -> None:
        """Take what all trials shall know of the pool; trials opened from now on may use it.

        Args:
            key: Names it; given again, nothing changes.
            context: Labels and shared evidence.
        """
        if key != self._provided:
            self._pool, self._provided = Pool(replace(context, device=self._pool.context.device)), key

    def open(self, trial: str, spec: StreamSpec, state: Mapping[str, Any] | None = None) -> None:
        """Start a trial's stream, or start it anew; with ``state``, where that left off.

        Raises:
            BudgetError: The plan's budget does not fit the pool.
        """
        stream = SubsetStream(spec, self._pool)
        if state is not None:
            stream.restore(state)
        self._streams[trial] = stream

    def observe(self, trial: str, epoch: int, outputs: Outputs) -> None:
        """Take in what a trial's model says of the pool, see `SubsetStream.observe`."""
        self._stream(trial).observe(epoch, outputs)

    def next(self, trial: str, epoch: int) -> EpochSubset:
        """Return the rows of an epoch, see `SubsetStream.next`."""
        return self._stream(trial).next(epoch)

    def record(self, trial: str, epoch: int, signals: EpochSignals) -> None:
        """Remember an epoch's signals, see `SubsetStream.record`."""
        self._stream(trial).record(epoch, signals)

    def state(self, trial: str) -> dict[str, Any]:
        """Return a trial's state for its checkpoint."""
        return self._stream(trial).state()

    def close(self, trial: str) -> None:
        """Forget a trial; forgetting one that is not there is fine."""
        self._streams.pop(trial, None)

    def trials(self) -> tuple[str, ...]:
        """Return the open trials in order of opening."""
        return tuple(self._streams)

    def _stream(self, trial: str) -> SubsetStream:
        if trial not in self._streams:
            raise UnknownTrialError(
                f"Trial {trial!r} is not open at the selector; {len(self._streams)} others are."
            )
        return self._streams[trial]
