"""The plans of a ladder's segments: ratio, first epoch, and the time that the mixture of metrics follows."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError
from raysubset.hpo.fidelity import FidelityOptions, Ladder, Segment, lay_out
from raysubset.hpo.rungs import Place
from raysubset.seeds import generator
from raysubset.selection.mixture import draw_metric, metric_probabilities
from raysubset.selection.plan import FirstEpochChoice, SubsetPlan

TICKS = 1000  # steps of a whole ladder's time at which the mixture is known


def plan_ladder(
    options: FidelityOptions, plan: SubsetPlan, n: int, epochs: int, eta: int = 3, place: Place = "samples"
) -> Ladder:
    """Lay out the segments and rungs of trials under ``plan``, see `lay_out`.

    Args:
        options: Mode, promotion, annealing, levels.
        plan: Of the last level, ``first_epoch`` resolved.
        n: Rows of the pool.
        epochs: N.
        eta: Reduction factor, >= 2.
        place: Of a prefix's rungs.

    Raises:
        OptionsError: See `lay_out`; or a ratio ladder of a selector that takes no ratio, or sizes that are not
            known beforehand.
        BudgetError: See `lay_out` and `SubsetPlan.timetable`.
    """
    if options.mode == "ratio" and plan.selector in ("full", "infobatch"):
        raise OptionsError(
            f"mode='ratio' with selector={plan.selector!r}: it has no ratio to lower. Use mode='prefix' or "
            "'restart'."
        )
    if plan.schedule == "adaptive":
        raise OptionsError(
            "schedule='adaptive' in a search: rungs and budgets stand at samples that are known before a trial "
            "begins, and here each trial sets its own. Use 'dynamic' or 'static' in a search, and 'adaptive' in a "
            "training of its own (raysubset.Subset, raysubset bench selectors)."
        )
    return lay_out(
        options,
        lambda segment: segment_plan(plan, segment).timetable(n, segment.epochs).costs,
        n,
        plan.ratio,
        epochs,
        eta,
        place,
    )


def segment_plan(plan: SubsetPlan, segment: Segment) -> SubsetPlan:
    """Return the plan of a segment: its ratio, and after the first one no epoch for getting to know the rows."""
    if segment.index == 0:
        return replace(plan, ratio=segment.ratio)
    warm_start = plan.warm_start if segment.fresh else 0.0
    first_epoch: FirstEpochChoice = "shared" if plan.first_epoch == "shared" else "scheduled"
    return replace(plan, ratio=segment.ratio, first_epoch=first_epoch, warm_start=warm_start)


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderPlan(SubsetPlan):
    """A segment's plan whose mixture of metrics follows the time of the whole ladder.

    Attributes:
        times: For each epoch of the segment, its middle as a share of the ladder's samples, in [0, 1].
    """

    times: tuple[float, ...]

    def metric_at(self, epoch: int, epochs: int, seed: int) -> str:
        """Draw the metric at the epoch's time in the ladder; see `SubsetPlan.metric_at`."""
        if self.selector != "asp" or self.metric != "mixture":
            return SubsetPlan.metric_at(self, epoch, epochs, seed)
        tick = min(int(self.times[epoch] * TICKS), TICKS - 1)
        return draw_metric(
            metric_probabilities(TICKS, self.order, self.sigma, self.metrics),
            tick,
            generator(seed, epoch, "metric"),
        )


def segment_sizes(plan: SubsetPlan, ladder: Ladder, n: int) -> list[NDArray[np.int64]]:
    """Return for each segment int64[epochs], the rows that its epochs train on."""
    return [segment_plan(plan, each).timetable(n, each.epochs).sizes for each in ladder.segments]


def segment_plans(plan: SubsetPlan, ladder: Ladder, n: int) -> tuple[SubsetPlan, ...]:
    """Return the plan of each segment; with continuous annealing their mixture follows the ladder's time."""
    plans = [segment_plan(plan, segment) for segment in ladder.segments]
    if ladder.options.anneal == "per-level" or len(plans) == 1:
        return tuple(plans)
    sizes = segment_sizes(plan, ladder, n)
    joined = np.concatenate(sizes)
    middles = (np.cumsum(joined) - joined / 2) / joined.sum()
    times = np.split(middles, np.cumsum([len(size) for size in sizes])[:-1])
    return tuple(_timed(each, tuple(t.tolist())) for each, t in zip(plans, times, strict=True))


def _timed(plan: SubsetPlan, times: tuple[float, ...]) -> LadderPlan:
    return LadderPlan(**{field.name: getattr(plan, field.name) for field in fields(SubsetPlan)}, times=times)
