"""When a subset is chosen anew: habits, the wrappers that change them, and the timetable they make.

    Every(R, s)        choose at the first informed epoch, then every R epochs; in between the subset stays
    Static(s)          choose once
    WarmStart(k, s)    W = ceil(A r) epochs on everything first, A = floor(k N), then subsets [1]

A warm start costs nothing extra: CORDS counts the slots W..A-1 but trains on nothing in them, so that N epochs
cost about r N n samples with or without it, and a schedule by epochs stands where it would. So it is here: those
slots are skipped.

References:
    [1] Killamsetty et al., 2021, "GRAD-MATCH", section 5 (warm start), arXiv:2103.00123.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import BudgetError, OptionsError
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.ratio import Budget, FirstEpoch, Schedule, subset_sizes
from raysubset.types import Selection

Evidence = Literal["none", "memory", "model", "scout", "embedding", "fitted"]
EVIDENCE: tuple[Evidence, ...] = get_args(Evidence)

FORWARD_SHARE = 1 / 3
"""Samples charged for one row's forward pass: a training step is a forward pass and a backward pass of twice the
work."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What a selector looks at, and how often it chooses.

    Attributes:
        evidence: "none"; "memory" (signals of the training passes, free); "model" (an evaluation-mode pass of the
            trial's own model over the pool before each choice, charged); "scout" (a model trained beforehand on
            everything, charged once, shared by all trials); "embedding" (fixed features, shared by all trials);
            "fitted" (what the selector itself was fitted on, once for all searches).
        every: Epochs between choices, 0 for one choice.
        warm_start: kappa in [0, 1).
        steering: Share of the pool held out to steer the choice (GLISTER's validation rows), in [0, 1).
        prunes: The selector decides itself how many rows it leaves out of those it is given.
        in_batch: Rows are chosen inside candidate batches while training, after a forward pass over them, charged.
    """

    evidence: Evidence = "model"
    every: int = 1
    warm_start: float = 0.0
    steering: float = 0.0
    prunes: bool = False
    in_batch: bool = False

    def __post_init__(self) -> None:
        faults = []
        if self.evidence not in EVIDENCE:
            faults.append(f"evidence={self.evidence!r}, need one of {', '.join(EVIDENCE)}")
        if self.every < 0:
            faults.append(f"every={self.every}, need at least 1 epoch, or 0 for one choice")
        for name in ("warm_start", "steering"):
            if not 0 <= (share := getattr(self, name)) < 1:
                faults.append(f"{name}={share!r}, need a share in [0, 1)")
        if faults:
            raise OptionsError.of("selector habits", faults)

    @property
    def informed_at_start(self) -> bool:
        """True where the first choice can be made before any training."""
        return self.evidence in ("scout", "embedding", "fitted")


@runtime_checkable
class Habitual(Protocol):
    """A wrapper that changes when its inner selector chooses."""

    inner: Selector

    def adjust(self, habits: Habits) -> Habits:
        """Return the habits with this wrapper's change."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """Choose anew every ``epochs`` epochs."""

    epochs: int
    inner: Selector

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise OptionsError(f"Every(epochs={self.epochs}): need at least 1.")

    def adjust(self, habits: Habits) -> Habits:
        """See `Habitual`."""
        return replace(habits, every=self.epochs)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`."""
        return self.inner.select(context, k, rng)


@dataclass(frozen=True, slots=True)
class Static:
    """Choose once."""

    inner: Selector

    def adjust(self, habits: Habits) -> Habits:
        """See `Habitual`."""
        return replace(habits, every=0)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`."""
        return self.inner.select(context, k, rng)


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Train on everything first, for ceil(floor(kappa N) r) epochs."""

    kappa: float
    inner: Selector

    def __post_init__(self) -> None:
        if not 0 <= self.kappa < 1:
            raise OptionsError(f"WarmStart(kappa={self.kappa!r}): need a share of the epochs in [0, 1).")

    def adjust(self, habits: Habits) -> Habits:
        """See `Habitual`."""
        return replace(habits, warm_start=self.kappa)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`."""
        return self.inner.select(context, k, rng)


@dataclass(frozen=True, slots=True, eq=False)
class Timetable:
    """The epochs of a training run.

    Attributes:
        sizes: int64[N], rows trained on; 0 marks a slot that is skipped.
        chosen_at: int64[N], the epoch whose choice each epoch trains on.
        forward: int64[N], rows that pass forward only, in that epoch.
        first_choice: The first epoch whose rows are chosen by evidence; before it they are drawn blindly, or all.
    """

    sizes: NDArray[np.int64]
    chosen_at: NDArray[np.int64]
    forward: NDArray[np.int64]
    first_choice: int

    @property
    def charges(self) -> NDArray[np.int64]:
        """int64[N], samples charged for the forward passes."""
        return np.asarray(np.rint(self.forward * FORWARD_SHARE), dtype=np.int64)

    @property
    def costs(self) -> NDArray[np.int64]:
        """int64[N], samples that each epoch consumes."""
        return self.sizes + self.charges

    def next_epoch(self, epoch: int) -> int:
        """Return the first epoch from ``epoch`` on that is not skipped; N after the last."""
        ahead = np.flatnonzero(self.sizes[epoch:])
        return epoch + int(ahead[0]) if len(ahead) else len(self.sizes)


def timetable(
    habits: Habits,
    n: int,
    epochs: int,
    ratio: float,
    schedule: Schedule,
    budget: Budget,
    first_epoch: FirstEpoch,
    held_out: int = 0,
) -> Timetable:
    """Lay out the epochs of a run over n rows that may be trained on, and some held out that are only looked at.

    A subset that is kept for several epochs has the mean size of their slots, one chosen once the mean ratio: the
    budget is that of the schedule. At least two rows an epoch, since BatchNorm needs two.

    Raises:
        BudgetError: The budget does not fit (see `subset_sizes`), or a warm start leaves no epoch.
    """
    held = "static" if habits.every == 0 else schedule
    warm, first = _warm_epochs(habits.warm_start, epochs, ratio)
    if first == 0:
        first = 0 if habits.informed_at_start and first_epoch == "scheduled" else 1
        sizes = subset_sizes(n, epochs, ratio, held, budget, first_epoch, minimum=min(2, n))
    else:
        rest = subset_sizes(n, epochs - first, ratio, held, budget, "scheduled", minimum=min(2, n))
        sizes = np.concatenate([np.full(warm, n), np.zeros(first - warm), rest]).astype(np.int64)
    at = np.arange(epochs)
    chosen_at = at if habits.every == 1 else _block_starts(at, first, habits.every)
    if habits.every != 1:
        sizes = _block_means(sizes, chosen_at)
    refreshed = (at == chosen_at) & (at >= first) & (sizes < n)
    if habits.evidence == "model":
        forward = np.where(refreshed, n + held_out, 0)
    else:
        forward = np.where((sizes < n) & (sizes > 0) & habits.in_batch, n, 0)
    return Timetable(sizes, chosen_at, forward, first)


def _warm_epochs(kappa: float, epochs: int, ratio: float) -> tuple[int, int]:
    """Return W, the epochs on everything, and A, the epoch where subsets begin; (0, 0) without warm start."""
    slots = math.floor(kappa * epochs + 1e-9)
    if slots >= epochs:
        raise BudgetError(f"warm_start={kappa:g} of epochs={epochs} leaves no epoch for subsets.")
    return (math.ceil(slots * ratio - 1e-9), slots) if slots else (0, 0)


def _block_starts(at: NDArray[np.int64], first: int, every: int) -> NDArray[np.int64]:
    blocks = first + (at - first) // every * every if every else np.full_like(at, first)
    return np.asarray(np.where(at < first, at, blocks))


def _block_means(sizes: NDArray[np.int64], chosen_at: NDArray[np.int64]) -> NDArray[np.int64]:
    _, block, counts = np.unique(chosen_at, return_inverse=True, return_counts=True)
    means = np.floor(np.bincount(block, weights=sizes) / counts + 0.5).astype(np.int64)
    return np.asarray(means[block])
