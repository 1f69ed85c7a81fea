"""The pipeline as a job of a cluster: its folder holds nothing but the pipelines, runs go to shared storage."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raysubset.cli import main

PIPELINES = Path(__file__).parents[2] / "pipelines"


def test_runs_go_where_all_nodes_see_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from raysubset.cli import hpo

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYSUBSET_ROOT", str(tmp_path / "shared"))
    monkeypatch.setattr("raysubset.tuning.presets.seconds_per_sample", lambda *arguments: 1e-3)
    monkeypatch.setattr(hpo, "_go", lambda *arguments: None)
    monkeypatch.setattr(hpo, "print_summary", lambda *arguments: None)
    options = ["hpo", "--data", "embedded", "--model", "mlp", "--epochs", "9", "--name", "a"]
    for root, more in ((tmp_path / "shared", []), (tmp_path / "other", ["--root", str(tmp_path / "other")])):
        with pytest.raises(SystemExit) as stop:
            main([*options, *more])
        assert not stop.value.code
        assert (root / "a" / "run.json").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"shared", "other"}
    capsys.readouterr()


@pytest.mark.ray
@pytest.mark.slow
def test_the_pipeline_runs_as_a_job_does(tmp_path: Path, ray_cluster: None) -> None:
    """As Ray's job server starts it: a copy of the folder, the head's address and the token mode in variables."""
    import ray

    shutil.copytree(PIPELINES, tmp_path / "job")
    done = subprocess.run(
        [sys.executable, "hpo_cifar.py", "--data", "embedded", "--limit", "300", "--model", "mlp", "--trials", "2",
         "--epochs", "3", "--ratio", "0.5", "--retrain", "1", "--name", "job", "--scheduler", "none", "--json"],
        cwd=tmp_path / "job",
        env=os.environ | {
            "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
            "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "token"),
            "RAYSUBSET_ROOT": str(tmp_path / "shared"),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["result"]["test_accuracy"] is not None
    assert (tmp_path / "shared" / "job" / "report.html").is_file()
    assert {path.name for path in (tmp_path / "job").iterdir()} - {"__pycache__"} == {
        path.name for path in PIPELINES.iterdir()
    } - {"__pycache__"}
