"""What a lower rung is: a trial's beginning, a smaller ratio, or a shorter training.

    prefix    one training of N epochs at ratio r; rungs are points along it (see `rungs`), nothing is repeated
    ratio     level k has ratio r_k = r eta^(k-K): level 0 is N epochs at r_0, each promotion adds
              dN = N (1 - 1/eta) epochs at the next ratio; level k has then cost C eta^(k-K), and a whole trial is
              N (1 + K (1 - 1/eta)) epochs
    restart   level k is a complete training of N_k = N eta^(k-K) epochs at ratio r, from fresh weights

A trial is a ladder of segments; in the last two modes a segment ends where a level ends, and a level is what a
trial has consumed until there. How weights pass from one segment to the next:

    resume    weights and optimiser go on
    shrink    w <- 0.5 w + 0.05 w_fresh, the optimiser begins anew [1]
    restart   fresh weights

What is remembered of the rows passes on in every mode: what a model has learnt of the data outlives the model.

References:
    [1] Ash, Adams, 2020, "On warm-starting neural network training", arXiv:1910.08475.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import BudgetError, FewRungsWarning, OptionsError
from raysubset.hpo.rungs import ENOUGH_HALVINGS, Place, Rungs, check_eta, max_halvings, merging, place_rungs

Mode = Literal["prefix", "ratio", "restart"]
Promote = Literal["auto", "resume", "shrink", "restart"]
Anneal = Literal["auto", "continuous", "per-level"]
MODES: tuple[Mode, ...] = get_args(Mode)
PROMOTES: tuple[Promote, ...] = get_args(Promote)
ANNEALS: tuple[Anneal, ...] = get_args(Anneal)

LEAST_ROWS = 32  # a smaller subset is less than one ordinary batch
MOST_HALVINGS = 3  # of a ladder, unless asked for: its lowest level has 1/27 of the ratio by eta = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityOptions:
    """What the levels of a search are, and how a trial passes from one to the next.

    Attributes:
        mode: "prefix", "ratio" or "restart".
        promote: "resume", "shrink" or "restart". "auto": restart where every level is a complete training, else
            resume. A prefix can only resume, a restart only restart.
        anneal: Learning rate and mixture of metrics over the levels of a ratio ladder. "continuous": by the share
            of the whole ladder's samples, so that the rate never rises again, and low levels are judged at a high
            rate; "per-level": down to the end of each level, up again at a promotion. "auto": per-level with fresh
            weights, else continuous.
        levels: How many, the last included. None: of a prefix as many as its epochs allow, of a ladder as many as
            fit, at most 4.

    Raises:
        OptionsError: Unknown values, or choices that contradict each other; all in one message.
    """

    mode: Mode = "prefix"
    promote: Promote = "auto"
    anneal: Anneal = "auto"
    levels: int | None = None

    def __post_init__(self) -> None:
        faults = [
            f"{name}={value!r}, need one of {', '.join(allowed)}"
            for name, value, allowed in (
                ("mode", self.mode, MODES),
                ("promote", self.promote, PROMOTES),
                ("anneal", self.anneal, ANNEALS),
            )
            if value not in allowed
        ]
        least = 1 if self.mode == "prefix" else 2
        if self.levels is not None and self.levels < least:
            faults.append(f"levels={self.levels}, need at least {least} with mode={self.mode!r}")
        if faults := faults or self._contradictions():
            raise OptionsError.of("FidelityOptions", faults)

    def _contradictions(self) -> list[str]:
        faults = []
        if self.mode == "prefix" and self.promote in ("shrink", "restart"):
            faults.append(
                f"promote={self.promote!r} with mode='prefix': a promotion there is the same training going on, "
                "so it can only resume; mode='ratio' has something to promote to"
            )
        if self.mode == "restart" and self.promote in ("resume", "shrink"):
            faults.append(
                f"promote={self.promote!r} with mode='restart': every level there is a complete training from "
                "fresh weights; mode='ratio' keeps them"
            )
        if self.mode == "prefix" and self.anneal == "per-level":
            faults.append("anneal='per-level' with mode='prefix': its levels are points of one training")
        if self.resolved().promote == "restart" and self.anneal == "continuous":
            faults.append(
                "anneal='continuous' with fresh weights at every level: they would begin at a rate that is nearly "
                "used up; need anneal='per-level'"
            )
        return faults

    def resolved(self) -> FidelityOptions:
        """Return the options with "auto" decided."""
        promote: Promote = "restart" if self.mode == "restart" else "resume"
        if self.promote != "auto":
            promote = self.promote
        anneal: Anneal = "per-level" if promote == "restart" else "continuous"
        if self.anneal != "auto":
            anneal = self.anneal
        if (promote, anneal) == (self.promote, self.anneal):
            return self
        return replace(self, promote=promote, anneal=anneal)


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a trial that is trained under one plan.

    Attributes:
        index: From 0.
        ratio: Mean share of the pool an epoch trains on, in (0, 1].
        epochs: Its own epochs, >= 1.
        fresh: It begins from fresh weights; the first always does.
    """

    index: int
    ratio: float
    epochs: int
    fresh: bool


CostsOf = Callable[[Segment], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Ladder:
    """The whole of a trial, from its lowest level to its last.

    Attributes:
        options: "auto" decided.
        eta: Reduction factor between levels.
        epochs: N, as planned for the last level of a prefix or restart, for the first of a ratio ladder.
        segments: In order; one for a prefix.
        costs: Samples that each epoch consumes, over all segments.
        rungs: Where the trial is judged, in samples and epochs over all segments.
    """

    options: FidelityOptions
    eta: int
    epochs: int
    segments: tuple[Segment, ...]
    costs: tuple[int, ...] = field(repr=False)
    rungs: Rungs


def lay_out(
    options: FidelityOptions,
    costs_of: CostsOf,
    n: int,
    ratio: float,
    epochs: int,
    eta: int = 3,
    place: Place = "samples",
) -> Ladder:
    """Lay out a trial's segments and rungs.

    Args:
        options: Mode, promotion, annealing, levels.
        costs_of: Gives int64[segment.epochs], the samples that each epoch of a segment consumes, each >= 0, the
            first > 0.
        n: Rows of the pool.
        ratio: r of the last level, in (0, 1].
        epochs: N, >= 1.
        eta: Reduction factor, >= 2.
        place: Of a prefix's rungs, see `place_rungs`; those of a ladder stand where its segments end.

    Raises:
        OptionsError: eta below 2, or rungs of a ladder placed by epochs.
        BudgetError: The epochs, or the rows at the lowest ratio, do not allow that many levels, or not even two.
    """
    check_eta(eta)
    options = options.resolved()
    if options.mode != "prefix" and place == "epochs":
        raise OptionsError(
            f"place='epochs' with mode={options.mode!r}: rungs stand where the levels end. Only a prefix has "
            "rungs to place."
        )
    if options.mode == "prefix":
        segments: tuple[Segment, ...] = (Segment(0, ratio, epochs, True),)
    elif options.mode == "ratio":
        segments = _ratio_segments(options, n, ratio, epochs, eta)
    else:
        segments = _restart_segments(options, ratio, epochs, eta)
    costs = [np.asarray(costs_of(segment), dtype=np.int64) for segment in segments]
    joined = np.concatenate(costs)
    if options.mode == "prefix":
        rungs = place_rungs(joined, eta, place, None if options.levels is None else options.levels - 1)
    else:
        ends = np.cumsum([segment.epochs for segment in segments])
        levels = np.cumsum(joined)[ends - 1].astype(np.float64)
        rungs = Rungs(tuple(levels.tolist()), tuple(ends.tolist()))
    return Ladder(options, eta, epochs, segments, tuple(joined.tolist()), rungs)


def _ratio_segments(options: FidelityOptions, n: int, ratio: float, epochs: int, eta: int) -> tuple[Segment, ...]:
    """N epochs at the lowest ratio, then dN at each higher one; N at each where every level starts anew."""
    halvings = MOST_HALVINGS if options.levels is None else options.levels - 1
    if options.levels is None:
        while halvings and ratio / eta**halvings * n < LEAST_ROWS:
            halvings -= 1
    if not halvings or ratio / eta**halvings * n < LEAST_ROWS:
        lowest = ratio / eta ** max(halvings, 1)
        raise BudgetError(
            f"A ratio ladder of {max(halvings, 1) + 1} levels up to ratio {ratio:g} by eta={eta} begins at "
            f"{lowest:.3g}: {lowest * n:.3g} of n={n} rows an epoch, need at least {LEAST_ROWS}. Raise the ratio, "
            "or ask for fewer levels, a smaller eta or mode='prefix'."
        )
    anew = options.promote == "restart"
    added = epochs if anew else max(1, _rounded(epochs * (eta - 1), eta))
    return tuple(
        Segment(k, ratio / eta ** (halvings - k), added if k else epochs, anew or k == 0)
        for k in range(halvings + 1)
    )


def _restart_segments(options: FidelityOptions, ratio: float, epochs: int, eta: int) -> tuple[Segment, ...]:
    """Complete trainings of N eta^(k-K) epochs."""
    most = max_halvings(epochs, eta)
    halvings = min(most, MOST_HALVINGS) if options.levels is None else options.levels - 1
    if not 1 <= halvings <= most:
        raise BudgetError(
            f"{max(halvings, 1) + 1} levels of complete trainings by eta={eta} need at least "
            f"{eta ** max(halvings, 1)} epochs, so that the lowest has one; got {epochs}. Raise the epochs, or "
            "ask for fewer levels or a smaller eta."
        )
    return tuple(Segment(k, ratio, _rounded(epochs, eta ** (halvings - k)), True) for k in range(halvings + 1))


def _rounded(numerator: int, denominator: int) -> int:
    """Return the quotient of two positive integers, rounded, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def warn_if_shallow(ladder: Ladder) -> None:
    """Warn where trials can be stopped fewer than twice before their end, unless so few levels were asked for.

    Warns:
        FewRungsWarning: Says why, with the arithmetic, and what would mend it.
    """
    options, halvings = ladder.options, ladder.rungs.halvings
    if halvings >= ENOUGH_HALVINGS or (options.levels is not None and options.levels <= ENOUGH_HALVINGS):
        return
    times = ("never", "only once")[halvings]
    top = ladder.segments[-1]
    if options.mode == "ratio":
        why = f"{ladder.segments[0].ratio / ladder.eta:.3g} of the rows, one level lower, are below {LEAST_ROWS}"
        mend = "a larger ratio or a smaller eta"
    else:
        most = max_halvings(top.epochs, ladder.eta)
        why = f"{top.epochs} epochs allow {most} halving(s) by eta={ladder.eta}"
        mend = "more epochs or a smaller eta"
    if options.mode == "prefix" and most >= ENOUGH_HALVINGS:
        asked = most if options.levels is None else options.levels - 1
        why = f"{why}, but {merging(np.array(ladder.costs), ladder.eta, asked)}"
        mend = f"first_epoch='scheduled' if it is full, place='auto', {mend}"
    warnings.warn(
        f"A trial can be stopped {times} before its end, a search wants {ENOUGH_HALVINGS} times: {why}. "
        f"What would mend it: {mend}.",
        FewRungsWarning,
        stacklevel=2,
    )
