"""Wrong input: exit code 2, one clear line, nothing left behind; warnings are a line too."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from raysubset.cli import main
from raysubset.errors import FewRungsWarning, SearchFailedError


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ratio", "0"], "need 0 < ratio <= 1"),
        (["--ratio", "1.5"], "need 0 < ratio <= 1"),
        (["--ratio", "abc"], "ratio"),
        (["--selector", "asq"], "Did you mean 'asp'? Known: adaptive-random, asp, aum"),
        (["--metric", "los"], "Did you mean 'loss'?"),
        (["--search", "tpe2"], "Did you mean 'tpe'? Known: bo, bohb, grid"),
        (["--scheduler", "pbt"], "Known: asha, asha-promote, dasha"),
        (["--schedule", "linear"], "static"),
        (["--model", "resnet19"], "Did you mean 'resnet1"),
        (["--data", "cifar11"], "Known: breast-cancer, cifar10, cifar100, diabetes"),
        (["--trials", "0"], "trials=0, need at least 1"),
        (["--epochs", "0"], "epochs=0"),
        (["--budget-epochs", "0.01"], "one trial needs"),
        (["--name", "../up"], "plain folder name"),
        (["--resume"], "--name"),
        (["--resume", "--name", "../up"], "plain folder name"),
        (["--workers", "0"], "workers"),
        (["--no-such-option"], "No such option"),
        (["--space", "missing.toml"], "missing.toml"),
    ],
)
def test_wrong_options(capsys, tmp_path, monkeypatch, options: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    data = [] if "--data" in options else ["--data", "embedded"]
    code, _, err = run(capsys, "hpo", *data, *options)
    assert code == 2
    assert said in " ".join(err.split())
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_shallow_search_warns_in_one_line_that_says_why(capsys, tmp_path, monkeypatch) -> None:
    from raysubset.cli import hpo

    monkeypatch.setattr("raysubset.tuning.presets.seconds_per_sample", lambda *arguments: 1e-3)
    monkeypatch.setattr(hpo, "_go", lambda *arguments: None)
    monkeypatch.setattr(hpo, "print_summary", lambda *arguments: None)
    options = ["--data", "embedded", "--epochs", "3", "--model", "mlp", "--root", str(tmp_path), "--name", "a"]
    with warnings.catch_warnings():
        warnings.simplefilter("always", FewRungsWarning)
        code, _, err = run(capsys, "hpo", *options)
        assert code == 0
        assert "FewRungsWarning: A trial can be stopped only once" in err
        assert "3 epochs allow 1 halving(s) by eta=3" in " ".join(err.split())
        assert ".py" not in err
        err = run(capsys, "hpo", *options[:-1], "b", "--scheduler", "none")[2]
        assert "FewRungsWarning" not in err


def test_a_search_that_found_nothing_has_an_exit_code_of_its_own(capsys, tmp_path, monkeypatch) -> None:
    from raysubset.cli import hpo

    def fail(*arguments: object) -> None:
        raise SearchFailedError("Stage 'search': all 3 trials failed.")

    monkeypatch.setattr("raysubset.tuning.presets.seconds_per_sample", lambda *arguments: 1e-3)
    monkeypatch.setattr(hpo, "_go", fail)
    options = ["--data", "embedded", "--epochs", "9", "--model", "mlp", "--root", str(tmp_path)]
    code, _, err = run(capsys, "hpo", *options)
    assert code == 1
    assert "SearchFailedError: Stage 'search': all 3 trials failed." in err


def test_an_unknown_key_in_the_search_space(capsys, tmp_path) -> None:
    (tmp_path / "space.toml").write_text("lr = {loguniform = [0.001, 0.1]}\nlearning_rate = {uniform = [0, 1]}\n")
    code, _, err = run(
        capsys, "hpo", "--data", "embedded", "--root", str(tmp_path), "--space", str(tmp_path / "space.toml")
    )
    assert code == 2
    assert "unknown key 'learning_rate'" in err
    assert "weight_decay" in err


def test_a_data_folder_without_the_set(capsys, tmp_path) -> None:
    code, _, err = run(capsys, "hpo", "--data", "cifar10", "--data-dir", str(tmp_path))
    assert code == 2
    assert "cifar10" in err


def test_a_corrupt_file_is_named(capsys, tmp_path) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train.parquet").write_bytes(b"PAR1 this is no parquet file PAR1")
    code, _, err = run(capsys, "data", "mnist", "--data-dir", str(tmp_path))
    assert code == 2
    assert "train.parquet" in err


def test_a_name_that_is_taken(capsys, tmp_path) -> None:
    (tmp_path / "old").mkdir()
    code, _, err = run(capsys, "hpo", "--data", "embedded", "--root", str(tmp_path), "--name", "old")
    assert code == 2
    assert "--resume" in err
    assert list((tmp_path / "old").iterdir()) == []


def test_a_folder_that_cannot_be_written(capsys, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, _, err = run(capsys, "hpo", "--data", "embedded", "--root", str(tmp_path / "file"))
    assert code == 2
    assert "Cannot write" in err


def test_resuming_what_is_not_there(capsys, tmp_path) -> None:
    code, _, err = run(capsys, "hpo", "--data", "embedded", "--root", str(tmp_path), "--name", "x", "--resume")
    assert code == 2
    assert "run" in err


def test_data_says_what_it_holds(capsys) -> None:
    code, out, _ = run(capsys, "data", "embedded", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["train"] == 4000
    assert facts["shape"] == [1, 28, 28]


@pytest.mark.slow
def test_report_of_no_run(capsys, tmp_path) -> None:
    code, _, err = run(capsys, "report", str(tmp_path / "none"))
    assert code == 2
    assert "none" in err


@pytest.mark.ray
@pytest.mark.slow
def test_the_pipeline_runs_and_says_which_data_it_used(tmp_path) -> None:
    import os
    import subprocess
    import sys

    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("RAYSUBSET_DATA", None)
    done = subprocess.run(
        [sys.executable, str(root / "pipelines" / "hpo_cifar.py"), "--smoke", "--name", "smoke", "--json"],
        cwd=tmp_path,
        env={**environment, "https_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert "cifar10 was not found" in " ".join(done.stderr.split())
    assert "predicted:" in done.stderr
    assert facts["dataset"].startswith("embedded MNIST")
    assert facts["result"]["test_accuracy"] > 0.3
    assert "embedded MNIST" in Path(tmp_path / facts["report"]).read_text()
