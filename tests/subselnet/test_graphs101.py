"""Cells as tensors: the search's published orders, equal graphs however a cell is numbered, what is refused."""

from __future__ import annotations

from itertools import islice, permutations

import numpy as np
import pytest
import torch

from raysubset.errors import ArchitectureError
from raysubset.nas.cell101 import Cell101
from raysubset.nas.enumerate101 import unique_cells
from raysubset.subselnet.graphs import breadth_first
from raysubset.subselnet.graphs101 import canonical, cell_graphs, training_cells

C1, C3, MP = "conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3"

# The benchmark's README cell; its order of search and that of the small one are the golden values of [spec 2.5],
# worked out by hand.
INCEPTION = [(0, 1), (0, 2), (0, 3), (0, 5), (1, 6), (2, 6), (3, 4), (4, 6), (5, 6)]


def made(edges: list[tuple[int, int]], interior: list[str]) -> Cell101:
    matrix = np.zeros((len(interior) + 2,) * 2, dtype=int)
    for edge in edges:
        matrix[edge] = 1
    return Cell101.of(matrix, ["input", *interior, "output"])


def renumbered(cell: Cell101) -> list[Cell101]:
    """Every other numbering of a cell whose edges lead to later vertices."""
    size, matrix = len(cell.ops), np.array(cell.matrix)
    found = []
    for interior in permutations(range(1, size - 1)):
        order = [0, *interior, size - 1]
        other = matrix[order][:, order]
        if not np.tril(other).any():
            found.append(Cell101.of(other, [cell.ops[v] for v in order]))
    return found


@pytest.mark.parametrize(
    ("edges", "interior", "expected"),
    [
        (INCEPTION, [C1, C3, C3, C3, MP], [0, 1, 2, 3, 5, 6, 4]),
        ([(0, 1), (0, 3), (1, 2), (2, 3)], [C3, MP], [0, 1, 3, 2]),
        ([(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5)], [C1, C3, MP, MP], [0, 1, 2, 3, 4, 5]),
        ([(0, 1)], [], [0, 1]),
    ],
)
def test_search_goes_by_levels_and_neighbours_ascend(
    edges: list[tuple[int, int]], interior: list[str], expected: list[int]
) -> None:
    assert breadth_first(made(edges, interior).matrix) == expected


def test_a_small_cell_by_hand() -> None:
    graphs = cell_graphs([made([(0, 1), (0, 3), (1, 2), (2, 3)], [C3, MP]), made([(0, 1)], [])])
    assert graphs.operations.tolist() == [[0, 2, 3, 4, -1, -1, -1], [0, 4, -1, -1, -1, -1, -1]]
    assert graphs.order.tolist() == [[0, 1, 3, 2, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6]]
    assert graphs.adjacency[0].nonzero().tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]
    assert graphs.mask.sum(dim=1).tolist() == graphs.sizes.tolist() == [4, 2]
    assert (graphs.operations.dtype, graphs.adjacency.dtype) == (torch.int64, torch.float32)


def test_every_operation_has_its_code() -> None:
    chain = made([(0, 1), (1, 2), (2, 3), (3, 4)], [C1, C3, MP])
    assert cell_graphs([chain]).operations[0, :5].tolist() == [0, 1, 2, 3, 4]


def test_renumbered_cells_are_equal_graphs() -> None:
    several = 0
    for cell in training_cells(120, 7):
        others = renumbered(cell)
        several += len(others) > 1
        assert {canonical(other) for other in others} == {cell}
        assert cell.hash == others[-1].hash
    assert several > 60
    graphs = cell_graphs(renumbered(made(INCEPTION, [C1, C3, C3, C3, MP])))
    assert len(graphs) > 10
    for tensor in (graphs.operations, graphs.adjacency, graphs.order):
        assert (tensor == tensor[0]).all()


def test_canonical_numbering_is_the_benchmarks_representative() -> None:
    for cell in islice(unique_cells(5), 0, None, 13):
        assert {canonical(other) for other in renumbered(cell)} == {cell}


def test_different_graphs_stay_different() -> None:
    cells = list(unique_cells(4))
    graphs = cell_graphs(cells)
    rows = torch.cat([graphs.operations, graphs.adjacency.flatten(1).long()], dim=1)
    assert len(torch.unique(rows, dim=0)) == len(cells) == 91


def test_rows_are_gathered_with_repeats() -> None:
    graphs = cell_graphs(list(unique_cells(3)))
    taken = graphs.rows(torch.tensor([5, 0, 5]))
    assert taken.sizes.tolist() == graphs.sizes[[5, 0, 5]].tolist()
    assert torch.equal(taken.adjacency[2], graphs.adjacency[5])


@pytest.mark.parametrize("foreign", ["input~0", None, ((0, 1), (0, 0))])
def test_what_is_no_cell_of_the_space_is_refused(foreign: object) -> None:
    with pytest.raises(ArchitectureError, match=r"Cell 1 is a .*need a Cell101"):
        cell_graphs([made([(0, 1)], []), foreign])  # type: ignore[list-item]
    with pytest.raises(ArchitectureError, match="no cell"):
        cell_graphs([])
