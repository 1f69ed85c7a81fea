"""``raysubset cluster check``: the shipped files pass, and each way to break one is named with its key."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.cli import main
from raysubset.cluster.commands import ray_starts
from raysubset.cluster.kuberay import kuberay_faults
from raysubset.runtime.launcher import launcher_file_faults

CLUSTERS = Path(__file__).parents[2] / "clusters"
FILES = sorted(CLUSTERS.glob("*.yaml"))
RAY = "2.60.0"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["cluster", "check", *arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CLUSTERS / name).read_text(encoding="utf-8")))


def test_the_shipped_files_are_fine_and_no_network_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("the check reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    code, out, err = run(capsys, *map(str, FILES))
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"{file}: ok" for file in FILES]
    assert {"gpu.yaml", "gpu_gcp.yaml", "cpu.yaml", "local.yaml", "kuberay.yaml"} == {file.name for file in FILES}


@pytest.mark.slow
def test_no_library_of_a_cloud_is_needed() -> None:
    code = (
        "import sys\n"
        "for name in ('boto3', 'botocore', 'googleapiclient', 'google.auth'): sys.modules[name] = None\n"
        "from raysubset.cli import main\n"
        f"main(['cluster', 'check', {str(CLUSTERS / 'gpu.yaml')!r}, {str(CLUSTERS / 'gpu_gcp.yaml')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------------- broken files

Break = Callable[[dict[str, Any]], object]
HEAD, WORKER = "head_start_ray_commands", "worker_start_ray_commands"


def replaced(key: str, old: str, new: str) -> Break:
    """Replace text in a list of commands; a variant that changes nothing would test nothing."""

    def change(config: dict[str, Any]) -> None:
        assert any(old in command for command in config[key])
        config[key] = [command.replace(old, new) for command in config[key]]

    return change


def node(name: str, **changes: Any) -> Break:
    return lambda config: config["available_node_types"][name].update(changes)


def machine(name: str, **changes: Any) -> Break:
    return lambda config: config["available_node_types"][name]["node_config"].update(changes)


def without_command(key: str, word: str) -> Break:
    def change(config: dict[str, Any]) -> None:
        assert any(word in command for command in config[key])
        config[key] = [command for command in config[key] if word not in command]

    return change


def opened(**rule: Any) -> Break:
    group = {"GroupName": "raysubset", "IpPermissions": [{"FromPort": 8265, "ToPort": 8265, **rule}]}
    return lambda config: config["provider"].update(security_group=group)


BROKEN: list[tuple[str, Break, str, str]] = [
    # file, how it is broken, the key that is named, words of the fault
    ("gpu.yaml", lambda c: c.update(max_worker=3), "", "unknown 'max_worker'; allowed: perhaps max_workers"),
    ("gpu.yaml", lambda c: c["auth"].update(user="me"), "auth", "unknown 'user'"),
    ("gpu.yaml", lambda c: c.pop("provider"), "", "'provider' is a required property"),
    ("gpu.yaml", lambda c: c["provider"].update(type="azure"), "provider.type",
     "'azure'; allowed: aws, gcp, local"),
    ("gpu.yaml", lambda c: c.update(max_workers="8"), "max_workers", "found '8'; allowed: type integer"),
    ("gpu.yaml", lambda c: c.update(max_workers=-1), "max_workers", "found -1; allowed: minimum 0"),
    ("gpu.yaml", lambda c: c.update(min_workers=1), "min_workers", "Ray drops this one silently"),
    ("gpu.yaml", lambda c: c.update(max_workers=4), "available_node_types.gpu_worker.max_workers", "at most"),
    (
        "gpu.yaml",
        node("gpu_worker", min_workers=9),
        "available_node_types.gpu_worker.min_workers",
        "found 9; allowed: 0 to its max_workers, 8",
    ),
    ("gpu.yaml", node("gpu_worker", min_workers=9, max_workers=9), "max_workers", "found 8; allowed: at least 9"),
    ("gpu.yaml", node("gpu_worker", max_workers=0), "available_node_types", "no worker type with max_workers > 0"),
    ("gpu.yaml", lambda c: c.update(head_node_type="had"), "head_node_type", "'had'; allowed: one of"),
    ("gpu.yaml", lambda c: c.pop("head_node_type"), "head_node_type", "found nothing"),
    (
        "gpu.yaml",
        machine("gpu_worker", InstanceType="g5.2xlrge"),
        "available_node_types.gpu_worker.node_config.InstanceType",
        "found 'g5.2xlrge'; allowed: a machine type of aws that is known here (g5.2xlarge",
    ),
    (
        "gpu.yaml",
        node("gpu_worker", resources={"GPU": 4}),
        "available_node_types.gpu_worker.resources.GPU",
        "found 4; allowed: at most 1, what g5.2xlarge has",
    ),
    (
        "gpu_gcp.yaml",
        node("gpu_worker", resources={"CPU": 8}),
        "available_node_types.gpu_worker.resources.GPU",
        "found nothing; allowed: 1: on GCP",
    ),
    (
        "gpu_gcp.yaml",
        lambda c: c["available_node_types"]["head"].pop("resources"),
        "available_node_types.head",
        "'resources' is a required property",
    ),
    ("gpu.yaml", replaced(HEAD, "127.0.0.1", "0.0.0.0"), HEAD, "--dashboard-host=0.0.0.0; allowed: 127.0.0.1"),
    ("gpu.yaml", replaced(HEAD, "--dashboard-host=127.0.0.1", "--dashboard-host ::"), HEAD, "--dashboard-host=::"),
    ("gpu.yaml", lambda c: c.pop(HEAD), HEAD, "--dashboard-host=0.0.0.0"),  # Ray's own default for AWS
    ("gpu.yaml", replaced(HEAD, "RAY_AUTH_MODE=token", ""), HEAD, "found no RAY_AUTH_MODE"),
    ("local.yaml", replaced(WORKER, "RAY_AUTH_MODE=token", ""), WORKER, "found no RAY_AUTH_MODE"),
    ("local.yaml", replaced(HEAD, "=token", "=disabled"), HEAD, "RAY_AUTH_MODE=disabled"),
    ("gpu.yaml", replaced(HEAD, "--head", ""), HEAD, "`ray start` without --head"),
    ("gpu.yaml", replaced(WORKER, "ray start", "sleep"), WORKER, "no `ray start`"),
    ("gpu.yaml", replaced(HEAD, "/mnt/shared", "/home/ray"), HEAD,
     "RAYSUBSET_ROOT=/home/ray/runs, which no command"),
    ("gpu.yaml", replaced(WORKER, "RAYSUBSET_ROOT", "X"), WORKER, "no RAYSUBSET_ROOT"),
    ("gpu.yaml", replaced(WORKER, "/mnt/shared", "/mnt/shared/../x"), WORKER, "which no command of the worker"),
    ("gpu.yaml", replaced(WORKER, "/mnt/shared", "/mnt/shared-not"), WORKER, "which no command of the worker"),
    ("gpu.yaml", lambda c: c.update(initialization_commands=["sudo mount /dev/nvme1n1 /mnt/shared"]), HEAD,
     "which no command of the head mounts"),
    ("gpu.yaml", lambda c: c.update(initialization_commands=["mount -t tmpfs none /mnt/shared"]), HEAD,
     "which no command of the head mounts"),
    ("local.yaml", replaced(HEAD, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=token;"), HEAD, "no RAY_AUTH_MODE"),
    ("local.yaml", replaced(HEAD, "RAY_AUTH_MODE=token", "echo RAY_AUTH_MODE=token &&"), HEAD, "no RAY_AUTH_MODE"),
    ("local.yaml", without_command("setup_commands", "mountpoint"), WORKER,
     "which no command of the worker mounts"),
    ("gpu.yaml", lambda c: c["docker"]["run_options"].pop(), "docker.run_options", "no volume that holds it"),
    ("gpu.yaml", lambda c: c["docker"]["run_options"].append("-p 8265:8265"), "docker.run_options",
     "no published"),
    ("gpu.yaml", lambda c: c["docker"].update(worker_image="rayproject/ray:latest-gpu"), "docker", "Ray latest"),
    ("cpu.yaml", replaced("setup_commands", "==2.60.0", ">=2.60"), "setup_commands", "found ray>=2.60"),
    ("cpu.yaml", replaced("setup_commands", "==2.60.0", ""), "setup_commands", "found ray of any version"),
    ("cpu.yaml", replaced("setup_commands", "==2.60.0", "==2.59.0"), "setup_commands", "found ray==2.59.0"),
    ("gpu.yaml", lambda c: c["head_setup_commands"].append("pip install ray==2.59.0"), "head_setup_commands",
     "==2.59.0"),
    ("gpu.yaml", without_command("setup_commands", "pip"), "setup_commands", "no command that installs raysubset"),
    ("local.yaml", replaced("setup_commands", " ~/raysubset", " ~/other"), "setup_commands", "installs raysubset"),
    ("local.yaml", replaced(HEAD, "autoscaler_v2=0", "autoscaler_v2=1"), HEAD, "version 2 does not start workers"),
    ("local.yaml", lambda c: c.update(min_workers=3), "min_workers", "an integer from 0 to 2"),
    ("local.yaml", lambda c: c.update(max_workers=1), "min_workers", "found 2; allowed: at most max_workers, 1"),
    ("local.yaml", lambda c: c["provider"].pop("head_ip"), "provider.head_ip", "nothing"),
    ("local.yaml", lambda c: c["provider"].update(head_ip="127.0.0.1"), "provider", "127.0.0.1"),
    ("local.yaml", lambda c: c["provider"].update(head_ip="192.0.2.11"), "provider.worker_ips",
     "192.0.2.11 twice"),
    ("local.yaml", lambda c: c.update(available_node_types={"a": {"resources": {}, "node_config": {}}}),
     "available_node_types", "own machines stand in provider.worker_ips"),
    ("gpu.yaml", opened(IpRanges=[{"CidrIp": "0.0.0.0/0"}]), "provider.security_group.IpPermissions",
     "8265-8265 open"),
    ("gpu.yaml", opened(Ipv6Ranges=[{"CidrIpv6": "::/0"}]), "provider.security_group.IpPermissions",
     "open to ::/0"),
    ("gpu.yaml", lambda c: c["provider"].pop("cache_stopped_nodes"), "provider.cache_stopped_nodes",
     "which is true"),
    ("gpu.yaml", lambda c: c["file_mounts"].pop("/home/ray/.ray/auth_token"), "file_mounts",
     "no ~/.ray/auth_token"),
    ("gpu.yaml", lambda c: c["setup_commands"].append("export WANDB_API_KEY=0123456789abcdef"),
     "setup_commands[1]", "a secret written out (WANDB_API_KEY)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "broken", "key", "words"), BROKEN, ids=lambda value: None)
def test_a_broken_file_is_named_by_its_key(name: str, broken: Break, key: str, words: str) -> None:
    (config,) = documents(name)
    broken(config)
    faults = launcher_file_faults([config])
    assert any(fault.key == key and words in str(fault) for fault in faults), "\n".join(map(str, faults))
    assert all(fault.found and fault.allowed for fault in faults)


def part(config: list[dict[str, Any]], *path: Any) -> Any:
    found: Any = config[1]["spec"]
    for step in path:
        found = found[step]
    return found


GROUP = ("workerGroupSpecs", 0)
POD = (*GROUP, "template", "spec")
CONTAINER = (*POD, "containers", 0)

BROKEN_KUBERAY: list[tuple[Callable[[list[dict[str, Any]]], object], str, str]] = [
    (lambda c: c.pop(), "kind", "one RayCluster"),
    (lambda c: c[1].update(apiVersion="ray.io/v1alpha1"), "apiVersion", "ray.io/v1"),
    (lambda c: part(c).update(rayVersion="2.59.0"), "spec.rayVersion", "found '2.59.0'; allowed: '2.60.0'"),
    (lambda c: part(c).pop("rayVersion"), "spec.rayVersion", "found None"),
    (lambda c: part(c).update(workerGroups=[]), "spec",
     "unknown 'workerGroups'; allowed: perhaps workerGroupSpecs"),
    (lambda c: part(c).pop("workerGroupSpecs"), "spec.workerGroupSpecs", "found None"),
    (lambda c: part(c, *GROUP).update(template={}), "spec.workerGroupSpecs[0].template.spec.containers", "None"),
    (lambda c: part(c, *CONTAINER).pop("image"), "spec.workerGroupSpecs[0].template.spec.containers[0].image",
     "found nothing"),
    (lambda c: part(c, *CONTAINER).update(image="example/raysubset:latest"),
     "spec.workerGroupSpecs[0].template.spec.containers[0].image", "a tag with ray2.60.0"),
    (lambda c: part(c, *CONTAINER).update(image="rayproject/ray:2.60.0-py311-gpu"),
     "spec.workerGroupSpecs[0].template.spec.containers[0].image", "an image with raysubset in its name"),
    (lambda c: part(c).pop("authOptions"), "spec.headGroupSpec.template.spec.containers[0].env",
     "RAY_AUTH_MODE=None"),
    (lambda c: part(c, "headGroupSpec").update(serviceType="LoadBalancer"), "spec.headGroupSpec.serviceType",
     "LoadBalancer; allowed: ClusterIP"),
    (lambda c: part(c, "headGroupSpec").update(enableIngress=True), "spec.headGroupSpec.enableIngress", "true"),
    (lambda c: part(c, "headGroupSpec", "rayStartParams").update({"dashboard-host": "0.0.0.0"}),
     "spec.headGroupSpec.rayStartParams.dashboard-host", "'0.0.0.0'"),
    (lambda c: part(c, "headGroupSpec", "rayStartParams").pop("dashboard-host"),
     "spec.headGroupSpec.rayStartParams.dashboard-host", "which is 0.0.0.0"),
    (lambda c: part(c, *POD).update(hostNetwork=True), "spec.workerGroupSpecs[0].template.spec.hostNetwork",
     "true"),
    (lambda c: part(c, *CONTAINER).update(ports=[{"containerPort": 8265, "hostPort": 8265}]),
     "spec.workerGroupSpecs[0].template.spec.containers[0].ports", "hostPort 8265"),
    (lambda c: part(c, *GROUP).update(minReplicas=9), "spec.workerGroupSpecs[0]", "minReplicas 9"),
    (lambda c: part(c, *GROUP).update(maxReplicas="many"), "spec.workerGroupSpecs[0]", "integers"),
    (lambda c: part(c, *POD).update(volumes=[{"name": "shared", "emptyDir": {}}]),
     "spec.workerGroupSpecs[0].template.spec.volumes", "on emptyDir"),
    (lambda c: part(c, *CONTAINER).pop("volumeMounts"), "spec.workerGroupSpecs[0].template.spec.volumes",
     "no volume"),
    (lambda c: part(c, *CONTAINER).pop("env"), "spec.workerGroupSpecs[0].template.spec.containers[0].env",
     "no RAYSUBSET_ROOT"),
    (lambda c: c[0]["spec"].update(accessModes=["ReadWriteOnce"]), "PersistentVolumeClaim.spec.accessModes",
     "ReadWriteOnce; allowed: ReadWriteMany"),
    (lambda c: part(c, *GROUP).update(rayStartParams={"num-gpus": "4"}),
     "spec.workerGroupSpecs[0].template.spec: rayStartParams.num-gpus", "found '4'; allowed: 1"),
    (lambda c: part(c, *CONTAINER).pop("resources"),
     "spec.workerGroupSpecs[0].template.spec.containers[0].resources.limits", "cpu and memory"),
    (lambda c: c.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}}), "kind",
     "a Secret"),
]  # fmt: skip


@pytest.mark.parametrize(("broken", "key", "words"), BROKEN_KUBERAY, ids=lambda value: None)
def test_a_broken_raycluster_is_named_by_its_key(broken: Any, key: str, words: str) -> None:
    found = documents("kuberay.yaml")
    broken(found)
    faults = kuberay_faults(found, RAY)
    assert any(fault.key == key and words in str(fault) for fault in faults), "\n".join(map(str, faults))


def test_a_token_from_a_secret_stands_for_auth_options() -> None:
    found = documents("kuberay.yaml")
    part(found).pop("authOptions")
    own = [
        {"name": "RAY_AUTH_MODE", "value": "token"},
        {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"name": "ray", "key": "auth_token"}}},
    ]
    for container in (part(found, "headGroupSpec", "template", "spec", "containers", 0), part(found, *CONTAINER)):
        container["env"] += own
    assert kuberay_faults(found, RAY) == []
    part(found, *CONTAINER)["env"][-1] = {"name": "RAY_AUTH_TOKEN", "value": "written-out"}
    assert kuberay_faults(found, RAY)


@pytest.mark.parametrize(
    "start",
    [
        "RAY_AUTH_MODE=token ray start",
        "export RAY_AUTH_MODE=token; ray start",
        "RAY_AUTH_MODE=token; export RAY_AUTH_MODE && ray start",
        "ulimit -n 65536; export OTHER=1 RAY_AUTH_MODE='token'; /opt/env/bin/ray start",
    ],
)
def test_what_sets_a_variable_for_ray(start: str) -> None:
    (found,) = ray_starts(["RAY_AUTH_MODE=disabled ray stop", f"{start} --head --port 6379 --block"])
    assert found.environment["RAY_AUTH_MODE"] == "token"
    assert found.options == {"head": "", "port": "6379", "block": ""}
    assert ray_starts(["ray stop", "echo 'ray start'", "ray status", "ray start 'unbalanced"]) == []


def test_all_faults_of_a_file_are_told_together() -> None:
    (config,) = documents("gpu.yaml")
    config |= {"max_worker": 3, "head_node_type": "had"}
    config[HEAD] = ["ray start --head --dashboard-host=0.0.0.0"]
    keys = {fault.key for fault in launcher_file_faults([config])}
    assert {"", "head_node_type", HEAD} <= keys


def test_a_secret_is_never_repeated() -> None:
    (config,) = documents("gpu.yaml")
    config["setup_commands"].append("export AWS_SECRET_ACCESS_KEY=abcdefghijklmnop")
    config["setup_commands"].append("export WANDB_API_KEY=$WANDB_API_KEY")
    told = [str(fault) for fault in launcher_file_faults([config])]
    assert len(told) == 1
    assert "abcdefghijklmnop" not in told[0]


def test_an_unknown_machine_may_be_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "gpu.yaml"
    file.write_text((CLUSTERS / "gpu.yaml").read_text(encoding="utf-8").replace("g5.2xlarge", "g9.huge"))
    code, out, _ = run(capsys, str(file))
    assert (code, "g9.huge" in out) == (2, True)
    assert run(capsys, str(file), "--instance", "g9.huge")[0] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "allowed: YAML"),
        ("a: 1\nb: 2\na: 3\n", "key 'a' is given twice"),
        ("- a\n- b\n", "found a list; allowed: a mapping"),
        ("", "found nothing"),
        ("a: !!python/object/apply:os.mkdir [harm]\n", "could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", "2 YAML documents"),
        ("apiVersion: v1\nkind: Pod\n", "one RayCluster"),
    ],
)
def test_what_is_no_cluster_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "c.yaml"
    file.write_text(text)
    code, out, _ = run(capsys, str(file))
    assert code == 2
    assert words in out
    assert not (tmp_path / "harm").exists()


def test_json_and_exit_codes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text((CLUSTERS / "local.yaml").read_text(encoding="utf-8").replace("127.0.0.1\n", "0.0.0.0\n"))
    broken.write_text(broken.read_text().replace("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0"))
    code, out, _ = run(capsys, "--json", str(CLUSTERS / "local.yaml"), str(broken))
    told = json.loads(out)
    assert (code, told["ok"]) == (2, False)
    assert told["files"][0]["faults"] == []
    (fault,) = told["files"][1]["faults"]
    assert set(fault) == {"key", "found", "allowed"}
    assert fault["key"] == HEAD
    code, out, err = run(capsys, str(tmp_path / "missing.yaml"))
    assert code == 2
    assert "Cannot read" in err
    assert len(err.splitlines()) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@PROPERTY
@given(data=st.data(), name=st.sampled_from([file.name for file in FILES]))
def test_any_value_in_any_place_gives_faults_and_no_crash(data: st.DataObject, name: str) -> None:
    found = documents(name)
    place: Any = found[-1]
    while True:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
        else:
            break
    place[key] = data.draw(JSON)
    faults = kuberay_faults(found, RAY) if name == "kuberay.yaml" else launcher_file_faults(found)
    assert all(str(fault) for fault in faults)
