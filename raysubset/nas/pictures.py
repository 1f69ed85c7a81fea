"""Cells of every space as `report.cell_figure` draws them."""

from __future__ import annotations

from collections.abc import Hashable

from raysubset.nas.cell101 import Cell101
from raysubset.nas.cell201 import EDGES, OPS, Cell201
from raysubset.nas.genotype import Genotype
from raysubset.nas.space_darts import genotype_pictures
from raysubset.report.cell_layout import CellPicture


def cell_pictures(cell: Hashable, title: str) -> list[CellPicture]:
    """Return what to draw of a cell: one picture, of a genotype two.

    Args:
        cell: A `Cell201`, `Cell101` or `Genotype`.
        title: Stands above it (a genotype's cells have titles of their own).
    """
    match cell:
        case Genotype():
            return list(genotype_pictures(cell))
        case Cell101():
            edges = [(source, target, "") for source, target in cell.edges]
            return [CellPicture(title, cell.ops, tuple(edges))]
        case Cell201():
            nodes = ("input", "1", "2", "output")
            drawn = [(source, node, OPS[op]) for (node, source), op in zip(EDGES, cell.ops, strict=True)]
            return [CellPicture(title, nodes, tuple(drawn))]
    raise TypeError(f"{type(cell).__name__} is no cell of a known space")
