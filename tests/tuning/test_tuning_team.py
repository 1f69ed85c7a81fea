"""Trials of two training workers: a search over them is that of one worker, also when workers are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tolerances import TEAM

import raysubset as rs
from raysubset.data.catalog import load_dataset
from raysubset.errors import ClusterError
from raysubset.experiment import Experiment, SearchOptions
from raysubset.report.records import read_records
from raysubset.runtime.session import plan_slots
from raysubset.tuning.progress import Silent
from raysubset.tuning.run import create_run
from raysubset.tuning.session import open_session

TRIALS = ("0000", "0001", "0002", "0003")
CASES = {"one": (1, ""), "two": (2, ""), "worker": (2, "RayTrainWorker"), "leader": (2, "SubsetTrainable")}


def experiment(name: str, workers: int) -> Experiment:
    return Experiment(
        name=name,
        model="lenet",
        plan=rs.SubsetPlan(ratio=0.3),
        recipe=rs.Recipe(epochs=9, batch_size=32),
        space={"lr": rs.loguniform(1e-3, 1e-1)},
        search=SearchOptions(
            trials=len(TRIALS),
            concurrency=1,
            search="random",
            scheduler="asha-promote",
            workers=workers,
            retrain=0,
        ),
    )


class Assassin(Silent):
    """Kills, once, a process of this one's Ray instance, after the fourth report."""

    def __init__(self, victim: str) -> None:
        self.victim, self.reports, self.killed = victim, 0, False

    def recorded(self, record: Any) -> None:
        self.reports += 1
        if self.victim and self.reports == 4:
            mine = psutil.Process()
            processes = [p for p in mine.children(recursive=True) if self.victim in " ".join(p.cmdline())]
            processes[-1].send_signal(signal.SIGKILL)
            self.killed = True


def searched(root: Path, name: str) -> dict[str, Any]:
    workers, victim = CASES[name]
    assassin = Assassin(victim)
    data = load_dataset("embedded", limit=600)
    run = create_run(experiment(name, workers), data, root, assassin, command="", settings={})
    run.checkpoint_every_s = 0.0
    with open_session(run) as session:
        session.search()
    rows = read_records(run.folder / "records.jsonl").stage("search")
    return {
        "rows": sorted(
            [r.trial, r.epoch, r.status, r.rung, r.samples_consumed, r.train_loss, r.val_loss] for r in rows
        ),
        "killed": assassin.killed,
        "left": [path.name for path in (run.folder / "tune" / "search").glob("team-*")],
    }


def main(root: str) -> None:
    """Run all cases in a cluster with a dashboard, and print what became of each."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": True})
    # Other instances may run on this machine, and Ray's State API would not know which is meant.
    named = {"env_vars": {"RAY_ADDRESS": cluster.address}}
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", runtime_env=named)
    try:
        outcomes = {name: searched(Path(root), name) for name in CASES}
        print(json.dumps({**outcomes, "places": places_given_back(Path(root))}))
    finally:
        ray.shutdown()
        cluster.shutdown()


def places_given_back(folder: Path) -> dict[str, Any]:
    """Set places aside as Ray Train does: one group nobody is in, one with an actor, one that is not a team's."""
    import ray
    from ray.util import placement_group, placement_group_table
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    from raysubset.runtime.session import Slots
    from raysubset.tuning.places import Places

    @ray.remote(num_cpus=0.1)
    class Worker:
        def here(self) -> bool:
            return True

    groups = {
        name: placement_group([{"CPU": share}] * 2)
        for name, share in (("empty", 0.3), ("used", 0.3), ("another", 0.2))
    }
    ray.get([group.ready() for group in groups.values()])
    worker = Worker.options(scheduling_strategy=PlacementGroupSchedulingStrategy(groups["used"])).remote()
    ray.get(worker.here.remote())
    places = Places(Slots(1, 0.3, 0.0, 0.0, workers=2), folder)

    def held() -> list[str]:
        return [name for name, group in groups.items() if placement_group_table(group)["state"] != "REMOVED"]

    found = {"looks": [places.look(), places.look(), places.look()], "held": held()}
    places.give_back_all()
    return {**found, "left": held()}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [sys.executable, __file__, str(tmp_path_factory.mktemp("team"))]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert [row[:5] for row in one["rows"]] == [row[:5] for row in other["rows"]]
    losses = [[[np.nan if x is None else x for x in row[5:]] for row in each["rows"]] for each in (one, other)]
    np.testing.assert_allclose(*losses, rtol=TEAM, atol=TEAM)


@pytest.mark.ray
@pytest.mark.slow
def test_two_workers_search_as_one(outcomes: dict[str, Any]) -> None:
    assert_same(outcomes["one"], outcomes["two"])
    reached = {trial: max(row[1] for row in outcomes["two"]["rows"] if row[0] == trial) for trial in TRIALS}
    assert min(reached.values()) < max(reached.values()), "no trial was stopped before another"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "leader"])
def test_a_killed_part_of_a_team_changes_nothing(outcomes: dict[str, Any], victim: str) -> None:
    assert outcomes[victim]["killed"]
    assert_same(outcomes["two"], outcomes[victim])


@pytest.mark.ray
@pytest.mark.slow
def test_teams_leave_no_folders(outcomes: dict[str, Any]) -> None:
    assert all(outcomes[name]["left"] == [] for name in CASES)


@pytest.mark.ray
@pytest.mark.slow
def test_places_that_nobody_is_in_are_given_back(outcomes: dict[str, Any]) -> None:
    assert outcomes["places"] == {"looks": [0, 1, 0], "held": ["used", "another"], "left": ["another"]}


@pytest.mark.ray
def test_a_cluster_without_a_dashboard_is_refused(digits: Any, ray_cluster: None, tmp_path: Path) -> None:
    run = create_run(experiment("x", 2), digits, tmp_path, Silent(), command="", settings={})
    with pytest.raises(ClusterError, match="workers > 1 needs Ray's dashboard"), open_session(run):
        pass


def test_slots_of_teams() -> None:
    assert plan_slots(0, cpus=8, gpus=0, workers=3).concurrency == 2
    slots = plan_slots(0, cpus=4, gpus=0, workers=2)
    assert slots.concurrency * slots.workers * slots.cpus + 50 * slots.trial["cpu"] <= 4  # leaders may be many
    slots = plan_slots(0, cpus=32, gpus=8, workers=4)
    assert (slots.concurrency, slots.workers) == (2, 4)
    assert slots.concurrency * 4 * slots.gpus + slots.selector_gpus <= 8
    with pytest.raises(ClusterError, match="workers=3: each needs a CPU, and the cluster has 2"):
        plan_slots(0, cpus=2, gpus=0, workers=3)
    with pytest.raises(ClusterError, match="workers=3: each needs a GPU, and the cluster has 2"):
        plan_slots(0, cpus=64, gpus=2, workers=3)


if __name__ == "__main__":
    main(sys.argv[1])
