"""How many nodes a cluster file asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raysubset.cluster.fault import Fault


def size_faults(raw: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Fault]:
    """Check the numbers of workers, of each type and in all.

    Args:
        raw: The file as it is written.
        config: Prepared: Ray fills in, caps and drops numbers silently.
    """
    if config["provider"]["type"] == "local":
        yield from _own_machines(raw)
        return
    if "min_workers" in raw:
        yield Fault("min_workers", str(raw["min_workers"]), "that of a node type: Ray drops this one silently")
    types, most = config["available_node_types"], config["max_workers"]
    if (head := config["head_node_type"]) not in types:
        yield Fault("head_node_type", repr(head), f"one of available_node_types: {', '.join(types)}")
    for name, node in types.items():
        least, own = node["min_workers"], node["max_workers"]
        key = f"available_node_types.{name}"
        if not 0 <= least <= own:
            yield Fault(f"{key}.min_workers", str(least), f"0 to its max_workers, {own}")
        if own > most:
            yield Fault(f"{key}.max_workers", str(own), f"at most max_workers of the cluster, {most}")
    if (least := sum(node["min_workers"] for node in types.values())) > most:
        yield Fault("max_workers", str(most), f"at least {least}, the min_workers of all node types together")
    if not any(node["max_workers"] for name, node in types.items() if name != head):
        yield Fault("available_node_types", "no worker type with max_workers > 0", "one: the head is no worker")


def _own_machines(raw: Mapping[str, Any]) -> Iterator[Fault]:
    workers = raw["provider"].get("worker_ips") or []
    numbers = {name: raw.get(name, len(workers)) for name in ("min_workers", "max_workers")}
    for name, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= len(workers):
            yield Fault(name, repr(number), f"an integer from 0 to {len(workers)}, as there are worker_ips")
            return
    if numbers["min_workers"] > numbers["max_workers"]:
        yield Fault("min_workers", str(numbers["min_workers"]), f"at most max_workers, {numbers['max_workers']}")
    every = [raw["provider"]["head_ip"], *workers]
    for address in sorted({str(one) for one in every if every.count(one) > 1}):
        yield Fault("provider.worker_ips", f"{address} twice", "every machine once, head or worker")
    for address in every:
        if str(address).startswith("127.") or address in ("localhost", "::1"):
            yield Fault("provider", str(address), "addresses by which the machines reach one another")
