"""raysubset bench kernels: table, JSON, wrong options in one line, runs in processes of their own."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from raysubset.bench import runs
from raysubset.bench.kernels import CASES
from raysubset.bench.model_outputs import read_outputs, write_outputs
from raysubset.bench.runs import Run, solve
from raysubset.cli import main
from raysubset.selection.protocol import Context

pytestmark = pytest.mark.usefixtures("no_collection")


@pytest.fixture
def file(known: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    write_outputs(tmp_path / "outputs.npz", known)
    monkeypatch.chdir(tmp_path)
    return "outputs.npz"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process, and the peers' packages away."""
    monkeypatch.setattr(runs, "find_spec", lambda name: None)

    def solved(run: Run, outputs: Path, most_rows: int | None) -> Run:
        contender = next(each for each in CASES[run.case].contenders if each.name == run.contender)
        return solve(CASES[run.case], contender, read_outputs(outputs), most_rows, run.repeat)

    monkeypatch.setattr(runs, "_fresh", solved)


def bench_kernels(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "kernels", *arguments])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_the_table_has_a_line_a_contender(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--gradients", file, "--case", "craig-class", "--case", "glister", "--n", "200", "--repeats", "2")
    assert bench_kernels(*arguments) == 0
    printed = capsys.readouterr().out
    for name in ("craig-class", "glister"):
        for contender in CASES[name].contenders:
            assert f"│ {contender.name} " in printed
    assert "pip install 'raysubset[peers]'" in printed
    assert "k = 20 of 200" in printed


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_json_holds_every_run(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--gradients", file, "--case", "omp", "--n", "200", "--repeats", "3", "--json")
    assert bench_kernels(*arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(run["contender"], run["repeat"]) for run in told["runs"]] == [
        (each.name, repeat) for repeat in range(3) for each in CASES["omp"].contenders
    ]
    assert [row["contender"] for row in told["rows"]] == [each.name for each in CASES["omp"].contenders]
    assert told["rows"][0]["quality_ratio"] is None
    assert "torch" in told["versions"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--case", "carig"], "craig-class"),
        (["--repeats", "0"], "repeats=0"),
        (["--n", "3"], "n=3"),
        (["--gradients", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_wrong_options_are_one_line(
    arguments: list[str], words: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_kernels("--gradients", file, *arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("contender", ["raysubset", "raysubset, torch alone"])
def test_a_run_happens_in_a_fresh_process(contender: str, file: str) -> None:
    found = runs._fresh(Run("omp", contender, 0), Path(file), 300)
    assert found.note == ""
    assert found.picked > 0


@pytest.mark.slow
def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    run = runs._fresh(Run("omp", "raysubset", 0), tmp_path / "none.npz", None)
    assert "none.npz" in run.note
    assert math.isnan(run.cpu_s)
