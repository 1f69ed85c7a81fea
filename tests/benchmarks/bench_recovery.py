"""How long a trial waits for its selector after the selector's process, or its node, is killed.

    python tests/benchmarks/bench_recovery.py [ROWS] [REPEATS] [--node]

A trial of ROWS rows (default 50,000) at ratio 0.1 records its epochs; then the actor's process is killed (with
``--node``: a node of a local cluster is removed without notice) and the clock runs until the next epoch's subset
is there, which must be the one an undisturbed selector serves. That is: Ray notices, starts a process, imports us,
the client opens the trial again and replays what it recorded. Goal: 2 s.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import statistics
import tempfile
from time import perf_counter
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_agent_register_timeout_ms", "180000")  # three nodes start slowly on two cores
# where Ray notes the address of its last cluster: no other program shall join this one by accident
os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray")

import numpy as np
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.service import SelectorService
from raysubset.proxy.stream import StreamSpec
from raysubset.runtime.client import RaySelector, SelectorActor, start_selector
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context

EPOCHS = 12
BEFORE = 4  # epochs recorded before the fault
GOAL_S = 2.0


def signals(rows: np.ndarray, epoch: int) -> EpochSignals:
    """Made-up signals, the same for the same rows and epoch."""
    values = ((rows * 2_654_435_761 + epoch * 40_503) % 1_000_003 / 1_000_003).astype(np.float32)
    return EpochSignals(rows, values, values, values, values > 0.5)


def story(client: Any, trial: str, plan: SubsetPlan) -> None:
    """Open a trial and record its first epochs."""
    client.open(trial, StreamSpec(plan, EPOCHS, 0))
    for epoch in range(BEFORE):
        rows = client.next(trial, epoch).selection.indices
        client.record(trial, epoch, signals(rows, epoch))


def killed_process(rows: int, repeat: int) -> tuple[Any, Any]:
    """Return a fresh actor and what kills its process."""
    actor = start_selector(f"recovery-{repeat}", rows)
    pid = ray.get(actor.__ray_call__.remote(lambda _: os.getpid()))
    return actor, lambda: os.kill(pid, signal.SIGKILL)


def removed_node(cluster: Cluster, rows: int) -> tuple[Any, Any]:
    """Return an actor on a fresh node and what removes that node."""
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    placed = NodeAffinitySchedulingStrategy(node.node_id, soft=True)
    actor = SelectorActor.options(
        num_cpus=0, max_restarts=3, max_task_retries=-1, scheduling_strategy=placed
    ).remote(Context(rows))
    assert ray.get(actor.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id())) == node.node_id
    return actor, lambda: cluster.remove_node(node, allow_graceful=False)


def measure(rows: int, repeats: int, node: bool) -> list[float]:
    """Return seconds from the fault to the next subset, one a repeat."""
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
    plan, seconds = SubsetPlan(metric="loss", ratio=0.1), []
    near = SelectorService(Context(rows))
    story(near, "trial", plan)
    expected = near.next("trial", BEFORE).selection.indices
    try:
        for repeat in range(repeats):
            actor, strike = removed_node(cluster, rows) if node else killed_process(rows, repeat)
            client = RaySelector(actor)
            story(client, "trial", plan)
            strike()
            started = perf_counter()
            served = client.next("trial", BEFORE).selection.indices
            seconds.append(perf_counter() - started)
            np.testing.assert_array_equal(served, expected)
            ray.kill(actor)
    finally:
        ray.shutdown()
        cluster.shutdown()
    return seconds


def main() -> None:
    """Print the seconds of every repeat, their median and the greatest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=int, default=50_000)
    parser.add_argument("repeats", nargs="?", type=int, default=5)
    parser.add_argument(
        "--node", action="store_true", help="remove the actor's node instead of killing its process"
    )
    asked = parser.parse_args()
    seconds = measure(asked.rows, asked.repeats, asked.node)
    print("seconds:", " ".join(f"{s:.2f}" for s in seconds))
    median = statistics.median(seconds)
    verdict = "met" if median <= GOAL_S else "missed"
    print(f"median {median:.2f} s, greatest {max(seconds):.2f} s; goal {GOAL_S:g} s: {verdict}")


if __name__ == "__main__":
    main()
