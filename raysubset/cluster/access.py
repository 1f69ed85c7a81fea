"""Who can reach a cluster that a file describes, and whether the file gives a secret away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from raysubset.cluster.fault import Fault

WORLD = ("0.0.0.0/0", "::/0")
_SECRET_NAME = re.compile(
    r"\b(?P<name>[A-Z0-9_]*(?:API_KEY|AUTH_TOKEN|SECRET_ACCESS_KEY|SECRET_KEY|PASSWORD|ACCESS_TOKEN))=(?P<value>\S+)"
)
_SECRET_VALUE = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----|\bgh[pousr]_\w{30,}")


def access_faults(config: Mapping[str, Any]) -> Iterator[Fault]:
    """Check that nothing but ssh is open, that the token travels, and that nodes are ended and not kept."""
    provider, docker = config["provider"], config.get("docker") or {}
    yield from _open_ports(provider.get("security_group") or {})
    for key in ("run_options", "head_run_options", "worker_run_options"):
        for option in docker.get(key) or []:
            if re.match(r"(-p|--publish|-P|--publish-all)\b", str(option)):
                yield Fault(
                    f"docker.{key}",
                    str(option),
                    "no published port: use `ray dashboard FILE`, which goes through ssh",
                )
    if not any(str(remote).endswith(".ray/auth_token") for remote in config["file_mounts"]):
        yield Fault(
            "file_mounts",
            "no ~/.ray/auth_token",
            "the file with the token that all nodes share, e.g. ~/.ray/auth_token: ~/.ray/auth_token",
        )
    if provider["type"] == "aws" and provider.get("cache_stopped_nodes", True):
        yield Fault(
            "provider.cache_stopped_nodes",
            str(provider.get("cache_stopped_nodes", "nothing, which is true")).lower(),
            "false: `ray down` would stop machines instead of ending them, and their disks go on costing",
        )


def _open_ports(group: Mapping[str, Any]) -> Iterator[Fault]:
    for rule in group.get("IpPermissions") or []:
        ranges = [one.get("CidrIp") for one in rule.get("IpRanges") or []]
        ranges += [one.get("CidrIpv6") for one in rule.get("Ipv6Ranges") or []]
        for world in (one for one in ranges if one in WORLD):
            ports = f"{rule.get('FromPort', 'all')}-{rule.get('ToPort', 'all')}"
            yield Fault(
                "provider.security_group.IpPermissions",
                f"ports {ports} open to {world}",
                "ranges of your own network: whoever reaches Ray's ports and has the token runs code",
            )


def secret_faults(value: Any, key: str = "") -> Iterator[Fault]:
    """Find what looks like a secret written out; a reference to a variable or a file is none.

    The fault names the place, never the secret.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from secret_faults(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from secret_faults(item, f"{key}[{number}]")
    elif isinstance(value, str):
        named = [match["name"] for match in _SECRET_NAME.finditer(value) if match["value"].strip("'\"")[:1] != "$"]
        if named or _SECRET_VALUE.search(value):
            found = f"a secret written out ({', '.join(named) or 'a key'})"
            yield Fault(key, found, "a file from file_mounts, or $NAME")
