"""The 15,625 cells of NAS-Bench-201 as a space to search."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import nn

from raysubset.nas.cell201 import CELLS, EDGES, OPS, Cell201
from raysubset.nas.network201 import PAPER_SIZE, network201
from raysubset.nas.space import NetworkSize


class Space201:
    """A `CellSpace`: each edge's operation is a decision of its own."""

    name = "nb201"

    def __len__(self) -> int:
        return CELLS

    def __iter__(self) -> Iterator[Cell201]:
        """Yield every cell, by code."""
        return map(Cell201.of_code, range(CELLS))

    def draw(self, rng: np.random.Generator) -> Cell201:
        """Draw every cell with equal chances."""
        return Cell201.of_code(int(rng.integers(CELLS)))

    def mutate(self, cell: Cell201, rng: np.random.Generator, rate: float | None = None) -> Cell201:
        """Change one edge's operation to another, or draw each anew (among all five) with probability ``rate``."""
        ops = np.array(cell.ops, dtype=np.int64)
        if rate is None:
            edge = int(rng.integers(len(EDGES)))
            ops[edge] = (ops[edge] + 1 + rng.integers(len(OPS) - 1)) % len(OPS)
        else:
            ops = np.where(rng.random(len(EDGES)) < rate, rng.integers(len(OPS), size=len(EDGES)), ops)
        return _cell(ops)

    def cross(self, first: Cell201, second: Cell201, rng: np.random.Generator) -> Cell201:
        """Take each edge from one parent, with equal chances."""
        return _cell(np.where(rng.random(len(EDGES)) < 0.5, first.ops, second.ops))

    def parse(self, text: str) -> Cell201:
        """See `Cell201.parse`."""
        return Cell201.parse(text)

    def network(
        self, cell: Cell201, num_classes: int, input_shape: tuple[int, ...], size: NetworkSize | None = None
    ) -> nn.Module:
        """See `network201`."""
        return network201(cell, num_classes, input_shape, size or PAPER_SIZE)


def _cell(ops: NDArray[np.int64]) -> Cell201:
    return Cell201(tuple(int(op) for op in ops))  # type: ignore[arg-type]  # six of them
