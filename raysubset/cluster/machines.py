"""Machine types of AWS and GCP that searches run on: what each has, and whether a file promises more than that."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from raysubset.cluster.fault import Fault


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine type has: virtual CPUs and built-in GPUs."""

    cpus: int
    gpus: int = 0


AWS: Mapping[str, Machine] = {
    **{f"{kind}.large": Machine(2) for kind in ("m5", "m6i", "m7i", "c5", "c6i", "c7i", "r6i")},
    **{f"{kind}.xlarge": Machine(4) for kind in ("m5", "m6i", "m7i", "c5", "c6i", "c7i", "r6i")},
    **{f"{kind}.2xlarge": Machine(8) for kind in ("m5", "m6i", "m7i", "c5", "c6i", "c7i", "r6i")},
    **{f"{kind}.4xlarge": Machine(16) for kind in ("m5", "m6i", "m7i", "c5", "c6i", "c7i", "r6i")},
    **{f"{kind}.8xlarge": Machine(32) for kind in ("m6i", "m7i", "c6i", "c7i", "r6i")},
    **{f"{kind}.xlarge": Machine(4, 1) for kind in ("g4dn", "g5", "g6")},
    **{f"{kind}.2xlarge": Machine(8, 1) for kind in ("g4dn", "g5", "g6")},
    **{f"{kind}.4xlarge": Machine(16, 1) for kind in ("g4dn", "g5", "g6")},
    **{f"{kind}.12xlarge": Machine(48, 4) for kind in ("g4dn", "g5", "g6")},
    **{f"{kind}.48xlarge": Machine(192, 8) for kind in ("g5", "g6")},
    "p3.2xlarge": Machine(8, 1),
    "p3.8xlarge": Machine(32, 4),
    "p3.16xlarge": Machine(64, 8),
    "p4d.24xlarge": Machine(96, 8),
    "p5.48xlarge": Machine(192, 8),
}

GCP: Mapping[str, Machine] = {
    **{f"{kind}-standard-{cpus}": Machine(cpus) for kind in ("n1", "n2", "e2") for cpus in (2, 4, 8, 16, 32)},
    **{f"n1-highmem-{cpus}": Machine(cpus) for cpus in (2, 4, 8, 16, 32)},
    **{f"c3-standard-{cpus}": Machine(cpus) for cpus in (4, 8, 22, 44)},
    **{f"g2-standard-{cpus}": Machine(cpus, gpus) for cpus, gpus in
       ((4, 1), (8, 1), (12, 1), (16, 1), (24, 2), (32, 1), (48, 4), (96, 8))},
    **{f"a2-highgpu-{gpus}g": Machine(12 * gpus, gpus) for gpus in (1, 2, 4, 8)},
    "a3-highgpu-8g": Machine(208, 8),
}  # fmt: skip

_TYPE_KEY = {"aws": ("InstanceType", AWS), "gcp": ("machineType", GCP)}


def machine_faults(provider: str, node_types: Mapping[str, Any], allowed: Collection[str]) -> Iterator[Fault]:
    """Check each node type's machine, and the resources it declares against it.

    Args:
        provider: "aws" or "gcp".
        node_types: Prepared ``available_node_types``.
        allowed: Machine types that are fine although unknown.
    """
    option, known = _TYPE_KEY[provider]
    for name, node in node_types.items():
        config, key = node.get("node_config") or {}, f"available_node_types.{name}"
        machine_type = str(config.get(option) or "").rpartition("/")[2]  # GCP takes URLs too
        if machine_type in known:
            yield from _promises(key, machine_type, known[machine_type], provider, node)
        elif machine_type not in allowed:
            near = get_close_matches(machine_type, known, n=3) or sorted(known)[:3]
            yield Fault(
                f"{key}.node_config.{option}",
                repr(machine_type) if machine_type else "nothing",
                f"a machine type of {provider} that is known here ({', '.join(near)}, ...), or --instance TYPE",
            )


def _promises(
    key: str, machine_type: str, machine: Machine, provider: str, node: Mapping[str, Any]
) -> Iterator[Fault]:
    """Ray believes what a file declares: trials would wait for CPUs and GPUs that never come."""
    has = {"CPU": machine.cpus, "GPU": machine.gpus + _attached_gpus(node.get("node_config") or {})}
    declared = node.get("resources") or {}
    for resource, amount in has.items():
        if (promised := declared.get(resource, 0)) > amount:
            yield Fault(f"{key}.resources.{resource}", str(promised), f"at most {amount}, what {machine_type} has")
        elif provider == "gcp" and amount and resource not in declared:
            yield Fault(f"{key}.resources.{resource}", "nothing", f"{amount}: on GCP Ray does not look it up")


def _attached_gpus(config: Mapping[str, Any]) -> int:
    return sum(int(one.get("acceleratorCount", 0)) for one in config.get("guestAccelerators") or [])
