"""Every cell of every space becomes a picture whose arrows are its edges."""

from __future__ import annotations

import pytest

from raysubset.nas.cell201 import OPS, Cell201
from raysubset.nas.pictures import cell_pictures
from raysubset.nas.space101 import Space101
from raysubset.nas.space_darts import SpaceDarts
from raysubset.seeds import generator


def test_a_nas_bench_201_cell_has_six_labelled_arrows() -> None:
    cell = Cell201((3, 0, 1, 4, 2, 3))
    (picture,) = cell_pictures(cell, "found")
    assert picture.title == "found"
    assert [(target, source, label) for source, target, label in picture.edges] == [
        (1, 0, OPS[3]),
        (2, 0, OPS[0]),
        (2, 1, OPS[1]),
        (3, 0, OPS[4]),
        (3, 1, OPS[2]),
        (3, 2, OPS[3]),
    ]


def test_a_nas_bench_101_cell_has_its_operations_in_the_nodes() -> None:
    cell = Space101().draw(generator(1))
    (picture,) = cell_pictures(cell, "found")
    assert tuple(picture.nodes) == cell.ops
    assert {(source, target) for source, target, _ in picture.edges} == set(cell.edges)


def test_a_genotype_has_two_pictures() -> None:
    normal, reduction = cell_pictures(SpaceDarts().draw(generator(1)), "found")
    assert normal.title != reduction.title
    assert len(normal.edges) == 12  # eight operations, and four arrows to the output


def test_another_object_is_no_cell() -> None:
    with pytest.raises(TypeError, match="str is no cell"):
        cell_pictures("cell", "found")
