"""What the page of a study of rank correlation shows, in the parts of a run's page."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from raysubset.report.headline import Headline
from raysubset.report.intervals import Estimate
from raysubset.report.page import Page, Part
from raysubset.report.rank_cells import END, Study
from raysubset.report.rank_study import RankRow, rank_rows
from raysubset.report.rank_tables import missing_table, study_tables
from raysubset.report.rank_verdict import study_against, study_facts, study_found, study_unmeasured
from raysubset.report.records import Records
from raysubset.report.run_info import RunInfo
from raysubset.report.run_page import exact, notices, settings, subtitle
from raysubset.report.summary import summarise
from raysubset.report.svg import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, Picture, canvas, render

NOTE = (
    "tau is Kendall's tau-b between the scores on subsets and those on all data, mean over repeats and seeds: 1 "
    "is the same order, 0 no relation. 95 % configs: bootstrap, another draw of configurations. 95 % repeats: "
    "Student, another draw of subsets and initial weights. The ceiling is one seed on all data against another. "
    "Top-1 regret: what the best by the score lacks of the best by the reference. Top tenth: how much of it is "
    "found. Cost: samples, in units of training on all data."
)
MISSING_NOTE = "Planned and not measured yet; all else on this page leaves them out. The same command goes on."
_COLOURS = {"none": ORANGE, "subset": GREEN, "both": BLUE}
_WAYS = (ORANGE, BLUE, GREEN, VERMILLION, PURPLE, GREY)  # of a study of several, in their order
_STYLES = {"loss": ("-", "o"), "accuracy": ("--", "s")}


def study_page(run: RunInfo, study: Study) -> Page:
    """Put a study's page together."""
    picture = _tau_over_ratio(study)
    missing = missing_table(study)
    parts = (
        Part("How it went", pictures=() if picture is None else (picture,)),
        Part("Cells that are missing", (MISSING_NOTE,), tables=(missing,) if missing.rows else ()),
        Part("Numbers", (NOTE,), tables=study_tables(study)),
    )
    return Page(
        title=f"{run.name}: {run.model} on {run.dataset}",
        subtitle=subtitle(run),
        notices=notices(study.finished, run.dataset_note),
        headline=Headline(tuple(study_found(study)), tuple(study_against(study)), tuple(study_unmeasured(study))),
        facts=tuple(study_facts(study)),
        parts=tuple(part for part in parts if part.shows),
        command=run.command,
        exact=exact(run),
        settings=settings(summarise(run, Records(()))),
    )


def _tau_over_ratio(study: Study) -> Picture | None:
    """Tau against accuracy on all data, over the ratio: a line a pairing and score, ceilings across."""
    rows = [
        row for row in rank_rows(study) if row.reference == "accuracy" and row.at == END and row.tau == row.tau
    ]
    subsets = [row for row in rows if not row.full]
    if not subsets:
        return None
    with canvas(height=4.2) as (figure, (axes,)):
        ways = list(dict.fromkeys(row.way for row in subsets))
        lines = dict.fromkeys((row.way, row.pairing, row.score) for row in subsets)
        for place, line in enumerate(lines):
            colour = (
                _COLOURS.get(line[1], VERMILLION) if len(ways) == 1 else _WAYS[ways.index(line[0]) % len(_WAYS)]
            )
            _line(
                axes,
                [row for row in subsets if (row.way, row.pairing, row.score) == line],
                place,
                len(lines),
                colour,
            )
        for row in rows:
            if row.full:
                style, _ = _STYLES[row.score]
                axes.axhline(row.tau, color=GREY, linestyle=style, linewidth=1.2, label=f"ceiling, by {row.score}")
        _ratio_axis(axes, sorted({row.ratio for row in subsets}))
        axes.set_ylabel("tau to accuracy on all data")
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.8, columnspacing=1.2)
        svg = render(figure, "tau")
    words = "; ".join(
        f"ratio {row.ratio:g}, {row.way and row.way + ', '}pairing {row.pairing}, by {row.score}: {row.tau:.2f}"
        for row in subsets
    )
    return Picture(
        slug="tau",
        title="How well subsets rank",
        alt=f"Line chart of Kendall's tau to the ranking by accuracy on all data, over the ratio. {words}.",
        caption="Bars: 95 % interval over configurations.",
        svg=svg,
    )


def _line(axes: Axes, rows: Sequence[RankRow], place: int, lines: int, colour: str) -> None:
    """Draw one way, pairing and score, moved a little aside so that the bars of several do not hide each other."""
    style, marker = _STYLES[rows[0].score]
    xs = [row.ratio * 1.02 ** (2 * place - lines + 1) for row in rows]
    ys = [row.tau for row in rows]
    axes.plot(xs, ys, style, color=colour, marker=marker, markersize=4.5, linewidth=1.4,
              label=", ".join(filter(None, (rows[0].way, rows[0].pairing, f"by {rows[0].score}"))))  # fmt: skip
    spans = [row.over_configs or Estimate(row.tau, row.tau, row.tau) for row in rows]
    axes.vlines(xs, [span.low for span in spans], [span.high for span in spans], color=colour, linewidth=1.0)


def _ratio_axis(axes: Axes, ratios: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(ratios)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlim(min(ratios) / 1.3, max(ratios) * 1.3)
    axes.set_xlabel("ratio: mean share of the data an epoch trains on")
