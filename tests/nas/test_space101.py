"""The space of NAS-Bench-101: what is drawn, mutated and crossed, against brute force over all decisions."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY, of_share

from raysubset.errors import ArchitectureError
from raysubset.nas.cell101 import OPS, Cell101
from raysubset.nas.space import CellSpace, NetworkSize
from raysubset.nas.space101 import Space101
from raysubset.seeds import generator

C3, C1, MP = OPS
SPACE: CellSpace[Cell101] = Space101()
PAIRS = [(s, t) for s in range(7) for t in range(s + 1, 7)]
SEEDS = st.integers(0, 10_000)

FULL = Cell101.parse(f"{C3}~0+{MP}~1+{C3}~2+{C3}~0+{C1}~0~3~4+output~2~5")
"""Seven vertices, nine edges: no place is free, and an edge more is one too many."""
DIRECT = Cell101.parse("output~0")
SPARSE = Cell101.parse(f"{C3}~0+{C1}~1+{MP}~2+{MP}~3+{C1}~4+output~5")
"""Seven vertices in a row."""


def pruned(matrix: np.ndarray, ops: list[str]) -> tuple[frozenset[tuple[int, int]], tuple[str, ...]] | None:
    """Brute force by matrix powers: what is left of seven vertices; None if it is no cell."""
    reach = sum((np.linalg.matrix_power(matrix, power) for power in range(7)), start=np.zeros_like(matrix)) > 0
    live = [v for v in range(7) if reach[0, v] and reach[v, 6]]
    new = {old: position for position, old in enumerate(live)}
    edges = frozenset((new[s], new[t]) for s, t in PAIRS if matrix[s, t] and s in new and t in new)
    return (edges, tuple(ops[v - 1] for v in live[1:-1])) if live and len(edges) <= 9 else None


def plain(cell: Cell101) -> tuple[frozenset[tuple[int, int]], tuple[str, ...]]:
    return frozenset(cell.edges), cell.ops[1:-1]


def padded(cell: Cell101) -> tuple[np.ndarray, list[str | None]]:
    """Seven vertices: those the cell lacks are between its own and the output."""
    where = [*range(len(cell.ops) - 1), 6]
    matrix = np.zeros((7, 7), dtype=int)
    for source, target in cell.edges:
        matrix[where[source], where[target]] = 1
    return matrix, [*cell.ops[1:-1], *[None] * (7 - len(cell.ops))]


# ---------------------------------------------------------------------- draw


def test_draws_are_those_of_all_decisions_drawn_evenly() -> None:
    """How many vertices cells have, against a sampler written with matrix powers."""
    rng, draws = generator(0, "draw"), 800
    found = Counter(len(SPACE.draw(rng).ops) for _ in range(draws))
    oracle: Counter[int] = Counter()
    coin = np.random.default_rng(5)
    while oracle.total() < draws:
        cell = pruned(np.triu(coin.integers(2, size=(7, 7)), 1), [C3] * 5)
        if cell is not None:
            oracle[len(cell[1]) + 2] += 1
    for size in range(2, 8):
        share = (found[size] + oracle[size]) / (2 * draws)
        assert abs(found[size] - oracle[size]) / draws <= 2**0.5 * of_share(share, draws), size


def test_draws_use_every_operation_and_repeat_with_their_seed() -> None:
    one, two = ([SPACE.draw(rng) for _ in range(300)] for rng in (generator(1, "draw"), generator(1, "draw")))
    assert one == two
    ops = Counter(op for cell in one for op in cell.ops[1:-1])
    assert set(ops) == set(OPS)
    assert all(abs(count / ops.total() - 1 / 3) < of_share(1 / 3, ops.total()) for count in ops.values())
    assert one != [SPACE.draw(rng) for rng in [generator(2, "draw")] for _ in range(300)]


# ---------------------------------------------------------------------- mutate


def neighbours(cell: Cell101) -> set[tuple[frozenset[tuple[int, int]], tuple[str, ...]]]:
    """All cells one decision away from a cell that has no free place."""
    matrix, ops = padded(cell)
    near = set()
    for source, target in PAIRS:
        other = matrix.copy()
        other[source, target] ^= 1
        near.add(pruned(other, ops))
    for place, op in product(range(5), OPS):
        near.add(pruned(matrix, [*ops[:place], op, *ops[place + 1 :]]))
    return near - {None, plain(cell)}


@pytest.mark.parametrize("cell", [FULL, SPARSE], ids=["no edge more", "edges more"])
def test_one_decision_is_changed_and_each_is_in_reach(cell: Cell101) -> None:
    rng = generator(0, "mutate")
    children = Counter(plain(SPACE.mutate(cell, rng)) for _ in range(500))
    assert set(children) == neighbours(cell)


def test_one_decision_lets_cells_grow_and_shrink() -> None:
    rng = generator(3, "mutate")
    parent = Cell101.parse(f"{C3}~0+{MP}~0~1+output~1~2")
    sizes = Counter(len(SPACE.mutate(parent, rng).ops) for _ in range(250))
    assert {3, 4, 5} <= set(sizes)
    assert {len(SPACE.mutate(DIRECT, rng).ops) for _ in range(80)} >= {3, 4}
    assert not any(SPACE.mutate(DIRECT, rng) == DIRECT for _ in range(100))


def test_a_grown_cell_has_one_path_more() -> None:
    """A free place has one edge in and, flipped, one out: the parent is what is left without it."""
    rng = generator(4, "mutate")
    parent = Cell101.parse(f"{C3}~0+{MP}~0~1+output~1~2")
    grown = [child for child in (SPACE.mutate(parent, rng) for _ in range(300)) if len(child.ops) == 5]
    assert len(grown) > 20
    for child in grown:
        without = set()
        for dead in (1, 2, 3):
            kept = [v for v in range(5) if v != dead]
            matrix = np.array(child.matrix)[np.ix_(kept, kept)]
            if matrix.sum() == len(child.edges) - 2:
                without.add(Cell101.of(matrix, [child.ops[v] for v in kept]))
        assert parent in without
    assert {child.ops.index(C1) for child in grown if C1 in child.ops} == {1, 2, 3}, "at every place"


@PROPERTY
@given(SEEDS, st.floats(0.01, 1))
def test_children_are_cells_and_repeat_with_their_seed(seed: int, rate: float) -> None:
    parent = SPACE.draw(generator(seed, "parent"))
    for chosen in (None, rate):
        one, two = (SPACE.mutate(parent, generator(seed, "child"), chosen) for _ in range(2))
        assert one == two
        assert pruned(*padded(one)) == plain(one)
        assert chosen is not None or one != parent


def test_a_rate_of_nothing_changes_nothing_and_one_of_one_keeps_nothing() -> None:
    rng, draws = generator(5, "mutate"), 500
    assert all(SPACE.mutate(cell, rng, 0.0) == cell for cell in (FULL, SPARSE, DIRECT))
    anew = Counter(len(SPACE.mutate(SPARSE, rng, 1.0).ops) for _ in range(draws))
    drawn = Counter(len(SPACE.draw(rng).ops) for _ in range(draws))
    for size in range(2, 8):
        share = (anew[size] + drawn[size]) / (2 * draws)
        assert abs(anew[size] - drawn[size]) / draws <= 2**0.5 * of_share(share, draws), size


def test_a_small_rate_changes_as_many_decisions_as_it_says() -> None:
    """Of a row of seven vertices: all six edges and five operations stay with 1 - rate / 2 and 1 - 2 rate / 3."""
    rng, draws, rate = generator(6, "mutate"), 1_000, 0.02
    same = sum(SPACE.mutate(SPARSE, rng, rate) == SPARSE for _ in range(draws)) / draws
    kept = (1 - rate / 2) ** 21 * (1 - 2 * rate / 3) ** 5
    # a setting that is no cell is drawn again: a missing edge leaves no path unless another makes one
    broken = 1 - (1 - rate / 2) ** 6
    assert kept - of_share(kept, draws) <= same <= kept / (1 - broken) + of_share(kept, draws)


# ---------------------------------------------------------------------- cross


def mixtures(first: Cell101, second: Cell101) -> set[tuple[frozenset[tuple[int, int]], tuple[str, ...]]]:
    """All cells that take each decision from one of two parents; an operation only one has is that one's."""
    (one, one_ops), (two, two_ops) = padded(first), padded(second)
    differ = [pair for pair in PAIRS if one[pair] != two[pair]]
    choices = [sorted({op for op in (a, b) if op}) or [C3] for a, b in zip(one_ops, two_ops, strict=True)]
    found = set()
    for bits in product((0, 1), repeat=len(differ)):
        matrix = one.copy()
        for pair, bit in zip(differ, bits, strict=True):
            matrix[pair] = bit
        found |= {pruned(matrix, list(ops)) for ops in product(*choices)}
    return found - {None}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"{C3}~0+{MP}~0~1+output~1~2", f"{C1}~0+{MP}~1+output~0~2"),
        (f"{C3}~0+output~1", f"{C1}~0+{MP}~0~1+{C1}~2+output~3"),
        ("output~0", f"{C1}~0+output~1"),
    ],
)
def test_children_of_two_are_all_their_mixtures(first: str, second: str) -> None:
    rng, parents = generator(0, "cross"), (Cell101.parse(first), Cell101.parse(second))
    children = {plain(SPACE.cross(*parents, rng)) for _ in range(700)}
    assert children == mixtures(*parents)


@PROPERTY
@given(SEEDS)
def test_a_cell_crossed_with_itself_is_itself(seed: int) -> None:
    cell = SPACE.draw(generator(seed, "parent"))
    assert SPACE.cross(cell, cell, generator(seed, "cross")) == cell


def test_both_parents_have_equal_chances() -> None:
    rng, draws = generator(1, "cross"), 1_000
    row = Cell101.parse(f"{C3}~0+{C3}~1+output~2")
    other = Cell101.parse(f"{C1}~0+{C1}~1+output~2")
    ops = Counter(SPACE.cross(row, other, rng).ops[1:-1] for _ in range(draws))
    assert all(abs(ops[pair] / draws - 1 / 4) < of_share(1 / 4, draws) for pair in product((C3, C1), repeat=2))


# ---------------------------------------------------------------------- the rest of the contract


def test_names_and_networks() -> None:
    assert SPACE.name == "nb101"
    assert SPACE.parse(str(FULL)) == FULL
    with pytest.raises(ArchitectureError, match="character 0: unknown operation"):
        SPACE.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    small = SPACE.network(FULL, 5, (3, 8, 8), NetworkSize(channels=4, cells=1))
    assert small(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
    with torch.device("meta"):
        paper = SPACE.network(FULL, 10, (3, 32, 32))
    assert sum(parameter.numel() for parameter in paper.parameters()) == 8_555_530
