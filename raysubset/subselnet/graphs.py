"""Cells as padded tensors: what an encoder reads, whatever the space they are of.

References:
    [1] Jain, Nandy, Aggarwal, Tendulkar, Iyer, De, 2023, arXiv:2409.12255, section 4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from raysubset.errors import OptionsError

PAD = -1
MOST_DRAWN = 100_000
"""Cells drawn at once; of NAS-Bench-101's 423,624 hardly any draw is new near the end."""


@dataclass(frozen=True, slots=True, eq=False)
class CellGraphs:
    """B graphs, each padded to N slots; a graph's V vertices take the first V of them, in canonical numbering.

    Attributes:
        operations: int64[B, N], positions among the space's operations; -1 in padded slots.
        adjacency: float32[B, N, N], 1 at [source, target] of an edge, strictly upper triangular.
        mask: bool[B, N], true where there is a vertex.
        order: int64[B, N], slots as a breadth-first search from the input finds them, then the padded ones; the
            parts of one cell have as many vertices, and their outputs the same place.
        sizes: int64[B], V in [2, N].
    """

    operations: Tensor
    adjacency: Tensor
    mask: Tensor
    order: Tensor
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.sizes)

    def rows(self, which: Tensor) -> CellGraphs:
        """Return the graphs at int64[k] positions, in that order, repeats allowed."""
        return CellGraphs(*(getattr(self, field.name)[which] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Drawing:
    """One graph before it is padded.

    Attributes:
        codes: What its V vertices carry, positions among the space's operations.
        matrix: V rows of V, 1 at [source][target] of an edge; edges lead to later vertices.
        order: The V vertices as they shall be read.
    """

    codes: Sequence[int]
    matrix: Sequence[Sequence[int]]
    order: Sequence[int]


def padded(drawings: Sequence[Drawing], slots: int) -> CellGraphs:
    """Return graphs of at most ``slots`` vertices each as tensors of that many; none is ever cut to fit."""
    operations = np.full((len(drawings), slots), PAD, dtype=np.int64)
    adjacency = np.zeros((len(drawings), slots, slots), dtype=np.float32)
    order = np.tile(np.arange(slots), (len(drawings), 1))
    sizes = np.array([len(drawing.codes) for drawing in drawings])
    for row, (size, drawing) in enumerate(zip(sizes, drawings, strict=True)):
        operations[row, :size] = drawing.codes
        adjacency[row, :size, :size] = drawing.matrix
        order[row, :size] = drawing.order
    mask = operations != PAD
    return CellGraphs(*map(torch.from_numpy, (operations, adjacency, mask, order, sizes)))


def breadth_first(matrix: Sequence[Sequence[int]], inputs: int = 1) -> list[int]:
    """Return the vertices in the order of a breadth-first search along edges, neighbours ascending.

    Args:
        matrix: In which every vertex can be reached from the inputs.
        inputs: The search begins with so many of the first vertices.
    """
    found = list(range(inputs))
    waiting = deque(found)
    while waiting:
        source = waiting.popleft()
        for target, edge in enumerate(matrix[source]):
            if edge and target not in found:
                found.append(target)
                waiting.append(target)
    return found


def check_count(count: int) -> None:
    """Refuse a number of cells to draw outside [1, 100,000].

    Raises:
        OptionsError: It is.
    """
    if not 1 <= count <= MOST_DRAWN:
        raise OptionsError(f"{count!r} cells cannot be drawn, need 1 to {MOST_DRAWN}.")
