"""Cells of NAS-Bench-101 as padded tensors, the same for every numbering of the same graph.

An encoder of graphs does not mind how vertices are numbered, but the order in which its rows are read does: a
breadth-first search visits neighbours in ascending order, and which vertex comes last depends on the numbers [1].
So every cell is renumbered first. Of all numberings that keep edges leading to later vertices, the one whose
edges, read column by column as bits, come first is taken, then the one whose operations do: the representative
that the benchmark itself lists (`raysubset.nas.enumerate101`). Isomorphic cells then are equal tensors.

References:
    [1] Jain, Nandy, Aggarwal, Tendulkar, Iyer, De, 2023, arXiv:2409.12255, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import ArchitectureError
from raysubset.models.catalog import ModelBuilder
from raysubset.nas.cell101 import INPUT, MAX_EDGES, MAX_VERTICES, OPS, OUTPUT, Cell101
from raysubset.nas.cell_model import CellModel
from raysubset.nas.network101 import parameter_count
from raysubset.nas.space import NetworkSize
from raysubset.seeds import generator
from raysubset.subselnet.graphs import CellGraphs, Drawing, breadth_first, check_count, padded

OPERATIONS = (INPUT, "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3", OUTPUT)
"""What a vertex carries, in the order of the one-hot code."""

_CODE = {operation: code for code, operation in enumerate(OPERATIONS)}
_BLOCK = 2048  # matrices drawn at once: 3 of 1,000 of seven vertices are live and small enough


class Encoded101:
    """NAS-Bench-101 as an `EncodedSpace`: a cell is one graph of at most seven vertices."""

    name = "nb101"
    operations = OPERATIONS
    parts = 1
    least = NetworkSize(channels=5, cells=1)  # five vertices may share a cell's channels
    twins = ("conv3x3-bn-relu~0+maxpool3x3~0~1+output~0~1~2", "maxpool3x3~0+conv3x3-bn-relu~0~1+output~0~1~2")

    def parse(self, text: str) -> Cell101:
        """See `Cell101.parse`."""
        return Cell101.parse(text)

    def canonical(self, cell: Cell101) -> Cell101:
        """See `canonical`."""
        return canonical(cell)

    def check(self, cells: Sequence[Cell101]) -> None:
        """See `check_cells`."""
        check_cells(cells)

    def graphs(self, cells: Sequence[Cell101]) -> CellGraphs:
        """See `cell_graphs`."""
        return cell_graphs(cells)

    def draw(self, count: int, seed: int) -> tuple[Cell101, ...]:
        """See `training_cells`."""
        return training_cells(count, seed)

    def parameters(self, cell: Cell101) -> int:
        """See `parameter_count`."""
        return parameter_count(cell)

    def builder(self, cell: str, size: NetworkSize) -> ModelBuilder:
        """See `CellModel`."""
        return CellModel(cell, size)


def cell_graphs(cells: Sequence[Cell101]) -> CellGraphs:
    """Pad cells to tensors of seven slots.

    Args:
        cells: At least one. Isomorphic cells give equal graphs.

    Raises:
        ArchitectureError: There is none, or one is not a NAS-Bench-101 cell; names its position. Nothing is ever
            cut to fit.

    Cost: about 0.3 ms a cell, 0.5 kB each.
    """
    check_cells(cells)
    drawings = [
        Drawing([_CODE[op] for op in cell.ops], cell.matrix, breadth_first(cell.matrix))
        for cell in map(canonical, cells)
    ]
    return padded(drawings, MAX_VERTICES)


def check_cells(cells: Sequence[Cell101]) -> None:
    """Raise `ArchitectureError` if there is no cell, or one is not a NAS-Bench-101 cell; names its position."""
    if not cells:
        raise ArchitectureError("There is no cell to make a graph of, need at least one.")
    for position, cell in enumerate(cells):
        if not isinstance(cell, Cell101):
            raise ArchitectureError(
                f"Cell {position} is a {type(cell).__name__}, need a Cell101: graphs are made of NAS-Bench-101 "
                f"cells alone (at most {MAX_VERTICES} vertices, operations {', '.join(OPS)})."
            )


def canonical(cell: Cell101) -> Cell101:
    """Return the cell in the benchmark's numbering: equal for isomorphic cells, and isomorphic to ``cell``.

    Cost: at most 120 numberings at once, about 0.2 ms.
    """
    orders = _numberings(len(cell.ops))
    matrix = np.array(cell.matrix)
    labels = np.array([OPS.index(op) if op in OPS else 0 for op in cell.ops])
    renumbered = matrix[orders[:, :, None], orders[:, None, :]]
    backward = np.tril(renumbered).any(axis=(1, 2))
    targets, sources = np.tril_indices(len(cell.ops), -1)  # column by column of the transposed triangle
    bits = renumbered[:, sources, targets] @ (1 << np.arange(len(sources)))
    letters = labels[orders] @ (len(OPS) ** np.arange(len(cell.ops))[::-1])
    first = orders[np.lexsort((letters, bits, backward))[0]]
    return Cell101.of(matrix[np.ix_(first, first)], [cell.ops[vertex] for vertex in first])


def training_cells(count: int, seed: int) -> tuple[Cell101, ...]:
    """Draw ``count`` different graphs of the space, in canonical numbering.

    A cell has 2 to 7 vertices, all numbers as likely, and any operations. Each edge is there with probability 1/2;
    drawn again is what leaves a vertex on no path from input to output, or has more than 9 edges. (Pruning such
    vertices instead would hardly ever leave seven, which 85 of 100 cells of the space have.) Graphs that were
    drawn before do not count, and there are few small ones, so two thirds of 3000 have six or seven vertices.

    Args:
        count: In [1, 100,000].
        seed: The experiment's; a greater count begins with the same cells.

    Raises:
        OptionsError: ``count`` out of range.

    Cost: about 0.6 ms a cell.
    """
    check_count(count)
    rng = generator(seed, "encoder", "cells")
    matrices = [
        _live_matrices(size, generator(seed, "encoder", "cells", size)) for size in range(MAX_VERTICES + 1)
    ]
    found: dict[Cell101, None] = {}
    while len(found) < count:
        size = int(rng.integers(2, MAX_VERTICES + 1))
        interior = [OPS[k] for k in rng.integers(len(OPS), size=size - 2)]
        found[canonical(Cell101.of(next(matrices[size]), [INPUT, *interior, OUTPUT]))] = None
    return tuple(found)


def _live_matrices(size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield matrices of at most 9 edges in which every vertex lies on a path from the first to the last."""
    while True:
        drawn = np.triu(rng.integers(2, size=(_BLOCK, size, size)), 1)
        # in an acyclic graph it is enough that all but the first have an edge in, and all but the last one out
        live = np.all(drawn.sum(axis=1)[:, 1:], axis=1) & np.all(drawn.sum(axis=2)[:, :-1], axis=1)
        yield from drawn[live & (drawn.sum(axis=(1, 2)) <= MAX_EDGES)]


@cache
def _numberings(size: int) -> NDArray[np.int64]:
    """Return int64[(size - 2)!, size]: all orders of the vertices, input and output in their places."""
    return np.array([(0, *interior, size - 1) for interior in permutations(range(1, size - 1))])
