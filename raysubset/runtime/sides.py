"""The two sides of a bilevel search: rows that weights learn from, rows that the architecture learns from.

"fixed"     a row belongs to one side for good; each side has a memory and a subset of its own
"refresh"   one subset of all rows is chosen and then halved anew each epoch, as the ASP paper words it: in time
            weights have seen the rows that the architecture is judged by
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from raysubset.data.batches import RowSource
from raysubset.errors import BudgetError
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.service import SelectorService
from raysubset.proxy.stream import EpochSubset, StreamSpec
from raysubset.seeds import generator, seed64
from raysubset.selection.outputs import Outputs
from raysubset.selection.protocol import Context
from raysubset.types import Selection

SplitMode = Literal["fixed", "refresh"]
SPLITS: tuple[SplitMode, ...] = ("fixed", "refresh")


@dataclass(frozen=True, slots=True)
class SideSubset:
    """What one side trains on in an epoch: rows of ``source``."""

    source: RowSource
    subset: EpochSubset


class Sides(Protocol):
    """Serves both sides: (weights, architecture)."""

    @property
    def pools(self) -> tuple[RowSource, ...]:
        """What subsets are chosen from: a pool a side, or one for both."""
        ...

    def weight_samples(self, sizes: Sequence[NDArray[np.int64]]) -> int:
        """Return how many samples the weights train on, of subsets of these sizes of each of `pools`, by epoch."""
        ...

    def observe(self, epoch: int, outputs: Sequence[Outputs]) -> None:
        """Take in what the model says of each of `pools` before ``epoch``."""
        ...

    def next(self, epoch: int) -> tuple[SideSubset, SideSubset]:
        """Return the rows of an epoch."""
        ...

    def record(self, epoch: int, signals: tuple[EpochSignals, EpochSignals]) -> None:
        """Remember what the epoch's passes showed of them."""
        ...

    def watch(self, counted: Mapping[str, Any] | None = None) -> None:
        """Count from now on, or on from ``counted``, what is handed out of the first of `pools`; see `Tally`."""
        ...

    def counted(self) -> dict[str, Any] | None:
        """Return what was counted since `watch`."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        ...


Knowing = Callable[[RowSource], Context]
"""What is known of a pool before training."""


def labels_only(pool: RowSource) -> Context:
    """Know a pool's size and labels."""
    return Context(len(pool), pool.labels)


def open_sides(
    mode: SplitMode,
    weights: RowSource,
    architecture: RowSource,
    spec: StreamSpec,
    knowing: Knowing = labels_only,
) -> Sides:
    """Open both sides in this process: one search needs no selector shared with others.

    Args:
        mode: "fixed" or "refresh".
        weights: Rows that the weights learn from.
        architecture: Rows that alpha learns from.
        spec: Plan, epochs and seed.
        knowing: Gathers what the plan wants to know of a pool, once each.

    Raises:
        BudgetError: The ratio leaves a side without a row.
    """
    check_sides(mode, len(weights), len(architecture), spec.plan.ratio)
    kind = FixedSides if mode == "fixed" else RefreshedSides
    return kind(weights, architecture, spec, knowing)


def check_sides(mode: SplitMode, weights: int, architecture: int, ratio: float) -> None:
    """Refuse a mean subset that leaves a side of so many rows without one.

    Raises:
        BudgetError: It does.
    """
    pool, least = (min(weights, architecture), 1) if mode == "fixed" else (weights + architecture, 2)
    if round(ratio * pool) < least:
        raise BudgetError(
            f"ratio={ratio:g} of {weights} rows for the weights and {architecture} for the architecture leaves "
            "one of them without a row. Take a larger ratio, or more rows."
        )


def first_pool(mode: SplitMode, weights: RowSource, architecture: RowSource) -> RowSource:
    """Return the first of `Sides.pools`: the weights' rows, or all rows where the halves change."""
    return weights if mode == "fixed" else Joined(weights, architecture)


class FixedSides:
    """Two pools, two memories."""

    def __init__(self, weights: RowSource, architecture: RowSource, spec: StreamSpec, knowing: Knowing) -> None:
        self.pools: tuple[RowSource, ...] = (weights, architecture)
        self._specs = (spec, replace(spec, seed=seed64(spec.seed, "architecture-side")))
        self._services = tuple(SelectorService(knowing(pool)) for pool in self.pools)
        for service, own in zip(self._services, self._specs, strict=True):
            service.open("side", own)

    def weight_samples(self, sizes: Sequence[NDArray[np.int64]]) -> int:
        """See `Sides`."""
        return int(sizes[0].sum())

    def observe(self, epoch: int, outputs: Sequence[Outputs]) -> None:
        """See `Sides`."""
        for service, own in zip(self._services, outputs, strict=True):
            service.observe("side", epoch, own)

    def next(self, epoch: int) -> tuple[SideSubset, SideSubset]:
        """See `Sides`."""
        one, two = (
            SideSubset(source, service.next("side", epoch))
            for source, service in zip(self.pools, self._services, strict=True)
        )
        return one, two

    def record(self, epoch: int, signals: tuple[EpochSignals, EpochSignals]) -> None:
        """See `Sides`."""
        for service, seen in zip(self._services, signals, strict=True):
            service.record("side", epoch, seen)

    def watch(self, counted: Mapping[str, Any] | None = None) -> None:
        """See `Sides`."""
        self._services[0].watch(self.pools[0].labels, counted)

    def counted(self) -> dict[str, Any] | None:
        """See `Sides`."""
        return self._services[0].counted()

    def state(self) -> dict[str, Any]:
        """See `Sides`."""
        return {"sides": [service.state("side") for service in self._services]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Sides`."""
        for service, spec, saved in zip(self._services, self._specs, state["sides"], strict=True):
            service.open("side", spec, saved)


class RefreshedSides:
    """One pool; each epoch's subset is shuffled and halved, the odd row going to the weights."""

    def __init__(self, weights: RowSource, architecture: RowSource, spec: StreamSpec, knowing: Knowing) -> None:
        self._pool = Joined(weights, architecture)
        self.pools: tuple[RowSource, ...] = (self._pool,)
        self._spec = spec
        self._service = SelectorService(knowing(self._pool))
        self._service.open("pool", spec)

    def weight_samples(self, sizes: Sequence[NDArray[np.int64]]) -> int:
        """See `Sides`."""
        return int(((sizes[0] + 1) // 2).sum())

    def observe(self, epoch: int, outputs: Sequence[Outputs]) -> None:
        """See `Sides`."""
        self._service.observe("pool", epoch, outputs[0])

    def next(self, epoch: int) -> tuple[SideSubset, SideSubset]:
        """See `Sides`.

        Raises:
            BudgetError: The epoch has a single row.
        """
        subset = self._service.next("pool", epoch)
        rows = len(subset.selection)
        if rows < 2:
            raise BudgetError(f"Epoch {epoch} has {rows} row for two sides. Take a larger ratio, or more rows.")
        order = generator(self._spec.seed, epoch, "halves").permutation(rows)
        one, two = (
            SideSubset(self._pool, part_of(subset, half))
            for half in (order[: (rows + 1) // 2], order[(rows + 1) // 2 :])
        )
        return one, two

    def record(self, epoch: int, signals: tuple[EpochSignals, EpochSignals]) -> None:
        """See `Sides`."""
        joined = (np.concatenate(column) for column in zip(*map(_columns, signals), strict=True))
        self._service.record("pool", epoch, EpochSignals(*joined))

    def watch(self, counted: Mapping[str, Any] | None = None) -> None:
        """See `Sides`."""
        self._service.watch(self.pools[0].labels, counted)

    def counted(self) -> dict[str, Any] | None:
        """See `Sides`."""
        return self._service.counted()

    def state(self) -> dict[str, Any]:
        """See `Sides`."""
        return {"pool": self._service.state("pool")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Sides`."""
        self._service.open("pool", self._spec, state["pool"])


def part_of(subset: EpochSubset, positions: NDArray[np.int64]) -> EpochSubset:
    """Return some rows of a subset, their weights scaled to mean 1 again (unbiased ones as they are)."""
    whole = subset.selection
    weights = whole.weights[positions]
    if not whole.unbiased:
        weights = (weights / weights.mean(dtype=np.float64)).astype(np.float32)
    part = Selection(whole.indices[positions], weights, whole.pool_size, whole.scale, whole.unbiased)
    return replace(subset, selection=part, size=len(positions))


def _columns(signals: EpochSignals) -> tuple[NDArray[np.generic], ...]:
    return signals.index, signals.loss, signals.entropy, signals.gradient, signals.correct


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Rows of two sources as one, the first's ids first."""

    first: RowSource
    second: RowSource

    @property
    def labels(self) -> NDArray[np.int64]:
        """Return int64[n], the first's labels first."""
        return np.concatenate([self.first.labels, self.second.labels])

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def rows(self, index: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """See `RowSource.rows`."""
        border = len(self.first)
        low = index < border
        inputs, labels = self.first.rows(index[low])
        other_inputs, other_labels = self.second.rows(index[~low] - border)
        gathered = np.empty((len(index), *inputs.shape[1:]), dtype=inputs.dtype)
        gathered[low], gathered[~low] = inputs, other_inputs
        targets = np.empty(len(index), dtype=np.int64)
        targets[low], targets[~low] = labels, other_labels
        return gathered, targets
