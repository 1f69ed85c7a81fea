"""The DARTS space: two cells of four nodes, each the sum of two operations on what stands before it.

Three things are decided of a node: which two it reads, what is done to the lower, and to the higher of them. That
makes (1 * 3 * 6 * 10 * 7^8)^2, about 10^18 genotypes ([1], appendix A.1 counts alike).

References:
    [1] Liu, Simonyan, Yang, DARTS, ICLR 2019, arXiv:1806.09055.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from raysubset.nas.darts_network import DartsNetwork
from raysubset.nas.genotype import CONCAT, NONE, OPS, Edge, Genotype
from raysubset.nas.space import NetworkSize
from raysubset.report.cell_layout import CellPicture

PAPER_SIZE = NetworkSize(channels=36, cells=20)
_OPS = tuple(op for position, op in enumerate(OPS) if position != NONE)
_SOURCES = [tuple(combinations(range(node), 2)) for _ in ("normal", "reduce") for node in CONCAT]
_CHOICES = np.array([(len(sources), len(_OPS), len(_OPS)) for sources in _SOURCES]).ravel()
_FREE = np.flatnonzero(_CHOICES > 1)  # a cell's first node has but the two inputs to read


class SpaceDarts:
    """A `CellSpace` of genotypes in canonical form, so that equal architectures are equal objects."""

    name = "darts"

    def draw(self, rng: np.random.Generator) -> Genotype:
        """Draw every genotype with equal chances: the random baseline of [1]."""
        return _genotype(rng.integers(_CHOICES))

    def mutate(self, cell: Genotype, rng: np.random.Generator, rate: float | None = None) -> Genotype:
        """Decide one thing otherwise, or draw each anew (the old choice included) with probability ``rate``."""
        decisions = _decisions(cell)
        if rate is None:
            at = rng.choice(_FREE)
            decisions[at] = (decisions[at] + 1 + rng.integers(_CHOICES[at] - 1)) % _CHOICES[at]
        else:
            decisions = np.where(rng.random(len(_CHOICES)) < rate, rng.integers(_CHOICES), decisions)
        return _genotype(decisions)

    def cross(self, first: Genotype, second: Genotype, rng: np.random.Generator) -> Genotype:
        """Take each decision from one parent, with equal chances."""
        return _genotype(np.where(rng.random(len(_CHOICES)) < 0.5, _decisions(first), _decisions(second)))

    def parse(self, text: str) -> Genotype:
        """See `Genotype.parse`."""
        return Genotype.parse(text)

    def network(
        self, cell: Genotype, num_classes: int, input_shape: tuple[int, ...], size: NetworkSize | None = None
    ) -> nn.Module:
        """Return the network without auxiliary head and drop path, which want a loop that knows of them.

        ``size.cells`` are all cells, not those of a stage; the paper's size is 36 channels, 20 cells. See
        `DartsNetwork`.
        """
        size = size or PAPER_SIZE
        return DartsNetwork(
            cell, num_classes, input_shape, size.channels, size.cells, auxiliary=False, drop_path=0.0
        )


def genotype_pictures(genotype: Genotype) -> tuple[CellPicture, CellPicture]:
    """Return the normal and the reduction cell for `report.cell_figure.draw_cells`."""

    def picture(title: str, pairs: tuple[Edge, ...]) -> CellPicture:
        nodes = ("cell k-2", "cell k-1", *(str(node) for node in CONCAT), "output")
        edges = [(source, CONCAT[position // 2], op) for position, (op, source) in enumerate(pairs)]
        return CellPicture(title, nodes, (*edges, *((node, len(nodes) - 1, "") for node in CONCAT)))

    return picture("normal cell", genotype.normal), picture("reduction cell", genotype.reduce)


def _decisions(genotype: Genotype) -> NDArray[np.int64]:
    """Return int64[24]: of each node its sources' position in `_SOURCES`, and its operations' in `_OPS`."""
    canonical = genotype.canonical
    pairs = canonical.normal + canonical.reduce
    decisions: list[int] = []
    for sources, (low_op, low), (high_op, high) in zip(_SOURCES, pairs[::2], pairs[1::2], strict=True):
        decisions += [sources.index((low, high)), _OPS.index(low_op), _OPS.index(high_op)]
    return np.array(decisions)


def _genotype(decisions: NDArray[np.int64]) -> Genotype:
    """Inverse of `_decisions`."""
    pairs: list[Edge] = []
    for sources, (which, low, high) in zip(_SOURCES, decisions.reshape(-1, 3).tolist(), strict=True):
        pairs += [(_OPS[low], sources[which][0]), (_OPS[high], sources[which][1])]
    half = len(pairs) // 2
    return Genotype(normal=tuple(pairs[:half]), reduce=tuple(pairs[half:]))
