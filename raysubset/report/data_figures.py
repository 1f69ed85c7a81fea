"""The data as pictures: which classes, which rows, when; and the rows at the ends as small images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from raysubset.report.gallery import Gallery, Thumb, thumb
from raysubset.report.page import Part
from raysubset.report.selections import Selections
from raysubset.report.svg import BLUE, INK, VERMILLION, Picture, canvas, render
from raysubset.report.wording import count, number, percent

MAX_CLASSES = 24  # more cannot be read; those furthest from their share of the data are shown
EXAMPLES = 12
BINS = 40
READ = (
    "The selectors counted every subset that the search handed out, over all trials. Many trials chose, with good "
    "configurations and bad ones: this is what the search trained on, not what its best trial did.",
    "Hard and easy are ranks of the last loss that trials remember, not a verdict on the row: a wrong label, a "
    "rare view and a row that was not chosen for long all look hard.",
)


def data_part(
    known: Selections, epochs_recorded: int, notes: Sequence[str] = (), read: Sequence[str] = READ
) -> Part:
    """Return the chapter on the data.

    Args:
        known: What was counted.
        epochs_recorded: Epochs that the trials of the search reported: what should have been counted.
        notes: What else a reader must know, e.g. what stands for classes.
        read: How the pictures are to be read.
    """
    if not known.counted:
        why = "The rows are chosen inside each batch, where nobody counts them."
        return Part("What was chosen", (why,))
    even = known.times.min() == known.times.max()
    drawn = () if even else (_balance(known), _over_epochs(known), _times(known), _watched(known))
    same = ("Every row was in the same number of subsets: there is nothing to draw.",) if even else ()
    return Part(
        "What was chosen",
        (*read, *notes, *_coverage(known, epochs_recorded), *same),
        tuple(picture for picture in drawn if picture is not None),
        galleries(known),
    )


def _coverage(known: Selections, epochs_recorded: int) -> tuple[str, ...]:
    said = []
    if (counted := known.counted + known.in_batch) < epochs_recorded:
        said.append(
            f"Counted are {count(counted)} subsets of {count(epochs_recorded)} epochs that were trained: a "
            "selector was restarted, or an earlier session was killed, and took its counts along."
        )
    if known.in_batch:
        said.append(
            f"In {count(known.in_batch)} more epochs rows were chosen inside batches, where nobody counts."
        )
    return tuple(said)


# ---------------------------------------------------------------------- classes


def _shares(known: Selections) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of each class in the data and in all subsets."""
    data = np.bincount(known.labels, minlength=len(known.classes)) / len(known.labels)
    chosen = known.by_class.sum(axis=0)
    return data, chosen / chosen.sum()


def _shown_classes(known: Selections) -> NDArray[np.int64]:
    """Return the classes to draw, ascending: all, or those whose share differs most from that in the data."""
    data, chosen = _shares(known)
    if len(data) <= MAX_CLASSES:
        return np.arange(len(data))
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(np.log(chosen / data))
    return np.sort(np.argsort(-np.nan_to_num(apart, nan=-1.0), kind="stable")[:MAX_CLASSES])


def _name(text: str) -> str:
    return text if len(text) <= 16 else text[:15] + "…"


def _balance(known: Selections) -> Picture:
    data, chosen = _shares(known)
    shown = _shown_classes(known)
    places = np.arange(len(shown))
    with canvas(height=1.3 + 0.26 * len(shown)) as (figure, (axes,)):
        axes.barh(places, 100 * chosen[shown], height=0.6, color=BLUE, label="of all subsets")
        axes.plot(100 * data[shown], places, "|", color=VERMILLION, markersize=11, markeredgewidth=2.2,
                  label="of the data")  # fmt: skip
        axes.set_yticks(places, [_name(known.classes[c]) for c in shown])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("share (%)")
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.2)
        svg = render(figure, "balance")
    words = "; ".join(f"{known.classes[c]} {percent(chosen[c])} (data {percent(data[c])})" for c in shown)
    few = "" if len(shown) == len(data) else f" The {len(shown)} of {len(data)} classes that differ most."
    return Picture(
        slug="balance",
        title="Classes chosen, and in the data",
        alt=f"Bar chart of the share of each class in the subsets and in the data. {words}.",
        caption=f"Bars: rows of the class among all rows chosen. Marks: among all rows there are.{few}",
        svg=svg,
    )


def _over_epochs(known: Selections) -> Picture | None:
    if len(known.epochs) < 2 or len(known.classes) < 2:
        return None
    data, _ = _shares(known)
    shown = _shown_classes(known)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_epoch = known.by_class / known.by_class.sum(axis=1, keepdims=True)
        doublings = np.log2(per_epoch[:, shown] / data[shown]).T
    bound = max(0.1, float(np.abs(doublings[np.isfinite(doublings)]).max(initial=0.0)))
    with canvas(height=1.4 + 0.2 * len(shown)) as (figure, (axes,)):
        image = _heat(axes, doublings, known.epochs, "PuOr", (-bound, bound))
        axes.set_yticks(range(len(shown)), [_name(known.classes[c]) for c in shown])
        _scale(figure, axes, image, "doublings of its share")
        svg = render(figure, "classes")
    most, least = (np.unravel_index(pick(doublings), doublings.shape) for pick in (np.nanargmax, np.nanargmin))
    ends = [
        f"{known.classes[shown[c]]} at epoch {known.epochs[e] + 1}: {number(float(2.0 ** doublings[c, e]))} times"
        for c, e in (most, least)
    ]
    return Picture(
        slug="classes",
        title="Classes over epochs",
        alt=f"Heat map of each class's share in the subsets of each epoch, against its share in the data. Most: "
        f"{ends[0]}; least: {ends[1]}.",
        caption="0: as in the data; 1: twice that share; -1: half of it."
        + (" All trials that had the epoch together." if known.subsets.max() > 1 else ""),
        svg=svg,
    )


# ---------------------------------------------------------------------- rows


def _times(known: Selections) -> Picture:
    shares = 100 * known.times / known.counted
    never = int((known.times == 0).sum())
    with canvas() as (figure, (axes,)):
        axes.hist(shares, bins=BINS, color=BLUE)
        axes.axvline(float(shares.mean()), color=VERMILLION, linewidth=1.8, label="mean")
        axes.set_xlabel("share of all subsets that the row was in (%)")
        axes.set_ylabel("rows")
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.legend()
        svg = render(figure, "times")
    low, middle, high = np.percentile(shares, [5, 50, 95])
    return Picture(
        slug="times",
        title="How often rows were chosen",
        alt=f"Histogram of how many of {count(known.counted)} subsets each of {count(len(shares))} rows was "
        f"in. Half of the rows were in at most {middle:.1f} %, nine tenths of them between {low:.1f} and "
        f"{high:.1f} %; {count(never)} were in none.",
        caption=f"{count(never)} of {count(len(shares))} rows were never chosen.",
        svg=svg,
    )


def _watched(known: Selections) -> Picture | None:
    if len(known.epochs) < 2:
        return None
    shares = 100 * known.watched / known.subsets[:, None]
    order, by = _ordered(known)
    with canvas(height=4.2) as (figure, (axes,)):
        image = _heat(axes, shares[:, order].T, known.epochs, "viridis", (0.0, max(1.0, float(shares.max()))))
        axes.set_yticks([])
        axes.set_ylabel(f"rows, {by}")
        _scale(figure, axes, image, "% of trials that chose it")
        svg = render(figure, "watched")
    third = max(1, len(order) // 3)
    top, bottom = shares[:, order[:third]].mean(), shares[:, order[-third:]].mean()
    return Picture(
        slug="watched",
        title="Which rows when",
        alt=f"Heat map of {len(order)} rows over {len(known.epochs)} epochs, {by}. The upper third was in "
        f"{top:.1f} % of the subsets, the lower third in {bottom:.1f} %.",
        caption=f"{len(order)} rows drawn at random from {count(len(known.times))}, {by}: {_bands(known)}.",
        svg=svg,
    )


def _bands(known: Selections) -> str:
    """Say what the stripes of the map are; of a single training each epoch's rows are chosen or not."""
    if known.subsets.max() <= 1:
        return "light where the row was in the epoch's subset"
    return "bands are rows that the trials agree on; noise is rows that each trial chooses for itself"


def _ordered(known: Selections) -> tuple[NDArray[np.int64], str]:
    """Return an order of the watched rows, and what it is by; rows that no trial remembers come last."""
    hard = known.difficulty[known.watched_rows]
    if np.isfinite(hard).any():
        return np.argsort(-np.nan_to_num(hard, nan=-1.0), kind="stable"), "hardest above"
    return np.argsort(-known.times[known.watched_rows].astype(np.int64), kind="stable"), "most chosen above"


def _heat(
    axes: Axes, values: NDArray[np.floating], epochs: NDArray[np.int64], colours: str, span: tuple[float, float]
) -> AxesImage:
    """Draw a line of ``values`` per item, a column per epoch; a picture inside the picture, so it stays small."""
    image = axes.imshow(values, aspect="auto", interpolation="none", cmap=colours, vmin=span[0], vmax=span[1])
    axes.grid(visible=False)
    step = max(1, -(-len(epochs) // 8))
    axes.set_xticks(range(0, len(epochs), step), [str(epoch + 1) for epoch in epochs[::step]])
    axes.set_xlabel("epoch")
    return image


def _scale(figure: Figure, axes: Axes, image: AxesImage, label: str) -> None:
    bar = figure.colorbar(image, ax=axes, location="top", fraction=0.06, pad=0.02)
    bar.set_label(label)
    if bar.solids is not None:
        bar.solids.set(rasterized=True, edgecolor="face")  # as shapes it would be 256 of them
    bar.outline.set_edgecolor(INK)


# ---------------------------------------------------------------------- images


def galleries(known: Selections) -> tuple[Gallery, ...]:
    """Return the rows at both ends of difficulty and of the counts, as far as there are images of them."""
    if not len(known.examples):
        return ()
    hard = known.difficulty[known.example_rows]
    chosen = known.times[known.example_rows].astype(np.float64)
    made = (
        _gallery(known, "hardest", "Hardest rows", -hard, "Largest mean rank of the remembered loss."),
        _gallery(known, "easiest", "Easiest rows", hard, "Smallest mean rank of the remembered loss."),
        _gallery(known, "most-chosen", "Most often chosen", -chosen, "In the most subsets; of equals any."),
        _gallery(known, "least-chosen", "Least often chosen", chosen, "In the fewest subsets; of equals any."),
    )
    return tuple(gallery for gallery in made if gallery.thumbs)


def _gallery(known: Selections, slug: str, title: str, key: NDArray[np.floating], caption: str) -> Gallery:
    order = [int(i) for i in np.argsort(key, kind="stable") if np.isfinite(key[i])][:EXAMPLES]
    return Gallery(slug, title, caption, tuple(_thumb(known, place) for place in order))


def _thumb(known: Selections, place: int) -> Thumb:
    row = int(known.example_rows[place])
    name = known.classes[known.labels[row]]
    rank, times = float(known.difficulty[row]), int(known.times[row])
    loss = f", mean loss rank {rank:.2f}" if np.isfinite(rank) else ""
    alt = f"Training row {row}, labelled {name}{loss}, in {times} of {known.counted} subsets."
    return thumb(known.examples[place], alt, f"{_name(name)}, {100 * times / known.counted:.0f} %")


def unknown_selections(search_ended: bool) -> str:
    """Say why there is no chapter on the data."""
    if search_ended:
        return "Which rows were chosen was not kept (an older version's run, or the selectors died at its end)."
    return "Which rows were chosen is written when the search ends or is interrupted; it was killed or goes on."
