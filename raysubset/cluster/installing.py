"""What a cluster file installs: Ray in the version of whoever starts the cluster, and raysubset, on every node."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from raysubset.cluster.commands import installed_packages, installs_raysubset, ray_pins
from raysubset.cluster.fault import Fault

_IMAGE_RAY = re.compile(r"(?:^|/)ray(?:-ml|-llm)?:(?P<plain>[^-]+)|[-.:_]ray-?(?P<named>\d[0-9.]*\d)")


def installing_faults(config: Mapping[str, Any], ray_version: str) -> Iterator[Fault]:
    """Check what is installed on head and workers, by their images and set-up commands.

    Args:
        config: Prepared.
        ray_version: That every node must have, e.g. "2.60.0": nodes of other versions cannot join.
    """
    docker = config.get("docker") or {}
    for side in ("head", "worker"):
        key = f"{side}_setup_commands" if _differ(config) else "setup_commands"
        packages = installed_packages(config[f"{side}_setup_commands"])
        image = docker.get(f"{side}_image") or docker.get("image") or ""
        yield from _version_faults(key, packages, image, ray_version)
        if not installs_raysubset(packages) and not image_has_raysubset(image):
            yield Fault(
                key,
                "no command that installs raysubset",
                "`pip install` of it (a folder from file_mounts, a URL or raysubset==VERSION), or an image with "
                "raysubset in its name",
            )


def _differ(config: Mapping[str, Any]) -> bool:
    """Whether head or workers install packages of their own; Ray has put the common commands before them."""
    head, worker = (installed_packages(config[f"{side}_setup_commands"]) for side in ("head", "worker"))
    return ray_pins(head) != ray_pins(worker) or installs_raysubset(head) != installs_raysubset(worker)


def _version_faults(key: str, packages: list[str], image: str, ray_version: str) -> Iterator[Fault]:
    pins = ray_pins(packages)
    of_image = image_ray_version(image)
    allowed = f"ray[...]=={ray_version}, the version that is installed here: others cannot join or be submitted to"
    for pin in pins:
        if pin != f"=={ray_version}":
            yield Fault(key, f"ray{pin or ' of any version'}", allowed)
    if image and not pins and of_image is None:
        yield Fault("docker", f"image {image!r}, whose tag names no Ray version", f"a tag with ray{ray_version}")
    elif image and of_image not in (None, ray_version):
        yield Fault("docker", f"image {image!r}, Ray {of_image}", f"Ray {ray_version}, as installed here")
    elif not image and not pins:
        yield Fault(key, "no pinned version of ray", allowed)


def image_ray_version(image: str) -> str | None:
    """Read Ray's version from an image's name: rayproject/ray:2.60.0-py311, example/raysubset:0.1.0-ray2.60.0."""
    match = _IMAGE_RAY.search(image)
    return None if match is None else match["plain"] or match["named"]


def image_has_raysubset(image: str) -> bool:
    """Whether an image's name says that raysubset is in it."""
    return "raysubset" in image
