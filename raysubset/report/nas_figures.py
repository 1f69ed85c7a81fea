"""Pictures of an architecture search: the cell, the training, what was judged, how sure the choice became."""

from __future__ import annotations

import base64

import numpy as np

from raysubset.report.figures import spent_axis
from raysubset.report.nas_folder import NasSearch
from raysubset.report.spread import spread
from raysubset.report.svg import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, Picture, canvas, render
from raysubset.report.wording import count, number, percent

MAX_POINTS = 500


def nas_pictures(search: NasSearch) -> tuple[Picture, ...]:
    """Return what can be drawn of a search, in reading order."""
    drawn = (_cell(search), _training(search), _judged(search), _alphas(search))
    return tuple(picture for picture in drawn if picture is not None)


def _cell(search: NasSearch) -> Picture | None:
    """The picture that the search drew, on white: it has colours of its own."""
    if not search.cell_svg or search.info.cell is None:
        return None
    source = base64.b64encode(search.cell_svg).decode("ascii")
    return Picture(
        slug="cell",
        title="The cell that was found",
        alt=f"Diagram of the cell: nodes from left to right, on each arrow an operation. {search.info.cell}",
        caption="",
        svg=f'<img alt="" src="data:image/svg+xml;base64,{source}">',
    )


def _training(search: NasSearch) -> Picture | None:
    rows = [row for row in search.records.stage("supernet") if np.isfinite(row.train_loss)]
    if len(rows) < 2:
        return None
    with canvas(height=4.4, rows=2) as (figure, (above, below)):
        xs = [row.samples_consumed for row in rows]
        above.plot(xs, [row.train_loss for row in rows], "o-", color=BLUE, markersize=3)
        above.set_ylabel("training loss (nats)")
        below.plot(xs, [row.ratio for row in rows], "o-", color=VERMILLION, markersize=3)
        below.set_ylim(bottom=0)
        below.set_ylabel("share of rows")
        spent_axis(below, "samples", [float(x) for x in xs], wide=False)
        svg = render(figure, "training")
    first, last = rows[0], rows[-1]
    return Picture(
        slug="training",
        title="Training of the supernet",
        alt=f"Two line charts over samples consumed: training loss from {number(first.train_loss)} to "
        f"{number(last.train_loss)}, and the share of rows each epoch trained on, from {percent(first.ratio)} to "
        f"{percent(last.ratio)}.",
        caption="The loss is that of the rows that were chosen: with hard rows chosen it may rise while the "
        "network improves.",
        svg=svg,
    )


def _judged(search: NasSearch) -> Picture | None:
    scores = np.array([score for _, score in search.candidates])
    finite = np.flatnonzero(np.isfinite(scores))
    if len(finite) < 2:
        return None
    best = np.maximum.accumulate(scores[finite])
    shown = spread([int(i) for i in range(len(finite))], MAX_POINTS)
    with canvas() as (figure, (axes,)):
        axes.plot([finite[i] + 1 for i in shown], [scores[finite[i]] for i in shown], ".", color=GREY,
                  markersize=4, label="judged")  # fmt: skip
        axes.plot(finite[shown] + 1, best[shown], color=BLUE, linewidth=1.8, drawstyle="steps-post", label="best")
        axes.set_xlabel("cells judged")
        axes.set_ylabel("score on validation rows")
        axes.legend()
        svg = render(figure, "judged")
    low, middle, high = np.percentile(scores[finite], [5, 50, 95])
    return Picture(
        slug="judged",
        title="Cells judged",
        alt=f"Scores of {count(len(finite))} cells in the order judged, and the best so far. The best is "
        f"{number(float(best[-1]))}, half are below {number(float(middle))}, nine tenths lie between "
        f"{number(float(low))} and {number(float(high))}.",
        caption="",
        svg=svg,
    )


def _alphas(search: NasSearch) -> Picture | None:
    """How sure the architecture's weights became: the mean over edges of the largest probability."""
    known = {name: values for line in search.alphas for name, values in line.items() if name != "epoch"}
    epochs = [int(line["epoch"]) for line in search.alphas]
    if len(epochs) < 2 or not known:
        return None
    with canvas() as (figure, (axes,)):
        ends = []
        for (name, _), colour in zip(
            sorted(known.items()), (BLUE, VERMILLION, GREEN, ORANGE, PURPLE), strict=False
        ):
            sure = [float(np.max(np.atleast_2d(line[name]), axis=1).mean()) for line in search.alphas]
            axes.plot(epochs, sure, "o-", color=colour, markersize=3, label=name)
            ends.append(f"{name} from {sure[0]:.2f} to {sure[-1]:.2f}")
        axes.set_xlabel("epoch")
        axes.set_ylabel("largest probability, mean over edges")
        axes.legend()
        svg = render(figure, "alphas")
    return Picture(
        slug="alphas",
        title="How sure the choice became",
        alt=f"Line chart over epochs of the largest probability an edge gives to one operation, mean over edges: "
        f"{'; '.join(ends)}.",
        caption="1 is sure; even odds are one over the number of operations.",
        svg=svg,
    )
