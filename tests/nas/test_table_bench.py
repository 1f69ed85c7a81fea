"""Tables of cells: every number as written, ranks by counting, and every way a file may be wrong."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from tolerances import PROPERTY

from raysubset.errors import DataError, UnknownNameError
from raysubset.nas.cell201 import CELLS, Cell201
from raysubset.nas.table import TableBench

COLUMNS: dict[str, list[Any]] = {
    "index": [0, 1, 2, 3],
    "arch": ["d", "b", "a", "c"],
    "cifar10_valid_12ep": [50.0, 60.5, 70.25, 40.0],
    "cifar10_valid_4ep": [30.0, 20.0, 10.0, 0.0],
    "cifar10_test_12ep": [51.0, 61.0, 71.0, 41.0],
    "cifar10_test": [80.0, 90.0, 90.0, 100.0],
    "cifar100_test": [1.0, 2.0, 3.0, 4.0],
    "params": [100, 200, 300, 400],
    "flops": [10**9, 2 * 10**9, 3 * 10**10, 4],
}


def written(path: Path, columns: dict[str, list[Any]] = COLUMNS) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(columns), path)
    else:
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(columns)
            rows.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_number_as_written(tmp_path: Path, suffix: str) -> None:
    table = TableBench.read(written(tmp_path / f"table{suffix}"))
    assert table.cells() == ("d", "b", "a", "c")
    assert table.epochs_known == (4, 12)
    assert [table.valid(cell) for cell in "abcd"] == [0.7025, 0.605, 0.4, 0.5]
    assert [table.valid(cell, 4) for cell in "abcd"] == [0.1, 0.2, 0.0, 0.3]
    assert [table.test(cell) for cell in "abcd"] == [0.9, 0.9, 1.0, 0.8]
    assert [table.test(cell, 12) for cell in "abcd"] == [0.71, 0.61, 0.41, 0.51]
    assert table.test("a", 200) == table.test("a")
    assert [table.params(cell) for cell in "abcd"] == [300, 200, 400, 100]
    assert table.flops("a") == 3 * 10**10
    assert [table.rank(cell) for cell in "abcd"] == [2, 2, 1, 4]
    assert table.best == "c"
    assert table.median_test == pytest.approx(0.9)


def test_another_data_set(tmp_path: Path) -> None:
    table = TableBench.read(written(tmp_path / "table.csv"), "cifar100")
    assert table.epochs_known == ()
    assert [table.test(cell) for cell in "abcd"] == [0.03, 0.02, 0.04, 0.01]
    with pytest.raises(DataError, match="no validation accuracies on cifar100 .* after: none"):
        table.valid("a")


def test_columns_that_need_not_be_there(tmp_path: Path) -> None:
    columns = {name: COLUMNS[name] for name in ("cifar10_test", "arch")}
    table = TableBench.read(written(tmp_path / "table.csv", columns))
    assert table.params("a") is None
    assert table.flops("a") is None
    assert table.best == "c"


def test_what_the_table_does_not_know(tmp_path: Path) -> None:
    table = TableBench.read(written(tmp_path / "table.csv"))
    for question in (table.valid, table.test, table.rank, table.params, table.flops):
        with pytest.raises(DataError, match=r"table of 4 cells in .*table.csv has no e\."):
            question("e")
    with pytest.raises(DataError, match="no validation accuracies on cifar10 after 200 epochs; .* after: 4, 12"):
        table.valid("a", 200)
    with pytest.raises(DataError, match="no test accuracies on cifar10 after 4 epochs; .* after: 12, 200"):
        table.test("a", 4)


@settings(PROPERTY, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 20), min_size=1, max_size=12))
def test_ranks_by_counting(tmp_path: Path, accuracies: list[int]) -> None:
    names = [f"cell{i}" for i in range(len(accuracies))]
    table = TableBench.read(written(tmp_path / "table.csv", {"arch": names, "cifar10_test": accuracies}))
    ordered = sorted(accuracies, reverse=True)
    assert [table.rank(name) for name in names] == [ordered.index(one) + 1 for one in accuracies]
    assert table.best == names[accuracies.index(ordered[0])]
    middle = ordered[len(ordered) // 2], ordered[(len(ordered) - 1) // 2]
    assert table.median_test == pytest.approx(sum(middle) / 200)


# ---------------------------------------------------------------------- wrong files


def changed(**columns: list[Any]) -> dict[str, list[Any]]:
    return COLUMNS | columns


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"arch": ["a"], "cifar100_test": [1.0]}, "lacks cifar10_test; it has arch, cifar100_test. Needed:"),
        ({"cell": ["a"], "cifar10_test": [1.0]}, "lacks arch; it has cell, cifar10_test"),
        ({"cell": ["a"]}, "lacks arch, cifar10_test; it has cell"),
        (changed(arch=["d", "b", "a", "b"]), "rows 1 and 3 are the same cell, b"),
        (changed(arch=["d", "", "a", "b"]), "row 1: arch is '', need the name"),
        (changed(arch=[1, 2, 3, 4]), "row 0: arch is 1, need the name"),
        (changed(cifar10_test=[80.0, 100.1, 90.0, -1.0]), r"row 1, cell b: cifar10_test is 100.1.*\(2 such"),
        (changed(cifar10_valid_4ep=[80.0, 8.0, -0.5, 1.0]), "row 2, cell a: cifar10_valid_4ep is -0.5"),
        (changed(cifar10_test_12ep=[1.0, 1.0, 1.0, float("nan")]), "row 3, cell c: cifar10_test_12ep is nan"),
        (changed(cifar10_test=["x", "y", "z", "w"]), "column cifar10_test is of .*string, need numbers"),
        (changed(params=[1, 2, -3, 4]), "row 2, cell a: params is -3.0, need a whole number"),
        (changed(flops=[1.0, 2.5, 3.0, 4.0]), "row 1, cell b: flops is 2.5, need a whole number"),
        (changed(cifar10_test_200ep=[1, 2, 3, 4]), "cifar10_test_200ep and cifar10_test both speak of 200 epochs"),
        ({"arch": [], "cifar10_test": []}, "got 0 cells"),
    ],
)  # fmt: skip
def test_tables_that_will_not_do(tmp_path: Path, columns: dict[str, list[Any]], said: str, suffix: str) -> None:
    path = written(tmp_path / f"table{suffix}", columns)
    with pytest.raises(DataError, match=said):
        TableBench.read(path)


@pytest.mark.parametrize("unknown", [None, float("inf")])
def test_accuracies_that_are_unknown(tmp_path: Path, unknown: float | None) -> None:
    path = written(tmp_path / "table.parquet", changed(cifar10_test=[1.0, 2.0, unknown, 4.0]))
    with pytest.raises(DataError, match="row 2, cell a: cifar10_test is (nan|inf)"):
        TableBench.read(path)


def test_cells_without_a_name(tmp_path: Path) -> None:
    path = written(tmp_path / "table.parquet", changed(arch=["a", None, "b", "c"]))
    with pytest.raises(DataError, match="row 1: arch is None"):
        TableBench.read(path)


@pytest.mark.parametrize("name", ["no.csv", "no.parquet", "folder"])
def test_files_that_are_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=f"Table of cells: cannot read .*{name}"):
        TableBench.read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.parquet", b"PAR1 no PAR1"), ("t.csv", b""), ("t.csv", b"a,b\n1\n"), ("t.csv", b"a,b\n")],
)
def test_files_that_are_no_table(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        TableBench.read(tmp_path / name)


def test_columns_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("arch,cifar10_test,arch\na,1,b\n")
    with pytest.raises(DataError, match="more than one column arch"):
        TableBench.read(tmp_path / "t.csv")


def test_a_data_set_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="'cifar1'.*Did you mean 'cifar10'"):
        TableBench.read(written(tmp_path / "table.csv"), "cifar1")


# ---------------------------------------------------------------------- the whole space


def whole() -> list[str]:
    return [str(Cell201.of_code(code)) for code in range(CELLS)]


def read_whole(path: Path, names: list[str]) -> TableBench:
    columns = {"arch": names, "cifar10_test": np.linspace(0, 100, len(names)).tolist()}
    return TableBench.read(written(path, columns), complete=True)


def test_a_complete_table(tmp_path: Path) -> None:
    names = whole()
    table = read_whole(tmp_path / "t.parquet", names[::-1])
    assert len(table.cells()) == 15_625
    assert table.best == names[0]
    assert table.rank(names[100]) == 101


def test_a_table_that_is_not_complete(tmp_path: Path) -> None:
    names = whole()
    for wrong, said in (
        (
            names[:5] + names[7:],
            r"has 15,623 cells, need exactly the 15,625 .*: 2 are missing, the first is \|none~0",
        ),
        ([*names, "x", "w"], "has 15,627 cells, .*: 2 are none of them, the first is x"),
        ([*names[1:], "x"], r"1 are missing, the first is .*none~2\|; 1 are none of them, the first is x"),
    ):
        with pytest.raises(DataError, match=said):
            read_whole(tmp_path / "t.parquet", wrong)


def test_the_real_table() -> None:
    """Origin: the greatest accuracies and their cells as published with the benchmark; sizes likewise."""
    path = Path(os.environ.get("RAYSUBSET_DATA", "")) / "nasbench201" / "nasbench201.parquet"
    if not path.is_file():
        pytest.skip("$RAYSUBSET_DATA/nasbench201/nasbench201.parquet is not there")
    rows = parquet.read_table(path, columns=["index", "arch"]).to_pydict()
    index = dict(zip(rows["arch"], rows["index"], strict=True))
    for data, best, row in (("cifar10", 94.37, 6111), ("cifar100", 73.51, 9930), ("imagenet16_120", 47.31, 857)):
        table = TableBench.read(path, data, complete=True)
        assert table.epochs_known == (12,)
        assert 100 * table.test(table.best) == pytest.approx(best, abs=0.005)
        assert index[table.best] == row
        assert table.rank(table.best) == 1
        ordered = sorted(table.test(cell) for cell in table.cells())
        assert table.median_test == ordered[15_625 // 2]
    assert table.params(str(Cell201((3,) * 6))) == 1_531_546
    assert table.flops(str(Cell201((3,) * 6))) == pytest.approx(220.12e6, rel=1e-4)
