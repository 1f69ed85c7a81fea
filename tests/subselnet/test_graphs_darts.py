"""Genotypes as tensors: a published one by hand, there and back, equal graphs for equal networks, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from raysubset.errors import ArchitectureError, DataError, OptionsError, UnknownNameError
from raysubset.models.init import seeded
from raysubset.nas.cell101 import Cell101
from raysubset.nas.genotype import CONCAT, DARTS_V1, DARTS_V2, Edge, Genotype
from raysubset.nas.space import NetworkSize
from raysubset.nas.space_darts import SpaceDarts
from raysubset.seeds import generator
from raysubset.subselnet.embeddings import ArchitectureEncoder
from raysubset.subselnet.encoder import GraphEncoder
from raysubset.subselnet.encoder_fit import EncoderOptions, fit_encoder
from raysubset.subselnet.folds import draw_folds
from raysubset.subselnet.graphs import CellGraphs
from raysubset.subselnet.graphs101 import cell_graphs
from raysubset.subselnet.graphs_darts import OPERATIONS, operation_parameters
from raysubset.subselnet.space import ENCODED_SPACES, any_cell, encoded_space

DARTS = encoded_space("darts")
CELL = Cell101(((0, 1), (0, 0)), ("input", "output"))

# DARTS_V2 worked out by hand from its printed pairs: nodes renumbered, then two vertices a node.
V2 = (
    "normal skip_connect~0+sep_conv_3x3~1 sep_conv_3x3~0+sep_conv_3x3~1 skip_connect~0+dil_conv_3x3~3 "
    "sep_conv_3x3~0+sep_conv_3x3~1 reduce max_pool_3x3~0+max_pool_3x3~1 max_pool_3x3~0+skip_connect~2 "
    "max_pool_3x3~1+skip_connect~2 max_pool_3x3~1+skip_connect~2"
)
V2_CODES = [[0, 1, 5, 6, 6, 6, 5, 8, 6, 6, 10], [0, 1, 3, 3, 3, 5, 3, 5, 3, 5, 10]]
V2_EDGES = [
    {(0, 2), (1, 3), (0, 4), (1, 5), (0, 6), (4, 7), (5, 7), (0, 8), (1, 9)},
    {(0, 2), (1, 3), (0, 4), (2, 5), (3, 5), (1, 6), (2, 7), (3, 7), (1, 8), (2, 9), (3, 9)},
]
V2_ORDER = [[0, 1, 2, 4, 6, 8, 3, 5, 9, 7, 10], [0, 1, 2, 4, 3, 6, 8, 5, 7, 9, 10]]


def encoder(seed: int = 0) -> ArchitectureEncoder:
    with seeded(seed):
        network = GraphEncoder(codes=len(OPERATIONS))
    return ArchitectureEncoder.of(network, DARTS.draw(12, 1), DARTS)


def exchanged(genotype: Genotype) -> Genotype:
    return Genotype(normal=genotype.reduce, reduce=genotype.normal)


def shuffled(pairs: tuple[Edge, ...], rng: np.random.Generator) -> tuple[Edge, ...]:
    """The same cell, its nodes in another order in which each reads earlier ones, its pairs in any."""
    while True:
        number = dict(zip((0, 1, *(2 + rng.permutation(4)).tolist()), range(6), strict=True))
        nodes = {
            number[node]: [(op, number[source]) for op, source in pairs[2 * node - 4 : 2 * node - 2]]
            for node in CONCAT
        }
        if all(source < node for node, edges in nodes.items() for _, source in edges):
            return tuple(edge for node in CONCAT for edge in nodes[node][:: rng.choice([-1, 1])])


def read_back(graphs: CellGraphs) -> Genotype:
    """A genotype from the tensors of its two graphs alone."""
    cells = []
    for codes, adjacency in zip(graphs.operations.tolist(), graphs.adjacency, strict=True):
        pairs = []
        for vertex in range(2, 10):
            sources = adjacency[:, vertex].nonzero().flatten().tolist()
            pairs.append((OPERATIONS[codes[vertex]], sources[0] if len(sources) == 1 else 1 + sources[0] // 2))
        cells.append(tuple(pairs))
    return Genotype(normal=cells[0], reduce=cells[1])


def test_a_published_genotype_by_hand() -> None:
    graphs = DARTS.graphs([DARTS_V2])
    assert str(DARTS.canonical(DARTS_V2)) == V2
    assert graphs.operations.tolist() == V2_CODES
    to_output = {(vertex, 10) for vertex in range(2, 10)}
    for adjacency, edges in zip(graphs.adjacency, V2_EDGES, strict=True):
        assert {(int(u), int(v)) for u, v in adjacency.nonzero()} == edges | to_output
    assert graphs.order.tolist() == V2_ORDER
    assert graphs.mask.all()
    assert graphs.sizes.tolist() == [11, 11]
    assert (graphs.operations.dtype, graphs.adjacency.dtype) == (torch.int64, torch.float32)


def test_there_are_eleven_labels_and_a_genotype_has_no_none() -> None:
    assert len(OPERATIONS) == 11
    seen = set(DARTS.graphs(DARTS.draw(60, 0)).operations.flatten().tolist())
    assert seen == set(range(11)) - {OPERATIONS.index("none")}


def test_a_genotype_comes_back_from_its_graphs_and_from_its_name() -> None:
    for cell in (*DARTS.draw(40, 3), DARTS_V1, DARTS_V2):
        canonical = DARTS.canonical(cell)
        assert read_back(DARTS.graphs([cell])) == canonical
        assert DARTS.parse(str(canonical)) == canonical == DARTS.canonical(canonical)


def test_genotypes_that_differ_in_numbering_alone_are_equal_graphs() -> None:
    rng, moved = generator(0, "numberings"), 0
    for cell in DARTS.draw(40, 4):
        other = Genotype(normal=shuffled(cell.normal, rng), reduce=shuffled(cell.reduce, rng))
        moved += other.canonical != cell.canonical
        assert DARTS.canonical(other) == cell
        one, two = DARTS.graphs([cell]), DARTS.graphs([other])
        assert torch.equal(one.operations, two.operations)
        assert torch.equal(one.adjacency, two.adjacency)
    assert moved > 20


def test_draws_are_different_and_begin_alike() -> None:
    cells = DARTS.draw(60, 5)
    assert len(set(cells)) == 60
    assert DARTS.draw(20, 5) == cells[:20]
    assert DARTS.draw(20, 6) != cells[:20]
    with pytest.raises(OptionsError, match="0 cells cannot be drawn"):
        DARTS.draw(0, 0)


def test_parameters_are_those_of_the_networks_but_for_what_all_share() -> None:
    size = NetworkSize(2, 4)
    shared = set()
    for cell in (DARTS_V1, DARTS_V2, SpaceDarts().draw(generator(0, "parameters"))):
        with seeded(0):
            network = DARTS.builder(str(cell), size)(10, (3, 8, 8))
        whole = sum(weights.numel() for weights in network.parameters())
        shared.add(whole - operation_parameters(cell, size))
    assert len(shared) == 1


def test_folds_go_from_small_to_large() -> None:
    folds = draw_folds(4, 1, 2, 0, DARTS)
    counts = sorted(DARTS.parameters(cell) for cell in (*folds.supervisors, *folds.unseen))
    assert counts[-1] > 3 * counts[0]
    assert len(set(counts)) == 7


def test_a_genotypes_rows_are_those_of_its_cells_side_by_side() -> None:
    ours, graphs = encoder(), DARTS.graphs([DARTS_V1, DARTS_V2])
    embedded = ours.embed([DARTS_V1, DARTS_V2])
    assert embedded.vectors.shape == (2, 11, 32)
    mean: Tensor = ours.standardisation.apply(ours.network(graphs)[0])
    for cell in (0, 1):
        for part in (0, 1):
            rows = mean[2 * cell + part][graphs.order[2 * cell + part]]
            torch.testing.assert_close(embedded.vectors[cell, :, 16 * part : 16 * part + 16], rows)
    assert embedded.output.tolist() == [10, 10]
    torch.testing.assert_close(embedded.read(embedded.vectors, "output"), embedded.vectors[:, -1])


def test_exchanging_the_cells_makes_another_genotype() -> None:
    one, other = encoder().embed([DARTS_V2, exchanged(DARTS_V2)]).mean()
    torch.testing.assert_close(one[:16], other[16:])
    torch.testing.assert_close(one[16:], other[:16])
    assert (one - other).abs().max() > 0.01


def test_an_encoder_of_genotypes_is_trained_and_says_whose_cells_it_reads() -> None:
    options = EncoderOptions(steps=3, batch=8, hidden=8, width=4, layers=1)
    fitted, report = fit_encoder(DARTS.draw(12, 0), options, 0, DARTS)
    assert 0 <= report.op_accuracy <= 1
    state = fitted.state()
    assert state["space"] == "darts"
    again = ArchitectureEncoder.from_state(state)
    assert again.space is DARTS
    assert torch.equal(again.embed([DARTS_V2]).vectors, fitted.embed([DARTS_V2]).vectors)
    with pytest.raises(ArchitectureError, match="Cell 0 is a Cell101, need a Genotype"):
        again.embed([CELL])
    with pytest.raises(DataError, match="Not the state of an ArchitectureEncoder"):
        ArchitectureEncoder.from_state({**state, "space": "nb101"})  # eleven codes, not five
    with pytest.raises(DataError, match="unknown|Unknown"):
        ArchitectureEncoder.from_state({**state, "space": "nb301"})


def test_a_fit_that_does_not_say_is_of_the_first_space() -> None:
    with seeded(0):
        state = ArchitectureEncoder.of(GraphEncoder(), [CELL]).state()
    del state["space"]
    assert ArchitectureEncoder.from_state(state).space.name == "nb101"


def test_what_is_no_genotype_is_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"Cell 1 is a Cell101, need a Genotype.*DARTS"):
        DARTS.graphs([DARTS_V1, CELL])
    with pytest.raises(ArchitectureError, match="Cell 0 is a Genotype, need a Cell101"):
        cell_graphs([DARTS_V1])  # type: ignore[list-item]
    with pytest.raises(ArchitectureError, match="no cell"):
        DARTS.graphs([])
    with pytest.raises(ArchitectureError, match="looks like a NAS-Bench-101 cell"):
        DARTS.parse(str(CELL) + "+conv3x3-bn-relu~0")
    with pytest.raises(ArchitectureError, match="unknown operation 'sep_conv_7x7'"):
        DARTS.builder(V2.replace("sep_conv_3x3~0", "sep_conv_7x7~0"), NetworkSize(1, 3))


def test_spaces_are_found_by_name_and_cells_by_their_text() -> None:
    assert [space.name for space in ENCODED_SPACES.values()] == list(ENCODED_SPACES)
    with pytest.raises(UnknownNameError, match="Known: darts, nb101"):
        encoded_space("nb201")
    assert any_cell(str(DARTS_V2)) == DARTS_V2
    assert any_cell(str(CELL)) == CELL
