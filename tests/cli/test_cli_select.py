"""raysubset select: positions and weights out, as many as asked, in a file that is whole or the old one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysubset.seeds import generator
from raysubset.selection.catalog import known_selectors
from raysubset.selection.protocol import Context
from raysubset.selection.uniform import UniformRandom
from tests.cli.select_arrays import RESULT, N, chosen, run


def test_the_written_selection(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, _ = run(capsys, "--selector adaptive-random --features F.npy --k 6 --seed 3 --json --out new/s.npz")
    facts = json.loads(out)
    with np.load("new/s.npz") as archive:
        written = dict(archive)
    assert code == 0
    assert facts == {
        "selector": "adaptive-random",
        "pool_size": N,
        "k": 6,
        "selected": 6,
        "scale": 1.0,
        "seed": 3,
        "out": "new/s.npz",
    }
    assert set(written) == {"indices", "weights", "scale"}
    assert written["indices"].dtype == np.int64
    assert written["weights"].dtype == np.float32
    assert written["weights"].tolist() == [1] * 6
    expected = UniformRandom().select(Context(N), 6, generator(3, "select")).indices
    assert written["indices"].tolist() == expected.tolist()
    assert [path.name for path in (folder / "new").iterdir()] == ["s.npz"]


def test_ids_name_the_chosen_rows(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    written = chosen(capsys, "--selector adaptive-random --ids I.npy --k 5")
    assert written["ids"].tolist() == np.load("I.npy")[written["indices"]].tolist()
    np.save("words.npy", np.array([f"image {i}.png" for i in range(N)]))
    written = chosen(capsys, "--selector adaptive-random --ids words.npy --k 5")
    assert written["ids"].tolist() == [f"image {i}.png" for i in written["indices"]]


def test_seeds_differ_and_repeat(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    draws = [
        chosen(capsys, f"--selector adaptive-random --labels Y.npy --k 9 --seed {seed}")["indices"].tolist()
        for seed in (0, 1, 0)
    ]
    assert draws[0] == draws[2] != draws[1]


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "k"), [("0.1", 4), ("1", 40), ("0.29", 12), ("0.06", 2), ("0.001", 1)])
def test_a_ratio_is_rounded_to_the_nearest_row_and_at_least_one(
    capsys: pytest.CaptureFixture[str], folder: Path, ratio: str, k: int
) -> None:
    assert len(chosen(capsys, f"--selector random --labels Y.npy --ratio {ratio}")["indices"]) == k


def test_per_class_keeps_the_class_shares(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    rows = chosen(capsys, "--selector adaptive-random --labels Y.npy --per-class --k 20")["indices"]
    assert np.bincount(np.load("Y.npy")[rows]).tolist() == [10, 7, 3]  # of 10, 6.5 and 3.5


def test_an_old_selection_is_replaced_in_one_step(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    chosen(capsys, "--selector random --labels Y.npy --k 3")
    assert len(chosen(capsys, "--selector random --labels Y.npy --k 4")["indices"]) == 4
    old = (folder / RESULT).read_bytes()
    code, _, _ = run(capsys, f"--selector random --labels Y.npy --k 400 --out {RESULT}")
    assert code == 2
    assert (folder / RESULT).read_bytes() == old


def test_a_failed_write_leaves_the_old_file(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen(capsys, "--selector random --labels Y.npy --k 3")
    old = (folder / RESULT).read_bytes()
    before = {path.name for path in folder.iterdir()}

    def half(file: Any, **arrays: Any) -> None:
        file.write(b"PK half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", half)
    code, _, err = run(capsys, f"--selector random --labels Y.npy --k 4 --out {RESULT}")
    assert code == 2
    assert "Cannot write result.npz: No space left on device" in err
    assert (folder / RESULT).read_bytes() == old
    assert {path.name for path in folder.iterdir()} == before


def test_the_list_holds_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--list --json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert tuple(rows) == known_selectors()
    assert rows["craig"]["looks_at"] == "model"
    assert rows["rho-loss"]["chooses"] == "in each batch"
    assert rows["random"]["summary"]
    code, table, _ = run(capsys, "--list")
    assert code == 0
    assert all(name in table for name in known_selectors())
