"""The DARTS space: chances of draws, what a mutation and a crossing may change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY, of_share

from raysubset.errors import ArchitectureError
from raysubset.nas.genotype import DARTS_V1, DARTS_V2, OPS, Genotype
from raysubset.nas.space import NetworkSize
from raysubset.nas.space_darts import SpaceDarts, genotype_pictures
from raysubset.seeds import generator

SPACE = SpaceDarts()
SEEDS = st.integers(0, 2**32 - 1)
DRAWS = 1_000


def drawn(seed: int) -> Genotype:
    return SPACE.draw(np.random.default_rng(seed))


def decisions(genotype: Genotype) -> list[object]:
    """Node by node: which two it reads, the operation on the lower, the operation on the higher."""
    told: list[object] = []
    for cell in (genotype.normal, genotype.reduce):
        for node in range(4):
            (low_op, low), (high_op, high) = sorted(cell[2 * node : 2 * node + 2], key=lambda pair: pair[1])
            told += [(low, high), low_op, high_op]
    return told


def shares_are_fair(genotypes: list[Genotype]) -> None:
    told = [decisions(genotype) for genotype in genotypes]
    for position in range(24):
        node = 2 + position // 3 % 4
        choices = node * (node - 1) // 2 if position % 3 == 0 else 7
        counts: dict[object, int] = {}
        for one in told:
            counts[one[position]] = counts.get(one[position], 0) + 1
        assert len(counts) == choices
        assert all(abs(n / len(told) - 1 / choices) < of_share(1 / choices, len(told)) for n in counts.values())


def test_draws_are_fair_and_canonical() -> None:
    rng = generator(0, 0, 0, "init")
    genotypes = [SPACE.draw(rng) for _ in range(DRAWS)]
    shares_are_fair(genotypes)
    assert all(genotype == genotype.canonical for genotype in genotypes)
    assert len(set(genotypes)) == DRAWS  # of 10^18


def test_a_mutation_of_rate_one_is_a_draw() -> None:
    rng = np.random.default_rng(1)
    shares_are_fair([SPACE.mutate(DARTS_V2, rng, 1.0) for _ in range(DRAWS)])


def test_a_mutation_of_rate_zero_changes_nothing_but_the_order() -> None:
    assert SPACE.mutate(DARTS_V1, np.random.default_rng(0), 0.0) == DARTS_V1.canonical != DARTS_V1


@given(SEEDS)
@PROPERTY
def test_a_mutation_changes_one_decision(seed: int) -> None:
    parent = drawn(seed)
    child = SPACE.mutate(parent, np.random.default_rng(seed + 1))
    differ = [a != b for a, b in zip(decisions(parent), decisions(child), strict=True)]
    assert sum(differ) == 1
    assert not differ[0]  # a cell's first node has but one pair to read
    assert not differ[12]
    assert child == child.canonical


def test_every_decision_is_mutated_equally_often() -> None:
    rng, before = np.random.default_rng(3), decisions(DARTS_V2)
    counts = np.zeros(24)
    others: list[set[object]] = [set() for _ in before]
    for _ in range(DRAWS):
        after = decisions(SPACE.mutate(DARTS_V2, rng))
        counts += [a != b for a, b in zip(before, after, strict=True)]
        for reached, a, b in zip(others, before, after, strict=True):
            reached |= {b} - {a}
    assert [len(reached) for reached in others] == [0, 6, 6, 2, 6, 6, 5, 6, 6, 9, 6, 6] * 2  # all other choices
    assert counts[0] == counts[12] == 0
    free = np.delete(counts, [0, 12]) / DRAWS
    assert (np.abs(free - 1 / 22) < of_share(1 / 22, DRAWS)).all()


def test_a_rate_redraws_so_many_decisions() -> None:
    rng, before = np.random.default_rng(4), decisions(DARTS_V2)
    changed = sum(before[1] != decisions(SPACE.mutate(DARTS_V2, rng, 0.3))[1] for _ in range(DRAWS)) / DRAWS
    assert abs(changed - 0.3 * 6 / 7) < of_share(0.3 * 6 / 7, DRAWS)  # one of seven draws is the old one


@given(SEEDS)
@PROPERTY
def test_a_crossing_takes_each_decision_from_a_parent(seed: int) -> None:
    first, second = drawn(seed), drawn(seed + 1)
    child = SPACE.cross(first, second, np.random.default_rng(seed))
    parents = zip(decisions(first), decisions(second), strict=True)
    assert all(one in pair for one, pair in zip(decisions(child), parents, strict=True))
    assert SPACE.cross(first, first, np.random.default_rng(seed)) == first


def test_a_crossing_is_fair() -> None:
    rng, first, second = np.random.default_rng(5), drawn(1), drawn(2)
    children = [decisions(SPACE.cross(first, second, rng)) for _ in range(DRAWS)]
    for position, (a, b) in enumerate(zip(decisions(first), decisions(second), strict=True)):
        if a != b:
            share = sum(child[position] == a for child in children) / DRAWS
            assert abs(share - 0.5) < of_share(0.5, DRAWS)


def test_parents_are_left_as_they_were_and_draws_are_repeatable() -> None:
    assert drawn(7) == drawn(7)
    parent = drawn(7)
    children = [SPACE.mutate(parent, np.random.default_rng(1), rate) for rate in (None, None, 0.5, 0.5)]
    assert children[0] == children[1]
    assert children[2] == children[3]
    assert parent == drawn(7)


@given(SEEDS)
@PROPERTY
def test_names_round_trip(seed: int) -> None:
    assert SPACE.parse(str(drawn(seed))) == drawn(seed)


def test_a_cell_of_another_space_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="NAS-Bench-201"):
        SPACE.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")


def test_network_of_the_paper_and_of_a_size() -> None:
    with torch.device("meta"):
        paper = SPACE.network(DARTS_V2, 10, (3, 32, 32))
    assert sum(parameter.numel() for parameter in paper.parameters()) == 3_349_342  # see test_darts_network
    network = SPACE.network(DARTS_V1, 4, (1, 8, 8), NetworkSize(channels=2, cells=3))
    assert len(network.cells) == 3
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
    assert network.auxiliary is None
    assert network.drop_path == 0


def test_name_and_operations() -> None:
    assert SPACE.name == "darts"
    assert {op for pairs in (drawn(s).normal for s in range(50)) for op, _ in pairs} == {*OPS} - {"none"}


def test_pictures_show_every_pair_and_the_output() -> None:
    normal, reduction = genotype_pictures(DARTS_V2)
    assert (normal.title, reduction.title) == ("normal cell", "reduction cell")
    assert normal.nodes == ("cell k-2", "cell k-1", "2", "3", "4", "5", "output")
    assert normal.edges[:8] == tuple((source, 2 + i // 2, op) for i, (op, source) in enumerate(DARTS_V2.normal))
    assert reduction.edges[:8] == tuple((source, 2 + i // 2, op) for i, (op, source) in enumerate(DARTS_V2.reduce))
    assert normal.edges[8:] == reduction.edges[8:] == ((2, 6, ""), (3, 6, ""), (4, 6, ""), (5, 6, ""))
