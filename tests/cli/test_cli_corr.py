"""raysubset corr: wrong input is one line and leaves nothing behind; table, JSON, recommendation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raysubset.cli import main
from raysubset.report.run_info import StageInfo
from raysubset.types import TrialRecord

pytestmark = pytest.mark.slow  # seconds each on a busy machine; the pieces have everyday tests

SMALL = ("--data", "embedded", "--limit", "300", "--model", "mlp", "--epochs", "1", "--configs", "6")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(("corr", *arguments))
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, " ".join(err.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ratios", "0"], "need 0 < ratio <= 1"),
        (["--ratios", "0.1,abc"], "--ratios '0.1,abc', need numbers and commas, such as 0.02,0.05"),
        (["--ratios", "0.1,0.1"], "ratios=0.1, 0.1, need at least one, each once"),
        (["--pairing", "none,all"], "pairing 'all', need one of both, subset, none"),
        (["--configs", "1"], "configs=1, need at least 2"),
        (["--repeats", "0"], "repeats=0, need at least 1"),
        (["--full-seeds", "0"], "full_seeds=0"),
        (["--tau", "0.6"], "--tau: only with --calibrate"),
        (["--hold", "lower", "--score", "loss"], "--hold, --score: only with --calibrate"),
        (["--calibrate", "--pairing", "none,both"], "a calibration has one"),
        (["--calibrate", "--tau", "2"], "tau=2.0, need a number in [-1, 1]"),
        (["--calibrate", "--hold", "mean"], "'lower', 'estimate'"),
        (["--selector", "adaptive"], "Unknown selector 'adaptive'"),
        (["--evaluate", "never"], "evaluate='never'"),
        (["--data", "cifar11"], "Known: breast-cancer, cifar10, cifar100, diabetes"),
        (["--resume"], "--name"),
        (["--resume", "--name", "x"], "run"),
        (["--model", "lenet5"], "Did you mean 'lenet'?"),
        (["--epochs", "0"], "epochs=0"),
        (["--space", "missing.toml"], "missing.toml"),
        (["--name", "../up"], "plain folder name"),
    ],
)
def test_wrong_options(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = [] if "--data" in options else ["--data", "embedded"]
    code, _, err = run(capsys, *data, *options)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_space_with_too_few_configurations(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.toml").write_text("batch_size = {choice = [16, 32]}\n")
    code, _, err = run(capsys, *SMALL, "--space", "space.toml")
    assert code == 2
    assert "configs=6" in err
    assert "2 distinct configurations" in err
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Stages whose losses follow the learning rate; r0.2 turns their order round. Names the stages run."""
    monkeypatch.chdir(tmp_path)
    called: list[str] = []

    def run_stage(stage: str, experiment: Any, pool: Any, slots: Any, folder: Path, writer: Any, *_: Any,
                  drive: Any, **__: Any) -> Any:  # fmt: skip
        called.append(stage)
        if (folder / "interrupt").exists():
            return SimpleNamespace(interrupted=True)
        sign = -1 if stage.startswith("r0.2") else 1
        for number, point in enumerate(drive.points):
            nudge = 0.003 * (number == 1) * (stage != "full-0")
            writer.append(
                TrialRecord(
                    stage, f"{number:04d}", 1, 1, point, "done", 100, 1.0, experiment.plan.ratio, "random", 1.0,
                    1.0, 0.0, 0.0, 1.0, 0, val_loss=1 + sign * point["lr"] + nudge,
                    val_accuracy=0.5 - sign * point["lr"],
                )
            )  # fmt: skip
        return SimpleNamespace(interrupted=False, info=StageInfo(1.0, 1, 1, True))

    @contextmanager
    def open_session(run: Any, dashboard: bool = False) -> Iterator[Any]:
        yield SimpleNamespace(pool=None, slots=None)

    monkeypatch.setattr("raysubset.tuning.correlation.run_stage", run_stage)
    monkeypatch.setattr("raysubset.tuning.session.open_session", open_session)
    monkeypatch.setattr("raysubset.tuning.presets.seconds_per_sample", lambda *_: 1e-3)
    monkeypatch.setattr("raysubset.report.html.write_report", lambda folder: folder / "report.html")
    return called


def test_the_table_has_a_row_a_ratio_pairing_and_score(
    capsys: pytest.CaptureFixture[str], untrained: list[str]
) -> None:
    options = (*SMALL, "--ratios", "0.2,0.5", "--pairing", "none,both", "--repeats", "2", "--name", "t", "--json")
    code, out, err = run(capsys, *options)
    assert code == 0, err
    assert len(untrained) == 2 + 2 * 2 * 2
    assert "6 configurations of 1 epochs, 2 times on all data and 8 times on subsets of ratio 0.2, 0.5" in err
    assert "predicted: " in err
    plain = json.loads(out)
    assert (plain["name"], plain["finished"], plain["recommended_ratio"]) == ("t", True, None)
    taus = {
        (row["ratio"], row["pairing"], row["score"]): row["tau"]
        for row in plain["rows"]
        if row["reference"] == "accuracy" and not row["full"]
    }
    assert set(taus) == {(r, p, s) for r in (0.2, 0.5) for p in ("none", "both") for s in ("loss", "accuracy")}
    assert all((tau > 0.5) == (ratio == 0.5) and abs(tau) > 0.5 for (ratio, *_), tau in taus.items())
    assert json.loads(Path("runs/t/correlation.json").read_text())["rows"] == plain["rows"]

    code, out, err = run(capsys, "--data", "embedded", "--limit", "300", "--resume", "--name", "t")
    assert code == 0, err
    assert len(untrained) == 10  # nothing is trained again
    words = " ".join(out.split())
    for expected in (
        "Against the ranking by accuracy on all data",
        "95 % configs 95 % repeats Pearson Spearman",
        "all - ceiling loss",
        "What pairing adds to tau",
        "report: runs/t/report.html",
    ):
        assert expected in words
    code, _, err = run(capsys, *options)
    assert code == 2
    assert "--resume" in err


def test_calibration_recommends_a_ratio_and_says_what_it_cost(
    capsys: pytest.CaptureFixture[str], untrained: list[str]
) -> None:
    options = ("--calibrate", "--ratios", "0.5,0.2,0.9", "--hold", "estimate", "--tau", "0.7", "--name", "k")
    code, out, err = run(capsys, *SMALL, *options)
    assert code == 0, err
    assert untrained == ["full-0", "r0.2-both-0", "r0.2-both-1", "r0.5-both-0", "r0.5-both-1"]
    words = " ".join(out.split())
    assert "calibration: Recommended: --ratio 0.5, the smallest tried at which tau itself" in words
    assert "by loss, on subsets and on all data; 6 configurations" in words
    assert "It cost 3,000 samples, 600 of them on all data." in words
    assert "predicted: at most" in words


def test_an_interruption_says_how_to_go_on(capsys: pytest.CaptureFixture[str], untrained: list[str]) -> None:
    assert run(capsys, *SMALL, "--ratios", "0.5", "--name", "i")[0] == 0
    folder = Path("runs/i")
    (folder / "records.jsonl").unlink()
    (folder / "interrupt").touch()
    code, _, err = run(capsys, "--data", "embedded", "--limit", "300", "--resume", "--name", "i")
    assert code == 130
    assert "interrupted in 'full-0'" in err
    assert "raysubset corr --resume --name i --root runs" in err
