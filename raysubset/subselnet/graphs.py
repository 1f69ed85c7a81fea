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

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysubset.errors import ArchitectureError
from raysubset.nas.cell101 import INPUT, MAX_VERTICES, OPS, OUTPUT, Cell101, Matrix

OPERATIONS = (INPUT, "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3", OUTPUT)
"""What a vertex carries, in the order of the one-hot code."""

PAD = -1

_CODE = {operation: code for code, operation in enumerate(OPERATIONS)}


@dataclass(frozen=True, slots=True, eq=False)
class CellGraphs:
    """B cells, each padded to N = 7 slots; a cell's V vertices take the first V of them, in canonical numbering.

    Attributes:
        operations: int64[B, N], positions in `OPERATIONS`; -1 in padded slots.
        adjacency: float32[B, N, N], 1 at [source, target] of an edge, strictly upper triangular.
        mask: bool[B, N], true where there is a vertex.
        order: int64[B, N], slots as a breadth-first search from the input finds them, then the padded ones.
        sizes: int64[B], V in [2, 7].
    """

    operations: Tensor
    adjacency: Tensor
    mask: Tensor
    order: Tensor
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.sizes)

    def rows(self, which: Tensor) -> CellGraphs:
        """Return the cells at int64[k] positions, in that order, repeats allowed."""
        return CellGraphs(*(getattr(self, field.name)[which] for field in fields(self)))


def cell_graphs(cells: Sequence[Cell101]) -> CellGraphs:
    """Pad cells to tensors.

    Args:
        cells: At least one. Isomorphic cells give equal graphs.

    Raises:
        ArchitectureError: There is none, or one is not a NAS-Bench-101 cell; names its position. Nothing is ever
            cut to fit.

    Cost: about 0.3 ms a cell, 0.5 kB each.
    """
    check_cells(cells)
    operations = np.full((len(cells), MAX_VERTICES), PAD, dtype=np.int64)
    adjacency = np.zeros((len(cells), MAX_VERTICES, MAX_VERTICES), dtype=np.float32)
    order = np.tile(np.arange(MAX_VERTICES), (len(cells), 1))
    sizes = np.array([len(cell.ops) for cell in cells])
    for row, cell in enumerate(map(canonical, cells)):
        size = sizes[row]
        operations[row, :size] = [_CODE[op] for op in cell.ops]
        adjacency[row, :size, :size] = cell.matrix
        order[row, :size] = breadth_first(cell.matrix)
    mask = operations != PAD
    return CellGraphs(*map(torch.from_numpy, (operations, adjacency, mask, order, sizes)))


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


def breadth_first(matrix: Matrix) -> list[int]:
    """Return the vertices in the order of a breadth-first search along edges from vertex 0, neighbours ascending.

    Args:
        matrix: Of a `Cell101`, in which every vertex can be reached.
    """
    found, waiting = [0], deque([0])
    while waiting:
        source = waiting.popleft()
        for target, edge in enumerate(matrix[source]):
            if edge and target not in found:
                found.append(target)
                waiting.append(target)
    return found


@cache
def _numberings(size: int) -> NDArray[np.int64]:
    """Return int64[(size - 2)!, size]: all orders of the vertices, input and output in their places."""
    return np.array([(0, *interior, size - 1) for interior in permutations(range(1, size - 1))])
