"""A table of cells and of what trainings of each came to: search by it, or judge by it what a search found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import DataError, UnknownNameError
from raysubset.nas.cell201 import CELLS, Cell201

if TYPE_CHECKING:
    import pyarrow as pa

CLASSES: Mapping[str, int] = {"cifar10": 10, "cifar100": 100, "imagenet16_120": 120}
"""Data sets a table can speak of, and their classes."""
WHOLE = 200
"""Epochs of the training that the column DATA_test speaks of."""
COUNTS = ("params", "flops")


@dataclass(frozen=True, eq=False)
class TableBench:
    """Cells with their accuracies on one data set, all known and in [0, 1]; no cell twice.

    Attributes:
        source: Where it was read.
        data: One of `CLASSES`.
        rows: Name of a cell -> its row, in the order of the table.
        valid_by_epochs: Epochs -> float64[rows], validation accuracies after so many; ascending, may be empty.
        test_by_epochs: The same of the test; the last is at 200.
        counts: "params" and "flops", int64[rows], if the table has them.
    """

    source: Path
    data: str
    rows: Mapping[str, int]
    valid_by_epochs: Mapping[int, NDArray[np.float64]]
    test_by_epochs: Mapping[int, NDArray[np.float64]]
    counts: Mapping[str, NDArray[np.int64]]

    @classmethod
    def read(cls, path: Path, data: str = "cifar10", complete: bool = False) -> Self:
        """Read a table.

        Args:
            path: A .parquet file, else CSV, with columns

                arch                  the cell's name
                DATA_test             test accuracy after 200 epochs
                DATA_valid_<E>ep      validation accuracy after E epochs, any number of such columns
                DATA_test_<E>ep       test accuracy after E epochs, E < 200; the same
                params, flops         if known

                Accuracies are in percent. Other columns are not read.
            data: Which DATA.
            complete: It must have all 15,625 cells of NAS-Bench-201 and no other.

        Raises:
            UnknownNameError: There is no such data set.
            DataError: The file is missing, is no table, or is empty; a needed column is missing; a cell has no
                name or occurs twice; an accuracy is unknown or outside [0, 100]; a cell is missing from a table
                that must be complete. Names file, row and column.

        Cost: of 15,625 cells 0.06 s, 0.2 s if complete; 4 MB.
        """
        if data not in CLASSES:
            raise UnknownNameError.of("data set of a table of cells", data, CLASSES)
        table = _read(path)
        valid, test = (_by_epochs(table.column_names, data, part) for part in ("valid", "test"))
        if missing := {"arch", f"{data}_test"} - set(table.column_names):
            raise DataError(
                f"{path} lacks {', '.join(sorted(missing))}; it has {', '.join(table.column_names) or 'none'}. "
                f"Needed: arch, {data}_test (after {WHOLE} epochs) and, for validation after E epochs, "
                f"{data}_valid_<E>ep, all in percent."
            )
        rows = _rows(table, path)
        if complete:
            _check_complete(rows, path)
        return cls(
            source=path,
            data=data,
            rows=rows,
            valid_by_epochs={epochs: _shares(table, name, path) for epochs, name in valid.items()},
            test_by_epochs={epochs: _shares(table, name, path) for epochs, name in test.items()},
            counts={name: _counts(table, name, path) for name in COUNTS if name in table.column_names},
        )

    @property
    def epochs_known(self) -> tuple[int, ...]:
        """After how many epochs validation accuracies are known, ascending; empty if none are."""
        return tuple(self.valid_by_epochs)

    def cells(self) -> tuple[str, ...]:
        """Return the cells' names in the order of the table."""
        return tuple(self.rows)

    def valid(self, cell: str, epochs: int | None = None) -> float:
        """Return a cell's validation accuracy in [0, 1].

        Args:
            cell: Its name.
            epochs: One of `epochs_known`; None: the largest.

        Raises:
            DataError: The table does not know the cell, or none of its validation accuracies after so many epochs.
        """
        return self._accuracy("validation", self.valid_by_epochs, cell, epochs)

    def test(self, cell: str, epochs: int | None = None) -> float:
        """Return a cell's test accuracy in [0, 1], after 200 epochs if not said otherwise.

        Raises:
            DataError: As `valid`.
        """
        return self._accuracy("test", self.test_by_epochs, cell, WHOLE if epochs is None else epochs)

    def rank(self, cell: str) -> int:
        """Return 1 + how many cells have a greater test accuracy; equal ones share the better rank.

        Raises:
            DataError: The table does not know the cell.
        """
        return 1 + int((self._final > self._final[self._row(cell)]).sum())

    @cached_property
    def best(self) -> str:
        """The cell with the greatest test accuracy, of equal ones the first of the table."""
        return self.cells()[int(self._final.argmax())]

    @cached_property
    def median_test(self) -> float:
        """The median of all test accuracies, in [0, 1]."""
        return float(np.median(self._final))

    def params(self, cell: str) -> int | None:
        """Return how many parameters the cell's network has; None if the table does not say.

        Raises:
            DataError: The table does not know the cell.
        """
        return self._count("params", cell)

    def flops(self, cell: str) -> int | None:
        """Return the operations of one sample's forward pass as the table counts them; None if it does not say.

        Raises:
            DataError: The table does not know the cell.
        """
        return self._count("flops", cell)

    @property
    def _final(self) -> NDArray[np.float64]:
        return self.test_by_epochs[WHOLE]

    def _row(self, cell: str) -> int:
        if cell not in self.rows:
            raise DataError(f"The table of {len(self.rows):,} cells in {self.source} has no {cell}.")
        return self.rows[cell]

    def _accuracy(
        self, kind: str, by_epochs: Mapping[int, NDArray[np.float64]], cell: str, epochs: int | None
    ) -> float:
        row = self._row(cell)
        if epochs is None:
            epochs = max(by_epochs, default=WHOLE)
        if epochs not in by_epochs:
            raise DataError(
                f"{self.source} has no {kind} accuracies on {self.data} after {epochs} epochs; known are those "
                f"after: {', '.join(map(str, by_epochs)) or 'none'}."
            )
        return float(by_epochs[epochs][row])

    def _count(self, column: str, cell: str) -> int | None:
        row = self._row(cell)
        return int(self.counts[column][row]) if column in self.counts else None


# ---------------------------------------------------------------------- the file


def _read(path: Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        table = parquet.read_table(path) if path.suffix == ".parquet" else csv.read_csv(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"Table of cells: cannot read {path}: {error}.") from error
    if repeated := sorted({name for name in table.column_names if table.column_names.count(name) > 1}):
        raise DataError(f"{path} has more than one column {', '.join(repeated)}.")
    return table


def _by_epochs(names: list[str], data: str, part: str) -> dict[int, str]:
    """Return the columns of one part by the epochs they speak of, ascending."""
    matches = (re.fullmatch(rf"{data}_{part}_([1-9]\d*)ep", name) for name in names)
    found = {int(match[1]): match[0] for match in matches if match}
    if part == "test":
        if WHOLE in found:
            raise DataError(
                f"Columns {found[WHOLE]} and {data}_test both speak of {WHOLE} epochs: keep the latter."
            )
        found[WHOLE] = f"{data}_test"
    return dict(sorted(found.items()))


def _rows(table: pa.Table, path: Path) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, cell in enumerate(table["arch"].to_pylist()):
        if not isinstance(cell, str) or not cell:
            raise DataError(f"{path}, row {row}: arch is {cell!r}, need the name of a cell.")
        if cell in rows:
            raise DataError(f"{path}: rows {rows[cell]} and {row} are the same cell, {cell}.")
        rows[cell] = row
    if not rows:
        raise DataError(f"{path}: got 0 cells, need at least one row.")
    return rows


def _check_complete(rows: Mapping[str, int], path: Path) -> None:
    space = [str(Cell201.of_code(code)) for code in range(CELLS)]
    missing = [cell for cell in space if cell not in rows]
    known = set(space)
    foreign = [cell for cell in rows if cell not in known]
    said = [
        f"{len(cells):,} {what}, the first is {cells[0]}"
        for cells, what in ((missing, "are missing"), (foreign, "are none of them"))
        if cells
    ]
    if said:
        raise DataError(
            f"{path} has {len(rows):,} cells, need exactly the {CELLS:,} of NAS-Bench-201: {'; '.join(said)}."
        )


def _shares(table: pa.Table, name: str, path: Path) -> NDArray[np.float64]:
    """Return a column of percentages as shares."""
    values = _numbers(table, name, path)
    wrong = np.flatnonzero(~((values >= 0) & (values <= 100)))  # also what is not a number
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{path}, row {row}, cell {table['arch'][row]}: {name} is {values[row]}, need a percentage in "
            f"[0, 100] ({len(wrong):,} such rows)."
        )
    return values / 100


def _counts(table: pa.Table, name: str, path: Path) -> NDArray[np.int64]:
    values = _numbers(table, name, path)
    wrong = np.flatnonzero(~((values >= 0) & (values == np.floor(values)) & np.isfinite(values)))
    if len(wrong):
        row = int(wrong[0])
        cell = table["arch"][row]
        raise DataError(f"{path}, row {row}, cell {cell}: {name} is {values[row]}, need a whole number >= 0.")
    return values.astype(np.int64)


def _numbers(table: pa.Table, name: str, path: Path) -> NDArray[np.float64]:
    try:
        return np.asarray(table[name].to_numpy(), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: column {name} is of {table[name].type}, need numbers.") from error
