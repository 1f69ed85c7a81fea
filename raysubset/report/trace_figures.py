"""Figures of one training's inside: rank traces, easiest and hardest images, probabilities of the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from raysubset.report.figures import METRIC_COLOURS
from raysubset.report.svg import BLUE, GREY, INK, VERMILLION, Picture, canvas, render
from raysubset.report.traces import RankTrace
from raysubset.report.trials import EpochMix

SHOWN = 10  # images at each end


def rank_traces(trace: RankTrace, way: str) -> Picture:
    """Draw the ranks of the traced rows over the epochs; the least and the most important in colour."""
    epochs = np.arange(1, len(trace.ranks) + 1)
    ends = trace.mean[trace.rows]
    with canvas(height=4.0) as (figure, (axes,)):
        for column, row in enumerate(trace.rows):
            marked = {int(ends.argmin()): GREY, int(ends.argmax()): VERMILLION}.get(column)
            axes.plot(epochs, trace.ranks[:, column], color=marked or BLUE, alpha=1.0 if marked else 0.35,
                      linewidth=1.6 if marked else 0.8, label=f"row {row}" if marked else None)  # fmt: skip
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"rank by {trace.metric} (share of the pool)")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        figure.legend(loc="outside upper left", ncols=3)
        svg = render(figure, "ranks")
    return Picture(
        slug="ranks",
        title=f"Rank traces of {len(trace.rows)} rows, {way}",
        alt=f"Line chart: ranks of {len(trace.rows)} rows by remembered {trace.metric} over {len(epochs)} epochs. "
        f"Least important on the mean: row {trace.rows[ends.argmin()]}; most: row {trace.rows[ends.argmax()]}.",
        caption="1 is the most important row of the pool. Rows not drawn keep their remembered value.",
        svg=svg,
    )


def extremes(trace: RankTrace, images: NDArray[np.uint8], labels: Sequence[str], which: str) -> Picture:
    """Draw the images of the easiest or hardest rows.

    Args:
        trace: Of the training.
        images: uint8[k, C, H, W], in the order of `RankTrace.easiest` or `RankTrace.hardest`.
        labels: Of the images.
        which: "easiest" or "hardest".
    """
    rows = trace.easiest(len(images)) if which == "easiest" else trace.hardest(len(images))
    with canvas(width=6.4, height=1.5) as (figure, (axes,)):
        gap = np.full((images.shape[2], 2, 3), 255, dtype=np.uint8)
        tiles = [
            np.repeat(i, 3, axis=0).transpose(1, 2, 0) if len(i) == 1 else i.transpose(1, 2, 0) for i in images
        ]
        axes.imshow(
            np.concatenate([part for tile in tiles for part in (tile, gap)], axis=1), interpolation="nearest"
        )
        width = images.shape[3] + 2
        axes.set_xticks([width * i + width / 2 - 1 for i in range(len(tiles))], labels)
        axes.set_yticks([])
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
        svg = render(figure, f"rows-{which}")
    words = ", ".join(
        f"row {row} ({label}): {trace.mean[row]:.2f}" for row, label in zip(rows, labels, strict=True)
    )
    return Picture(
        slug=f"rows-{which}",
        title=f"The {len(images)} {which} rows",
        alt=f"Images of the {which} rows by mean rank over the epochs. {words}.",
        caption=f"By mean rank of remembered {trace.metric}. Under each its label. Mean ranks: {words}.",
        svg=svg,
    )


def metric_probabilities_figure(
    probabilities: Mapping[str, NDArray[np.float64]], mix: Sequence[EpochMix], what: str
) -> Picture:
    """Draw the mixture's probabilities over the epochs, and what the trainings' epochs did draw.

    Args:
        probabilities: Metric -> float64[N].
        mix: Of the trainings that drew by them.
        what: Names order and sigma.
    """
    epochs = len(next(iter(probabilities.values())))
    drawn = {row.epoch: row.metrics for row in mix}
    with canvas(height=4.8, rows=2) as (figure, (above, below)):
        for metric, values in probabilities.items():
            above.plot(range(1, epochs + 1), values, color=METRIC_COLOURS.get(metric, INK), label=metric,
                       linestyle="--" if metric in ("entropy", "prediction") else "-", linewidth=1.6)  # fmt: skip
        base = np.zeros(epochs)
        for metric in probabilities:
            shares = np.array([_share(drawn.get(e, {}), metric) for e in range(1, epochs + 1)])
            below.bar(range(1, epochs + 1), shares, bottom=base, width=0.85, color=METRIC_COLOURS.get(metric, INK))
            base += shares
        above.set_ylabel("probability")
        below.set_ylabel("share of trainings")
        below.set_xlabel("epoch")
        below.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        figure.legend(*above.get_legend_handles_labels(), loc="outside upper left", ncols=5, handlelength=1.6,
                      columnspacing=1.2)  # fmt: skip
        svg = render(figure, "metrics")
    most = max((sum(row.metrics.values()) for row in mix), default=0)
    return Picture(
        slug="metrics",
        title=f"Metrics of the mixture, {what}",
        alt=f"Above, the probability of each metric over {epochs} epochs; below, the share of {most} trainings "
        "whose rows it chose.",
        caption=f"Above: the formula. Below: what {most} trainings drew; an epoch at which nothing was chosen "
        "counts as what it used.",
        svg=svg,
    )


def _share(drawn: Mapping[str, int], metric: str) -> float:
    return drawn.get(metric, 0) / sum(drawn.values()) if drawn else 0.0
