"""The bank of logits: what comes back, what a crash leaves, what is refused by name."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from raysubset.errors import DataError, StorageError
from raysubset.subselnet.bank import BANK_FILE, DONE_FILE, LOGITS_FILE, LogitBank, Supervisor

CELLS, N, CLASSES, PRINT = ("one", "two", "three"), 40, 5, "f00d"
MEBIBYTE = 2**20


def made(folder: Path, cells: tuple[str, ...] = CELLS) -> LogitBank:
    return LogitBank.create(folder / "bank", cells, N, CLASSES, PRINT)


def opened(folder: Path, **other: Any) -> LogitBank:
    return LogitBank.open(folder / "bank", **{"fingerprint": PRINT, "size": N, "num_classes": CLASSES, **other})


def logits(seed: int = 0, scale: float = 6.0) -> NDArray[np.float32]:
    return (scale * np.random.default_rng(seed).normal(size=(N, CLASSES)) + 50).astype(np.float32)


def softmax(z: NDArray[np.floating]) -> NDArray[np.float64]:
    p = np.exp(z.astype(np.float64) - z.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def filled(folder: Path) -> LogitBank:
    bank = made(folder)
    for number, cell in enumerate(CELLS):
        bank.write(cell, logits(number), 0.25 * number, 1.5)
    return bank


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    """Half precision: 2^-11 of the distance to the row's greatest logit."""
    bank = filled(tmp_path)
    for number in range(3):
        exact = logits(number) - logits(number).max(axis=1, keepdims=True)
        found = bank.logits(number)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact, rtol=2**-10, atol=1e-7)
        assert (found.max(axis=1) == 0).all()
        p, q = softmax(logits(number)), softmax(found)
        assert (p * np.log(p / q)).sum(axis=1).max() < 1e-3
        assert (found.argmax(axis=1) == logits(number).argmax(axis=1)).all()


@pytest.mark.parametrize("scale", [0.01, 100.0, 1e30])
def test_divergence_is_small_at_any_scale(scale: float, tmp_path: Path) -> None:
    bank = made(tmp_path)
    bank.write("two", logits(3, scale), 0.5, 1.0)
    p, q = softmax(logits(3, scale)), softmax(bank.logits(1))
    assert np.isfinite(bank.logits(1)).all()
    assert (
        np.where(p > 1e-12, p * np.log(np.maximum(p, 1e-300) / np.maximum(q, 1e-300)), 0).sum(axis=1).max() < 1e-3
    )


def test_parts_and_pairs_are_of_the_whole(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    whole = np.stack([bank.logits(number) for number in range(3)])
    rows, cells = np.array([7, 0, 39, 7]), np.array([2, 0, 1, 1])
    np.testing.assert_array_equal(bank.logits(1, rows), whole[1, rows])
    np.testing.assert_array_equal(bank.logits(2, slice(3, 9)), whole[2, 3:9])
    np.testing.assert_array_equal(bank.pairs(cells, rows), whole[cells, rows])
    assert bank.pairs(cells, rows).dtype == np.float32


def test_what_is_handed_out_is_a_copy(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    bank.logits(0)[:] = 7
    bank.pairs(np.zeros(2, dtype=np.int64), np.arange(2))[:] = 7
    assert bank.logits(0).max() == 0


def test_order_of_writing_is_not_that_of_the_bank(tmp_path: Path) -> None:
    bank = made(tmp_path)
    for number in (2, 0):
        bank.write(CELLS[number], np.asfortranarray(logits(number)), 0.5, 1.0)
    assert list(bank.done()) == ["three", "one"]
    np.testing.assert_allclose(softmax(bank.logits(2)), softmax(logits(2)), atol=2e-3)
    np.testing.assert_allclose(softmax(bank.logits(0)), softmax(logits(0)), atol=2e-3)


def test_done_tells_accuracy_and_seconds(tmp_path: Path) -> None:
    bank = made(tmp_path)
    assert bank.done() == {}
    bank.write("two", logits(), 0.75, 12.5)
    assert bank.done() == opened(tmp_path).done() == {"two": Supervisor("two", 0.75, 12.5)}
    bank.write("two", logits(1), 0.5, 1.0)
    assert bank.done() == {"two": Supervisor("two", 0.5, 1.0)}


def test_an_open_bank_goes_on_where_it_was(tmp_path: Path) -> None:
    made(tmp_path).write("two", logits(), 0.75, 12.5)
    again = made(tmp_path)
    assert list(again.done()) == ["two"]
    np.testing.assert_allclose(softmax(again.logits(1)), softmax(logits()), atol=2e-3)
    assert again.cells == opened(tmp_path).cells == CELLS
    assert again.shape == (3, N, CLASSES)


@pytest.mark.parametrize(
    "tail", ['{"cell": "three", "accur', "{", '{"cell": "three", "accuracy": 0.5, "seconds": 1.0}']
)
def test_a_line_cut_short_does_not_count_and_is_not_in_the_way(tail: str, tmp_path: Path) -> None:
    bank = made(tmp_path)
    bank.write("one", logits(), 0.5, 1.0)
    with (bank.folder / DONE_FILE).open("a") as file:
        file.write(tail)
    again = made(tmp_path)
    assert list(again.done()) == ["one"]
    again.write("three", logits(1), 0.25, 2.0)
    assert again.done() == {"one": Supervisor("one", 0.5, 1.0), "three": Supervisor("three", 0.25, 2.0)}


def test_a_damaged_line_is_refused(tmp_path: Path) -> None:
    bank = made(tmp_path)
    for line in ("nonsense", '{"cell": "one"}', "3"):
        (bank.folder / DONE_FILE).write_text(f"{line}\n")
        with pytest.raises(DataError, match=f"{DONE_FILE} is damaged"):
            bank.done()


def _dies(folder: Path) -> None:
    """Write half of a cell's row of the bank and die."""
    bank = opened(folder)
    with (bank.folder / LOGITS_FILE).open("r+b") as file:
        file.seek(N * CLASSES * 2)
        file.write(b"\xff" * N * CLASSES)
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def test_half_of_a_killed_writers_row_is_not_done(tmp_path: Path) -> None:
    made(tmp_path).write("one", logits(), 0.5, 1.0)
    writer = multiprocessing.get_context("fork").Process(target=_dies, args=(tmp_path,))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    again = made(tmp_path)
    assert list(again.done()) == ["one"]
    np.testing.assert_allclose(softmax(again.logits(0)), softmax(logits()), atol=2e-3)
    with pytest.raises(DataError, match="cell two"):
        again.logits(1)
    again.write("two", logits(1), 0.5, 1.0)
    np.testing.assert_allclose(softmax(again.logits(1)), softmax(logits(1)), atol=2e-3)


def test_a_writer_that_fails_leaves_the_cell_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    bank = made(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="bank.*No space left"):
        bank.write("one", logits(), 0.5, 1.0)
    assert bank.done() == {}


@pytest.mark.parametrize(
    ("other", "phrase"),
    [
        ({"fingerprint": "beef"}, "of data f00d, these are beef.*--data"),
        ({"size": 41}, "of rows 40, these are 41"),
        ({"num_classes": 10}, "of classes 5, these are 10"),
    ],
)
def test_a_bank_of_other_rows_is_refused(other: dict[str, Any], phrase: str, tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(DataError, match=phrase):
        opened(tmp_path, **other)
    asked = {"cells": CELLS, "size": N, "num_classes": CLASSES, "fingerprint": PRINT, **other}
    with pytest.raises(DataError, match=phrase):
        LogitBank.create(tmp_path / "bank", **asked)
    assert len(opened(tmp_path).done()) == 3


@pytest.mark.parametrize(
    ("cells", "phrase"),
    [
        (("one", "three", "two"), "number 1 is two, asked three"),
        (("one", "two"), "3 of them, asked 2"),
        (("one", "two", "three", "four"), "3 of them, asked 4"),
    ],
)
def test_a_bank_of_other_cells_is_refused(cells: tuple[str, ...], phrase: str, tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(DataError, match=f"other cells: {phrase}"):
        made(tmp_path, cells)
    assert len(opened(tmp_path).done()) == 3


def test_a_cell_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="twice: one, two"):
        made(tmp_path, ("two", "one", "two", "one", "three"))
    assert not (tmp_path / "bank").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_when_written(bad: float, tmp_path: Path) -> None:
    bank, wrong = made(tmp_path), logits()
    wrong[[11, 30], 2] = bad
    with pytest.raises(DataError, match="cell two are not finite in 2 rows, row 11 among them"):
        bank.write("two", wrong, 0.5, 1.0)
    assert bank.done() == {}


def test_strangers_are_refused(tmp_path: Path) -> None:
    bank = made(tmp_path)
    with pytest.raises(DataError, match=re.escape(f"cell two have shape (39, {CLASSES}), need (40, {CLASSES})")):
        bank.write("two", logits()[:-1], 0.5, 1.0)
    with pytest.raises(DataError, match="no place for cell four"):
        bank.write("four", logits(), 0.5, 1.0)


def test_damage_is_found_when_it_is_read_and_names_the_cell(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    table = np.memmap(bank.folder / LOGITS_FILE, np.float16, "r+", shape=bank.shape)
    table[1, 20, 3] = np.nan
    table.flush()
    with pytest.raises(DataError, match="not finite for cell two: the file is damaged"):
        bank.logits(1)
    with pytest.raises(DataError, match="cell two"):
        bank.pairs(np.array([0, 2, 1]), np.array([20, 20, 20]))
    assert np.isfinite(bank.logits(1, np.arange(20))).all()
    assert np.isfinite(bank.pairs(np.array([0, 1, 2]), np.array([20, 21, 20]))).all()


def test_files_that_are_missing_or_cut_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="There is no bank in"):
        opened(tmp_path)
    bank = filled(tmp_path)
    description = (bank.folder / BANK_FILE).read_text()
    with (bank.folder / LOGITS_FILE).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(DataError, match="has 100 bytes, need 1200"):
        opened(tmp_path)
    (bank.folder / LOGITS_FILE).unlink()
    with pytest.raises(StorageError, match="There is no bank in"):
        opened(tmp_path)
    for text in ("{", "[]", json.dumps({**json.loads(description), "cells": 3}), '{"size": 3}'):
        filled(tmp_path / "other")
        (tmp_path / "other" / "bank" / BANK_FILE).write_text(text)
        with pytest.raises(DataError, match=f"{BANK_FILE} is damaged"):
            opened(tmp_path / "other")
        (tmp_path / "other" / "bank" / BANK_FILE).write_text(description)


def test_a_bank_begun_anew_has_nothing_done(tmp_path: Path) -> None:
    """Its table is empty again, whatever an earlier one wrote down."""
    bank = filled(tmp_path)
    (bank.folder / BANK_FILE).unlink()
    assert made(tmp_path).done() == {}


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "bank").write_text("a file")
    with pytest.raises(StorageError, match="Cannot write the bank"):
        made(tmp_path)


def anonymous() -> int:
    """Bytes of memory that no file backs."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="anonymous memory is read from Linux' /proc")
def test_a_large_bank_is_not_read_into_memory(tmp_path: Path) -> None:
    cells, n, classes = 100, 100_000, 10
    bank = LogitBank.create(tmp_path / "bank", [f"cell{k}" for k in range(cells)], n, classes, PRINT)
    size = (bank.folder / LOGITS_FILE).stat().st_size
    assert size == 200_000_000
    rng = np.random.default_rng(0)

    bank.write("cell99", np.zeros((n, classes), dtype=np.float32), 0.5, 1.0)
    filled(tmp_path / "warm").pairs(np.arange(3), np.arange(3))  # what the first read of any bank costs
    before = anonymous()
    for _ in range(300):
        bank.pairs(rng.integers(cells, size=512), rng.integers(n, size=512))
    bank.logits(99)
    assert anonymous() - before < 8 * MEBIBYTE  # a cell as float32 is 4 MB


def test_a_cell_whose_network_is_not_trained_yet_is_named(tmp_path: Path) -> None:
    made = LogitBank.create(tmp_path, ["a", "b"], 3, 2, "data")
    made.write("a", np.zeros((3, 2), dtype=np.float32), 0.5, 1.0)
    assert made.logits(0).shape == (3, 2)
    with pytest.raises(DataError, match="no logits of cell b yet"):
        made.logits(1)
