"""The search space in one figure: a line a trial, a row a hyper-parameter (parallel coordinates [1], upright).

Rows run across, so that names and ends are readable on a narrow screen however many there are. The last row is the
score. A trial that does not have a hyper-parameter passes it at the mark "none", left of the row.

References:
    [1] Inselberg, 1985, "The plane with parallel coordinates", doi:10.1007/BF01898350.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raysubset.report.space import LOG_RANGE, drawable, is_number
from raysubset.report.spread import spread
from raysubset.report.summary import Summary
from raysubset.report.svg import BLUE, GREY, INK, VERMILLION, Picture, canvas, render
from raysubset.report.trials import TrialOutcome
from raysubset.report.wording import number

MAX_LINES = 200
MAX_ROWS = 16
ABSENT_AT = -0.12
BEST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Axis:
    """One row.

    Attributes:
        name: Of the hyper-parameter.
        low, high: Labels of its ends.
        places: Of each trial: 0 (low) to 1 (high), None where the trial does not have it.
    """

    name: str
    low: str
    high: str
    places: tuple[float | None, ...]


def axis(name: str, values: Sequence[Any]) -> Axis:
    """Lay out a row: numbers linear, or logarithmic over a factor of 50; everything else in sorted steps.

    Args:
        name: Of the hyper-parameter.
        values: One a trial; None where it is not there. At least two distinct.
    """
    there = [value for value in values if value is not None]
    if all(map(is_number, there)):
        low, high = min(there), max(there)
        log = low > 0 and high > LOG_RANGE * low
        read = math.log if log else float
        start, span = read(low), read(high) - read(low)
        places = tuple(None if value is None else (read(value) - start) / span for value in values)
        return Axis(name, number(float(low)), number(float(high)) + (" (log)" if log else ""), places)
    order = sorted({str(value) for value in there})
    steps = {value: place / max(1, len(order) - 1) for place, value in enumerate(order)}
    named = (_short(order[0]), _short(order[-1]) + ("" if len(order) < 3 else f" ({len(order)} values)"))
    return Axis(name, *named, tuple(None if value is None else steps[str(value)] for value in values))


def parallel_picture(summary: Summary) -> Picture | None:
    """Draw the trials that were judged; None with fewer than two, or where nothing varied."""
    judged = [trial for trial in summary.trials if trial.score is not None]
    last = max((trial.score_epoch for trial in judged), default=0)
    final = [trial for trial in judged if trial.score_epoch == last]
    names = [name for name in dict.fromkeys(n for t in judged for n in t.config) if _varied(judged, name)]
    if len(judged) < 2 or not names:
        return None
    shown = spread(judged, MAX_LINES)
    rows = [axis(name, [trial.config.get(name) for trial in shown]) for name in names[:MAX_ROWS]
            if _varied(shown, name)]  # fmt: skip
    best = max(1, math.ceil(BEST_SHARE * len(final)))
    groups = {id(trial): 0 if i < best else 1 for i, trial in enumerate(final)}
    if len({trial.score for trial in shown if trial.score_epoch == last}) > 1:
        rows.append(_score_axis(shown, last, summary.run.score))
    with canvas(height=1.1 + 0.62 * len(rows)) as (figure, (axes,)):
        for place, trial in reversed(list(enumerate(shown))):
            _line(axes, [row.places[place] for row in rows], groups.get(id(trial), 2), place == 0)
        for y, row in enumerate(rows):
            axes.axhline(y, color=INK, linewidth=0.8, zorder=1)
            axes.annotate(row.low, (0, y), (0, -11), textcoords="offset points", fontsize=8.5, va="center")
            axes.annotate(row.high, (1, y), (0, -11), textcoords="offset points", fontsize=8.5, va="center",
                          ha="right")  # fmt: skip
        axes.set_yticks(range(len(rows)), [_short(row.name) for row in rows])
        axes.tick_params(length=0)
        axes.set_xticks([])
        axes.set_xlim(-0.16, 1.04)
        axes.set_ylim(len(rows) - 0.5, -0.35)
        axes.grid(visible=False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        svg = render(figure, "parallel")
    leader = shown[0]
    held = "; ".join(f"{name} = {leader.config[name]}" for name in names if name in leader.config)
    drawn = "" if len(shown) == len(judged) else f" {len(shown)} of {len(judged)} trials drawn."
    return Picture(
        slug="parallel",
        title="The space, a line a trial",
        alt=f"Parallel coordinates of {len(names)} hyper-parameters for {len(shown)} trials. The best trial, "
        f"{leader.trial}: {held}.",
        caption=f"Thick: the best trial. Blue: the best tenth of the {len(final)} judged at epoch {last}. Grey: "
        f"the others; dotted: stopped or failed before. Left of a row: does not have it.{drawn}",
        svg=svg,
    )


def _varied(trials: Sequence[TrialOutcome], name: str) -> bool:
    values = [trial.config[name] for trial in trials if name in trial.config]
    return drawable(values)


def _score_axis(shown: Sequence[TrialOutcome], last: int, score: str) -> Axis:
    """Lay out the scores of the trials judged last; the others end before it."""
    made = axis(f"val. {score}", [trial.score if trial.score_epoch == last else None for trial in shown])
    return Axis(made.name, made.low, made.high, tuple(math.nan if p is None else p for p in made.places))


def _line(axes: Any, places: Sequence[float | None], group: int, leads: bool) -> None:
    xs = [ABSENT_AT if place is None else place for place in places]
    colour, style, alpha = ((BLUE, "-", 0.9), (GREY, "-", 0.45), (GREY, ":", 0.6))[group]
    if leads:
        colour, alpha = VERMILLION, 1.0
    axes.plot(xs, range(len(xs)), style, color=colour, alpha=alpha, linewidth=2.4 if leads else 0.9,
              marker="o" if leads else "", markersize=4.5, zorder=4 if leads else 3 - group / 2)  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= 18 else text[:17] + "…"
