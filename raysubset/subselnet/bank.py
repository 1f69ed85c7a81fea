"""LogitBank: what trained networks say of every row, on disk, one row of the bank a cell.

<folder>/bank.json        the cells in order, rows, classes, what the rows were
         logits.f16       float16[A, n, C], mapped, never read whole
         done.jsonl       one line a cell whose logits are complete, in the order they came

Each row's greatest logit is 0: softmax does not see the shift, and float16 is finest near 0.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import DataError, StorageError

BANK_FILE, LOGITS_FILE, DONE_FILE = "bank.json", "logits.f16", "done.jsonl"
_LOWEST = -60_000.0  # float16 ends at -65,504


@dataclass(frozen=True, slots=True)
class Supervisor:
    """A cell whose network is trained and asked.

    Attributes:
        cell: Its name.
        accuracy: Share of the bank's rows it classifies rightly, which it was trained on.
        seconds: Wall time of training and asking.
    """

    cell: str
    accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class LogitBank:
    """The logits of A cells' networks on n rows of C classes.

    Attributes:
        folder: Where it lies.
        cells: Their names, in the bank's order.
        size: n.
        num_classes: C.
        fingerprint: Of the rows, see `Dataset.fingerprint`.
    """

    folder: Path
    cells: tuple[str, ...]
    size: int
    num_classes: int
    fingerprint: str

    @classmethod
    def create(
        cls, folder: Path, cells: Sequence[str], size: int, num_classes: int, fingerprint: str
    ) -> LogitBank:
        """Make an empty bank, or return the one that is there if it is of the same cells and rows.

        Raises:
            DataError: A bank of other cells or rows is there, or a cell is named twice.
            StorageError: The folder cannot be written; no half-made bank stays.
        """
        if repeated := sorted({cell for cell in cells if list(cells).count(cell) > 1}):
            raise DataError(f"A bank holds each cell once; twice: {', '.join(repeated)}.")
        made = cls(folder, tuple(cells), size, num_classes, fingerprint)
        if (folder / BANK_FILE).exists():
            kept = cls.open(folder, fingerprint=fingerprint, size=size, num_classes=num_classes)
            if kept.cells != made.cells:
                raise DataError(f"The bank in {folder} holds other cells: {_first_differing(kept, made)}.")
            return kept
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / DONE_FILE).unlink(missing_ok=True)  # of a bank whose bank.json was lost
            np.memmap(folder / LOGITS_FILE, np.float16, "w+", shape=made.shape).flush()
            plain = {"cells": list(cells), "size": size, "num_classes": num_classes, "fingerprint": fingerprint}
            part = folder / f"{BANK_FILE}.part"
            part.write_text(json.dumps(plain), encoding="utf-8")
            part.replace(folder / BANK_FILE)
        except OSError as error:
            raise StorageError(f"Cannot write the bank {folder}: {error.strerror or error}.") from error
        return made

    @classmethod
    def open(cls, folder: Path, *, fingerprint: str, size: int, num_classes: int) -> Self:
        """Open a bank of these rows.

        Raises:
            StorageError: There is none.
            DataError: Its rows or classes are others, or it is damaged.
        """
        try:
            plain = json.loads((folder / BANK_FILE).read_text(encoding="utf-8"))
            kept = (folder / LOGITS_FILE).stat().st_size
            bank = cls(folder, tuple(plain["cells"]), plain["size"], plain["num_classes"], plain["fingerprint"])
        except OSError as error:
            raise StorageError(f"There is no bank in {folder}: {error.strerror or error}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder / BANK_FILE} is damaged ({type(error).__name__}: {error}).") from error
        for what, own, asked in (
            ("data", bank.fingerprint, fingerprint),
            ("rows", bank.size, size),
            ("classes", bank.num_classes, num_classes),
        ):
            if own != asked:
                raise DataError(
                    f"The bank in {folder} is of {what} {own}, these are {asked}. Were --data, --limit, "
                    "--validation or --seed others when it was made?"
                )
        if kept != (need := math.prod(bank.shape) * np.dtype(np.float16).itemsize):
            raise DataError(f"{folder / LOGITS_FILE} has {kept} bytes, need {need}: the file is damaged.")
        return bank

    @property
    def shape(self) -> tuple[int, int, int]:
        """(A, n, C)."""
        return len(self.cells), self.size, self.num_classes

    def write(self, cell: str, logits: NDArray[np.float32], accuracy: float, seconds: float) -> None:
        """Keep a cell's logits; from then on it is done, also for whoever opens the bank after a crash.

        Args:
            cell: One of ``cells``.
            logits: float32[n, C].
            accuracy: Of the network on the same rows, in [0, 1].
            seconds: That it took.

        Raises:
            DataError: Another cell or shape, or a value that is not finite; names the cell.
            StorageError: The files cannot be written.
        """
        if cell not in self.cells:
            raise DataError(f"The bank in {self.folder} has no place for cell {cell}.")
        if logits.shape != self.shape[1:]:
            raise DataError(f"Logits of cell {cell} have shape {logits.shape}, need {self.shape[1:]}.")
        if bad := np.flatnonzero(~np.isfinite(logits).all(axis=1)).tolist():
            raise DataError(f"Logits of cell {cell} are not finite in {len(bad)} rows, row {bad[0]} among them.")
        kept = np.maximum(logits - logits.max(axis=1, keepdims=True), _LOWEST).astype(np.float16)
        try:
            with (self.folder / LOGITS_FILE).open("r+b") as table:  # by a mapping a full disk would be SIGBUS
                table.seek(self.cells.index(cell) * kept.nbytes)
                table.write(kept.tobytes())
                table.flush()
                os.fsync(table.fileno())
            with (self.folder / DONE_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(Supervisor(cell, accuracy, seconds))) + "\n")
        except OSError as error:
            raise StorageError(f"Cannot write to the bank {self.folder}: {error.strerror or error}.") from error

    def done(self) -> dict[str, Supervisor]:
        """Return what is known of the cells that are complete; a line cut short by a crash does not count.

        Raises:
            DataError: Another line cannot be read.
        """
        path = self.folder / DONE_FILE
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
        if lines[-1]:
            path.write_text("".join(f"{line}\n" for line in lines[:-1]), encoding="utf-8")
        try:
            found = [Supervisor(**json.loads(line)) for line in lines[:-1]]
        except (ValueError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error}).") from error
        return {one.cell: one for one in found}

    def logits(self, cell: int, rows: slice | NDArray[np.int64] = slice(None)) -> NDArray[np.float32]:
        """Return float32[k, C] of one cell, by its place in ``cells``.

        Raises:
            DataError: It was not written yet, or a value is not finite; names the cell.
        """
        if (name := self.cells[cell]) not in self.done():
            raise DataError(
                f"The bank in {self.folder} has no logits of cell {name} yet: its network is not trained."
            )
        found = np.asarray(self._table()[cell, rows], dtype=np.float32)
        self._check(found, np.full(len(found), cell))
        return found

    def pairs(self, cells: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return float32[k, C] of k pairs of a cell and a row.

        Raises:
            DataError: A value is not finite; names the cell.
        """
        found = np.asarray(self._table()[cells, rows], dtype=np.float32)
        self._check(found, cells)
        return found

    def _check(self, found: NDArray[np.float32], cells: NDArray[np.int64]) -> None:
        if not np.isfinite(found).all():
            bad = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
            raise DataError(
                f"The bank in {self.folder} holds logits that are not finite for cell {self.cells[cells[bad]]}: "
                "the file is damaged. Remove the bank and fit again."
            )

    def _table(self) -> np.memmap[Any, np.dtype[np.float16]]:
        return np.memmap(self.folder / LOGITS_FILE, np.float16, "r", shape=self.shape)


def _first_differing(kept: LogitBank, asked: LogitBank) -> str:
    pairs = zip(kept.cells, asked.cells, strict=False)
    for number, (one, other) in enumerate(pairs):
        if one != other:
            return f"number {number} is {one}, asked {other}"
    return f"{len(kept.cells)} of them, asked {len(asked.cells)}"
