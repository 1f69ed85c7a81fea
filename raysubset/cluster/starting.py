"""How a cluster file starts Ray: authentication, what listens where, where runs go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any

from raysubset.cluster.commands import RayStart, ray_starts, simple_commands
from raysubset.cluster.fault import Fault

HEAD_KEY, WORKER_KEY = "head_start_ray_commands", "worker_start_ray_commands"
AUTH, ROOT = "RAY_AUTH_MODE", "RAYSUBSET_ROOT"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MOUNTS = {"mount.efs", "mount.nfs", "mount.nfs4", "gcsfuse", "mountpoint", "findmnt"}
_NETWORK_TYPES = ("nfs", "nfs4", "efs", "cifs", "lustre", "ceph", "glusterfs")
_LISTENING = ("dashboard-host", "dashboard-agent-listen-host", "ray-client-server-host")


def starting_faults(config: Mapping[str, Any]) -> Iterator[Fault]:
    """Check the prepared start commands of head and workers; Ray's defaults count where a file says nothing."""
    for key in (HEAD_KEY, WORKER_KEY):
        starts = ray_starts(config[key])
        if not starts:
            yield Fault(key, "no `ray start`", "commands that start Ray")
        for start in starts:
            yield from _start_faults(key, start, config)
    yield from _root_faults(config)


def _start_faults(key: str, start: RayStart, config: Mapping[str, Any]) -> Iterator[Fault]:
    if start.head != (key == HEAD_KEY):
        yield Fault(key, f"`ray start` {'with' if start.head else 'without'} --head", "--head for the head alone")
    if (mode := start.environment.get(AUTH)) != "token":
        yield Fault(key, _variable(AUTH, mode), f"{AUTH}=token before `ray start`: else every caller is let in")
    for option in _LISTENING:
        if (host := start.options.get(option)) is not None and host not in LOOPBACK:
            yield Fault(key, f"--{option}={host}", "127.0.0.1: `ray dashboard FILE` brings it through ssh")
    local_head = start.head and config["provider"]["type"] == "local"
    if local_head and (v2 := start.environment.get("RAY_enable_autoscaler_v2")) != "0":
        yield Fault(
            key, _variable("RAY_enable_autoscaler_v2", v2), "0: version 2 does not start workers of provider local"
        )
    if start.word != "ray" and not _extends_path(config["head_setup_commands"]):
        yield Fault(
            key,
            start.word,
            "ray on the PATH of login shells (a line in ~/.bashrc): `ray down` calls it by its bare name, and "
            "reports success when it is not found",
        )


def _variable(name: str, value: str | None) -> str:
    return f"no {name}" if value is None else f"{name}={value}"


def _extends_path(commands: Sequence[str]) -> bool:
    return any("PATH=" in command and ("bashrc" in command or "profile" in command) for command in commands)


def _root_faults(config: Mapping[str, Any]) -> Iterator[Fault]:
    """A run's folder holds checkpoints that trials write on one node and read on another."""
    for key in (HEAD_KEY, WORKER_KEY):
        for start in ray_starts(config[key]):
            root = start.environment.get(ROOT)
            if root is None:
                yield Fault(key, f"no {ROOT}", f"{ROOT}=FOLDER before `ray start`, on shared storage")
                continue
            side = "head" if key == HEAD_KEY else "worker"
            commands = [*config["initialization_commands"], *config[f"{side}_setup_commands"]]
            if not any(is_below(root, folder) for folder in _mounted(commands)):
                yield Fault(
                    key,
                    f"{ROOT}={root}, which no command of the {side} mounts or sees to be mounted",
                    "a folder below one that `mount`, `mount.efs` or `gcsfuse` mounts, or that `mountpoint` or "
                    "`findmnt` finds there, in initialization_commands or setup_commands",
                )
            elif key == HEAD_KEY and (container := _not_in_container(root, config)):
                yield Fault("docker.run_options", container, f"-v FOLDER:FOLDER with the folder of {ROOT}={root}")


def _mounted(commands: Sequence[str]) -> Iterator[str]:
    """Name the absolute folders that commands mount, or without which they fail."""
    for command in commands:
        for words in simple_commands(command):
            tools = {word.rpartition("/")[2] for word in words[:4]}  # behind sudo, test, ! and the like
            if tools & _MOUNTS or ("mount" in tools and _is_of_network(words)):
                yield from (word for word in words if word.startswith("/") and word != "/")


def _is_of_network(words: Sequence[str]) -> bool:
    """Whether ``mount`` mounts host:/folder or says the type of a network file system: no disk, no memory."""
    return any(":/" in word for word in words) or any(kind in words for kind in _NETWORK_TYPES)


def _not_in_container(root: str, config: Mapping[str, Any]) -> str | None:
    docker = config.get("docker") or {}
    if not docker.get("container_name"):
        return None
    volumes = [part.split(":") for option in docker.get("run_options") or [] for part in str(option).split()]
    inside = [parts[1] for parts in volumes if len(parts) > 1 and parts[1].startswith("/")]
    return None if any(is_below(root, folder) for folder in inside) else "no volume that holds it"


def is_below(path: str, folder: str) -> bool:
    """Whether an absolute path is a folder or lies in it."""
    inner, outer = PurePosixPath(normpath(path)), PurePosixPath(normpath(folder))
    return inner.is_relative_to(outer) and outer != PurePosixPath("/")
