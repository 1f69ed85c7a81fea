"""The 423,624 cells of NAS-Bench-101 as a space to search.

A cell has 26 decisions: whether there is an edge, for each of the 21 pairs of seven vertices, and the operation of
each of the five between input and output. Many settings of them are no cell (too many edges, no path), and many
are the same one, so what is drawn is drawn again until it is a cell, as the benchmark's own searches do [1].

References:
    [1] Ying et al., 2019, arXiv:1902.09635, section 3.4; github.com/google-research/nasbench, NASBench.ipynb
        (random_spec, mutate_spec).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from raysubset.nas.cell101 import INPUT, MAX_EDGES, MAX_VERTICES, OPS, OUTPUT, Cell101, live_vertices
from raysubset.nas.network101 import PAPER_SIZE, network101
from raysubset.nas.space import NetworkSize

_SOURCES, _TARGETS = np.triu_indices(MAX_VERTICES, k=1)
_EDGES = len(_SOURCES)
_INTERIOR = MAX_VERTICES - 2


class Space101:
    """A `CellSpace`; graphs that differ in the order of their vertices alone are different cells here."""

    name = "nb101"

    def draw(self, rng: np.random.Generator) -> Cell101:
        """Draw every decision with equal chances until they make a cell.

        So a cell's chance is how many of the 2^21 3^5 settings make it. That favours small cells: 1 draw in 10 is
        the bare edge and 3 in 1,000 have seven vertices, though 85 of 100 cells have. Three settings in four make
        a cell; cost about 0.15 ms.
        """
        while True:
            if (cell := _Decisions.drawn(rng).cell()) is not None:
                return cell

    def mutate(self, cell: Cell101, rng: np.random.Generator, rate: float | None = None) -> Cell101:
        """Flip one edge or change one operation; or draw each decision anew with probability ``rate``.

        A cell keeps no vertex that is on no path, so before the change its free vertices are put back: at random
        places among the others, each with a random operation, one edge from a random vertex before it and none to
        any after it. One flipped edge can then make it part of the cell.

        Args:
            cell: The parent.
            rng: Where the changes are drawn from.
            rate: In [0, 1]. The benchmark flips an edge with probability 1/7 and changes an operation with 1/5:
                about what a rate of 2/7 does. The child may be the parent.
        """
        while True:
            parent = _Decisions.around(cell, rng)
            child = (parent.with_one_changed(rng) if rate is None else parent.redrawn(rate, rng)).cell()
            if child is not None and (rate is not None or child != cell):
                return child

    def cross(self, first: Cell101, second: Cell101, rng: np.random.Generator) -> Cell101:
        """Take each decision from one parent, with equal chances, until they make a cell.

        Vertices are matched by their number, inputs with inputs, outputs with outputs; an operation that one
        parent lacks is the other's.
        """
        one, two = _Decisions.of(first), _Decisions.of(second)
        while True:
            if (cell := one.crossed(two, rng).cell()) is not None:
                return cell

    def parse(self, text: str) -> Cell101:
        """See `Cell101.parse`."""
        return Cell101.parse(text)

    def network(
        self, cell: Cell101, num_classes: int, input_shape: tuple[int, ...], size: NetworkSize | None = None
    ) -> nn.Module:
        """See `network101`."""
        return network101(cell, num_classes, input_shape, size or PAPER_SIZE)


@dataclass(frozen=True, slots=True)
class _Decisions:
    """A setting of all decisions, a cell or not.

    Attributes:
        edges: bool[21], of the pairs (source, target) by source.
        ops: int64[5], positions in `OPS`, -1 at vertices that a cell does not have.
    """

    edges: NDArray[np.bool_]
    ops: NDArray[np.int64]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> _Decisions:
        return cls(rng.random(_EDGES) < 0.5, rng.integers(len(OPS), size=_INTERIOR))

    @classmethod
    def of(cls, cell: Cell101) -> _Decisions:
        """Put the cell's vertices first, those it lacks between them and the output, without edges."""
        matrix, ops = _placed(cell, np.arange(1, len(cell.ops) - 1))
        return cls(matrix[_SOURCES, _TARGETS], ops)

    @classmethod
    def around(cls, cell: Cell101, rng: np.random.Generator) -> _Decisions:
        """Put vertices it lacks at random places, each with an edge from a random vertex before it."""
        places = 1 + np.sort(rng.choice(_INTERIOR, size=len(cell.ops) - 2, replace=False))
        matrix, ops = _placed(cell, places)
        for vertex in 1 + np.flatnonzero(ops < 0):
            matrix[rng.integers(vertex), vertex] = True
        return cls(matrix[_SOURCES, _TARGETS], np.where(ops < 0, rng.integers(len(OPS), size=_INTERIOR), ops))

    def with_one_changed(self, rng: np.random.Generator) -> _Decisions:
        edges, ops = self.edges.copy(), self.ops.copy()
        decision = rng.integers(_EDGES + _INTERIOR)
        if decision < _EDGES:
            edges[decision] ^= True
        else:
            ops[decision - _EDGES] += 1 + rng.integers(len(OPS) - 1)
        return _Decisions(edges, ops % len(OPS))

    def redrawn(self, rate: float, rng: np.random.Generator) -> _Decisions:
        anew = _Decisions.drawn(rng)
        edges = np.where(rng.random(_EDGES) < rate, anew.edges, self.edges)
        return _Decisions(edges, np.where(rng.random(_INTERIOR) < rate, anew.ops, self.ops))

    def crossed(self, other: _Decisions, rng: np.random.Generator) -> _Decisions:
        edges = np.where(rng.random(_EDGES) < 0.5, self.edges, other.edges)
        own = (rng.random(_INTERIOR) < 0.5) & (self.ops >= 0) | (other.ops < 0)
        return _Decisions(edges, np.where(own, self.ops, other.ops))

    def cell(self) -> Cell101 | None:
        """Return what the decisions make; None if it is no cell."""
        matrix = np.zeros((MAX_VERTICES, MAX_VERTICES), dtype=np.int64)
        matrix[_SOURCES, _TARGETS] = self.edges
        kept = live_vertices(matrix.tolist())
        live = matrix[np.ix_(kept, kept)]
        if not kept or live.sum() > MAX_EDGES:
            return None
        return Cell101.of(live, (INPUT, *(OPS[self.ops[vertex - 1]] for vertex in kept[1:-1]), OUTPUT))


def _placed(cell: Cell101, places: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return bool[7, 7] and int64[5] with the cell's interior vertices at ``places`` in 1..5, the rest empty."""
    where = np.concatenate(([0], places, [MAX_VERTICES - 1]))
    matrix = np.zeros((MAX_VERTICES, MAX_VERTICES), dtype=np.bool_)
    matrix[np.ix_(where, where)] = cell.matrix
    ops = np.full(_INTERIOR, -1)
    ops[places - 1] = [OPS.index(op) for op in cell.ops[1:-1]]
    return matrix, ops
