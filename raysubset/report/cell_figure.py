"""Pictures of cells: nodes from left to right, what is done on the way from one to another written on the arrows.

The layout is that of Sugiyama [1] in small. Nodes stand in columns by their longest path from an input; between two
columns of nodes there is one of labels, and an arrow that passes a column has a place of its own there, as if it
were a node. So no label covers another and no arrow runs through a label or a node. Places are ordered for few
crossings and then moved up and down, as near to their neighbours as their distances allow.

References:
    [1] Sugiyama, Tagawa, Toda, 1981, doi:10.1109/TSMC.1981.4308636.
"""

from __future__ import annotations

import io
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve
from matplotlib.textpath import TextPath

from raysubset.errors import ArchitectureError, OptionsError, StorageError
from raysubset.report.svg import BLUE, GREEN, GREY, ORANGE, PURPLE

# Everything is in inches: the axes' units.
_NODE_HEIGHT, _LABEL_HEIGHT, _LANE, _PORT, _APART = 0.32, 0.2, 0.04, 0.13, 0.09
_GAP, _MARGIN, _TITLE = 0.42, 0.18, 0.34
_FONT, _TITLE_FONT, _DPI = 8.5, 11.0, 200
_TEXT, _INK, _NODE_TINT = "#1a1a1a", "#546e7a", "#eceff1"
_KINDS = {
    "none": GREY,
    "skip": GREEN,
    "pool": ORANGE,
    "dil": PURPLE,
    "conv": BLUE,
}  # the first that a name contains
_SWEEPS, _STARTS, _MOVES = 8, 10, 60


@dataclass(frozen=True, slots=True)
class CellPicture:
    """A cell as it is drawn.

    Attributes:
        title: Stands above it; may be empty.
        nodes: What is written in each, in an order in which every arrow points forward.
        edges: (source, target, label), positions in ``nodes``; the label may be empty, and "none" is drawn faint.

    Raises:
        ArchitectureError: No node, or an edge to no node or backwards; names the edge.
    """

    title: str
    nodes: tuple[str, ...]
    edges: tuple[tuple[int, int, str], ...]

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ArchitectureError(f"Picture of the cell {self.title!r}: it has no nodes.")
        for number, (source, target, _) in enumerate(self.edges, 1):
            if not 0 <= source < target < len(self.nodes):
                raise ArchitectureError(
                    f"Picture of the cell {self.title!r}, edge {number}: {source} -> {target}, need source < target, "
                    f"both of 0..{len(self.nodes) - 1}."
                )


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
    style = {"svg.fonttype": "none", "svg.hashsalt": "raysubset", "text.parse_math": False}
    with matplotlib.rc_context(style):
        buffer = io.BytesIO()
        metadata = {"Creator": None, "Date": None} if kind == "svg" else {"Software": None}
        _figure(cells).savefig(buffer, format=kind, dpi=_DPI, metadata=metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror or error}.") from error


def _figure(cells: Sequence[CellPicture]) -> Figure:
    layouts = [_Layout(cell) for cell in cells]
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
        _draw(axes, layout, _MARGIN + (wide - layout.width) / 2, top)
        top -= layout.height
    return figure


@dataclass(eq=False, slots=True)
class _Place:
    """Where a node stands or an arrow passes; ``y`` is its middle, 0 the top of the cell, down is negative."""

    column: int
    text: str
    is_node: bool
    height: float
    y: float = 0.0
    before: list[_Place] = field(default_factory=list)
    after: list[_Place] = field(default_factory=list)


class _Layout:
    """Columns of places, and the route of every edge through them."""

    def __init__(self, cell: CellPicture) -> None:
        layers = _layers(cell)
        nodes = [_Place(2 * layer, text, True, 0.0) for text, layer in zip(cell.nodes, layers, strict=True)]
        self.routes: list[tuple[str, list[_Place]]] = []
        places = list(nodes)
        for source, target, label in cell.edges:
            columns = range(nodes[source].column + 1, nodes[target].column)
            labelled = (columns[0] + columns[-1]) // 4 * 2 + 1  # the middle column of labels
            way = [
                _Place(column, label, False, _LABEL_HEIGHT) if label and column == labelled
                else _Place(column, "", False, _LANE)
                for column in columns
            ]  # fmt: skip
            places += way
            route = [nodes[source], *way, nodes[target]]
            for left, right in pairwise(route):
                left.after.append(right)
                right.before.append(left)
            self.routes.append((label, route))
        for node in nodes:
            node.height = max(_NODE_HEIGHT, _PORT * (1 + max(len(node.before), len(node.after))))
        columns_of: defaultdict[int, list[_Place]] = defaultdict(list)
        for place in places:
            columns_of[place.column].append(place)
        self.columns = [columns_of[column] for column in sorted(columns_of)]
        _order(self.columns)
        _settle(self.columns)
        self._measure(places)

    def _measure(self, places: list[_Place]) -> None:
        """Move the cell's top to 0, and set the columns' ends ``left`` and ``right``."""
        top = max(place.y + place.height / 2 for place in places)
        self.height = top - min(place.y - place.height / 2 for place in places)
        for place in places:
            place.y -= top
        self.left: dict[int, float] = {}
        self.right: dict[int, float] = {}
        x = 0.0
        for column in self.columns:
            self.left[column[0].column] = x
            x += max(_place_width(place) for place in column)
            self.right[column[0].column] = x
            x += _GAP
        self.width = x - _GAP


def _layers(cell: CellPicture) -> list[int]:
    """Return each node's longest path from an input, in edges; the last node stands behind all others."""
    layers = [0] * len(cell.nodes)
    for source, target, _ in sorted(cell.edges, key=lambda edge: edge[1]):
        layers[target] = max(layers[target], layers[source] + 1)
    if len(layers) > 1:
        layers[-1] = max(layers[-1], *(layer + 1 for layer in layers[:-1]))
    return layers


def _order(columns: list[list[_Place]]) -> None:
    """Order every column for few crossings, from several starts; of equals the first is kept."""
    shuffle = random.Random(0).shuffle
    best, fewest = [list(column) for column in columns], _crossings(columns)
    for _ in range(_STARTS):
        for sweep in range(_SWEEPS):
            _sort_by_neighbours(columns, forward=sweep % 2 == 0)
        while any(_swap(columns, column, at) for column in columns for at in range(len(column) - 1)):
            pass
        if (crossings := _crossings(columns)) < fewest:
            best, fewest = [list(column) for column in columns], crossings
        if fewest == 0:
            break
        for column in columns:
            shuffle(column)
    for column, kept in zip(columns, best, strict=True):
        column[:] = kept


def _sort_by_neighbours(columns: list[list[_Place]], *, forward: bool) -> None:
    """Sort column after column by the mean rank of the neighbours in the column before."""
    rank = {id(place): float(i) for column in columns for i, place in enumerate(column)}
    for column in columns if forward else reversed(columns):
        for place in column:
            if near := place.before if forward else place.after:
                rank[id(place)] = sum(rank[id(other)] for other in near) / len(near)
        column.sort(key=lambda place: rank[id(place)])
        rank |= {id(place): float(i) for i, place in enumerate(column)}


def _swap(columns: list[list[_Place]], column: list[_Place], at: int) -> bool:
    """Swap two neighbours of a column if that takes away a crossing; theirs alone can change."""
    first, second = column[at], column[at + 1]
    rank = {id(place): i for other in columns for i, place in enumerate(other)}
    gain = 0
    for one, two in ((first.before, second.before), (first.after, second.after)):
        ranks = [(rank[id(a)], rank[id(b)]) for a in one for b in two]
        gain += sum((a > b) - (a < b) for a, b in ranks)
    if gain > 0:
        column[at : at + 2] = second, first
    return gain > 0


def _crossings(columns: list[list[_Place]]) -> int:
    """Count the pairs of arrows that cross between neighbouring columns."""
    rank = {id(place): i for column in columns for i, place in enumerate(column)}
    crossings = 0
    for column in columns:
        links = [(rank[id(place)], rank[id(after)]) for place in column for after in place.after]
        crossings += sum((a - c) * (b - d) < 0 for i, (a, b) in enumerate(links) for c, d in links[:i])
    return crossings


def _settle(columns: list[list[_Place]]) -> None:
    """Move places up and down towards their neighbours, without touching."""
    for column in columns:
        _put(column, [0.0] * len(column))
    for sweep in range(_MOVES):
        for column in columns if sweep % 2 else reversed(columns):
            near = [[other.y for other in (*place.before, *place.after)] or [place.y] for place in column]
            _put(column, [sum(ys) / len(ys) for ys in near])


def _put(column: list[_Place], wanted: list[float]) -> None:
    """Set each ``y`` as near to the wanted one as possible, in squares (pool adjacent violators), order kept."""
    offsets = [0.0]
    for above, below in pairwise(column):
        offsets.append(offsets[-1] + (above.height + below.height) / 2 + _APART)
    blocks: list[tuple[float, int]] = []  # mean of y + offset, places
    for want, offset in zip(wanted, offsets, strict=True):
        mean, count = want + offset, 1
        while blocks and blocks[-1][0] < mean:
            other, size = blocks.pop()
            mean, count = (mean * count + other * size) / (count + size), count + size
        blocks.append((mean, count))
    levels = [mean for mean, count in blocks for _ in range(count)]
    for place, level, offset in zip(column, levels, offsets, strict=True):
        place.y = level - offset


def _draw(axes: Axes, layout: _Layout, x: float, y: float) -> None:
    """Draw a cell with its top left corner at (x, y)."""
    for label, route in layout.routes:
        _draw_route(axes, layout, label, route, x, y)
    for column in layout.columns:
        for place in column:
            if place.is_node or place.text:
                left, right = layout.left[place.column], layout.right[place.column]
                width = right - left if place.is_node else _place_width(place)
                _draw_place(axes, place, width, x + (left + right) / 2, y + place.y)


def _draw_route(axes: Axes, layout: _Layout, label: str, route: list[_Place], x: float, y: float) -> None:
    """Draw an arrow: flat across the columns it passes, an S from one to the next."""
    source, target = route[0], route[-1]
    points = [(layout.right[source.column], source.y + _port(source, source.after, route[1]))]
    for place in route[1:-1]:
        points += [(layout.left[place.column], place.y), (layout.right[place.column], place.y)]
    points.append((layout.left[target.column], target.y + _port(target, target.before, route[-2])))
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
            path=Curve([(x + px, y + py) for px, py in vertices], codes),
            arrowstyle="-|>,head_length=0.35,head_width=0.18", mutation_scale=12, shrinkA=0, shrinkB=0,
            color=_colour(label), linewidth=0.9 if faint else 1.4, linestyle=(0, (3, 2.5)) if faint else "-",
            alpha=0.6 if faint else 1.0, capstyle="butt", joinstyle="round",
        )
    )  # fmt: skip


def _port(node: _Place, neighbours: list[_Place], neighbour: _Place) -> float:
    """Return how far above a node's middle an arrow meets it: those from above meet it above."""
    order = sorted(neighbours, key=lambda place: -place.y)
    return _PORT * ((len(order) - 1) / 2 - order.index(neighbour))


def _draw_place(axes: Axes, place: _Place, width: float, x: float, y: float) -> None:
    colour = _colour(place.text)
    face = _NODE_TINT if colour == _INK else _tint(colour)
    rounding = 0.08 if place.is_node else place.height / 2
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


def _place_width(place: _Place) -> float:
    """Return the width of a node or label in inches; 0 where an arrow passes."""
    if not place.is_node and not place.text:
        return 0.0
    return max(_text_width(place.text, _FONT) + 0.2, _NODE_HEIGHT)


def _text_width(text: str, size: float) -> float:
    return (
        float(TextPath((0, 0), text, size=size, prop=FontProperties()).get_extents().width) / 72 if text else 0.0
    )


def _colour(name: str) -> str:
    """Return the colour of an operation's kind; ink for what is none."""
    return next((colour for kind, colour in _KINDS.items() if kind in name), _INK)


def _tint(colour: str) -> tuple[float, float, float]:
    red, green, blue = (1 - 0.13 * (1 - part) for part in to_rgb(colour))
    return red, green, blue
