"""One scatter per hyper-parameter: its value against the last score of every evaluated trial.

Scores of different epochs do not compare, so trials scored at the last epoch seen are filled and the rest, stopped
or failed earlier, are hollow.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from raysubset.report.spread import spread
from raysubset.report.summary import Summary
from raysubset.report.svg import BLUE, GREY, VERMILLION, Picture, canvas, render
from raysubset.report.trials import TrialOutcome

MAX_PICTURES = 12
MAX_CATEGORIES = 12
MAX_POINTS = 500  # more only blacken the figure and swell the page
LOG_RANGE = 50.0  # a positive hyper-parameter that spans more than this was surely searched on a log scale


def space_pictures(summary: Summary) -> tuple[Picture, ...]:
    """Return scatters of the hyper-parameters that varied, at most `MAX_PICTURES`, in the order of the configs."""
    trials = spread([trial for trial in summary.trials if trial.score is not None], MAX_POINTS)
    names = dict.fromkeys(name for trial in trials for name in trial.config)
    varied = [name for name in names if drawable([t.config[name] for t in trials if name in t.config])]
    return tuple(_scatter(summary, trials, name, place) for place, name in enumerate(varied[:MAX_PICTURES]))


def is_number(value: object) -> bool:
    """Return True for an int or float; True and False are names here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def drawable(values: Sequence[object]) -> bool:
    """Return whether values are worth drawing: constant ones say nothing, too many categories cannot be read."""
    distinct = {str(value) for value in values}
    return len(distinct) > 1 and (all(map(is_number, values)) or len(distinct) <= MAX_CATEGORIES)


def _scatter(summary: Summary, trials: Sequence[TrialOutcome], name: str, place: int) -> Picture:
    slug = f"space-{place}"
    shown = [trial for trial in trials if name in trial.config]
    last = max(trial.score_epoch for trial in shown)
    final = [trial for trial in shown if trial.score_epoch == last]
    early = [trial for trial in shown if trial.score_epoch < last]
    values = [trial.config[name] for trial in shown]
    numeric = all(map(is_number, values))
    places = {} if numeric else {label: i for i, label in enumerate(sorted({str(value) for value in values}))}

    def xs(group: Sequence[TrialOutcome]) -> list[float]:
        return [float(t.config[name]) if numeric else places[str(t.config[name])] for t in group]

    with canvas(3.6, 2.9) as (figure, (axes,)):
        for group, face, edge, size in (
            (early, "none", GREY, 4.5),
            (final, BLUE, BLUE, 5.0),
            (final[:1], "none", VERMILLION, 10.0),
        ):
            ys = [t.score for t in group if t.score is not None]
            axes.plot(xs(group), ys, "o", markersize=size, markerfacecolor=face, markeredgecolor=edge)
        _value_axis(axes, name, xs(shown), places)
        axes.set_ylabel(f"val. {summary.run.score} ({summary.run.unit})")
        svg = render(figure, slug)
    best = final[0]
    return Picture(
        slug=slug,
        title=f"{name}",
        alt=f"Scatter of {name} against validation {summary.run.score} for {len(shown)} trials; the best of the "
        f"{len(final)} scored at epoch {last} has {name} = {best.config[name]}.",
        caption="",
        svg=svg,
        small=True,
    )


def _value_axis(axes: Axes, name: str, xs: Sequence[float], places: dict[str, int]) -> None:
    """Numbers on a linear or a logarithmic axis, everything else at one place per distinct value."""
    if places:
        labels = [label if len(label) <= 14 else label[:13] + "…" for label in places]
        axes.set_xticks(range(len(labels)), labels, rotation=30 if len(labels) > 3 else 0)
        axes.set_xlim(-0.5, len(labels) - 0.5)
    elif min(xs) > 0 and max(xs) > LOG_RANGE * min(xs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(name)
