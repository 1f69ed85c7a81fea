"""Rules for a RayCluster of KubeRay, whose own schema is only known to the Kubernetes that it goes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from raysubset.cluster.access import secret_faults
from raysubset.cluster.fault import Fault
from raysubset.cluster.installing import image_has_raysubset, image_ray_version
from raysubset.cluster.starting import AUTH, LOOPBACK, ROOT, is_below

_POD = {"rayStartParams", "template", "resources", "labels"}
_KNOWN = {
    "spec": {
        "authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions", "headGroupSpec",
        "headServiceAnnotations", "managedBy", "rayVersion", "suspend", "upgradeStrategy", "workerGroupSpecs",
    },
    "head": {"enableIngress", "headService", "serviceType", *_POD},
    "worker": {
        "groupName", "idleTimeoutSeconds", "maxReplicas", "minReplicas", "numOfHosts", "replicas", "scaleStrategy",
        "suspend", *_POD,
    },
}  # fmt: skip
_SHARED_VOLUMES = ("persistentVolumeClaim", "nfs", "csi")
_MANY = "ReadWriteMany"


def is_kuberay(documents: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the documents are for Kubernetes and not for ``ray up``."""
    return any("apiVersion" in document or "kind" in document for document in documents)


def kuberay_faults(documents: Sequence[Mapping[str, Any]], ray_version: str) -> list[Fault]:
    """Check a RayCluster, and the volume claims that come with it in the same file.

    Args:
        documents: Of the file.
        ray_version: That the pods must have.
    """
    clusters = [document for document in documents if document.get("kind") == "RayCluster"]
    if len(clusters) != 1:
        kinds = ", ".join(str(document.get("kind")) for document in documents)
        return [Fault("kind", kinds, "one RayCluster, and what it needs beside it")]
    spec = clusters[0].get("spec")
    if (shape := [*_shape_faults(clusters[0].get("apiVersion"), spec)]) or not isinstance(spec, Mapping):
        return shape
    faults = [*_unknown("spec", "spec", spec)]
    if (version := spec.get("rayVersion")) != ray_version:
        faults.append(Fault("spec.rayVersion", repr(version), f"'{ray_version}', as installed here"))
    head = spec["headGroupSpec"]
    groups = [("spec.headGroupSpec", "head", head)]
    groups += [(f"spec.workerGroupSpecs[{number}]", "worker", group)
               for number, group in enumerate(spec["workerGroupSpecs"])]  # fmt: skip
    claims = {
        str((document.get("metadata") or {}).get("name")): (document.get("spec") or {}).get("accessModes") or []
        for document in documents
        if document.get("kind") == "PersistentVolumeClaim"
    }
    faults += _head_faults(head)
    for key, side, group in groups:
        faults += _unknown(key, side, group)
        faults += _pod_faults(key, group, ray_version, (spec.get("authOptions") or {}).get("mode"), claims)
        if side == "worker":
            faults += _replica_faults(key, group)
    for document in documents:
        if document.get("kind") == "Secret":
            faults.append(
                Fault("kind", "a Secret", "none in a file: kubectl create secret, or KubeRay's authOptions")
            )
        faults += secret_faults(document)
    return list(dict.fromkeys(faults))


def _shape_faults(version: Any, spec: Any) -> Iterator[Fault]:
    """Name what is missing or of the wrong type, before anything is read from it."""
    if version != "ray.io/v1":
        yield Fault("apiVersion", repr(version), "ray.io/v1")
    if not isinstance(spec, Mapping):
        yield Fault("spec", repr(spec), "a mapping")
        return
    head, workers = spec.get("headGroupSpec"), spec.get("workerGroupSpecs")
    groups = {"spec.headGroupSpec": head}
    if isinstance(workers, list) and workers:
        groups |= {f"spec.workerGroupSpecs[{number}]": group for number, group in enumerate(workers)}
    else:
        yield Fault("spec.workerGroupSpecs", repr(workers), "a list of one group of workers at least")
    for key, group in groups.items():
        containers: Any = group
        for part in ("template", "spec", "containers"):
            containers = containers.get(part) if isinstance(containers, Mapping) else None
        if not isinstance(containers, list) or not containers or not isinstance(containers[0], Mapping):
            yield Fault(f"{key}.template.spec.containers", repr(containers), "a list whose first one runs Ray")


def _unknown(key: str, part: str, group: Mapping[str, Any]) -> Iterator[Fault]:
    for name in sorted(set(group) - _KNOWN[part]):
        near = get_close_matches(name, _KNOWN[part], n=1)
        hint = f"perhaps {near[0]}; " if near else ""
        yield Fault(key, f"unknown {name!r}", f"{hint}known are {', '.join(sorted(_KNOWN[part]))}")


def _head_faults(head: Mapping[str, Any]) -> Iterator[Fault]:
    key = "spec.headGroupSpec"
    if (service := head.get("serviceType", "ClusterIP")) != "ClusterIP":
        yield Fault(f"{key}.serviceType", service, "ClusterIP: kubectl port-forward brings the dashboard")
    if head.get("enableIngress"):
        yield Fault(f"{key}.enableIngress", "true", "false: kubectl port-forward brings the dashboard")
    host = (head.get("rayStartParams") or {}).get("dashboard-host")
    if host not in LOOPBACK:
        yield Fault(
            f"{key}.rayStartParams.dashboard-host",
            "nothing, which is 0.0.0.0 with KubeRay" if host is None else repr(host),
            "'127.0.0.1': kubectl port-forward reaches it there",
        )


def _pod_faults(
    key: str, group: Mapping[str, Any], ray_version: str, auth_mode: Any, claims: Mapping[str, Sequence[str]]
) -> Iterator[Fault]:
    pod = group["template"]["spec"]
    container = pod["containers"][0]
    key = f"{key}.template.spec"
    if pod.get("hostNetwork"):
        yield Fault(f"{key}.hostNetwork", "true", "false: the host's network is open to its neighbours")
    for port in container.get("ports") or []:
        if "hostPort" in port:
            yield Fault(f"{key}.containers[0].ports", f"hostPort {port['hostPort']}", "no port of the host")
    yield from _image_faults(f"{key}.containers[0].image", container.get("image"), ray_version)
    environment = {one.get("name"): one for one in container.get("env") or []}
    if auth_mode != "token":
        mode, token = environment.get(AUTH, {}).get("value"), environment.get("RAY_AUTH_TOKEN", {})
        if mode != "token" or "secretKeyRef" not in (token.get("valueFrom") or {}):
            yield Fault(
                f"{key}.containers[0].env",
                f"{AUTH}={mode}, authOptions.mode={auth_mode}",
                f"spec.authOptions.mode: token (KubeRay 1.5.1 or newer), or {AUTH}=token and RAY_AUTH_TOKEN from "
                "a secretKeyRef",
            )
    yield from _root_faults(key, pod, container, environment.get(ROOT, {}).get("value"), claims)
    yield from _gpu_faults(key, group, container)


def _image_faults(key: str, image: Any, ray_version: str) -> Iterator[Fault]:
    if not isinstance(image, str) or not image:
        yield Fault(key, "nothing", f"an image with raysubset and Ray {ray_version}")
        return
    if image_ray_version(image) != ray_version:
        yield Fault(key, repr(image), f"a tag with ray{ray_version}, as installed here")
    if not image_has_raysubset(image):
        yield Fault(key, repr(image), "an image with raysubset in its name: pods install nothing when they start")


def _root_faults(
    key: str, pod: Mapping[str, Any], container: Mapping[str, Any], root: Any, claims: Mapping[str, Sequence[str]]
) -> Iterator[Fault]:
    if not isinstance(root, str):
        yield Fault(f"{key}.containers[0].env", f"no {ROOT}", f"{ROOT}, a folder on a volume that all pods share")
        return
    mounts = [one for one in container.get("volumeMounts") or [] if is_below(root, str(one.get("mountPath")))]
    volumes = {one.get("name"): one for one in pod.get("volumes") or []}
    volume = volumes.get(mounts[-1].get("name"), {}) if mounts else {}
    kind = next((name for name in volume if name != "name"), "no volume")
    if kind not in _SHARED_VOLUMES:
        yield Fault(
            f"{key}.volumes",
            f"{ROOT}={root} on {kind}",
            f"a volume that all pods share: {', '.join(_SHARED_VOLUMES)}",
        )
    modes = claims.get(str((volume.get("persistentVolumeClaim") or {}).get("claimName")))
    if modes is not None and _MANY not in modes:
        yield Fault("PersistentVolumeClaim.spec.accessModes", ", ".join(modes) or "nothing", _MANY)


def _gpu_faults(key: str, group: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[Fault]:
    limits = (container.get("resources") or {}).get("limits") or {}
    if not {"cpu", "memory"} <= set(limits):
        yield Fault(
            f"{key}.containers[0].resources.limits",
            ", ".join(limits) or "nothing",
            "cpu and memory: Ray counts what is written there",
        )
    told, has = (group.get("rayStartParams") or {}).get("num-gpus"), limits.get("nvidia.com/gpu", 0)
    if told is not None and str(told) != str(has):
        yield Fault(f"{key}: rayStartParams.num-gpus", repr(told), f"{has}, the pod's limit of nvidia.com/gpu")


def _replica_faults(key: str, group: Mapping[str, Any]) -> Iterator[Fault]:
    least = group.get("minReplicas", 0)
    now: Any = group.get("replicas", least)
    most: Any = group.get("maxReplicas")
    found = f"minReplicas {least!r}, replicas {now!r}, maxReplicas {most!r}"
    for number in (least, now, most):
        if not isinstance(number, int) or isinstance(number, bool):
            yield Fault(key, found, "integers")
            return
    if not 0 <= least <= now <= most or most < 1:
        yield Fault(key, found, "0 <= minReplicas <= replicas <= maxReplicas, and maxReplicas >= 1")
