"""How trials and the selector share a cluster."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
import ray

from raysubset.errors import ClusterError
from raysubset.runtime.session import SELECTOR_GPU_SHARE, plan_slots, ray_session, told_apart, usable

GRAIN = 10_000  # Ray counts a resource in units of 0.0001


def test_without_gpus_a_trial_takes_one_cpu() -> None:
    assert plan_slots(0, cpus=8, gpus=0).concurrency == 8
    assert plan_slots(3, cpus=8, gpus=0).concurrency == 3
    assert plan_slots(20, cpus=8, gpus=0).concurrency == 8
    assert plan_slots(20, cpus=8, gpus=0, selector_gpu=True).selector_gpus == 0


def units(share: float) -> int:
    """What Ray takes for a share, at worst: the next whole unit."""
    return -int(-share * GRAIN // 1)


@pytest.mark.parametrize("selector_gpu", [False, True])
@pytest.mark.parametrize("cpus", [1, 4, 64])
@pytest.mark.parametrize("gpus", [1, 2, 8])
@pytest.mark.parametrize("concurrency", [0, 1, 3, 6, 7, 16, 48])
def test_the_selector_never_costs_a_trial_its_gpu(
    concurrency: int, gpus: int, cpus: int, selector_gpu: bool
) -> None:
    """Wherever Ray puts the selectors, one or eight, before the trials or after them."""
    slots = plan_slots(concurrency, cpus, gpus, selector_gpu=selector_gpu)
    assert slots.selector_gpus == (SELECTOR_GPU_SHARE if selector_gpu else 0)
    assert slots.concurrency == (concurrency or gpus)
    for selectors in (1, 8):
        free = [GRAIN] * gpus
        for one in range(selectors):
            free[one % gpus] -= units(told_apart(slots.selector_gpus / selectors))
        for _ in range(slots.concurrency):
            gpu = max(range(gpus), key=free.__getitem__)
            free[gpu] -= units(slots.gpus)
        assert min(free) >= 0
    assert units(slots.cpus) * slots.concurrency <= cpus * GRAIN
    assert slots.gpus * -(-slots.concurrency // gpus) > 0.94  # next to nothing is left idle


def test_shares_are_rounded_down_to_what_ray_counts_in() -> None:
    assert [told_apart(share) for share in (1 / 6, 0.95 / 8, 0.05 / 8, 0.95, 1.0, 0.0)] == [
        0.1666, 0.1187, 0.0062, 0.95, 1.0, 0.0
    ]  # fmt: skip


def test_cpus_count_where_the_gpus_are() -> None:
    assert usable([{"CPU": 8.0}, {"CPU": 4.0, "memory": 1e9}]) == (12, 0)
    assert usable([{"CPU": 16.0}, {"CPU": 4.0, "GPU": 1.0}]) == (4, 1)  # the head takes no trial
    assert usable([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 2.0, "GPU": 1.0}]) == (6, 3)  # two beside every GPU
    assert usable([{"GPU": 1.0}]) == (1, 1)
    assert usable([{}]) == (1, 0)


def test_more_workers_than_there_are_places_are_refused() -> None:
    with pytest.raises(ClusterError, match="workers=3: each needs a GPU, and the cluster has 2"):
        plan_slots(1, cpus=8, gpus=2, workers=3)


PLACED = """
import logging, sys, warnings
import ray
from raysubset.runtime import selectors
from raysubset.runtime.session import cluster_slots
from raysubset.selection.plan import SubsetPlan

def check(concurrency, selector_gpu, trials_first):
    slots = cluster_slots(concurrency, selector_gpu=selector_gpu)
    assert slots.concurrency == concurrency, slots

    @ray.remote(num_cpus=slots.cpus, num_gpus=slots.gpus)
    class Trial:
        def ready(self):
            return True

    def trials():
        started = [Trial.remote() for _ in range(slots.concurrency)]
        return started, [trial.ready.remote() for trial in started]

    def serve():
        found = selectors.start_selectors("s", SubsetPlan(), 10, concurrency=concurrency, gpus=slots.selector_gpus)
        return found, [actor.trials.remote() for actor in found.actors]

    first, second = (trials, serve) if trials_first else (serve, trials)
    (one, waiting), (two, more) = first(), second()
    answers = ray.get(waiting + more, timeout=90)
    assert answers.count(True) == concurrency, answers
    for actor in [*(one if trials_first else two), *(two if trials_first else one).actors]:
        ray.kill(actor)

quiet = dict(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(("gpus", "concurrency", "selectors", "trials_first"), [(2, 4, 1, False), (1, 8, 3, True)])
def test_ray_places_trials_and_selectors(gpus: int, concurrency: int, selectors: int, trials_first: bool) -> None:
    """Fake GPUs in a Ray of its own; with eight a GPU, shares that are rounded up would not fit."""
    code = f"""{PLACED}
selectors.SPREAD_FROM, selectors.MOST_SELECTORS = 0, {selectors}
ray.init(address="local", num_cpus=2, num_gpus={gpus}, **quiet)
check({concurrency}, True, {trials_first})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_a_head_without_gpus_takes_no_trial_and_keeps_none_waiting() -> None:
    code = f"""{PLACED}
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args=dict(num_cpus=8))
cluster.add_node(num_cpus=1, num_gpus=1)
cluster.add_node(num_cpus=2, num_gpus=1)
cluster.wait_for_nodes()
ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
check(4, True, False)
ray.shutdown()
cluster.shutdown()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("named", "source", "cure"),
    [(True, "RAY_ADDRESS names it", "unset RAY_ADDRESS"), (False, "`ray start` noted it", "`ray stop`")],
)
def test_an_instance_that_is_gone_is_said_at_once(
    named: bool, source: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if named:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda temp_dir=None: f"127.0.0.1:{port}")
    # by the address of the machine
    said = rf"No Ray instance answers at \S+:{port} .{source}.*If it has ended: {cure}"
    with pytest.raises(ClusterError, match=said), ray_session():
        pytest.fail("there is nothing to join")
    assert not ray.is_initialized()
