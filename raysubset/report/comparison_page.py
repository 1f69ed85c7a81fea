"""What the page of a study of trainings shows, in the parts of a run's page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import FixedLocator, NullLocator

from raysubset.report.comparison import Comparison, read_comparison, read_trainings
from raysubset.report.comparison_lines import ADAPTIVE, FIXED, FULL, MIXTURE, WayLine, way_lines
from raysubset.report.comparison_tables import (
    NOTE,
    comparison_against,
    comparison_facts,
    comparison_found,
    comparison_tables,
    comparison_unmeasured,
)
from raysubset.report.headline import Headline
from raysubset.report.page import Page, Part
from raysubset.report.records import Records
from raysubset.report.run_info import RunInfo
from raysubset.report.run_page import exact, notices, settings, subtitle
from raysubset.report.summary import summarise
from raysubset.report.svg import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION, Picture, canvas, render

_COLOURS = {
    ADAPTIVE: ORANGE, FIXED: INK, FULL: GREY, "infobatch": GREY, MIXTURE: BLUE, "asp-loss": VERMILLION,
    "asp-entropy": GREEN, "asp-prediction": PURPLE, "asp-gradient": INK,
}  # fmt: skip
_MARKERS = {FIXED: "x", "infobatch": "*", "asp-gradient": "^"}


def comparison_page(folder: Path) -> Page:
    """Put a study's page together."""
    run, comparison = RunInfo.read(folder), read_comparison(folder)
    trainings = read_trainings(folder, comparison)
    pictures = tuple(_accuracy_over_ratio(comparison, way_lines(comparison, trainings)))
    finished = len(trainings) == len(comparison.ways) * len(comparison.seeds)
    parts = (
        Part(f"{comparison.measure.capitalize()} over the ratio", pictures=pictures),
        Part(
            "Numbers", (NOTE.format(measure=comparison.measure),), tables=comparison_tables(comparison, trainings)
        ),
    )
    return Page(
        title=f"{run.name}: {run.model} on {run.dataset}",
        subtitle=subtitle(run),
        notices=notices(finished, run.dataset_note),
        headline=Headline(
            tuple(comparison_found(comparison, trainings)),
            tuple(comparison_against(comparison, trainings)),
            tuple(comparison_unmeasured(comparison, trainings)),
        ),
        facts=tuple(comparison_facts(comparison, trainings)),
        parts=tuple(part for part in parts if part.shows),
        command=run.command,
        exact=exact(run),
        settings=settings(summarise(run, Records(()))),
    )


def _accuracy_over_ratio(comparison: Comparison, lines: Sequence[WayLine]) -> list[Picture]:
    """Draw a picture for each schedule that has several ratios: a line a method, full data across."""
    whole = [line for line in lines if line.way.ratio == 1 and line.accuracy is not None]
    drawn = []
    for schedule in ("static", "dynamic"):
        judged = [line for line in lines if line.way.schedule == schedule and line.way.ratio < 1 and line.accuracy
                  and not line.way.details]  # fmt: skip
        if len({line.way.ratio for line in judged}) > 1:
            drawn.append(_picture(comparison, schedule, judged, whole))
    return drawn


def _picture(
    comparison: Comparison, schedule: str, judged: Sequence[WayLine], whole: Sequence[WayLine]
) -> Picture:
    with canvas(height=4.2) as (figure, (axes,)):
        for method in dict.fromkeys(line.way.method for line in judged):
            points = [(line.way.ratio, 100 * line.accuracy.value) for line in judged
                      if line.way.method == method and line.accuracy is not None]  # fmt: skip
            axes.plot(*zip(*sorted(points), strict=True), color=_COLOURS.get(method, GREY), linewidth=1.4,
                      marker=_MARKERS.get(method, "o"), markersize=4.5, label=method)  # fmt: skip
        for line in whole:
            assert line.accuracy is not None
            method, style = line.way.method, "-" if line.way.method == FULL else ":"
            axes.axhline(100 * line.accuracy.value, color=GREY, linestyle=style, linewidth=1.2, label=method)
        ratios = sorted({line.way.ratio for line in judged})
        axes.xaxis.set_major_locator(FixedLocator(ratios))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("ratio: mean share of the data an epoch trains on")
        axes.set_ylabel(f"{comparison.judged_on} {comparison.measure} (%)")
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.8, columnspacing=1.2)
        svg = render(figure, f"ways-{schedule}")
    words = "; ".join(
        f"{line.way.method} at {line.way.ratio:g}: {100 * line.accuracy.value:.2f}"
        for line in (*judged, *whole)
        if line.accuracy is not None
    )
    return Picture(
        slug=f"ways-{schedule}",
        title=f"{comparison.measure.capitalize()} by ratio, {schedule} sizes",
        alt=f"Line chart of {comparison.judged_on} {comparison.measure} in percent over the ratio, a line a way. "
        f"{words}.",
        caption="Means over seeds; the intervals are in the table.",
        svg=svg,
    )
