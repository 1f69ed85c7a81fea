"""What runs on a Ray cluster: its nodes, what of them is in use, our selectors and searches."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import ray
from ray._private import state
from ray._private.internal_api import node_stats
from ray._private.services import canonicalize_bootstrap_address
from ray._raylet import AuthenticationTokenLoader, Config, GcsClient  # type: ignore[attr-defined]

from raysubset.errors import NoClusterError
from raysubset.runtime.reach import probe

# raysubset/<run's folder>/<session>/<shard>; of a loop of one's own raysubset/<fingerprint of its data>/<shard>
_SELECTOR = re.compile(r"raysubset/(?P<folder>.+?)(/[0-9a-f]{32})?(/\d+)?")
_TRIAL = re.compile(r"(.+\.)?SubsetTrainable|with_parameters\.<locals>\._Inner")  # as Tune wraps it


@dataclass(frozen=True, slots=True)
class NodeUse:
    """One live node.

    Attributes:
        node: Ray's id of it, hexadecimal.
        address: By which the nodes know it.
        head: Whether it is the head.
        used, total: Resource name -> amount, of CPU, GPU, memory (bytes) and custom ones.
        store_used, store_total: Bytes of its object store; None where the node does not answer (it may be dying).
    """

    node: str
    address: str
    head: bool
    used: Mapping[str, float]
    total: Mapping[str, float]
    store_used: int | None
    store_total: int | None


@dataclass(frozen=True, slots=True)
class SearchUse:
    """One search that has a live selector.

    Attributes:
        name: Of the run.
        folder: Of the run, as its driver names it.
        job: Ray's id of the driver's job.
        selectors: Node address of each of its selector actors.
        trials: Node address -> trial processes there.
    """

    name: str
    folder: str
    job: str
    selectors: tuple[str, ...]
    trials: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """A look at a cluster; see `cluster_status`."""

    address: str
    ray_version: str
    nodes: tuple[NodeUse, ...]
    searches: tuple[SearchUse, ...]


def cluster_status(address: str | None = None) -> ClusterStatus:
    """Look at a running cluster, its head and dashboard untouched.

    Args:
        address: host:port of the head's GCS, or None: $RAY_ADDRESS, else the instance on this machine.

    Raises:
        NoClusterError: There is no cluster, or it does not take our token; says which.

    Cost: one request to the head, one to each node; about a second with the connection.
    """
    with _connected(address) as found:
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        free = state.available_resources_per_node()  # type: ignore[no-untyped-call]
        used = tuple(_node_use(node, free.get(node["NodeID"], {})) for node in nodes)
        actors = [actor for actor in state.actors().values() if actor["State"] == "ALIVE"]
        return ClusterStatus(found, ray.__version__, used, _searches(actors))


@contextmanager
def _connected(address: str | None) -> Iterator[str]:
    """Use the connection that is there, or one for as long as it is needed; yields the head's address."""
    if ray.is_initialized():
        yield str(ray.get_runtime_context().gcs_address)
        return
    found = _reachable(address)
    ray.init(address=found, logging_level=logging.ERROR, log_to_driver=False)
    try:
        yield found
    finally:
        ray.shutdown()


def _reachable(address: str | None) -> str:
    """Find the head and see that it takes our token, in seconds: Ray alone would try for a minute, then exit."""
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        Config.initialize("")  # Ray has read the environment when it was imported
    has_token = AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
    if os.environ["RAY_AUTH_MODE"] == "token" and not has_token:
        raise NoClusterError(
            "No authentication token: looked at RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH and ~/.ray/auth_token. Copy "
            "the cluster's token there; only for a cluster without authentication set RAY_AUTH_MODE=disabled."
        )
    wanted = address or os.environ.get("RAY_ADDRESS") or "auto"
    try:
        found = str(canonicalize_bootstrap_address(wanted) or "")
        probe(found)
    except (OSError, ValueError) as error:
        raise NoClusterError(
            f"No Ray cluster at {wanted!r}: {_first_line(error)}. Needed is the head's host:port (mostly 6379), "
            "on the head itself nothing; from outside: ray exec FILE 'raysubset cluster status'."
        ) from error
    try:
        GcsClient(address=found)
    except Exception as error:  # AuthenticationError, or whatever a server that is no GCS provokes
        raise NoClusterError(
            f"The cluster at {found} did not let us in (RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']}): "
            f"{_first_line(error)}"
        ) from error
    return found


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _node_use(node: Mapping[str, Any], free: Mapping[str, float]) -> NodeUse:
    total = {
        name: float(amount)
        for name, amount in node["Resources"].items()
        if not name.startswith(("node:", "object_store_memory", "accelerator_type:"))
    }
    held, capacity = _store(node["NodeManagerAddress"], node["NodeManagerPort"])
    return NodeUse(
        node=node["NodeID"],
        address=node["NodeManagerAddress"],
        head="node:__internal_head__" in node["Resources"],
        used={name: amount - free.get(name, 0.0) for name, amount in total.items()},
        total=total,
        store_used=held,
        store_total=capacity,
    )


def _store(address: str, port: int) -> tuple[int | None, int | None]:
    try:
        store = node_stats(address, port, include_memory_info=False).store_stats  # type: ignore[no-untyped-call]
    except grpc.RpcError:
        return None, None
    return store.object_store_bytes_used, store.object_store_bytes_avail


def _searches(actors: Sequence[Mapping[str, Any]]) -> tuple[SearchUse, ...]:
    """Group the selectors by run; trials belong to the run of their job."""
    runs: dict[tuple[str, str], list[str]] = {}
    trials: dict[str, Counter[str]] = {}
    for actor in actors:
        node, job = actor["Address"]["IPAddress"], actor["JobID"]
        if match := _SELECTOR.fullmatch(actor["Name"]):
            runs.setdefault((match["folder"], job), []).append(node)
        elif _TRIAL.fullmatch(actor["ActorClassName"]):
            trials.setdefault(job, Counter())[node] += 1
    return tuple(
        SearchUse(
            folder.rpartition("/")[2], folder, job, tuple(sorted(nodes)), dict(sorted(trials.get(job, {}).items()))
        )
        for (folder, job), nodes in sorted(runs.items())
    )
