"""``raysubset nas``: what is refused, in one line and before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raysubset.cli.app import run
from raysubset.cli.nas import Judging
from raysubset.nas_experiment import CandidateOptions
from raysubset.selection.plan import SubsetPlan


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAYSUBSET_DATA", raising=False)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["nas", "--data", "embedded", *arguments]) == 2
    message = capsys.readouterr().err.strip()
    assert not Path("runs").exists()
    return message


@pytest.mark.parametrize(
    ("arguments", "phrase"),
    [
        (["--space", "nb301"], "UnknownNameError: Unknown space 'nb301'. Did you mean 'nb201'?"),
        (["--algo", "enas"], "Unknown algorithm 'enas'"),
        (["--space", "nb101", "--algo", "darts"], "no supernet of 'nb101'"),
        (["--preset", "large"], "Unknown preset 'large'. Known: paper, small."),
        (["--ratio", "0"], "BudgetError: ratio=0.0"),
        (["--ratio", "1.5"], "BudgetError: ratio=1.5"),
        (["--resume"], "--resume needs the --name"),
        (["--retrain", "3"], "retrain_epochs=3 is for the darts space"),
        (["--selector", "aspp"], "Unknown selector 'aspp'"),
        (["--table", "nowhere.parquet"], "nowhere.parquet"),
        (["--limit", "0"], "limit=0"),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], phrase: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, *arguments)
    assert phrase in message
    assert "\n" not in message


def test_a_table_of_other_columns_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("arch,accuracy\nx,50\n")
    message = refused(capsys, "--table", "t.csv")
    assert "lacks cifar10_test" in message
    assert "it has arch, accuracy" in message


def test_a_table_that_lacks_cells_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    (tmp_path / "t.csv").write_text(f"arch,cifar10_test\n{cell},10\n")
    assert "15,624" in refused(capsys, "--table", "t.csv")
    (tmp_path / "t.csv").write_text(f"arch,cifar10_test\n{cell},10\n{cell},10\n")
    assert "rows 0 and 1 are the same cell" in refused(capsys, "--table", "t.csv")


@pytest.mark.parametrize(
    ("train", "validation", "phrase"),
    [
        ([0, 1, 2], [2, 3], "Validation overlaps train in 1 rows, 2 among them"),
        ([0, 1, 1], [2, 3], "train rows repeat: 3 given, 2 distinct"),
        ([0, 1], [2, 9999], "validation rows span [2, 9999]"),
        ([0, 1], [], "validation rows must be integers[k], at least one"),
        ([0.5, 1], [2], "train rows must be integers"),
    ],
)
def test_a_split_of_ones_own_is_checked(
    train: list[float], validation: list[float], phrase: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("train.npy", np.array(train))
    np.save("validation.npy", np.array(validation, dtype=np.int64) if validation == [] else np.array(validation))
    files = ["--train-rows", "train.npy", "--validation-rows", "validation.npy"]
    assert phrase in refused(capsys, "--limit", "200", *files)


def test_half_a_split_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("train.npy", np.arange(3))
    assert "go together" in refused(capsys, "--train-rows", "train.npy")


def test_a_ratio_that_empties_a_side_is_refused_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "--space", "darts", "--limit", "200", "--ratio", "0.004")
    assert "leaves one of them without a row" in message


def test_a_search_by_the_table_needs_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["nas", "--data", "embedded", "--algo", "random", "--objective", "table", "--name", "t"]) == 2
    assert "needs --table FILE" in capsys.readouterr().err


def test_finalists_are_the_presets_unless_the_selector_wants_evidence_they_have_none_of() -> None:
    preset = CandidateOptions(finalists=6)
    assert Judging().over(preset, SubsetPlan()).finalists == 6
    assert Judging(finalists=2).over(preset, SubsetPlan()).finalists == 2
    assert Judging().over(preset, SubsetPlan(selector="proxy-data-p1")).finalists == 0
    assert Judging(finalists=2).over(preset, SubsetPlan(selector="proxy-data-p1")).finalists == 2  # refused later
