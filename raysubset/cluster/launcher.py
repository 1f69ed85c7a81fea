"""Our own rules for a file of ``ray up``, on top of Ray's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from raysubset.cluster.access import access_faults, secret_faults
from raysubset.cluster.fault import Fault
from raysubset.cluster.installing import installing_faults
from raysubset.cluster.machines import machine_faults
from raysubset.cluster.size import size_faults
from raysubset.cluster.starting import starting_faults

PROVIDERS = ("aws", "gcp", "local")


def launcher_faults(
    raw: Mapping[str, Any], config: Mapping[str, Any], ray_version: str, instances: Collection[str] = ()
) -> list[Fault]:
    """Check a file that Ray's schema accepts.

    Args:
        raw: As it is written.
        config: As Ray prepared it, defaults filled in.
        ray_version: That the nodes must have.
        instances: Machine types that are fine although unknown.

    Returns:
        What is wrong, each fault once.
    """
    provider = config["provider"]["type"]
    faults = [*size_faults(raw, config)]
    if provider != "local":
        faults += machine_faults(provider, config["available_node_types"], instances)
    faults += installing_faults(config, ray_version)
    faults += starting_faults(config)
    faults += access_faults(config)
    faults += secret_faults(raw)
    return list(dict.fromkeys(faults))
