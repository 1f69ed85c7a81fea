"""Searches over a real Ray instance: repeatable, resumable, and none the worse for a trial that fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
import torch

import raysubset as rs
from raysubset.errors import DataError, ModelError, RunExistsError, SearchFailedError
from raysubset.report.records import read_records
from raysubset.report.run_info import RunInfo
from raysubset.types import TrialRecord

pytestmark = [pytest.mark.ray, pytest.mark.slow]

RECIPE = rs.Recipe(epochs=9, batch_size=32, lr=0.05)
SPACE = {"lr": rs.loguniform(1e-3, 1e-1), "momentum": rs.uniform(0.5, 0.95)}
PLAN = rs.SubsetPlan(ratio=0.2)


def search(digits, root: Path, name: str = "s", **options):
    defaults = {"model": "mlp", "data": digits, "space": SPACE, "plan": PLAN, "recipe": RECIPE, "trials": 6}
    return rs.tune(**{**defaults, "name": name, "root": root, "progress": False, **options})


def outcomes(root: Path, name: str = "s") -> list[tuple]:
    rows = read_records(root / name / "records.jsonl").stage("search")
    return [(r.trial, r.epoch, r.status, r.rung, r.val_loss, r.train_loss, dict(r.config)) for r in rows]


def failures(rows: tuple[TrialRecord, ...]) -> dict[str, str]:
    """Trial -> why it failed: none of these searches should have one."""
    return {row.trial: row.reason for row in rows if row.status == "failed"}


def selectors() -> list[str]:
    return [name for name in ray.util.list_named_actors() if name.startswith("raysubset/")]


def test_the_same_seed_gives_the_same_search(digits, ray_cluster, tmp_path) -> None:
    before = selectors()
    for name in ("one", "two"):
        search(digits, tmp_path, name, concurrency=1)
    until = time.monotonic() + 30
    while selectors() != before and time.monotonic() < until:  # an actor takes a moment to be gone
        time.sleep(0.1)
    assert selectors() == before, "a search ends its selector"
    assert outcomes(tmp_path, "one") == outcomes(tmp_path, "two")
    search(digits, tmp_path, "three", concurrency=1, seed=1)
    assert outcomes(tmp_path, "one") != outcomes(tmp_path, "three")


def test_a_search_ends_in_a_tested_model_and_a_report(digits, ray_cluster, tmp_path, monkeypatch) -> None:
    space = {
        "lr": rs.loguniform(0.05, 0.2),
        "momentum": rs.uniform(0.8, 0.95),
    }  # rates that 150 steps can learn with
    result = search(digits, tmp_path, space=space, retrain=2, scheduler="none", search="random", trials=3)
    assert [trial.trial for trial in result.trials] != []
    retrained = result.retrain()
    assert retrained is result.retrain()
    with torch.no_grad():
        network = result.load_model()
        transform = rs.Subset(digits, PLAN).transform
        assert network(transform.evaluate(torch.from_numpy(digits.test.inputs[:4].copy()))).shape == (4, 10)
    assert retrained.test_accuracy is not None
    assert 0.5 < retrained.test_accuracy <= 1
    assert "embedded MNIST" in result.report().read_text()
    monkeypatch.setattr("raysubset.tuning.session.test_model", None)  # the test data are read once in a run's life
    again = search(
        digits, tmp_path, space=space, retrain=2, scheduler="none", search="random", trials=3, resume=True
    )
    assert again.retrain() == retrained
    info = RunInfo.read(tmp_path / "s")
    assert info.stages["retrain"].trials == 2
    rows = read_records(tmp_path / "s" / "records.jsonl")
    n = info.n_train
    for row in rows.stage("retrain"):
        assert row.samples_consumed == row.epoch * n
    ends = [row for row in rows.stage("search") if row.status == "done"]
    assert info.stages["search"].samples == sum(row.samples_consumed for row in ends)
    assert all(row.samples_consumed == int(PLAN.resolved("scheduled").timetable(n, 9).sizes.sum()) for row in ends)


def test_rungs_stop_trials_and_only_rungs_are_judged(digits, ray_cluster, tmp_path) -> None:
    search(digits, tmp_path, trials=9)
    rows = read_records(tmp_path / "s" / "records.jsonl").stage("search")
    heading = json.loads((tmp_path / "s" / "search-search.jsonl").read_text().splitlines()[0])
    last = {row.trial: row for row in rows}
    assert not failures(rows)
    assert {row.status for row in last.values()} <= {"stopped", "done"}
    assert sum(row.status == "stopped" for row in last.values()) >= 3
    assert all((row.val_loss is not None) == (row.rung is not None) for row in rows)
    assert {row.epoch for row in rows if row.rung is not None} == set(heading["epochs"])


def test_a_diverging_trial_ends_with_its_reason_and_the_search_goes_on(digits, ray_cluster, tmp_path) -> None:
    space = {"lr": rs.choice([0.02, 1e30])}
    result = search(digits, tmp_path, space=space, search="random", trials=8, recipe=rs.Recipe(epochs=3, lr=0.01))
    last = {row.trial: row for row in read_records(tmp_path / "s" / "records.jsonl").stage("search")}
    failed = [row for row in last.values() if row.status == "failed"]
    assert failed
    assert all("loss" in row.reason and row.config["lr"] == 1e30 for row in failed)
    assert len(last) == 8
    assert result.best.config["lr"] == 0.02


def test_a_search_whose_trials_all_fail_names_the_first_cause(digits, ray_cluster, tmp_path) -> None:
    with pytest.raises(SearchFailedError, match="all 3 trials failed. The first, 0000: .*(NaN|infinite|finite)"):
        search(digits, tmp_path, space={"lr": rs.loguniform(1e28, 1e30)}, trials=3, concurrency=1)


def test_a_budget_in_samples_ends_the_search(digits, ray_cluster, tmp_path) -> None:
    search(digits, tmp_path, trials=50, budget_epochs=20, concurrency=1)
    info = RunInfo.read(tmp_path / "s")
    budget = 0.2 * 20 * info.n_train
    assert info.stages["search"].trials < 50
    assert budget <= info.stages["search"].samples <= budget + 9 * info.n_train
    assert info.stages["search"].finished


def test_own_models_are_tuned_and_wrong_ones_refused(digits, ray_cluster, tmp_path) -> None:
    def own(num_classes: int, input_shape: tuple[int, ...]) -> torch.nn.Module:
        width = int(torch.tensor(input_shape).prod())
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(width, num_classes))

    assert search(digits, tmp_path, model=own, trials=2).best.val_accuracy > 0.1

    def headless(num_classes: int, input_shape: tuple[int, ...]) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten())

    with pytest.raises(ModelError, match="no nn.Linear"):
        search(digits, tmp_path, "none", model=headless)
    assert not (tmp_path / "none").exists()


def test_a_name_is_taken_once_and_a_run_keeps_its_data(digits, ray_cluster, tmp_path) -> None:
    search(digits, tmp_path, trials=1)
    with pytest.raises(RunExistsError, match="--resume"):
        search(digits, tmp_path, trials=1)
    with pytest.raises(DataError, match="began on data"):
        search(rs.load_dataset("embedded", limit=300), tmp_path, resume=True)
    before = outcomes(tmp_path)
    assert search(digits, tmp_path, trials=1, resume=True).best.trial == "0000"
    assert outcomes(tmp_path) == before  # a finished search is not run again


def test_a_killed_worker_costs_no_trial(digits, ray_cluster, tmp_path) -> None:
    class Assassin:
        """Kills a trial's process once, after some reports."""

        def __init__(self) -> None:
            self.heard = 0

        def stage_started(self, stage, trials, budget) -> None: ...

        def trial_started(self, trial) -> None: ...

        def stage_ended(self) -> None: ...

        def recorded(self, record) -> None:
            self.heard += 1
            if self.heard == 5:
                import psutil

                trials = [
                    p
                    for p in psutil.process_iter(["cmdline"])
                    if "SubsetTrainable" in " ".join(p.info["cmdline"] or [])
                ]
                own = [p for p in trials if os.getpid() in [q.pid for q in p.parents()]]
                own[0].send_signal(signal.SIGKILL)

    from raysubset.experiment import Experiment, SearchOptions
    from raysubset.tuning.run import create_run
    from raysubset.tuning.session import open_session

    experiment = Experiment(
        name="k",
        model="mlp",
        plan=PLAN,
        recipe=RECIPE,
        space=SPACE,
        search=SearchOptions(trials=3, scheduler="none"),
    )
    run = create_run(experiment, digits, tmp_path, Assassin(), command="", settings={})
    run.checkpoint_every_s = 0.0
    with open_session(run) as session:
        ranked = session.search()
    last = {row.trial: row for row in read_records(tmp_path / "k" / "records.jsonl").stage("search")}
    assert len(ranked) == 3
    assert {row.status for row in last.values()} == {"done"}


def cli(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "raysubset", "hpo", "--data", "embedded", *arguments]


def test_ctrl_c_leaves_a_run_that_resume_continues(tmp_path) -> None:
    options = ["--limit", "600", "--model", "mlp", "--trials", "12", "--epochs", "27", "--retrain", "1"]
    root = ["--root", str(tmp_path), "--name", "r"]
    process = subprocess.Popen(cli(*options, *root), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    records = tmp_path / "r" / "records.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (records.exists() and records.stat().st_size > 2000):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "--resume --name r" in output
    assert not RunInfo.read(tmp_path / "r").stages["search"].finished
    assert "unfinished" in (tmp_path / "r" / "report.html").read_text().lower()

    resumed = subprocess.run(cli("--limit", "600", "--resume", *root), capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    info = RunInfo.read(tmp_path / "r")
    assert info.stages["search"].finished
    assert info.stages["search"].trials == 12
    assert info.result is not None
    epochs: dict[str, list[int]] = {}
    for row in read_records(records).stage("search"):
        epochs.setdefault(row.trial, []).append(row.epoch)
    assert len(epochs) == 12
    assert all(sorted(seen) == list(range(1, len(seen) + 1)) for seen in epochs.values())
