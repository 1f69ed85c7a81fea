"""The Ray session: join the cluster that is there, or start one on this machine for as long as it is needed."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import ray
from ray._private.services import canonicalize_bootstrap_address

from raysubset.errors import ClusterError, WaitingWarning
from raysubset.runtime.reach import probe

SELECTOR_GPU_SHARE = 0.05  # of one GPU, set aside before trials share the rest
LEADER_CPUS = 0.0001  # of the Tune actor of a team, which only waits: the least that Ray can tell apart
LEADERS_SHARE = 0.01  # of each CPU, that workers of teams leave: after faults there are more leaders than teams


@dataclass(frozen=True, slots=True)
class Slots:
    """How trials divide the cluster.

    Attributes:
        concurrency: Trials at a time, >= 1.
        cpus: CPUs of a training worker.
        gpus: GPUs of a training worker; where the selector has a share, a little below 1/k of one, so that it
            always fits beside them.
        selector_gpus: GPUs of the selector actors together, 0 for none.
        workers: Training workers of a trial, >= 1.
    """

    concurrency: int
    cpus: float
    gpus: float
    selector_gpus: float
    workers: int = 1

    @property
    def trial(self) -> dict[str, float]:
        """What Tune sets aside for a trial: all it needs, or a team's leader, as Ray Train places the workers."""
        return {"cpu": self.cpus, "gpu": self.gpus} if self.workers == 1 else {"cpu": LEADER_CPUS}


@contextmanager
def ray_session(dashboard: bool = False, teams: bool = False) -> Iterator[None]:
    """Use the running Ray instance, or one of our own that ends with the block.

    Args:
        dashboard: Start the dashboard with an instance of our own (about 2 s and 300 MB more).
        teams: Trials have several workers: the instance must have a dashboard.

    Raises:
        ClusterError: It has none; or no instance answers where Ray expects one.
    """
    if ray.is_initialized():
        if teams:
            _require_dashboard()
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    _refuse_a_dead_instance(address)
    ray.init(
        address=address,
        include_dashboard=None if address else dashboard or teams,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    try:
        if teams:
            _require_dashboard()
        yield
    finally:
        ray.shutdown()


_NOTED = "`ray start` noted it on this machine", "`ray stop` removes the note"


def _refuse_a_dead_instance(address: str | None) -> None:
    """See that the instance which Ray would join, if any, is there."""
    if address == "local" or "://" in (address or ""):
        return
    found = address
    try:
        found = canonicalize_bootstrap_address(address)  # type: ignore[arg-type]  # None: what `ray start` noted here
        if found:
            probe(found)
    except (OSError, ValueError) as error:
        source, cure = ("RAY_ADDRESS names it", "unset RAY_ADDRESS") if address else _NOTED
        raise ClusterError(
            f"No Ray instance answers at {found} ({source}): {error}. If it has ended: {cure}. "
            "RAY_ADDRESS=HOST:PORT names another one, RAY_ADDRESS=local starts one for this run."
        ) from error


def _require_dashboard(timeout_s: int = 20) -> None:
    """Ask Ray's State API, which the dashboard serves, for a node."""
    from ray.util.state import list_nodes
    from ray.util.state.exception import RayStateApiException

    try:
        list_nodes(address=ray.get_runtime_context().gcs_address, limit=1, timeout=timeout_s)
    except (RayStateApiException, ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            "workers > 1 needs Ray's dashboard: without it Ray Train cannot free the places of a trial that died, "
            "and the next trial would wait for ever. Start Ray with it (`ray start --head "
            "--include-dashboard=true`, or ray.init(include_dashboard=True)), or use workers=1. "
            f"Its State API said: {error}"
        ) from error


def cluster_slots(concurrency: int = 0, workers: int = 1, *, selector_gpu: bool = False) -> Slots:
    """Divide the cluster that Ray is connected to, see `plan_slots`.

    Raises:
        ClusterError: The cluster cannot hold the workers of one trial.

    Warns:
        WaitingWarning: Fewer trials fit at a time than were asked for.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    cpus, gpus = usable(nodes)
    slots = plan_slots(concurrency, cpus, gpus, workers, selector_gpu=selector_gpu)
    if concurrency > slots.concurrency:
        warnings.warn(
            f"concurrency={concurrency}: the cluster serves {slots.concurrency} trials at a time ({cpus} CPUs, "
            f"{slots.workers * slots.cpus:g} a trial). The others wait for a free one.",
            WaitingWarning,
            stacklevel=2,
        )
    return slots


def usable(nodes: Iterable[Mapping[str, float]]) -> tuple[int, int]:
    """Return the CPUs and GPUs that trials can use.

    With GPUs, CPUs count only beside one, and as if every node had as few a GPU as the poorest: a trial needs both
    on one node, and a head without GPUs can take none.

    Args:
        nodes: Resources of each, "CPU" and "GPU" among them.
    """
    pairs = [(node.get("CPU", 0.0), int(node.get("GPU", 0.0))) for node in nodes]
    gpus = sum(gpu for _, gpu in pairs)
    beside = gpus * min((cpu / gpu for cpu, gpu in pairs if gpu), default=0.0)
    return max(1, int(beside if gpus else sum(cpu for cpu, _ in pairs))), gpus


def plan_slots(concurrency: int, cpus: int, gpus: int, workers: int = 1, *, selector_gpu: bool = False) -> Slots:
    """Divide CPUs and GPUs among trials.

    With GPUs, each training worker gets an equal share of one: k workers a GPU get 1 / k, or 0.95 / k where the
    selector has the other 5 %, so it never costs a trial its place. Shares are rounded down to what Ray can tell
    apart (0.0001): rounded up, the last of eight would not fit. The workers of one trial get a GPU each. Without
    GPUs, a worker gets one CPU: one thread a process beats more.

    Args:
        concurrency: Trials wanted at a time; 0 means as many as there are GPUs, or CPUs without GPUs, for.
        cpus: CPUs of the cluster, at least 1.
        gpus: GPUs of the cluster, 0 for none.
        workers: Training workers of a trial.
        selector_gpu: The selector has a share of a GPU, see `selectors.gpu_gains`.

    Raises:
        ClusterError: More workers than CPUs or, with GPUs, than GPUs.
    """
    if workers > (gpus or cpus):
        raise ClusterError(
            f"workers={workers}: each needs a {'GPU' if gpus else 'CPU'}, and the cluster has {gpus or cpus}. Ask "
            "for fewer, or start more nodes first (`raysubset cluster status` shows them)."
        )
    wanted = concurrency or (gpus or cpus) // workers
    if gpus == 0:
        share = 1.0 if workers == 1 else 1.0 - LEADERS_SHARE
        return Slots(min(wanted, cpus // workers), share, 0.0, 0.0, workers)
    if workers > 1:
        wanted = min(wanted, gpus // workers)
    per_gpu = -(-wanted * workers // gpus)
    share = min(1.0, cpus / (wanted * workers)) - (LEADERS_SHARE if workers > 1 else 0.0)
    set_aside = SELECTOR_GPU_SHARE if selector_gpu else 0.0
    return Slots(wanted, told_apart(share), told_apart((1.0 - set_aside) / per_gpu), set_aside, workers)


def told_apart(share: float) -> float:
    """Return a share of a resource, rounded down to the 0.0001 that Ray counts in."""
    return math.floor(share * 10_000 + 1e-6) / 10_000
