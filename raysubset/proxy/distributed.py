"""A memory too large for one process, in shards of consecutive rows, and draws from it.

    MemoryShard        the rows first_row .. first_row + n - 1 of one trial's memory
    DistributedMemory  the whole, over shards wherever they are: it splits what is recorded, and runs a race

The rows drawn are bit for bit those that `ProxySampling` draws from one `ProxyMemory` of all rows (from
`sampling.RACE_FROM` rows on, where both run the race of `selection.kernels.race`), whatever the number of shards.
Only a draw in proportion to exp(value / temperature) can be made so: `check_shardable` names what cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError, SelectorError
from raysubset.proxy.memory import REMEMBERED, EpochSignals, ProxyMemory
from raysubset.selection.kernels.entrants import Entrants, Survey
from raysubset.selection.kernels.race import Finishers, Heat, run_heat
from raysubset.selection.kernels.race_shards import race_over
from raysubset.selection.plan import MemoryType, SubsetPlan


def check_shardable(plan: SubsetPlan) -> None:
    """Refuse a plan whose choices need all values in one place.

    Raises:
        OptionsError: The plan's selector is another than asp, or asks for ranks or z-scores over all rows, class
            quotas, the k largest with ties broken by a shuffle, or what other trials remember. All in one message.
    """
    faults = []
    if plan.selector != "asp":
        faults.append(f"selector={plan.name!r} looks at more than one value a row; only 'asp' can")
    if plan.scale != "none":
        faults.append(f"scale={plan.scale!r} needs the distribution over all rows, need 'none'")
    if plan.per_class:
        faults.append("per_class draws from each class by itself")
    if plan.deterministic:
        faults.append("deterministic breaks ties by a shuffle of all rows")
    if plan.learns or plan.probe:
        faults.append("an adaptive metric or schedule, and a probe, need all rows' losses and dates in one place")
    if plan.first_epoch == "shared":
        faults.append("first_epoch='shared' merges whole memories, need 'full' or 'scheduled'")
    if faults:
        raise OptionsError.of("A memory in shards cannot serve this plan", faults)


def shard_edges(n: int, shards: int) -> NDArray[np.int64]:
    """Return int64[shards + 1]: shard s has the rows edges[s] .. edges[s + 1] - 1; sizes differ by one at most.

    Raises:
        OptionsError: shards < 1.
    """
    if shards < 1:
        raise OptionsError(f"shards={shards}, need at least 1.")
    return np.arange(shards + 1, dtype=np.int64) * n // shards


def kept_metrics(metric: str) -> tuple[str, ...]:
    """Return what a memory must keep for a plan's ``metric``: all for "mixture", nothing for "random"."""
    return REMEMBERED if metric == "mixture" else tuple(name for name in REMEMBERED if name == metric)


class MemoryShard:
    """One shard of a trial's memory.

    Args:
        first_row: Global number of its first row.
        n: Its rows, 0 or more.
        dtype: What a value is kept in.
        metrics: What is kept, see `kept_metrics`; one metric takes 5 bytes a row, 3 in float16.
    """

    def __init__(self, first_row: int, n: int, dtype: MemoryType, metrics: Sequence[str]) -> None:
        self._first_row, self._recorded = first_row, -1
        self._memory = ProxyMemory(n, dtype, metrics, dated=False)

    def record(self, epoch: int, signals: EpochSignals, after: int) -> None:
        """Remember the signals of some of its rows (by their numbers here); an epoch counts once.

        Args:
            epoch: They come from.
            signals: Of rows 0..n-1.
            after: The epoch recorded before this one, -1 if none was.

        Raises:
            SelectorError: It has not recorded ``after``: it came back empty. Nothing is recorded.
        """
        if epoch <= self._recorded:
            return
        self._check(after)
        self._memory.record(epoch, signals)
        self._recorded = epoch

    def survey(self, metric: str, recorded: int, stride: int) -> Survey:
        """Answer the first question of a race, see `race_shards`.

        Raises:
            SelectorError: The metric is not kept, or ``recorded`` is not the epoch recorded last.
        """
        self._check(recorded)
        return self._entrants(metric).survey(stride)

    def run(self, metric: str, recorded: int, heat: Heat) -> Finishers:
        """Answer the second; errors are those of `survey`."""
        self._check(recorded)
        return run_heat(self._entrants(metric), heat)

    def _check(self, recorded: int) -> None:
        """A shard that came back empty would answer as if nothing had been seen."""
        if recorded != self._recorded:
            raise SelectorError(
                f"The shard of rows {self._first_row}..{self._first_row + len(self._memory) - 1} remembers epoch "
                f"{self._recorded}, the trial has recorded {recorded}: most likely its process died and was "
                "started anew. Restore all shards from a saved state."
            )

    def _entrants(self, metric: str) -> Entrants:
        if metric == "random":  # no memory: every row weighs the same, and no vector of them exists
            return Entrants(np.broadcast_to(np.float32(0), len(self._memory)), self._first_row)
        if metric not in self._memory.values:
            kept = ", ".join(self._memory.values) or "none"
            raise SelectorError(f"Metric {metric!r} is not kept by this memory. Kept: {kept}.")
        seen = None if self._memory.seen.all() else self._memory.seen
        return Entrants(self._memory.values[metric], self._first_row, seen)

    def state(self) -> dict[str, Any]:
        """Return what it remembers, ready for a checkpoint."""
        return {"first_row": self._first_row, "recorded": self._recorded, "memory": self._memory.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a `state`.

        Raises:
            SelectorError: It is of another shard.
        """
        memory = ProxyMemory.from_state(state["memory"], self._memory.dtype)
        if (int(state["first_row"]), len(memory)) != (self._first_row, len(self._memory)):
            raise SelectorError(
                f"The saved shard has {len(memory)} rows from row {state['first_row']}, this one has "
                f"{len(self._memory)} from row {self._first_row}."
            )
        self._memory, self._recorded = memory, int(state["recorded"])


class Everywhere(Protocol):
    """How the shards are reached: all of them at once, answers in their order."""

    def ask(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of every shard, each with its own arguments; return what they answer."""
        ...

    def tell(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        """Call a method of every shard and do not wait; what is asked later sees its effect."""
        ...


class InProcess:
    """Shards in this process, one after the other."""

    def __init__(self, shards: Sequence[MemoryShard]) -> None:
        self._shards = shards

    def ask(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Everywhere`."""
        return [getattr(shard, method)(*own) for shard, own in zip(self._shards, arguments, strict=True)]

    def tell(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        """See `Everywhere`."""
        self.ask(method, arguments)


class DistributedMemory:
    """One trial's memory over all shards.

    Args:
        shards: How to reach them.
        edges: From `shard_edges`.
    """

    def __init__(self, shards: Everywhere, edges: NDArray[np.int64]) -> None:
        self._shards, self._edges, self._recorded = shards, edges, -1

    def __len__(self) -> int:
        return int(self._edges[-1])

    def record(self, epoch: int, signals: EpochSignals) -> None:
        """Send every shard its part of an epoch's signals and return at once; an epoch counts once.

        Raises:
            SelectorError: A row lies outside the memory; nothing is recorded.

        Cost: A sort of the rows; 21 bytes a row in messages.
        """
        rows = signals.index
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise SelectorError(f"Signals name rows {rows.min()}..{rows.max()} of a memory of {len(self)}.")
        if epoch > self._recorded:
            parts = split_signals(signals, self._edges)
            self._shards.tell("record", [(epoch, part, self._recorded) for part in parts])
            self._recorded = epoch

    def draw(self, metric: str, m: int, key: int, temperature: float = 1.0) -> NDArray[np.int64]:
        """Draw m rows by what is remembered of a metric ("random": uniformly), see `race_shards.race_over`.

        Args:
            metric: One that the shards keep, or "random".
            m: Rows, 1 <= m <= n.
            key: Of the race, from `race.race_key`.
            temperature: T > 0.

        Returns:
            int64[m], increasing.

        Raises:
            BudgetError, OptionsError: m or the temperature is out of range.
            SelectorError: The metric is not kept, or a shard has lost its memory.
        """
        return race_over(_Draw(self._ask, metric, self._recorded), len(self), m, key, temperature)

    def _ask(self, method: str, *arguments: Any) -> list[Any]:
        return self._shards.ask(method, [arguments] * (len(self._edges) - 1))

    def state(self) -> list[dict[str, Any]]:
        """Return the states of all shards: as many bytes as the memory, in this process."""
        return self._ask("state")

    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Go back to a `state`.

        Raises:
            SelectorError: It is of other shards, or not of one epoch.
        """
        epochs = {int(state["recorded"]) for state in states}
        if len(states) != len(self._edges) - 1 or len(epochs) != 1:
            raise SelectorError(
                f"The saved memory has {len(states)} shards at the epochs {sorted(epochs)}, need "
                f"{len(self._edges) - 1} at one."
            )
        self._shards.ask("restore", [(state,) for state in states])
        self._recorded = epochs.pop()


class _Draw:
    """The shards as a race sees them, see `race_shards.Shards`."""

    def __init__(self, ask: Callable[..., list[Any]], *about: Any) -> None:
        self._ask, self._about = ask, about

    def survey(self, stride: int) -> list[Survey]:
        return self._ask("survey", *self._about, stride)

    def run(self, heat: Heat) -> list[Finishers]:
        return self._ask("run", *self._about, heat)


def split_signals(signals: EpochSignals, edges: NDArray[np.int64]) -> list[EpochSignals]:
    """Return each shard's part of the signals, rows numbered from its first."""
    rows = signals.index
    order = np.arange(len(rows)) if (rows[1:] >= rows[:-1]).all() else np.argsort(rows)
    starts = np.searchsorted(rows[order], edges)
    parts = []
    for shard, (low, high) in enumerate(pairwise(starts)):
        of = order[low:high]
        parts.append(
            EpochSignals(
                rows[of] - edges[shard],
                signals.loss[of],
                signals.entropy[of],
                signals.gradient[of],
                signals.correct[of],
            )
        )
    return parts


def local_memory(n: int, shards: int, plan: SubsetPlan) -> DistributedMemory:
    """Return a plan's memory in shards in this process.

    Raises:
        OptionsError: See `check_shardable` and `shard_edges`.
    """
    check_shardable(plan)
    edges = shard_edges(n, shards)
    parts = [MemoryShard(*place, plan.memory, kept_metrics(plan.metric)) for place in places(edges)]
    return DistributedMemory(InProcess(parts), edges)


def places(edges: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return (first row, rows) of each shard."""
    return [(int(low), int(high - low)) for low, high in pairwise(edges)]
