"""Pictures of cells: nodes from left to right, on each arrow what is done on the way."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve

from raysubset.errors import OptionsError, StorageError
from raysubset.report.cell_layout import CellLayout, CellPicture, Place
from raysubset.report.svg import BLUE, GREEN, GREY, ORANGE, PURPLE

_MARGIN, _TITLE, _CORNER = 0.18, 0.34, 0.08  # inches, as everything here: the axes' units
_FAMILY, _FONT, _TITLE_FONT, _DPI = "DejaVu Sans", 8.5, 11.0, 200  # the family comes with matplotlib
_TEXT, _INK, _NODE_TINT = "#1a1a1a", "#546e7a", "#eceff1"
_STYLE: Any = {  # matplotlib's own type for the keys differs between releases
    "font.family": _FAMILY, "svg.fonttype": "none", "svg.hashsalt": "raysubset", "text.parse_math": False,
}  # fmt: skip
# Of a name's kinds the first counts: dil_conv_3x3 is dilated, not merely a convolution.
_KINDS = {"none": GREY, "skip": GREEN, "pool": ORANGE, "dil": PURPLE, "conv": BLUE}


def draw_cells(path: Path, cells: Sequence[CellPicture]) -> None:
    """Draw cells one below the other and write them to a file; equal cells give equal bytes.

    Args:
        path: Ends in .svg or .png (200 dots an inch); replaced if it is there, its folder is made.
        cells: At least one.

    Raises:
        OptionsError: Another ending, or no cell.
        StorageError: The file cannot be written.

    Cost: about 0.1 s.
    """
    kind = path.suffix.lower().lstrip(".")
    faults = [] if kind in ("svg", "png") else [f"path={str(path)!r}, need a name that ends in .svg or .png"]
    faults += [] if cells else ["no cells"]
    if faults:
        raise OptionsError.of("draw_cells", faults)
    with matplotlib.rc_context(_STYLE):
        buffer = io.BytesIO()
        metadata = {"Creator": None, "Date": None} if kind == "svg" else {"Software": None}
        _figure(cells).savefig(buffer, format=kind, dpi=_DPI, metadata=metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror or error}.") from error


def _figure(cells: Sequence[CellPicture]) -> Figure:
    layouts = [CellLayout(cell, _text_width) for cell in cells]
    titles = [_TITLE if cell.title else 0.0 for cell in cells]
    wide = max([layout.width for layout in layouts] + [_text_width(cell.title, _TITLE_FONT) for cell in cells])
    width = wide + 2 * _MARGIN
    height = sum(layout.height for layout in layouts) + sum(titles) + _MARGIN * (len(cells) + 1)
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    top = height
    for cell, layout, title in zip(cells, layouts, titles, strict=True):
        top -= _MARGIN + title
        axes.text(_MARGIN, top + 0.14, cell.title, size=_TITLE_FONT, weight="bold", color=_TEXT, va="baseline")
        _draw(axes, layout, _MARGIN, top)
        top -= layout.height
    return figure


def _draw(axes: Axes, layout: CellLayout, x: float, y: float) -> None:
    """Draw a cell with its top left corner at (x, y)."""
    for label, route in layout.routes:
        _draw_arrow(axes, label, [(x + right, y + up) for right, up in layout.points(route)])
    for column in layout.columns:
        for place in column:
            if place.is_node or place.text:
                middle = (layout.left[place.column] + layout.right[place.column]) / 2
                _draw_place(axes, place, layout.width_of(place), x + middle, y + place.y)


def _draw_arrow(axes: Axes, label: str, points: list[tuple[float, float]]) -> None:
    """Draw an S from the first point to the second, a line to the third, and so on."""
    vertices, codes = [points[0]], [Curve.MOVETO]
    for at, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        if at % 2:
            vertices.append((x1, y1))
            codes.append(Curve.LINETO)
        else:
            vertices += [((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1), (x1, y1)]
            codes += [Curve.CURVE4] * 3
    faint = label == "none"
    axes.add_patch(
        FancyArrowPatch(
            path=Curve(vertices, codes),
            arrowstyle="-|>,head_length=0.35,head_width=0.18", mutation_scale=12, shrinkA=0, shrinkB=0,
            color=_colour(label), linewidth=0.9 if faint else 1.4, linestyle=(0, (3, 2.5)) if faint else "-",
            alpha=0.6 if faint else 1.0, capstyle="butt", joinstyle="round",
        )
    )  # fmt: skip


def _draw_place(axes: Axes, place: Place, width: float, x: float, y: float) -> None:
    colour = _colour(place.text)
    face = _NODE_TINT if colour == _INK else _tint(colour)
    rounding = _CORNER if place.is_node else place.height / 2
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - place.height / 2), width, place.height,
            boxstyle=f"round,pad=0,rounding_size={rounding}", facecolor=face, edgecolor=colour,
            linewidth=1.0 if place.is_node else 0.8, zorder=3,
        )
    )  # fmt: skip
    faint = place.text == "none"
    axes.text(x, y, place.text, size=_FONT, color=GREY if faint else _TEXT, ha="center", va="center_baseline",
              zorder=4)  # fmt: skip


def _text_width(text: str, size: float = _FONT) -> float:
    """Return the width of a text in inches."""
    font = get_font(findfont(_FAMILY))
    font.set_size(size, 72)
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64 / 72


def _colour(name: str) -> str:
    """Return the colour of an operation's kind; ink for what is none."""
    return next((colour for kind, colour in _KINDS.items() if kind in name), _INK)


def _tint(colour: str) -> tuple[float, float, float]:
    red, green, blue = (1 - 0.13 * (1 - part) for part in to_rgb(colour))
    return red, green, blue
