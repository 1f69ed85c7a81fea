"""NAS-Bench-201 cells: names, codes, connectivity; golden values and an oracle by brute force."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import ArchitectureError
from raysubset.nas.cell201 import CELLS, EDGES, OPS, Cell201
from raysubset.nas.network201 import network_cost
from raysubset.nas.space201 import Space201
from raysubset.seeds import generator

GOLDEN = golden("nb201")
DATA = os.environ.get("RAYSUBSET_DATA")
NAMES = st.builds(lambda code: str(Cell201.of_code(code)), st.integers(0, CELLS - 1))


@pytest.mark.parametrize("example", GOLDEN["examples"])
def test_agrees_with_the_golden_cells(example: dict) -> None:  # type: ignore[type-arg]
    cell = Cell201(tuple(example["ops"]))
    assert (cell.code, str(cell), cell.connected) == (example["code"], example["string"], example["connected"])
    assert Cell201.parse(example["string"]) == Cell201.of_code(example["code"]) == cell


def test_operations_and_edges_are_the_benchmarks() -> None:
    assert list(OPS) == GOLDEN["ops"]
    assert [f"{node}<-{source}" for node, source in EDGES] == GOLDEN["edges"]


def test_every_name_round_trips_and_names_one_cell() -> None:
    cells = list(Space201())
    assert len(cells) == len(set(map(str, cells))) == GOLDEN["n_total"] == 15_625
    assert [Cell201.parse(str(cell)) for cell in cells] == cells
    assert [cell.code for cell in cells] == list(range(CELLS))


def test_so_many_cells_are_connected_by_any_of_the_four_paths() -> None:
    paths = [(3,), (1, 5), (0, 4), (0, 2, 5)]  # edges of 0-3, 0-2-3, 0-1-3, 0-1-2-3
    connected = 0
    for ops in itertools.product(range(5), repeat=6):
        expected = any(all(ops[edge] != 0 for edge in path) for path in paths)
        assert Cell201(ops).connected == expected
        connected += expected
    assert connected == GOLDEN["n_connected"] == 15_284


@pytest.mark.skipif(DATA is None, reason="RAYSUBSET_DATA does not name the folder of the benchmark's table")
def test_parameters_and_operations_are_the_tables_for_all_rows() -> None:
    from pyarrow import parquet

    table = parquet.read_table(Path(str(DATA)) / "nasbench201" / "nasbench201.parquet").to_pydict()
    for name, params, flops in zip(table["arch"], table["params"], table["flops"], strict=True):
        cost = network_cost(Cell201.parse(name))
        assert (cost.params, cost.flops) == (params, flops), name


# Published (NAS-Bench-201's API, architectures 0 and 1; the smallest; all 3x3): params, multiply-adds.
@pytest.mark.parametrize(
    ("ops", "params", "flops"),
    [
        ((4, 2, 1, 2, 1, 1), 129_306, 15_647_360),
        ((3, 3, 4, 1, 3, 1), 802_426, 113_951_360),
        ((0, 0, 0, 0, 0, 0), 73_306, 7_783_040),
        ((3, 3, 3, 3, 3, 3), 1_531_546, 220_119_680),
    ],
)  # fmt: skip
def test_costs_of_published_cells(ops: tuple[int, ...], params: int, flops: int) -> None:
    cost = network_cost(Cell201(ops))  # type: ignore[arg-type]
    assert (cost.params, cost.flops) == (params, flops)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("", "node 1, character 0: need |operation"),
        ("nor_conv_3x3~0", "node 1, character 0"),
        ("|none~0|+|none~0|none~1|", "after 2 of 3 nodes"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|+|none~0|", "node 4, character 48: a cell has 3 nodes"),
        ("|none~0|+|none~0|+|none~0|none~1|none~2|", "node 2, character 9: it has 1 inputs, need 2"),
        ("|none~0|+|none~0|max_pool~1|+|none~0|none~1|none~2|", "2<-1, character 17: unknown operation"),
        ("|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", "edge 2<-0, character 10: need operation~0"),
        ("|none~0|+|none~0|none|+|none~0|none~1|none~2|", "edge 2<-1, character 17: need operation~1"),
        ("Genotype(normal=[])", "node 1, character 0"),
    ],
)  # fmt: skip
def test_a_malformed_name_is_refused_at_its_position(text: str, phrase: str) -> None:
    with pytest.raises(ArchitectureError, match=phrase.replace("|", r"\|").replace("(", r"\(")):
        Cell201.parse(text)


@PROPERTY
@given(NAMES, st.data())
def test_a_name_with_a_changed_character_is_refused_or_names_another_cell(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(name) - 1))
    changed = name[:place] + data.draw(st.sampled_from("|~+x0123")) + name[place + 1 :]
    try:
        cell = Cell201.parse(changed)
    except ArchitectureError:
        return
    assert str(cell) == changed


@pytest.mark.parametrize("ops", [(0, 0, 0), (0, 0, 0, 0, 0, 5), (0, 0, 0, 0, 0, -1), (0,) * 7])
def test_other_numbers_make_no_cell(ops: tuple[int, ...]) -> None:
    with pytest.raises(ArchitectureError, match="6 edges"):
        Cell201(ops)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [-1, CELLS])
def test_a_code_out_of_range_is_refused(code: int) -> None:
    with pytest.raises(ArchitectureError, match="15624"):
        Cell201.of_code(code)


@PROPERTY
@given(st.integers(0, CELLS - 1), st.integers(0, CELLS - 1), st.integers(0, 2**32))
def test_children_differ_as_they_should(one: int, two: int, seed: int) -> None:
    space, rng = Space201(), generator(seed)
    first, second = Cell201.of_code(one), Cell201.of_code(two)
    changed = space.mutate(first, rng)
    assert sum(a != b for a, b in zip(first.ops, changed.ops, strict=True)) == 1
    crossed = space.cross(first, second, rng)
    assert all(op in pair for op, pair in zip(crossed.ops, zip(first.ops, second.ops, strict=True), strict=True))


def test_draws_and_mutations_are_uniform() -> None:
    space, rng = Space201(), generator(0)
    draws = [space.draw(rng).ops for _ in range(5000)]
    for edge in range(6):
        shares = [sum(ops[edge] == op for ops in draws) / len(draws) for op in range(5)]
        assert all(abs(share - 0.2) < 5 * (0.16 / len(draws)) ** 0.5 for share in shares)
    parent = Cell201((0, 1, 2, 3, 4, 0))
    children = [space.mutate(parent, rng, rate=0.5).ops for _ in range(5000)]
    stayed = sum(child[0] == 0 for child in children) / len(children)
    assert abs(stayed - 0.6) < 5 * (0.24 / len(children)) ** 0.5  # half keep it, a fifth of the rest draw it again
