"""How trials and the selector share a cluster."""

from __future__ import annotations

import pytest

from raysubset.runtime.session import plan_slots


def test_without_gpus_a_trial_takes_one_cpu() -> None:
    assert plan_slots(0, cpus=8, gpus=0).concurrency == 8
    assert plan_slots(3, cpus=8, gpus=0).concurrency == 3
    assert plan_slots(20, cpus=8, gpus=0).concurrency == 8


@pytest.mark.parametrize("cpus", [1, 4, 64])
@pytest.mark.parametrize("gpus", [1, 2, 8])
@pytest.mark.parametrize("concurrency", [0, 1, 3, 16])
def test_the_selector_never_costs_a_trial_its_gpu(concurrency: int, gpus: int, cpus: int) -> None:
    slots = plan_slots(concurrency, cpus, gpus)
    free = [1.0] * gpus
    free[0] -= slots.selector_gpus
    placed = 0
    for trial in range(slots.concurrency):
        gpu = max(range(gpus), key=free.__getitem__)
        if free[gpu] + 1e-9 >= slots.gpus:
            free[gpu] -= slots.gpus
            placed += trial >= 0
    assert slots.selector_gpus > 0
    assert placed == slots.concurrency
    assert slots.cpus * slots.concurrency <= cpus + 1e-9


@pytest.mark.ray
@pytest.mark.slow
def test_the_plan_is_what_ray_places(tmp_path) -> None:
    """Fake GPUs in a Ray of its own: selector and four trials run at once on two GPUs."""
    import subprocess
    import sys

    code = """
import logging, ray
from raysubset.runtime.client import start_selector
from raysubset.runtime.session import cluster_slots
ray.init(num_cpus=4, num_gpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
slots = cluster_slots(4)
selector = start_selector("s", 10, gpus=slots.selector_gpus)
ray.get(selector.trials.remote())

@ray.remote(num_cpus=slots.cpus, num_gpus=slots.gpus)
class Trial:
    def ready(self):
        return True

trials = [Trial.remote() for _ in range(slots.concurrency)]
assert ray.get([trial.ready.remote() for trial in trials], timeout=60) == [True] * 4
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
