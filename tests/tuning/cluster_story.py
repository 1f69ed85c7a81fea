"""A search on a cluster of three nodes of this machine, one of which goes away: a script, told what to do.

    python cluster_story.py FOLDER FAULT    FAULT: trial (the node that trains), selector (the node it is on)

Prints one JSON object: which nodes served the selector and the trials, and what was removed.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import ray
import torch
from ray.cluster_utils import Cluster

import raysubset as rs
from raysubset.experiment import Experiment, SearchOptions
from raysubset.runtime import client
from raysubset.tuning.progress import Silent
from raysubset.tuning.run import create_run
from raysubset.tuning.session import open_session

LEAVES = "leaves"  # a resource of the nodes that train
AFTER = 5  # reports before the node goes


def experiment(name: str) -> Experiment:
    """Every trial to its end, so that what one records does not depend on when others do."""
    return Experiment(
        name=name,
        model="mlp",
        plan=rs.SubsetPlan(ratio=0.2),
        recipe=rs.Recipe(epochs=4, batch_size=32, lr=0.05),
        space={"lr": rs.loguniform(1e-3, 1e-1), "momentum": rs.uniform(0.5, 0.95)},
        search=SearchOptions(trials=4, concurrency=2, search="random", scheduler="none", retrain=0),
    )


TITLES = {  # of a process: Ray names it after the actor, and after the call while it runs one
    "SelectorService": ("ray::SelectorService",),
    "SubsetTrainable": ("ray::SubsetTrainable", "ray::_Inner"),
}


class Watcher(Silent):
    """Notes where processes run; removes a node, once."""

    def __init__(self, cluster: Cluster, fault: str) -> None:
        self.cluster, self.fault, self.left = cluster, fault, AFTER
        self.removed = ""
        self.seen: dict[str, list[str]] = {name: [] for name in TITLES}

    def recorded(self, record: Any) -> None:
        """Look around, and strike when it is time."""
        places = {name: self.processes(name) for name in self.seen}
        for name, nodes in places.items():
            self.seen[name] += [node for node in nodes if node not in self.seen[name]]
        self.left -= 1
        if self.left == 0:
            selectors = places["SelectorService"]
            trials = [node for node in places["SubsetTrainable"] if node not in selectors]
            self.removed = (trials if self.fault == "trial" else [*selectors])[0]
            self.remove([process for nodes in places.values() for process in nodes.get(self.removed, [])])

    def remove(self, processes: list[psutil.Process]) -> None:
        """Take the node away and wait for its processes to end: the search must not be over before they do."""
        node = next(n for n in self.cluster.worker_nodes if n.node_id == self.removed)
        self.cluster.remove_node(node, allow_graceful=False)
        _, alive = psutil.wait_procs(processes, timeout=60)
        assert not alive, alive

    def processes(self, name: str) -> dict[str, list[psutil.Process]]:
        """Return the processes of that name by the id of the node on which they run."""
        raylets = {
            node.all_processes["raylet"][0].process.pid: node.node_id
            for node in self.cluster.list_all_nodes()
            if node.all_processes.get("raylet")
        }
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter(["cmdline"]):
            title = " ".join(process.info["cmdline"] or [])
            if any(part in title for part in TITLES[name]):
                for parent in process.parents():
                    if parent.pid in raylets:
                        found.setdefault(raylets[parent.pid], []).append(process)
        return found


def data() -> rs.Dataset:
    """What is searched on."""
    return rs.load_dataset("embedded", limit=600)


def start(fault: str) -> Cluster:
    """Start three nodes: a head that trains nothing, and two with a CPU each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_agent_register_timeout_ms", "180000")  # three nodes start slowly on two cores
    # where Ray notes the address of its last cluster: no other program shall join this one by accident
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray")
    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, resources={LEAVES: 1})
    cluster.wait_for_nodes(timeout=180)
    ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
    if fault == "selector":  # on a node that can go, and back on the other
        client.SelectorActor = _Placed(client.SelectorActor)
    return cluster


class _Placed:
    """An actor class whose actors live on nodes that may leave."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def options(self, **options: Any) -> Any:
        return self._actor.options(**options, resources={LEAVES: 0.001})


def main(folder: Path, fault: str) -> None:
    """Run the search and say what was seen."""
    torch.set_num_threads(1)
    cluster = start(fault)
    head, watcher = cluster.head_node.node_id, Watcher(cluster, fault)
    run = create_run(
        experiment(folder.name),
        data(),
        folder.parent,
        watcher,
        command="",
        settings={},
    )
    run.checkpoint_every_s = 0.0
    try:
        with open_session(run) as session:
            session.search()
    finally:
        ray.shutdown()
        cluster.shutdown()
    print(json.dumps({**watcher.seen, "removed": watcher.removed, "head": head}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
