"""SelectorService: the streams of every trial of an experiment over one pool.

This is all the selector actor does; the actor itself is a shell around it, and the in-process client calls it
directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import SelectorError
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.pool import Pool
from raysubset.proxy.shared import Prior, SharedMemory
from raysubset.proxy.stream import EpochSubset, StreamSpec, SubsetStream
from raysubset.proxy.tally import Tally
from raysubset.selection.outputs import Outputs
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context


class UnknownTrialError(SelectorError):
    """The selector has no such trial, or not what was recorded of it.

    It was never opened, was closed or opened anew by somebody else, or the selector was restarted.
    """


class SelectorService:
    """One `SubsetStream` a trial, and what the trials with ``first_epoch="shared"`` learn from each other.

    Such a trial is told, when it is opened anew, what the closed ones and (while there are few of those) the
    running ones remember, as of that moment. With one trial at a time that is the same in every run of a search;
    with several, what is known at an opening depends on who was faster.

    Args:
        known: What is known of the training pool: its size at least, and the device of the selection kernels.
    """

    def __init__(self, known: Context) -> None:
        self._pool, self._provided = Pool(known), ""
        self._streams: dict[str, SubsetStream] = {}
        self._shared = SharedMemory(known.pool_size)
        self._tally: Tally | None = None

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
        learns = state is None and spec.plan.shares_memory
        stream = SubsetStream(spec, self._pool, self._prior_for(trial, spec.plan) if learns else None)
        if state is not None:
            stream.restore(state)
        self._streams[trial] = stream

    def _prior_for(self, trial: str, plan: SubsetPlan) -> Prior | None:
        self._hear_running()
        return self._shared.prior(trial, plan.shared_weight)

    def _hear_running(self) -> None:
        """Learn from open trials while there is room: they must not drive out what closed ones left."""
        for trial in self._streams:
            if not self._shared.full:
                self._learn(trial)

    def _learn(self, trial: str) -> None:
        stream = self._streams[trial]
        if stream.spec.plan.shares_memory:
            self._shared.learn(trial, stream.epochs_recorded, stream.loss, stream.memory)

    def observe(self, trial: str, epoch: int, outputs: Outputs) -> None:
        """Take in what a trial's model says of the pool, see `SubsetStream.observe`."""
        self._stream(trial).observe(epoch, outputs)

    def next(self, trial: str, epoch: int, recorded: int = -1) -> EpochSubset:
        """Return the rows of an epoch, see `SubsetStream.next`.

        Args:
            trial: An open one.
            epoch: Planned, not before the one that was served last.
            recorded: The last epoch that the caller has recorded, -1 if it does not say.

        Raises:
            UnknownTrialError: The trial is not open, or nothing of that epoch has come: it is late, or the trial
                was opened anew.
            SelectorError: See `SubsetStream.next`.
        """
        stream = self._stream(trial, recorded)
        subset = stream.next(epoch)
        if self._tally is not None:
            self._tally.count(trial, stream.spec, subset)
        return subset

    def record(self, trial: str, epoch: int, signals: EpochSignals) -> None:
        """Remember an epoch's signals, see `SubsetStream.record`."""
        self._stream(trial).record(epoch, signals)

    def rate(self, trial: str, loss: float) -> None:
        """Hear a trial's validation loss; trials that share are weighed by it, see `SubsetPlan.shared_weight`."""
        self._stream(trial).loss = float(loss)

    def state(self, trial: str, recorded: int = -1) -> dict[str, Any]:
        """Return a trial's state for its checkpoint; ``recorded`` as in `next`."""
        return self._stream(trial, recorded).state()

    def close(self, trial: str) -> None:
        """Forget a trial, but for what it shares; forgetting one that is not there is fine."""
        if trial in self._streams:
            self._learn(trial)
            self._tell(trial)
            del self._streams[trial]

    def _tell(self, trial: str) -> None:
        """Tell the tally, if there is one, how hard a trial finds the rows."""
        if self._tally is not None:
            stream = self._streams[trial]
            self._tally.hear(trial, stream.epochs_recorded, stream.memory)

    def watch(self, labels: NDArray[np.int64], counted: Mapping[str, Any] | None = None) -> None:
        """Count from now on what is handed out, see `Tally`; a service that is restarted must be told again.

        Args:
            labels: int64[n] of the pool.
            counted: What `counted` gave, to count on from there; None: from nothing.
        """
        self._tally = Tally(labels, counted)

    def counted(self) -> dict[str, Any] | None:
        """Return what was counted since `watch`, running trials too, and count on; None without `watch`."""
        if self._tally is None:
            return None
        told = self._tally.so_far()
        for trial, stream in self._streams.items():
            told.hear(trial, stream.epochs_recorded, stream.memory)
        return told.state()

    def tallied(self) -> dict[str, Any] | None:
        """Return what was counted since `watch`, running trials too, and count no more; None without `watch`."""
        if self._tally is None:
            return None
        for trial in self._streams:
            self._tell(trial)
        state, self._tally = self._tally.state(), None
        return state

    def contribution(self, trial: str, recorded: int = -1) -> dict[str, Any] | None:
        """Return what an open trial shares as of now, as part of a `shared_state`; None if that is nothing yet."""
        self._stream(trial, recorded)
        self._learn(trial)
        return self._shared.contribution(trial)

    def contributors(self) -> dict[str, int]:
        """Return trial -> order of arrival, of all that is shared."""
        return self._shared.numbers()

    def shared_state(self) -> dict[str, Any]:
        """Return what closed and running trials share, ready for a file: at most 32 times 4 n bytes and 4 kB."""
        self._hear_running()
        return self._shared.state()

    def restore_shared(self, state: Mapping[str, Any]) -> dict[str, int]:
        """Take in a `shared_state`, or several, in any order; a trial counts once.

        Returns:
            Trial -> order of arrival, of all that is shared from now on.

        Raises:
            SelectorError: It is of a pool of another size.
        """
        self._shared.merge(state)
        return self._shared.numbers()

    def trials(self) -> tuple[str, ...]:
        """Return the open trials in order of opening."""
        return tuple(self._streams)

    def _stream(self, trial: str, recorded: int = -1) -> SubsetStream:
        if trial not in self._streams:
            raise UnknownTrialError(
                f"Trial {trial!r} is not open at the selector; {len(self._streams)} others are."
            )
        stream = self._streams[trial]
        if stream.recorded < recorded:
            raise UnknownTrialError(
                f"Trial {trial!r} has recorded epoch {recorded}, of which the selector knows nothing (its last is "
                f"{stream.recorded}): the record is late, or somebody has opened the trial anew."
            )
        return stream
