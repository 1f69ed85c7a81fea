"""NAS-Bench-101: cells that are small labelled graphs from an input to an output (Ying et al., ICML 2019 [1]).

A cell is a directed acyclic graph of at most 7 vertices and 9 edges; all vertices between the input, the first,
and the output, the last, carry one of three operations. Its name lists vertex by vertex the operation and where
its input comes from, vertex 0 being the cell's input:

    conv3x3-bn-relu~0+maxpool3x3~0~1+output~1~2

References:
    [1] arXiv:1902.09635, section 2; github.com/google-research/nasbench: graph_util.py for the hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from raysubset.errors import ArchitectureError

OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
INPUT, OUTPUT = "input", "output"
MAX_VERTICES = 7
MAX_EDGES = 9

Matrix = tuple[tuple[int, ...], ...]
"""matrix[source][target] is 1 where there is an edge, else 0."""

_LABELS = {op: label for label, op in enumerate(OPS)} | {INPUT: -1, OUTPUT: -2}  # the benchmark's, in its hash


@dataclass(frozen=True, slots=True)
class Cell101:
    """A cell without the vertices that lie on no path from its input to its output.

    Such vertices are taken out of whatever a cell is made from, and the limits hold for what is left, as in the
    benchmark. Cells are equal if matrices and operations are; renumbered vertices make another cell, with the
    same `hash`.

    Attributes:
        matrix: V rows of V entries 0 or 1, upper triangular, 2 <= V <= 7, at most 9 of them 1.
        ops: V labels: "input", V - 2 of `OPS`, "output".

    Raises:
        ArchitectureError: Not square, entries other than 0 and 1, an edge that does not lead to a later vertex,
            labels that do not fit, an unknown operation, no path from input to output, too many vertices or edges;
            names the position.
    """

    matrix: Matrix
    ops: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_matrix(self.matrix)
        _check_labels(self.ops, len(self.matrix))
        kept = live_vertices(self.matrix)
        if not kept:
            raise ArchitectureError(
                f"A NAS-Bench-101 cell needs a path from vertex 0, the input, to vertex {len(self.ops) - 1}, the "
                f"output; its edges are {_listed(_edges(self.matrix))}."
            )
        object.__setattr__(self, "matrix", tuple(tuple(int(self.matrix[v][w]) for w in kept) for v in kept))
        object.__setattr__(self, "ops", tuple(self.ops[v] for v in kept))
        for limit, count, what in ((MAX_VERTICES, len(kept), "vertices"), (MAX_EDGES, len(self.edges), "edges")):
            if count > limit:
                raise ArchitectureError(
                    f"A NAS-Bench-101 cell has at most {limit} {what}, here are {count} on paths from input to "
                    f"output: {_listed(self.edges)}."
                )

    @classmethod
    def of(cls, matrix: ArrayLike, ops: Sequence[str]) -> Self:
        """Make a cell of what a file or an array holds; see the class for what is checked and left out.

        Args:
            matrix: Shape (V, V), entries 0 or 1 of any number type.
            ops: V labels.
        """
        entries = np.asarray(matrix)
        if entries.ndim != 2:
            raise ArchitectureError(f"A NAS-Bench-101 matrix has two axes, got shape {entries.shape}.")
        return cls(tuple(map(tuple, entries.tolist())), tuple(ops))

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """(source, target) of every edge, by source."""
        return tuple(_edges(self.matrix))

    @property
    def hash(self) -> str:
        """The benchmark's MD5 of the labelled graph; equal for cells that differ in the order of vertices alone.

        Among cells of at most 7 vertices and 9 edges no two different graphs share one ([1], section 2.1).
        Cost: V^2 digests, about 0.2 ms.
        """
        return graph_hash(self.matrix, [_LABELS[op] for op in self.ops])

    def __str__(self) -> str:
        columns = zip(*self.matrix, strict=True)
        sources = ([str(v) for v, edge in enumerate(column) if edge] for column in columns)
        return "+".join("~".join((op, *before)) for op, before in zip(self.ops, sources, strict=True) if before)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cell's name.

        Raises:
            ArchitectureError: It is not one, or names a vertex that is on no path from input to output; says at
                which vertex and character.
        """
        vertices = text.split("+")
        matrix = np.zeros((len(vertices) + 1,) * 2, dtype=np.int64)
        ops, position = [INPUT], 0
        for vertex, part in enumerate(vertices, 1):
            where = f"NAS-Bench-101 cell {text!r}, vertex {vertex}, character {position}"
            op, *sources = part.split("~")
            known = (OUTPUT,) if vertex == len(vertices) else OPS
            if op not in known:
                raise ArchitectureError(f"{where}: unknown operation {op!r}. Known here: {', '.join(known)}.")
            matrix[_sources(sources, vertex, where, position + len(op) + 1), vertex] = 1
            ops.append(op)
            position += len(part) + 1
        cell = cls.of(matrix, ops)
        if len(cell.ops) < len(ops):
            dead = sorted(set(range(len(ops))) - set(live_vertices(matrix.tolist())))
            raise ArchitectureError(
                f"NAS-Bench-101 cell {text!r}: no path from input to output goes through vertices {_listed(dead)} "
                f"(0 is the input). Without them it is {str(cell)!r}."
            )
        return cell


def live_vertices(matrix: Sequence[Sequence[int]]) -> list[int]:
    """Return the vertices on paths from the first to the last, ascending; none if there is no path.

    Args:
        matrix: Upper triangular, so one pass in each direction reaches everything.

    Cost: O(V^2), about 20 µs.
    """
    last = len(matrix) - 1
    reached = {0}
    for target in range(1, last + 1):
        if any(matrix[source][target] for source in reached):
            reached.add(target)
    reaching = {last}
    for source in range(last - 1, -1, -1):
        if any(matrix[source][target] for target in reaching):
            reaching.add(source)
    live = sorted(reached & reaching)
    return live if {0, last} <= set(live) else []


def graph_hash(matrix: Sequence[Sequence[int]], labels: Sequence[int]) -> str:
    """Return the benchmark's hash of a labelled graph: V rounds in which each vertex hashes its neighbourhood.

    Args:
        matrix: (V, V), entries 0 or 1.
        labels: V integers: -1 the input, -2 the output, else the position in `OPS`.

    Returns:
        32 hexadecimal digits.
    """
    vertices = range(len(labels))
    into = [[w for w in vertices if matrix[w][v]] for v in vertices]
    out = [[w for w in vertices if matrix[v][w]] for v in vertices]
    hashes = [_digest(str((len(out[v]), len(into[v]), labels[v]))) for v in vertices]
    for _ in vertices:
        hashes = [
            _digest(
                "".join(sorted([hashes[w] for w in into[v]]))
                + "|"
                + "".join(sorted([hashes[w] for w in out[v]]))
                + "|"
                + hashes[v]
            )
            for v in vertices
        ]
    return _digest(str(sorted(hashes)))


def _digest(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def _check_matrix(matrix: Matrix) -> None:
    size = len(matrix)
    if size < 2 or any(len(row) != size for row in matrix):
        raise ArchitectureError(
            f"A NAS-Bench-101 matrix is square with 2 to {MAX_VERTICES} rows, got rows of lengths "
            f"{_listed(len(row) for row in matrix)}."
        )
    for source, row in enumerate(matrix):
        for target, entry in enumerate(row):
            where = f"NAS-Bench-101 matrix, row {source}, column {target}"
            if entry not in (0, 1):
                raise ArchitectureError(f"{where}: {entry!r}, need 0 or 1.")
            if entry and target <= source:
                raise ArchitectureError(
                    f"{where}: an edge that does not lead to a later vertex; the matrix is upper triangular with "
                    "zeros on the diagonal."
                )


def _check_labels(ops: tuple[str, ...], size: int) -> None:
    if len(ops) != size:
        raise ArchitectureError(
            f"A NAS-Bench-101 cell of {size} vertices needs {size} labels, got {len(ops)}: {_listed(ops)}."
        )
    for vertex, op in enumerate(ops):
        known = (INPUT,) if vertex == 0 else (OUTPUT,) if vertex == size - 1 else OPS
        if op not in known:
            raise ArchitectureError(
                f"NAS-Bench-101 cell, vertex {vertex} of {size - 1}: unknown operation {op!r}. Known here: "
                f"{', '.join(known)}."
            )


def _sources(texts: list[str], vertex: int, where: str, position: int) -> list[int]:
    """Return the sources of a vertex; ``position`` is where the first of them starts."""
    if not texts:
        raise ArchitectureError(f"{where}: it has no input, need operation~source~...")
    sources: list[int] = []
    for text in texts:
        least = sources[-1] + 1 if sources else 0
        if not (text.isascii() and text.isdigit() and str(int(text)) == text and least <= int(text) < vertex):
            raise ArchitectureError(
                f"{where}: source {text!r} at character {position}, need vertices before it in ascending order, "
                f"so one of {_listed(range(least, vertex)) or 'none'}."
            )
        sources.append(int(text))
        position += len(text) + 1
    return sources


def _edges(matrix: Matrix) -> Iterator[tuple[int, int]]:
    return ((v, w) for v, row in enumerate(matrix) for w, edge in enumerate(row) if edge)


def _listed(items: Iterator[object] | Sequence[object]) -> str:
    return ", ".join("->".join(map(str, item)) if isinstance(item, tuple) else str(item) for item in items)
