"""NAS-Bench-101 cells: published hashes, isomorphism by brute force, pruning by paths, names, what is refused."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from tolerances import PROPERTY

from raysubset.errors import ArchitectureError, OptionsError
from raysubset.nas.cell101 import MAX_EDGES, MAX_VERTICES, OPS, Cell101
from raysubset.nas.enumerate101 import unique_cells

C3, C1, MP = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"

# Origin: the first two are documented, the first record of the benchmark's file and the cell of its README; the
# others were hashed with the benchmark's own code. (hash, edges, operations between input and output)
PUBLISHED = [
    (
        "00005c142e6f48ac74fdcf73e3439874",
        [(0, 1), (0, 4), (0, 5), (1, 2), (2, 3), (2, 6), (3, 5), (4, 5), (5, 6)],
        [C3, MP, C3, C3, C1],
    ),
    (
        "28cfc7874f6d200472e1a9dcd8650aa0",
        [(0, 1), (0, 2), (0, 3), (0, 5), (1, 6), (2, 6), (3, 4), (4, 6), (5, 6)],
        [C1, C3, C3, C3, MP],
    ),
    (
        "03a790cd45047a030458396c33f24cdd",
        [(0, 1), (0, 5), (1, 2), (2, 3), (3, 4), (3, 5), (4, 5), (4, 6), (5, 6)],
        [C1, MP, MP, MP, MP],
    ),
    ("0d5de231930f4abbc7f254d5a32a2228", [(0, 1), (1, 2), (1, 4), (2, 3), (3, 4), (4, 5)], [C3, C1, MP, C3]),
    ("163cb99587091a31ca73763dda936b86", [(0, 1), (1, 2), (2, 3), (3, 4)], [C3, MP, C3]),
    (
        "518fd603e8f29bb61a9731b23baabac0",
        [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4), (2, 3), (3, 4)],
        [C3, MP, MP],
    ),
    ("e082a7497736de1e796c5383eb9d88f1", [(0, 1), (0, 3), (1, 2), (1, 3), (1, 4), (2, 3), (3, 4)], [C1, MP, C1]),
]


def made(edges: list[tuple[int, int]], interior: list[str]) -> Cell101:
    matrix = np.zeros((len(interior) + 2,) * 2, dtype=int)
    for edge in edges:
        matrix[edge] = 1
    return Cell101.of(matrix, ["input", *interior, "output"])


@pytest.mark.parametrize(("published", "edges", "ops"), PUBLISHED)
def test_hashes_are_the_benchmarks(published: str, edges: list[tuple[int, int]], ops: list[str]) -> None:
    cell = made(edges, ops)
    assert cell.hash == published
    assert list(cell.edges) == edges
    assert Cell101.parse(str(cell)) == cell


def test_every_hash_of_the_file_of_cells() -> None:
    path = Path(os.environ.get("RAYSUBSET_DATA", "")) / "nasbench101" / "cells.parquet"
    if not path.is_file():
        pytest.skip("$RAYSUBSET_DATA/nasbench101/cells.parquet is not there")
    rows = parquet.read_table(path).to_pylist()
    cells = [Cell101.of(row["adjacency"], row["ops"]) for row in rows]
    assert len(cells) == 2_020
    assert [cell.hash for cell in cells] == [row["hash"] for row in rows]
    assert [len(cell.edges) for cell in cells] == [row["num_edges"] for row in rows], "nothing is pruned"
    assert [Cell101.parse(str(cell)) for cell in cells] == cells


# ---------------------------------------------------------------------- isomorphism

Graph = tuple[frozenset[tuple[int, int]], tuple[str, ...]]


def canonical(edges: frozenset[tuple[int, int]], interior: tuple[str, ...]) -> Any:
    """Brute force: the least of all ways to number the vertices between input and output."""
    last = len(interior) + 1
    forms = []
    for order in permutations(range(1, last)):
        new = {0: 0, last: last} | {old: position for position, old in enumerate(order, 1)}
        forms.append((sorted((new[s], new[t]) for s, t in edges), [interior[old - 1] for old in order]))
    return repr(min(forms))


def on_paths(edges: frozenset[tuple[int, int]], last: int) -> set[int]:
    """Brute force: all vertices of all paths, walked one by one."""
    paths, open_ends = [], [[0]]
    while open_ends:
        path = open_ends.pop()
        if path[-1] == last:
            paths.append(path)
        open_ends += [[*path, target] for source, target in edges if source == path[-1]]
    return {vertex for path in paths for vertex in path}


def all_graphs(vertices: int) -> Iterator[Graph]:
    pairs = [(s, t) for t in range(vertices) for s in range(t)]
    for bits in product((False, True), repeat=len(pairs)):
        edges = frozenset(pair for pair, bit in zip(pairs, bits, strict=True) if bit)
        if len(edges) <= 9 and on_paths(edges, vertices - 1) == set(range(vertices)):
            yield from ((edges, ops) for ops in product(OPS, repeat=vertices - 2))


def test_cells_up_to_four_vertices_are_those_of_brute_force() -> None:
    cells = list(unique_cells(4))
    assert Counter(len(cell.ops) for cell in cells) == {2: 1, 3: 6, 4: 84}
    forms = {canonical(frozenset(cell.edges), cell.ops[1:-1]) for cell in cells}
    by_force = {canonical(*graph) for vertices in (2, 3, 4) for graph in all_graphs(vertices)}
    assert len(forms) == len(cells)
    assert forms == by_force


@pytest.mark.slow
def test_cells_up_to_five_vertices_are_counted_as_published() -> None:
    """Origin: the counts by vertices of the benchmark's 423,624 cells."""
    cells = list(unique_cells(5))
    assert Counter(len(cell.ops) for cell in cells) == {2: 1, 3: 6, 4: 84, 5: 2_441}
    assert len({cell.hash for cell in cells}) == len(cells)
    assert [len(cell.ops) for cell in cells] == sorted(len(cell.ops) for cell in cells)


def test_graphs_share_a_hash_if_and_only_if_they_are_isomorphic() -> None:
    """All 1,900 or so labelled graphs of up to four vertices, and every pair of them."""
    pairs = {
        (canonical(edges, ops), made(sorted(edges), list(ops)).hash)
        for vertices in (2, 3, 4)
        for edges, ops in all_graphs(vertices)
    }
    assert len(pairs) == len({form for form, _ in pairs}) == len({found for _, found in pairs}) == 91


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A graph of up to 7 vertices that needs no pruning."""
    last = draw(st.integers(1, MAX_VERTICES - 1))
    pairs = [(s, t) for t in range(last + 1) for s in range(t)]
    edges = frozenset(draw(st.sets(st.sampled_from(pairs), max_size=MAX_EDGES)) | {(0, last)})
    live = sorted(on_paths(edges, last))
    new = {old: position for position, old in enumerate(live)}
    kept = frozenset((new[s], new[t]) for s, t in edges if s in new and t in new)
    ops = tuple(draw(st.sampled_from(OPS)) for _ in live[1:-1])
    return (kept, ops) if len(kept) <= MAX_EDGES else (frozenset({(0, 1)}), ())


@PROPERTY
@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_vertices_does_not_matter_to_the_hash(graph: Graph, random: Any) -> None:
    """Vertices in another order in which edges lead forward."""
    edges, ops = graph
    cell, last = made(sorted(edges), list(ops)), len(ops) + 1
    order, waiting = [0], list(range(1, last))
    while waiting:
        ready = [v for v in waiting if all(s in order for s, t in edges if t == v)]
        order.append(random.choice(ready))
        waiting.remove(order[-1])
    new = {old: position for position, old in enumerate([*order, last])}
    moved = made([(new[s], new[t]) for s, t in edges], [ops[old - 1] for old in order[1:]])
    assert moved.hash == cell.hash
    assert (moved == cell) == (moved.edges == cell.edges and moved.ops == cell.ops)


@PROPERTY
@given(graphs(), st.data())
def test_another_operation_is_another_graph(graph: Graph, data: st.DataObject) -> None:
    edges, ops = graph
    if ops:
        place = data.draw(st.integers(0, len(ops) - 1))
        other = list(ops)
        other[place] = data.draw(st.sampled_from([op for op in OPS if op != ops[place]]))
        assert made(sorted(edges), other).hash != made(sorted(edges), list(ops)).hash


# ---------------------------------------------------------------------- pruning, equality, names


@PROPERTY
@given(st.integers(2, 9), st.data())
def test_what_is_on_no_path_is_left_out(size: int, data: st.DataObject) -> None:
    pairs = [(s, t) for t in range(size) for s in range(t)]
    edges = frozenset(data.draw(st.sets(st.sampled_from(pairs), max_size=14)))
    ops = data.draw(st.lists(st.sampled_from(OPS), min_size=size - 2, max_size=size - 2))
    live = sorted(on_paths(edges, size - 1))
    new = {old: position for position, old in enumerate(live)}
    kept = sorted((new[s], new[t]) for s, t in edges if s in new and t in new)
    if not live or len(live) > 7 or len(kept) > 9:
        with pytest.raises(ArchitectureError):
            made(sorted(edges), ops)
        return
    cell = made(sorted(edges), ops)
    assert list(cell.edges) == kept
    assert cell.ops[1:-1] == tuple(ops[v - 1] for v in live[1:-1])
    again = Cell101(cell.matrix, cell.ops)
    assert again == cell
    assert hash(again) == hash(cell)
    assert Cell101.parse(str(cell)) == cell
    assert str(Cell101.parse(str(cell))) == str(cell)


def test_names() -> None:
    cell = made([(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)], [C3, MP])
    assert str(cell) == "conv3x3-bn-relu~0+maxpool3x3~0~1+output~1~2"
    assert cell == Cell101(((0, 1, 1, 0), (0, 0, 1, 1), (0, 0, 0, 1), (0, 0, 0, 0)), ("input", C3, MP, "output"))
    assert str(Cell101.parse("output~0")) == "output~0"
    assert Cell101.of(np.triu(np.ones((2, 2)), 1), ["input", "output"]) == Cell101.parse("output~0")


def test_equal_cells_are_one_key_whatever_the_numbers_types() -> None:
    ops = ["input", C3, "output"]
    matrix = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    kinds = [np.array(matrix, dtype=kind) for kind in ("int8", "bool", "float32", "uint64")]
    assert {Cell101.of(one, ops) for one in kinds} == {Cell101.of(matrix, ops)}
    assert {repr(Cell101.of(one, ops)) for one in kinds} == {repr(Cell101.of(matrix, ops))}


# ---------------------------------------------------------------------- what is refused

CHAIN = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
LABELS = ["input", C3, "output"]


@pytest.mark.parametrize(
    ("matrix", "ops", "said"),
    [
        ([[0, 1], [0, 0], [0, 0]], LABELS, "square with 2 to 7 rows, got rows of lengths 2, 2, 2"),
        ([[0]], ["input"], "square with 2 to 7 rows, got rows of lengths 1"),
        ([0, 1, 0], LABELS, r"two axes, got shape \(3,\)"),
        ([[0, 1, 0], [0, 1, 1], [0, 0, 0]], LABELS, "row 1, column 1: an edge that does not lead to a later"),
        ([[0, 1, 0], [0, 0, 1], [1, 0, 0]], LABELS, "row 2, column 0: .* upper triangular"),
        ([[0, 2, 0], [0, 0, 1], [0, 0, 0]], LABELS, "row 0, column 1: 2, need 0 or 1"),
        ([[0, 1, 0], [0, 0, 0.5], [0, 0, 0]], LABELS, "row 1, column 2: 0.5, need 0 or 1"),
        (CHAIN, ["input", "output"], "3 vertices needs 3 labels, got 2: input, output"),
        (CHAIN, ["input", "conv5x5", "output"], f"vertex 1 of 2: unknown operation 'conv5x5'.*: {C3}, {C1}, {MP}"),
        (CHAIN, ["input", "input", "output"], "vertex 1 of 2: unknown operation 'input'"),
        (CHAIN, [C3, C3, "output"], "vertex 0 of 2: unknown operation 'conv3x3-bn-relu'.*: input"),
        (CHAIN, ["input", C3, C3], "vertex 2 of 2: .*: output"),
        ([[0, 1, 0], [0, 0, 0], [0, 0, 0]], LABELS, "path from vertex 0, the input, to vertex 2, .* 0->1"),
        (np.triu(np.ones((5, 5)), 1), ["input", C3, C3, C3, "output"], "at most 9 edges, here are 10 .* 0->1"),
        (np.eye(8, k=1), ["input", *[C3] * 6, "output"], "at most 7 vertices, here are 8"),
    ],
)  # fmt: skip
def test_what_is_no_cell(matrix: Any, ops: list[str], said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        Cell101.of(matrix, ops)


def test_an_unknown_operation_is_found_where_it_would_be_pruned() -> None:
    with pytest.raises(ArchitectureError, match="vertex 1 of 2: unknown operation 'sep'"):
        Cell101.of([[0, 0, 1], [0, 0, 0], [0, 0, 0]], ["input", "sep", "output"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "vertex 1, character 0: unknown operation ''. Known here: output"),
        (f"{C3}~0", f"vertex 1, character 0: unknown operation '{C3}'. Known here: output"),
        (f"{C3}~0+conv~1+output~2", f"vertex 2, character 18: unknown operation 'conv'.*: {C3}, {C1}, {MP}"),
        (f"{C3}~0+output~1+output~2", "vertex 2, character 18: unknown operation 'output'"),
        (f"{C3}+output~1", "vertex 1, character 0: it has no input"),
        (f"{C3}~0+output", "vertex 2, character 18: it has no input"),
        (f"{C3}~1+output~1", "vertex 1, character 0: source '1' at character 16, .* one of 0"),
        (f"{C3}~0+output~1~0", "vertex 2, character 18: source '0' at character 27, .* one of none"),
        (f"{C3}~0+output~0~0", "source '0' at character 27, .* one of 1"),
        (f"{C3}~0+output~x", "source 'x' at character 25"),
        (f"{C3}~0+output~01", "source '01' at character 25"),
        (f"{C3}~0+output~-1", "source '-1' at character 25"),
        (f"{C3}~0+output~", "source '' at character 25"),
        (f"{C3}~0+output~²", "source '²' at character 25"),
        (f"{C3}~0+output~0", "no path .* goes through vertices 1 .* Without them it is 'output~0'"),
        ("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|", "vertex 1, character 0: unknown operation"),
        ("+".join([f"{C3}~{v}" for v in range(7)] + ["output~7"]), "at most 7 vertices"),
    ],
)  # fmt: skip
def test_texts_that_name_no_cell(text: str, said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        Cell101.parse(text)


@pytest.mark.parametrize("vertices", [1, 8])
def test_sizes_there_are_not(vertices: int) -> None:
    with pytest.raises(OptionsError, match=f"2 to 7 vertices, not {vertices}"):
        next(unique_cells(vertices))
