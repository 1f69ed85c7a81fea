"""Which ways of choosing rows a study of trainings compares: a grid of plans, each with its baseline.

A word names a way: "asp-loss", "asp-mixture", ... for ASP by that metric, else a selector ("adaptive-random",
"random", "infobatch", "full", "el2n", ...). Each word is crossed with ratios and schedules, except where they
mean nothing: "full" and "infobatch" have no ratio, a subset that is fixed once has no schedule. Adaptive random
with the same ratio, schedule and first epoch is the baseline of the others: it consumes as many samples. Sizes
that follow a memory (schedule "adaptive") it cannot have; there its own are dynamic, which sum up to the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

from raysubset.errors import OptionsError
from raysubset.report.comparison import Way
from raysubset.report.comparison_lines import ADAPTIVE, FIXED
from raysubset.selection.catalog import habits_of
from raysubset.selection.mixture import METRICS
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.ratio import Schedule

ASP = {f"asp-{metric}": metric for metric in ("mixture", "adaptive", *METRICS) if metric != "random"}
PAPER_ORDER, PAPER_SIGMA = "012", 1 / 8


@dataclass(frozen=True, slots=True)
class Entrant:
    """A way and its plan."""

    way: Way
    plan: SubsetPlan


def plan_of(word: str, ratio: float, schedule: Schedule, common: Mapping[str, Any]) -> SubsetPlan:
    """Return the plan that a word names.

    Args:
        word: See the module.
        ratio: Mean share of the rows; "full" and "infobatch" have 1.
        schedule: Of the sizes.
        common: Other options of every plan; ``budget="exact"`` is left out where it cannot be kept.

    Raises:
        UnknownNameError, BudgetError, OptionsError: See `SubsetPlan`.
    """
    named: dict[str, Any] = {"selector": "asp", "metric": ASP[word]} if word in ASP else {"selector": word}
    if word not in ASP:
        named["metric"] = "random"
    options = {**common, **named, "schedule": schedule, "ratio": 1.0 if is_whole(word) else ratio}
    plan = SubsetPlan(**{**options, "budget": "paper"})
    if options.get("budget") == "exact" and plan.habits.every == 1 and not plan.habits.warm_start and ratio < 1:
        return plan if is_whole(word) else replace(plan, budget="exact")
    return plan


def is_whole(word: str) -> bool:
    """Return True for what has no ratio: everything, and what decides itself how much to leave out."""
    return word in ("full", "infobatch")


def _is_fixed(word: str, common: Mapping[str, Any]) -> bool:
    if word in ASP or is_whole(word):
        return False
    return word == FIXED or (common.get("select_every") is None and habits_of(word).every == 0)


def grid(
    words: Sequence[str], ratios: Sequence[float], schedules: Sequence[Schedule], common: Mapping[str, Any]
) -> tuple[Entrant, ...]:
    """Return every way of a study; adaptive random is always among them, before those it is the baseline of.

    Raises:
        OptionsError: A word, ratio or schedule stands twice, or there is none.
        UnknownNameError, BudgetError: See `plan_of`.
    """
    for name, values in (("ways", words), ("ratios", ratios), ("schedules", schedules)):
        if not values or len(set(values)) < len(values):
            raise OptionsError(f"{name}={', '.join(map(str, values)) or 'none'}, need at least one, each once.")
    entrants: dict[str, Entrant] = {}
    for word in words:
        if is_whole(word):
            entrants[word] = Entrant(
                Way(name=word, method=word, schedule="static", ratio=1.0), plan_of(word, 1.0, "static", common)
            )
    for ratio, schedule in product(ratios, schedules):
        for word in dict.fromkeys((ADAPTIVE, *words)):
            if is_whole(word) or (_is_fixed(word, common) and schedule != schedules[0]):
                continue
            drawn: Schedule = "static" if _is_fixed(word, common) else schedule
            baseline = _entrant(ADAPTIVE, ratio, _of_baseline(drawn), common)
            entrants.setdefault(baseline.way.name, baseline)
            if word != ADAPTIVE:
                entrant = _entrant(word, ratio, drawn, common)
                entrants.setdefault(entrant.way.name, entrant)
    return tuple(entrants.values())


def _of_baseline(schedule: Schedule) -> Schedule:
    """Return the sizes of adaptive random beside a schedule: it has no memory for sizes to follow."""
    return "dynamic" if schedule == "adaptive" else schedule


def _entrant(word: str, ratio: float, schedule: Schedule, common: Mapping[str, Any]) -> Entrant:
    if word == ADAPTIVE:
        common = {name: value for name, value in common.items() if name in ("first_epoch", "budget", "per_class")}
    way = Way(
        name=f"{word}-{schedule}-r{ratio:g}",
        method=word,
        schedule=schedule,
        ratio=ratio,
        against="" if word == ADAPTIVE else f"{ADAPTIVE}-{_of_baseline(schedule)}-r{ratio:g}",
    )
    return Entrant(way, plan_of(word, ratio, schedule, common))


def ablation(
    orders: Sequence[str],
    sigmas: Sequence[float],
    temperatures: Sequence[float],
    ratios: Sequence[float],
    schedule: Schedule,
    common: Mapping[str, Any],
) -> tuple[Entrant, ...]:
    """Return the mixture in the paper's form, and with one thing changed at a time; adaptive random beside it.

    Args:
        orders: Of the groups, such as "021": g0 = random, g1 = prediction and gradient, g2 = loss and entropy.
        sigmas: Widths of the Gaussians as shares of training; the paper names none, 1/8 is the form of the others.
        temperatures: Of the draw.
        ratios: Mean shares of the rows.
        schedule: Of the sizes.
        common: See `plan_of`.

    Raises:
        OptionsError, BudgetError: See `SubsetPlan`.
    """
    changes: dict[str, dict[str, Any]] = {f"g{PAPER_ORDER}": {}}
    changes |= {f"g{order}": {"order": order} for order in orders}
    changes |= {f"sigma {sigma:.4g}": {"sigma": sigma} for sigma in sigmas if sigma != PAPER_SIGMA}
    changes |= {f"T {t:g}": {"temperature": t} for t in temperatures if t != 1.0}
    entrants = []
    for ratio in ratios:
        entrants.append(_entrant(ADAPTIVE, ratio, schedule, common))
        for details, change in changes.items():
            way = Way(
                name=f"{details.replace(' ', '')}-{schedule}-r{ratio:g}",
                method="asp-mixture",
                schedule=schedule,
                ratio=ratio,
                against=entrants[0].way.name.replace(f"r{ratios[0]:g}", f"r{ratio:g}")
                if details == f"g{PAPER_ORDER}"
                else f"g{PAPER_ORDER}-{schedule}-r{ratio:g}",
                details=details,
            )
            entrants.append(Entrant(way, plan_of("asp-mixture", ratio, schedule, {**common, **change})))
    return tuple(entrants)


def said(plan: SubsetPlan) -> dict[str, Any]:
    """Return the options of a plan that are no defaults; ``SubsetPlan(**said(plan))`` is the plan."""
    default = asdict(SubsetPlan())
    plain = {field.name: getattr(plan, field.name) for field in fields(plan)}
    return {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in plain.items()
        if value != default[name]
    }
