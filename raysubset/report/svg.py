"""From a matplotlib figure to an SVG that lives inside an HTML page and follows its colours.

Figures are drawn with stand-in colours; in the SVG these become ``currentColor`` and CSS variables, so the page's
light and dark styles reach into the figures. Text stays text (small, searchable, in the page's font). Identifiers
are prefixed with the figure's slug, since all figures share one page. Equal figures give equal bytes.

The hues are those of Okabe and Ito, 2008, "Color Universal Design": they stay apart for colour-blind readers.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, GRID = "#010101", "#020202"
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, GREY = (
    "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#7f7f7f",
)  # fmt: skip
_CSS = {
    INK: "currentColor", GRID: "var(--grid)", BLUE: "var(--blue)", VERMILLION: "var(--vermillion)",
    GREEN: "var(--green)", ORANGE: "var(--orange)", PURPLE: "var(--purple)", GREY: "var(--grey)",
}  # fmt: skip
_STYLE: Any = {  # matplotlib's own type for the keys differs between releases
    "svg.fonttype": "none", "svg.hashsalt": "raysubset", "font.size": 10.5, "axes.labelsize": 10.5,
    "xtick.labelsize": 9.5, "ytick.labelsize": 9.5, "legend.fontsize": 9.5, "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.7, "legend.frameon": False,
    "axes.formatter.useoffset": False, "text.parse_math": False,
}  # fmt: skip
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure for the page.

    Attributes:
        slug: Identifier, unique on the page: a letter, then letters, digits and hyphens.
        title: What it shows, a few words.
        alt: What a reader who cannot see it should know.
        caption: How to read it; may be empty.
        svg: One ``<svg>`` element.
        small: Whether several fit side by side.
    """

    slug: str
    title: str
    alt: str
    caption: str
    svg: str
    small: bool = False


@contextmanager
def canvas(width: float = 5.4, height: float = 3.3, rows: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """Give an empty figure of so many inches with ``rows`` axes stacked, under the house style.

    matplotlib's settings are changed while the figure is drawn and rendered, and restored afterwards.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.subplots(rows, 1, sharex=True, squeeze=False)
        yield figure, list(grid[:, 0])


def render(figure: Figure, slug: str) -> str:
    """Return the figure as one inline ``<svg>`` element; call it inside `canvas`."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # without prologue and doctype, which name a remote file
    text = re.sub(r"<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
    text = re.sub(r'\bid="', f'id="{slug}-', text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{slug}-", text)
    text = re.sub(r'\bd="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: _CSS.get(colour[0], colour[0]), text).strip()
