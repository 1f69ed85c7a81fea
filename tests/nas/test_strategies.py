"""What is proposed to be judged: distinct, new, reproducible, and better and better where scores say so."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import OptionsError
from raysubset.nas.cell201 import Cell201
from raysubset.nas.space201 import Space201
from raysubset.nas.strategies import AgingEvolution, Evolution, Listed, Strategy, draw_distinct, random_search

SPACE = Space201()


class Tiny:
    """Four cells: soon all are judged."""

    name = "tiny"

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(4))

    def mutate(self, cell: int, rng: np.random.Generator, rate: float | None = None) -> int:
        return (cell + 1) % 4

    def cross(self, first: int, second: int, rng: np.random.Generator) -> int:
        return first


def convolutions(cell: Cell201) -> float:
    """A score with one best cell: 3x3 everywhere."""
    return sum(op == 3 for op in cell.ops) + 0.1 * sum(op == 2 for op in cell.ops)


def run(strategy: Strategy[Any], score: Callable[[Any], float]) -> list[Any]:
    judged: list[Any] = []
    while cells := strategy.ask():
        assert len(set(cells)) == len(cells)
        assert not set(cells) & set(judged)
        strategy.tell({cell: score(cell) for cell in cells})
        judged += cells
    return judged


MAKERS: dict[str, Callable[..., Strategy[Any]]] = {
    "random": lambda seed, count: random_search(SPACE, count, seed),
    "evolution": lambda seed, count: Evolution(SPACE, seed, candidates=count, population=20, parents=5),
    "aging": lambda seed, count: AgingEvolution(SPACE, seed, candidates=count, population=20, sample=5, brood=4),
}


@pytest.mark.parametrize("name", MAKERS)
@settings(PROPERTY, max_examples=15)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 40))
def test_so_many_cells_are_judged_each_once_and_the_same_for_a_seed(name: str, seed: int, count: int) -> None:
    judged = run(MAKERS[name](seed, count), convolutions)
    assert len(judged) == count
    assert judged == run(MAKERS[name](seed, count), convolutions)


@pytest.mark.parametrize("name", ["evolution", "aging"])
def test_evolution_finds_better_cells_than_chance(name: str) -> None:
    best = [max(map(convolutions, run(MAKERS[name](seed, 200), convolutions))) for seed in range(3)]
    chance = [max(map(convolutions, run(MAKERS["random"](seed, 200), convolutions))) for seed in range(3)]
    assert np.mean(best) > np.mean(chance) + 0.5
    assert max(best) == 6.0


def test_a_generation_is_half_crossed_and_half_mutated_from_the_best() -> None:
    strategy = Evolution(SPACE, 1, candidates=100, population=10, parents=2, rate=0.2)
    founders = strategy.ask()
    strategy.tell({cell: convolutions(cell) for cell in founders})
    one, two = sorted(founders, key=lambda cell: -convolutions(cell))[:2]
    assert sum(a != b for a, b in zip(one.ops, two.ops, strict=True)) >= 3  # so there are new cells between them
    for child in strategy.ask()[:5]:
        assert all(op in (a, b) for op, a, b in zip(child.ops, one.ops, two.ops, strict=True))


def test_aging_evolution_breeds_from_the_living_and_the_oldest_die() -> None:
    strategy = AgingEvolution(SPACE, 3, candidates=60, population=6, sample=6, brood=2)
    alive: deque[Any] = deque(maxlen=6)
    founders = strategy.ask()
    assert len(founders) == 6
    scores = {cell: float(i) for i, cell in enumerate(founders)}  # the youngest founder is the best of all times
    strategy.tell(scores)
    alive.extend(founders)
    while children := strategy.ask():
        parent = max(alive, key=lambda cell: scores[cell])
        for child in children:
            assert sum(a != b for a, b in zip(parent.ops, child.ops, strict=True)) == 1
            scores[child] = -float(len(scores))  # every child is worse
        strategy.tell({child: scores[child] for child in children})
        alive.extend(children)


@pytest.mark.parametrize(
    "strategy",
    [
        Evolution(Tiny(), 0, candidates=50, population=3, parents=2),
        AgingEvolution(Tiny(), 0, candidates=50, population=3, sample=2, brood=2),
    ],
)
def test_a_small_space_is_searched_once_and_then_over(strategy: Strategy[int]) -> None:
    assert sorted(run(strategy, float)) == [0, 1, 2, 3]


def test_listed_cells_come_in_rounds_in_their_order() -> None:
    listed = Listed([3, 1, 2, 1, 5], round_size=2)
    assert [listed.ask(), listed.ask(), listed.ask()] == [[3, 1], [2, 5], []]


def test_more_different_cells_than_there_are_is_refused() -> None:
    assert sorted(draw_distinct(Tiny(), 4, 0, "cells")) == [0, 1, 2, 3]
    with pytest.raises(OptionsError, match="5 different cells asked for; tiny gave 4"):
        draw_distinct(Tiny(), 5, 0, "cells")


@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        (
            lambda: Evolution(SPACE, 0, candidates=0, population=5, parents=6, rate=0.0),
            "parents=6.*candidates=0.*rate",
        ),
        (lambda: AgingEvolution(SPACE, 0, candidates=0, population=5, sample=6), "sample=6.*candidates=0"),
    ],
)
def test_options_out_of_range_are_named_together(make: Callable[[], object], phrase: str) -> None:
    with pytest.raises(OptionsError, match=phrase):
        make()
