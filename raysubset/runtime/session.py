"""The Ray session: join the cluster that is there, or start one on this machine for as long as it is needed."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from raysubset.errors import WaitingWarning

SELECTOR_GPU_SHARE = 0.05  # of one GPU, set aside before trials share the rest


@dataclass(frozen=True, slots=True)
class Slots:
    """How trials divide the cluster.

    Attributes:
        concurrency: Trials at a time, >= 1.
        cpus: CPUs of a trial.
        gpus: GPUs of a trial; a little below 1/k of one, so that the selector's share always fits beside them.
        selector_gpus: GPUs of the selector actor.
    """

    concurrency: int
    cpus: float
    gpus: float
    selector_gpus: float


@contextmanager
def ray_session(dashboard: bool = False) -> Iterator[None]:
    """Use the running Ray instance, or one of our own that ends with the block.

    Args:
        dashboard: Start the dashboard with an instance of our own (about 2 s and 300 MB more).
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    ray.init(
        address=address,
        include_dashboard=None if address else dashboard,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    try:
        yield
    finally:
        ray.shutdown()


def cluster_slots(concurrency: int = 0) -> Slots:
    """Divide the cluster that Ray is connected to, see `plan_slots`.

    Warns:
        WaitingWarning: Fewer trials fit at a time than were asked for.
    """
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    slots = plan_slots(concurrency, cpus, gpus)
    if concurrency > slots.concurrency:
        warnings.warn(
            f"concurrency={concurrency}: the cluster serves {slots.concurrency} trials at a time ({cpus} CPUs, "
            f"{slots.cpus:g} a trial). The others wait for a free one.",
            WaitingWarning,
            stacklevel=2,
        )
    return slots


def plan_slots(concurrency: int, cpus: int, gpus: int) -> Slots:
    """Divide CPUs and GPUs among trials.

    With GPUs, each trial gets an equal share of one, after the selector's 5 %: k trials a GPU get 0.95 / k, so
    the selector never costs a trial its place. Without, a trial gets one CPU: one thread a process beats more.

    Args:
        concurrency: Trials wanted at a time; 0 means one a GPU, or one a CPU without GPUs.
        cpus: CPUs of the cluster, at least 1.
        gpus: GPUs of the cluster, 0 for none.
    """
    wanted = concurrency or gpus or cpus
    if gpus == 0:
        return Slots(min(wanted, cpus), 1.0, 0.0, 0.0)
    per_gpu = -(-wanted // gpus)
    return Slots(wanted, min(1.0, cpus / wanted), (1.0 - SELECTOR_GPU_SHARE) / per_gpu, SELECTOR_GPU_SHARE)
