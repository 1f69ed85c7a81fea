"""Genotypes of the DARTS space as padded tensors: two graphs each, the normal and the reduction cell.

A cell is drawn as arch2vec draws it [1]: two inputs, a vertex for each of the eight operations, the output. An
operation on an input hangs on that input; one on a node hangs on both operations whose sum the node is; all eight
lead to the output, which is the four nodes side by side. There are eleven labels, with the "none" of a search that
no genotype has. Which two operations are summed shows only where something reads the sum.

One encoder reads cells one at a time. What stands for a genotype are the vectors of both cells side by side: row t
is that of the vertex found t-th in the normal cell, then that of the vertex found t-th in the reduction cell. A
search would find the output right after the first operation, wherever that is; it is put last, so that its row is
the pair of outputs. The mean is the pair of means. Exchanging the cells makes another genotype.

The four nodes of a cell may be numbered in several ways. Of all those in which a node reads earlier ones, the
first in the order of (input, operation), node by node, is taken.

References:
    [1] Yan, Zheng, Ao, Zeng, Zhang, 2020, arXiv:2006.06936, appendix.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from itertools import permutations
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from raysubset.errors import ArchitectureError
from raysubset.models.catalog import ModelBuilder
from raysubset.nas.darts_operations import operation
from raysubset.nas.darts_search import reductions
from raysubset.nas.genotype import CONCAT, INPUTS, NODES, OPS, Edge, Genotype
from raysubset.nas.space import NetworkSize
from raysubset.nas.space_darts import PAPER_SIZE, SpaceDarts
from raysubset.seeds import generator
from raysubset.subselnet.graphs import CellGraphs, Drawing, breadth_first, check_count, padded

INPUT_LABELS, OUTPUT = ("c_k-2", "c_k-1"), "output"
OPERATIONS = (*INPUT_LABELS, *OPS, OUTPUT)
"""What a vertex carries, in the order of the one-hot code."""
VERTICES = INPUTS + 2 * NODES + 1

_CODE = {label: code for code, label in enumerate(OPERATIONS)}


class EncodedDarts:
    """The DARTS space as an `EncodedSpace`: a cell is a genotype, two graphs of eleven vertices."""

    name = "darts"
    operations = OPERATIONS
    parts = 2
    least = NetworkSize(channels=1, cells=3)  # two of a network's cells reduce; with fewer none is normal
    twins = None  # two operations of a node read different inputs, so no neighbours share all others

    def parse(self, text: str) -> Genotype:
        """See `Genotype.parse`."""
        return Genotype.parse(text)

    def canonical(self, cell: Genotype) -> Genotype:
        """Return the genotype with the nodes of both cells numbered anew, see the module."""
        return Genotype(normal=_renumbered(cell.normal), reduce=_renumbered(cell.reduce))

    def check(self, cells: Sequence[Genotype]) -> None:
        """Raise `ArchitectureError` if there is no cell, or one is no `Genotype`; names its position."""
        if not cells:
            raise ArchitectureError("There is no cell to make a graph of, need at least one.")
        for position, cell in enumerate(cells):
            if not isinstance(cell, Genotype):
                raise ArchitectureError(
                    f"Cell {position} is a {type(cell).__name__}, need a Genotype: graphs are made of DARTS "
                    f"genotypes alone (two cells of {NODES} nodes, operations {', '.join(OPS[1:])})."
                )

    def graphs(self, cells: Sequence[Genotype]) -> CellGraphs:
        """Return the normal, then the reduction cell of each genotype in turn.

        Args:
            cells: At least one. Genotypes that differ in the numbering of nodes alone give equal graphs.

        Raises:
            ArchitectureError: See `check`. Nothing is ever cut to fit.

        Cost: about 0.3 ms a genotype, 1.6 kB each.
        """
        self.check(cells)
        drawings = [_drawing(pairs) for one in map(self.canonical, cells) for pairs in (one.normal, one.reduce)]
        return padded(drawings, VERTICES)

    def draw(self, count: int, seed: int) -> tuple[Genotype, ...]:
        """Draw ``count`` different genotypes, all as likely.

        Args:
            count: In [1, 100,000].
            seed: The experiment's; a greater count begins with the same genotypes.

        Raises:
            OptionsError: ``count`` out of range.

        Cost: about 0.2 ms a genotype.
        """
        check_count(count)
        space, rng = SpaceDarts(), generator(seed, "encoder", "cells", self.name)
        found: dict[Genotype, None] = {}
        while len(found) < count:
            found[self.canonical(space.draw(rng))] = None
        return tuple(found)

    def parameters(self, cell: Genotype) -> int:
        """Return how many numbers the operations of its network have, at the paper's size."""
        return operation_parameters(cell, PAPER_SIZE)

    def builder(self, cell: str, size: NetworkSize) -> ModelBuilder:
        """Return what builds `DartsNetwork` without auxiliary head and drop path; ``size.cells`` are all cells."""
        return partial(_network, Genotype.parse(cell), size)


def operation_parameters(genotype: Genotype, size: NetworkSize) -> int:
    """Return the parameters of all operations of a genotype's network; what all genotypes share is left out."""
    channels, count, stages = size.channels, 0, reductions(size.cells)
    for position in range(size.cells):
        halves = position in stages
        channels *= 2 if halves else 1
        for op, source in genotype.reduce if halves else genotype.normal:
            count += _parameters(op, channels, 2 if halves and source < INPUTS else 1)
    return count


@cache
def _parameters(op: str, channels: int, stride: Literal[1, 2]) -> int:
    with torch.device("meta"):  # nothing is allocated or drawn
        return sum(weights.numel() for weights in operation(op, channels, stride, affine=True).parameters())


def _network(genotype: Genotype, size: NetworkSize, num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    return SpaceDarts().network(genotype, num_classes, input_shape, size)


def _drawing(pairs: tuple[Edge, ...]) -> Drawing:
    """Return a cell's graph; pair p is vertex p + 2."""
    matrix: NDArray[np.int64] = np.zeros((VERTICES, VERTICES), dtype=np.int64)
    for vertex, (_, source) in enumerate(pairs, INPUTS):
        summed = INPUTS + 2 * (source - INPUTS)
        matrix[[source] if source < INPUTS else [summed, summed + 1], vertex] = 1
        matrix[vertex, -1] = 1
    labels = (*INPUT_LABELS, *(op for op, _ in pairs), OUTPUT)
    order = [*breadth_first(matrix[:-1, :-1].tolist(), INPUTS), VERTICES - 1]
    return Drawing([_CODE[label] for label in labels], matrix.tolist(), order)


def _renumbered(pairs: tuple[Edge, ...]) -> tuple[Edge, ...]:
    """Return a cell's pairs with its nodes in the canonical order."""
    kept = (moved for order in permutations(CONCAT) if (moved := _in_order(pairs, order)) is not None)
    first = min(kept)
    return tuple((OPS[op], source) for source, op in first)


def _in_order(pairs: tuple[Edge, ...], order: tuple[int, ...]) -> tuple[tuple[int, int], ...] | None:
    """Return (input, operation) of each pair with the nodes in ``order``; None if one would read a later node."""
    number = {node: place for place, node in enumerate((*range(INPUTS), *order))}
    moved: list[tuple[int, int]] = []
    for node in order:
        edges = pairs[2 * (node - INPUTS) : 2 * (node - INPUTS) + 2]
        if any(number[source] >= number[node] for _, source in edges):
            return None
        moved += sorted((number[source], OPS.index(op)) for op, source in edges)
    return tuple(moved)
