"""Where the nodes, labels and arrows of a cell's picture go; pure geometry, in inches.

The layout is that of Sugiyama [1] in small. Nodes stand in columns by their longest path from an input; between
two columns of nodes there is one of labels, and an arrow that passes a column has a place of its own there, as if
it were a node. So no label covers another and no arrow runs through a label or a node. Places are ordered for few
crossings and then moved up and down, as near to their neighbours as their distances allow.

References:
    [1] Sugiyama, Tagawa, Toda, 1981, doi:10.1109/TSMC.1981.4308636.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from raysubset.errors import ArchitectureError

_NODE_HEIGHT, _LABEL_HEIGHT, _LANE, _APART, _GAP = 0.32, 0.2, 0.04, 0.09, 0.42
_PORT = 0.13  # between arrows that meet one side of a node
_BESIDE_TEXT = 0.1
_SWEEPS, _STARTS, _MOVES = 8, 10, 60
_STRAIGHT = 4  # how much harder than a node the next place of the same arrow pulls


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
                    f"Picture of the cell {self.title!r}, edge {number}: {source} -> {target}, need source < "
                    f"target, both of 0..{len(self.nodes) - 1}."
                )


@dataclass(eq=False, slots=True)
class Place:
    """Where a node or label stands, or an arrow passes.

    Attributes:
        column: Even for nodes and what passes beside them, odd for labels.
        text: What is written there; empty where an arrow passes.
        is_node: Whether it is a node.
        height: Inches.
        y: Its middle, inches above the cell's top: at most 0.
        before: Places that arrows come from.
        after: Places that arrows go to.
    """

    column: int
    text: str
    is_node: bool
    height: float
    y: float = 0.0
    before: list[Place] = field(default_factory=list)
    after: list[Place] = field(default_factory=list)


class CellLayout:
    """Columns of places, and the route of every edge through them.

    Attributes:
        columns: The places, from left to right, each column from top to bottom.
        routes: Of each edge its label, and the places from its source to its target.
        left: Where a column begins, inches from the cell's left side.
        right: Where it ends.
        width: Of the cell, inches.
        height: Of the cell, inches.

    Args:
        cell: What to lay out.
        text_width: The width in inches of a text as it will be drawn.

    Cost: some 20 ms for a cell of nine nodes.
    """

    def __init__(self, cell: CellPicture, text_width: Callable[[str], float]) -> None:
        self._text_width = text_width
        columns = [2 * layer for layer in _layers(cell)]
        nodes = [Place(column, text, True, 0.0) for text, column in zip(cell.nodes, columns, strict=True)]
        middles = [(columns[source] + columns[target]) // 4 * 2 + 1 for source, target, _ in cell.edges]
        of_labels = {middle for middle, (*_, label) in zip(middles, cell.edges, strict=True) if label}
        places = list(nodes)
        self.routes: list[tuple[str, list[Place]]] = []
        for middle, (source, target, label) in zip(middles, cell.edges, strict=True):
            passed = range(columns[source] + 1, columns[target])
            way = [
                Place(column, label, False, _LABEL_HEIGHT) if label and column == middle
                else Place(column, "", False, _LANE)
                for column in passed if column % 2 == 0 or column in of_labels
            ]  # fmt: skip
            places += way
            route = [nodes[source], *way, nodes[target]]
            for left, right in pairwise(route):
                left.after.append(right)
                right.before.append(left)
            self.routes.append((label, route))
        for node in nodes:
            node.height = max(_NODE_HEIGHT, _PORT * (1 + max(len(node.before), len(node.after))))
        by_column: defaultdict[int, list[Place]] = defaultdict(list)
        for place in places:
            by_column[place.column].append(place)
        self.columns = [by_column[column] for column in sorted(by_column)]
        _order(self.columns)
        _settle(self.columns)
        self._measure(places)

    def _measure(self, places: list[Place]) -> None:
        """Move the cell's top to 0, and set the columns' ends ``left`` and ``right``."""
        top = max(place.y + place.height / 2 for place in places)
        self.height = top - min(place.y - place.height / 2 for place in places)
        for place in places:
            place.y -= top
        self.left: dict[int, float] = {}
        self.right: dict[int, float] = {}
        x = 0.0
        last = -1
        for column in self.columns:
            number = column[0].column
            x += 0.0 if last < 0 else _GAP * (number - last)  # wider where there is no column of labels
            self.left[number] = x
            x += max(self.width_of(place) for place in column)
            self.right[number], last = x, number
        self.width = x

    def width_of(self, place: Place) -> float:
        """Return a place's width in inches: nodes fill their column, where an arrow passes it is 0."""
        if not place.text and not place.is_node:
            return 0.0
        alone = max(self._text_width(place.text) + 2 * _BESIDE_TEXT, _NODE_HEIGHT)
        filled = place.is_node and place.column in self.right
        return self.right[place.column] - self.left[place.column] if filled else alone

    def points(self, route: list[Place]) -> list[tuple[float, float]]:
        """Return the ends of a route's flat parts: leaving its source, on and off each column, at its target.

        Arrows that meet one side of a node do so one below the other, in the order in which they come.
        """
        source, target = route[0], route[-1]
        points = [(self.right[source.column], source.y + _port(source.after, route[1]))]
        for place in route[1:-1]:
            points += [(self.left[place.column], place.y), (self.right[place.column], place.y)]
        points.append((self.left[target.column], target.y + _port(target.before, route[-2])))
        return points


def _port(neighbours: list[Place], neighbour: Place) -> float:
    """Return how far above a node's middle the arrow from or to a neighbour meets it."""
    order = sorted(neighbours, key=lambda place: -place.y)
    return _PORT * ((len(order) - 1) / 2 - order.index(neighbour))


def _layers(cell: CellPicture) -> list[int]:
    """Return each node's longest path from an input, in edges; the last node stands behind all others."""
    layers = [0] * len(cell.nodes)
    for source, target, _ in sorted(cell.edges, key=lambda edge: edge[1]):
        layers[target] = max(layers[target], layers[source] + 1)
    if len(layers) > 1:
        layers[-1] = max(layers[-1], *(layer + 1 for layer in layers[:-1]))
    return layers


def _order(columns: list[list[Place]]) -> None:
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


def _sort_by_neighbours(columns: list[list[Place]], *, forward: bool) -> None:
    """Sort column after column by the mean rank of the neighbours in the column before."""
    rank = {id(place): float(i) for column in columns for i, place in enumerate(column)}
    for column in columns if forward else reversed(columns):
        for place in column:
            if near := place.before if forward else place.after:
                rank[id(place)] = sum(rank[id(other)] for other in near) / len(near)
        column.sort(key=lambda place: rank[id(place)])
        rank |= {id(place): float(i) for i, place in enumerate(column)}


def _swap(columns: list[list[Place]], column: list[Place], at: int) -> bool:
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


def _crossings(columns: list[list[Place]]) -> int:
    """Count the pairs of arrows that cross between neighbouring columns."""
    rank = {id(place): i for column in columns for i, place in enumerate(column)}
    crossings = 0
    for column in columns:
        links = [(rank[id(place)], rank[id(after)]) for place in column for after in place.after]
        crossings += sum((a - c) * (b - d) < 0 for i, (a, b) in enumerate(links) for c, d in links[:i])
    return crossings


def _settle(columns: list[list[Place]]) -> None:
    """Move places up and down towards their neighbours, without touching."""
    for column in columns:
        _put(column, [0.0] * len(column))
    for sweep in range(_MOVES):
        for column in columns if sweep % 2 else reversed(columns):
            _put(column, [_pull(place) for place in column])


def _pull(place: Place) -> float:
    """Return where its neighbours would have a place."""
    near = [
        (other.y, 1 if place.is_node or other.is_node else _STRAIGHT) for other in (*place.before, *place.after)
    ]
    return sum(y * weight for y, weight in near) / sum(weight for _, weight in near) if near else place.y


def _put(column: list[Place], wanted: list[float]) -> None:
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
