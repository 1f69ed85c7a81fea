"""Folds of cells: different graphs of every size, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from raysubset.errors import OptionsError
from raysubset.nas.cell101 import Cell101
from raysubset.nas.network101 import parameter_count
from raysubset.subselnet.folds import DRAWN_FOR_ONE, Folds, draw_folds
from raysubset.subselnet.graphs101 import training_cells


@pytest.fixture(scope="module")
def folds() -> Folds:
    return draw_folds(12, 3, 5, seed=4)


def everyone(folds: Folds) -> list[Cell101]:
    return [*folds.train, *folds.checks, *folds.unseen]


def test_folds_are_of_the_sizes_asked_for_and_no_graph_is_in_two(folds: Folds) -> None:
    assert [len(fold) for fold in (folds.train, folds.checks, folds.unseen)] == [12, 3, 5]
    assert len({cell.hash for cell in everyone(folds)}) == 20


def test_supervisors_come_in_the_order_of_the_bank(folds: Folds) -> None:
    assert folds.supervisors == folds.train + folds.checks


def test_cells_go_from_the_smallest_to_the_largest_in_even_steps_of_rank(folds: Folds) -> None:
    counts = sorted(map(parameter_count, everyone(folds)))
    drawn = sorted(map(parameter_count, training_cells(DRAWN_FOR_ONE * 20, 4)))
    places = [round(place) for place in np.linspace(0, len(drawn) - 1, 20)]
    assert counts == [drawn[place] for place in places]
    assert (counts[0], counts[-1]) == (drawn[0], drawn[-1])


def test_every_fold_has_small_and_large_cells() -> None:
    """A fold of eight without a cell of the lower or the upper half comes once in 128 seeds."""
    many = draw_folds(24, 8, 8, seed=0)
    middle = np.median(list(map(parameter_count, everyone(many))))
    for fold in (many.train, many.checks, many.unseen):
        above = sum(parameter_count(cell) > middle for cell in fold)
        assert 0 < above < len(fold)


def test_the_seed_decides(folds: Folds) -> None:
    assert draw_folds(12, 3, 5, seed=4) == folds
    assert set(draw_folds(12, 3, 5, seed=5).train) != set(folds.train)


def test_nothing_need_be_kept_unseen() -> None:
    assert draw_folds(1, 1, 0, seed=0).unseen == ()


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_folds_too_small_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(OptionsError, match="need at least 1, 1 and 0"):
        draw_folds(*sizes, seed=0)


def test_more_than_can_be_drawn_is_refused() -> None:
    with pytest.raises(OptionsError, match="cells cannot be drawn"):
        draw_folds(6000, 600, 100, seed=0)
