"""The figures of a report: how the search went, on what rows, at what cost.

Every figure names its units, says in its alt text what it shows, and is left out when there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from raysubset.report.progress import BestPoint, Curve
from raysubset.report.run_info import RunInfo
from raysubset.report.summary import Summary
from raysubset.report.svg import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILLION, Picture, canvas, render
from raysubset.report.wording import count, number, percent, seconds

MAX_CURVES = 200  # lines beyond this many only blacken the figure and swell the page
MAX_POINTS = 60  # points kept of one line
METRIC_COLOURS = {
    "full": GREY, "random": ORANGE, "gradient": BLUE, "loss": VERMILLION, "entropy": GREEN, "prediction": PURPLE,
}  # fmt: skip


def pictures(summary: Summary) -> tuple[Picture, ...]:
    """Draw how the search went, every figure there is data for. Cost: about 0.2 s a figure."""
    drawn = (
        _best_over(summary, "samples"),
        _best_over(summary, "seconds"),
        _all_curves(summary),
        _by_rung(summary),
        _subsets(summary),
        _cost_shares(summary),
    )
    return tuple(picture for picture in drawn if picture is not None)


def _best_over(summary: Summary, unit: str) -> Picture | None:
    """The incumbent of the search, and of the search on all data when it was run."""
    lines = [
        ("on subsets", summary.best, BLUE, "-", "o"),
        ("on all data", summary.best_full, VERMILLION, "--", "s"),
    ]
    lines = [line for line in lines if line[1]]
    if not lines:
        return None
    score = summary.run.score

    def xs(point: BestPoint) -> float:
        return point.samples if unit == "samples" else point.seconds

    with canvas() as (figure, (axes,)):
        for label, points, colour, style, marker in lines:
            axes.plot([xs(p) for p in points], [p.score for p in points], style, color=colour, label=label,
                      linewidth=1.8, drawstyle="steps-post")  # fmt: skip
            axes.plot(xs(points[-1]), points[-1].score, marker, color=colour, markersize=6)
        spent_axis(axes, unit, [xs(p) for _, points, *_ in lines for p in points], wide=True)
        score_axis(axes, summary.run, [p.score for _, points, *_ in lines for p in points])
        axes.legend()
        svg = render(figure, f"best-{unit}")
    say = (lambda x: f"{count(int(x))} samples") if unit == "samples" else seconds
    ends = "; ".join(f"{label}: {number(p[-1].score)} after {say(xs(p[-1]))}" for label, p, *_ in lines)
    return Picture(
        slug=f"best-{unit}",
        title=f"Best so far over {unit}",
        alt=f"Line chart of the incumbent's validation {score} over {unit}. At the end, {ends}.",
        caption="Best score among the reports at the highest epoch evaluated so far; it may step back when a "
        "trial first reaches a later epoch.",
        svg=svg,
    )


def spent_axis(axes: Axes, unit: str, values: Sequence[float], wide: bool) -> None:
    """Label the cost axis; where ``wide`` is allowed, a range of more than a factor of 20 is logarithmic."""
    positive = [value for value in values if value > 0]
    if wide and positive and max(positive) > 20 * min(positive):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(
            LogLocator(subs=(1.0, 3.0) if max(positive) < 1e3 * min(positive) else (1.0,))
        )
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(6))
    if unit == "samples":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlabel("samples consumed")
    else:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("time since the start of the search (s)")


def score_axis(axes: Axes, run: RunInfo, values: Sequence[float]) -> None:
    """Label the score axis with its unit; losses that span more than a factor of 20 are logarithmic."""
    if run.score == "loss" and min(values) > 0 and max(values) > 20 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if max(values) < 1e3 * min(values) else (1.0,)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylabel(f"validation {run.score} ({run.unit})")


def _all_curves(summary: Summary) -> Picture | None:
    """Every trial's score over its own samples, the best one in colour."""
    curves = {curve.trial: curve for curve in summary.curves}
    ranked = [curves[trial.trial] for trial in summary.trials if trial.trial in curves]
    if not ranked:
        return None
    best, others = ranked[0], ranked[1:]
    step = max(1, -(-len(others) // MAX_CURVES))
    others = others[::step]
    with canvas() as (figure, (axes,)):
        for curve in reversed(others):
            xs, ys = _thin(curve)
            marker = "." if len(xs) == 1 else ""
            axes.plot(xs, ys, color=GREY, alpha=0.45, linewidth=0.8, marker=marker, markersize=4)
        axes.plot(*_thin(best), "o-", color=BLUE, linewidth=2, markersize=3.5, label=f"best: trial {best.trial}")
        spent_axis(axes, "samples", [x for curve in ranked for x in curve.samples], wide=False)
        axes.set_xlabel("samples the trial consumed")
        score_axis(axes, summary.run, [y for curve in ranked for y in curve.scores])
        axes.legend()
        svg = render(figure, "curves")
    unseen = len(summary.trials) - len(ranked)
    notes = [f"{len(others) + 1} of {len(summary.trials)} trials drawn."] if step > 1 else []
    notes += [f"{unseen} never evaluated."] if unseen else []
    return Picture(
        slug="curves",
        title="Every trial",
        alt=f"Line chart: validation {summary.run.score} of {len(others) + 1} trials over the samples each "
        f"consumed. The best, trial {best.trial}, ends at {number(best.scores[-1])} after "
        f"{count(best.samples[-1])} samples.",
        caption=" ".join(notes),
        svg=svg,
    )


def _thin(curve: Curve) -> tuple[list[int], list[float]]:
    """Keep at most `MAX_POINTS` evenly spaced points and the last one."""
    step = max(1, -(-len(curve.samples) // MAX_POINTS))
    kept = sorted({*range(0, len(curve.samples), step), len(curve.samples) - 1})
    return [curve.samples[i] for i in kept], [curve.scores[i] for i in kept]


def _by_rung(summary: Summary) -> Picture | None:
    """How many trials reached each rung, split by what became of them there."""
    rungs = summary.rungs
    if not rungs:
        return None
    parts = (
        ("not stopped here", [r.reached - r.stopped - r.failed for r in rungs], BLUE),
        ("stopped here", [r.stopped for r in rungs], ORANGE),
        ("failed here", [r.failed for r in rungs], GREY),
    )
    with canvas() as (figure, (axes,)):
        left = [0] * len(rungs)
        for label, widths, colour in parts:
            if any(widths):
                axes.barh(range(len(rungs)), widths, left=left, color=colour, label=label, height=0.65)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        for row, rung in enumerate(rungs):
            axes.annotate(str(rung.reached), (rung.reached, row), (4, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(rungs)), [_rung_label(r.rung, r.epoch) for r in rungs])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("trials that reached the rung")
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.2, columnspacing=1.2)
        svg = render(figure, "rungs")
    words = "; ".join(f"rung {r.rung}: {r.reached} reached, {r.stopped} stopped, {r.failed} failed" for r in rungs)
    return Picture("rungs", "Trials by rung", f"Bar chart of trials by rung. {words}.", "", svg)


def _rung_label(rung: int, epoch: int | None) -> str:
    return f"rung {rung}" if epoch is None else f"rung {rung}\n(epoch {epoch})"


def _subsets(summary: Summary) -> Picture | None:
    """Above: the share of the pool each epoch trained on. Below: what chose its rows."""
    mix = summary.mix
    if not mix:
        return None
    epochs = [row.epoch for row in mix]
    metrics = sorted({metric for row in mix for metric in row.metrics})
    with canvas(height=4.4, rows=2) as (figure, (above, below)):
        above.fill_between(epochs, [r.ratio_low for r in mix], [r.ratio_high for r in mix], color=BLUE, alpha=0.2,
                           linewidth=0, label="range over trials")  # fmt: skip
        above.plot(epochs, [r.ratio_mean for r in mix], "o-", color=BLUE, markersize=3.5, label="mean")
        above.set_ylim(bottom=0)
        above.set_ylabel("share of the pool")
        above.legend()
        base = [0.0] * len(mix)
        for metric in metrics:
            shares = [row.metrics.get(metric, 0) / sum(row.metrics.values()) for row in mix]
            below.bar(epochs, shares, bottom=base, color=METRIC_COLOURS.get(metric, INK), label=metric, width=0.85)
            base = [a + b for a, b in zip(base, shares, strict=True)]
        below.set_ylabel("share of trials")
        below.set_xlabel("epoch")
        below.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        figure.legend(*below.get_legend_handles_labels(), loc="outside upper left", ncols=5, handlelength=1.2,
                      columnspacing=1.2, title="rows chosen by", alignment="left")  # fmt: skip
        svg = render(figure, "subsets")
    first, last = mix[0], mix[-1]
    return Picture(
        slug="subsets",
        title="Subset ratio and metric per epoch",
        alt=f"Two charts over epochs. Share of the pool trained on, mean over trials: "
        f"{percent(first.ratio_mean)} at epoch {first.epoch}, {percent(last.ratio_mean)} at epoch {last.epoch}. "
        f"Rows were chosen by: {', '.join(metrics)}.",
        caption="",
        svg=svg,
    )


def _cost_shares(summary: Summary) -> Picture | None:
    """Where each stage's seconds went."""
    costs = [cost for cost in summary.costs if cost.train_s + cost.select_s + cost.eval_s > 0]
    if not costs:
        return None
    totals = [cost.train_s + cost.select_s + cost.eval_s for cost in costs]
    parts = (
        ("training", [c.train_s for c in costs], BLUE),
        ("selection", [c.select_s for c in costs], ORANGE),
        ("evaluation", [c.eval_s for c in costs], GREEN),
    )
    with canvas(height=1.5 + 0.5 * len(costs)) as (figure, (axes,)):
        left = [0.0] * len(costs)
        for label, spent, colour in parts:
            widths = [100 * s / total for s, total in zip(spent, totals, strict=True)]
            axes.barh(range(len(costs)), widths, left=left, color=colour, label=label, height=0.65)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axes.set_yticks(
            range(len(costs)), [f"{c.stage}\n{seconds(t)}" for c, t in zip(costs, totals, strict=True)]
        )
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of the trials' seconds (%)")
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.2, columnspacing=1.2)
        svg = render(figure, "costs")
    words = "; ".join(
        f"{c.stage}: training {percent(c.train_s / t)}, selection {percent(c.select_s / t)}, "
        f"evaluation {percent(c.eval_s / t)} of {seconds(t)}"
        for c, t in zip(costs, totals, strict=True)
    )
    return Picture("costs", "Where the seconds went", f"Stacked bars of time. {words}.",
                   "Seconds summed over trials, which run side by side.", svg)  # fmt: skip
