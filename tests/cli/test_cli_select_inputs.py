"""raysubset select: what it makes of signals, logits, residuals and validation rows, for every selector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from raysubset.selection.entries import ENTRIES
from tests.cli.select_arrays import CLASSES, RESULT, STEERED, N, chosen, run


def test_asp_draws_by_the_one_signal_or_the_named_one(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    largest = np.argsort(-np.load("S.npy"), kind="stable")[:5].tolist()
    np.save("negative.npy", -np.load("S.npy"))
    only = chosen(capsys, "--selector asp --signal loss=S.npy --k 5 --option deterministic=true")["indices"]
    assert only.tolist() == largest
    two = "--selector asp --signal loss=S.npy --signal other=negative.npy --k 5"
    named = chosen(capsys, f"{two} --option metric=loss --option temperature=1e-5")["indices"]
    assert named.tolist() == largest
    code, _, err = run(capsys, f"{two} --out {RESULT}")
    assert code == 2
    assert "Signals given: loss, other" in err


def test_integer_and_double_signals_are_signals(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    np.save("counts.npy", np.arange(N)[::-1])
    arguments = "--selector asp --signal forgetting=counts.npy --k 3 --option deterministic=true"
    assert chosen(capsys, arguments)["indices"].tolist() == [0, 1, 2]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def test_logits_and_labels_make_the_residuals(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    logits, labels = np.load("Z.npy"), np.load("Y.npy")
    np.save("R.npy", (softmax(logits) - np.eye(CLASSES)[labels]).astype(np.float32))
    made = chosen(capsys, "--selector gradmatch --features F.npy --logits Z.npy --labels Y.npy --k 7")
    given = chosen(capsys, "--selector gradmatch --features F.npy --residuals R.npy --k 7")
    bias = chosen(capsys, "--selector gradmatch --logits Z.npy --labels Y.npy --k 7")
    assert made["indices"].tolist() == given["indices"].tolist()
    np.testing.assert_allclose(made["weights"], given["weights"], rtol=1e-4)
    assert float(made["scale"]) == pytest.approx(float(given["scale"]), rel=1e-4)
    assert made["weights"].mean(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    assert set(bias["indices"].tolist()) != set(made["indices"].tolist())


def test_given_residuals_are_not_made_anew(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    np.save("R.npy", np.load("Z.npy")[::-1])
    alone = chosen(capsys, "--selector gradmatch --features F.npy --residuals R.npy --k 7")
    beside = chosen(
        capsys, "--selector gradmatch --features F.npy --residuals R.npy --logits Z.npy --labels Y.npy --k 7"
    )
    assert alone["indices"].tolist() == beside["indices"].tolist()
    assert alone["weights"].tolist() == beside["weights"].tolist()


def test_validation_rows_steer(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    arguments = "--selector gradmatch --features F.npy --logits Z.npy --labels Y.npy --k 5"
    steered = chosen(capsys, f"{arguments} {STEERED} --option target=validation")
    assert steered["indices"].tolist() != chosen(capsys, arguments)["indices"].tolist()
    code, _, err = run(capsys, f"{arguments} --option target=validation --out {RESULT}")
    assert code == 2
    assert "validation" in err


def test_float64_and_big_endian_arrays_are_narrowed(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    arguments = "--selector gradmatch --logits Z.npy --labels Y.npy --k 7 --features"
    plain = chosen(capsys, f"{arguments} F.npy")
    for dtype in (np.float64, ">f4"):
        np.save("wide.npy", np.load("F.npy").astype(dtype))
        assert chosen(capsys, f"{arguments} wide.npy")["indices"].tolist() == plain["indices"].tolist()


EVERYTHING = f"--features F.npy --logits Z.npy --labels Y.npy {STEERED} --learning-rate 0.05 --progress 0.3"
SIGNALS = " ".join(f"--signal {name}=S.npy" for name in ("loss", "forgetting", "aum"))
OUTSIDE_BATCHES = [name for name, entry in ENTRIES.items() if not entry.habits.in_batch and name != "subselnet"]


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTSIDE_BATCHES)
def test_every_selector_works_on_arrays(capsys: pytest.CaptureFixture[str], folder: Path, name: str) -> None:
    size = "--ratio 1" if name in ("full", "infobatch") else "--k 9"
    option = "--option metric=loss" if name == "asp" else ""
    written = chosen(capsys, f"--selector {name} {EVERYTHING} {SIGNALS} {size} {option}")
    rows = written["indices"]
    assert len(set(rows.tolist())) == len(rows) == len(written["weights"]) <= N
    assert 0 <= rows.min() <= rows.max() < N
