"""``raysubset cluster status``: what runs where; one clear line where there is no cluster or no token."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ray import tune

from raysubset.cli import main

RUN = "/shared/runs/first"


def status(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: Ray reads its authentication mode once in a process."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-m", "raysubset", "cluster", "status", *arguments],
        env=clean | {"RAY_USAGE_STATS_ENABLED": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def closed_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def told(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("NoClusterError"))
    return line


@pytest.mark.slow
def test_no_cluster_no_token(tmp_path: Path) -> None:
    token = {"RAY_AUTH_TOKEN": "0" * 64}
    address = closed_port()
    assert f"No Ray cluster at '{address}'" in told(status(token, "--address", address))
    assert "No Ray cluster at 'nonsense'" in told(status(token, "--address", "nonsense"))
    assert f"No Ray cluster at '{address}'" in told(status(token | {"RAY_ADDRESS": address}))
    homeless = told(status({"HOME": str(tmp_path)}, "--address", address))
    assert "No authentication token" in homeless
    assert "~/.ray/auth_token" in homeless


@pytest.mark.ray
@pytest.mark.slow
def test_another_token_is_refused(ray_cluster: None) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    wrong = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    assert "did not let us in (RAY_AUTH_MODE=token)" in told(status(wrong, "--address", address))
    assert "did not let us in (RAY_AUTH_MODE=disabled)" in told(
        status({"RAY_AUTH_MODE": "disabled"}, "--address", address)
    )


@pytest.mark.ray
def test_nodes_searches_and_trials_are_shown(ray_cluster: None, capsys: pytest.CaptureFixture[str]) -> None:
    import ray

    @ray.remote(num_cpus=0)
    class Actor:
        def ready(self) -> bool:
            return True

    class SubsetTrainable(tune.Trainable):
        def setup(self, config: dict[str, object], setting: None) -> None:  # type: ignore[override]
            assert setting is None

    names = [f"raysubset/{RUN}/{'0' * 32}/{shard}" for shard in (0, 1)]
    selectors = [Actor.options(name=name).remote() for name in names]
    wrapped = ray.remote(num_cpus=1)(tune.with_parameters(SubsetTrainable, setting=None)).remote(config={})
    held = ray.put(b"0" * 3_000_000)
    ray.get([*(one.ready.remote() for one in selectors), wrapped.get_auto_filled_metrics.remote()])
    try:
        with pytest.raises(SystemExit) as stop:
            main(["cluster", "status", "--json"])
        facts = json.loads(capsys.readouterr().out)
        with pytest.raises(SystemExit):
            main(["cluster", "status"])
        shown = capsys.readouterr().out
    finally:
        for actor in (*selectors, wrapped):
            ray.kill(actor)
    assert not stop.value.code
    (node,) = facts["nodes"]
    (search,) = (one for one in facts["searches"] if one["folder"] == RUN)
    assert node["head"]
    assert node["total"]["CPU"] == 2
    assert node["used"]["CPU"] == 1
    assert node["store_total"] > node["store_used"] >= 3_000_000
    assert search["name"] == "first"
    assert search["selectors"] == [node["address"]] * 2
    assert search["trials"] == {node["address"]: 1}
    assert f"{node['address']} (head)" in shown
    assert "search first: selector on" in shown
    del held
