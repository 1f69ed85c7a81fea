"""Our metrics: counted by hand, on a real node's Prometheus endpoint, and on the dashboard that ships."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from raysubset.tuning import metrics
from raysubset.tuning.metrics import METRICS, StageMetrics
from raysubset.types import TrialRecord

DASHBOARD = Path(__file__).parents[2] / "clusters" / "grafana.json"
COUNTERS = (metrics.STALE_EPOCHS, metrics.HELD_SECONDS)
EXPORTED = {f"ray_{name}_total" if name in COUNTERS else f"ray_{name}" for name in METRICS}


def record(trial: str, epoch: int, status: str, *, samples: int, select_s: float) -> TrialRecord:
    return TrialRecord(
        stage="search", trial=trial, epoch=epoch, epochs=3, config={"lr": 0.1}, status=status, reason="",
        samples_consumed=samples, equiv_epochs=0.1, ratio=0.1, metric_used="loss", train_loss=1.0,
        train_s=2.0, select_s=select_s, eval_s=1.0, finished_s=1.0, seed=0,
    )  # fmt: skip


class Kept:
    """A gauge that remembers what it was last set to."""

    values: ClassVar[dict[tuple[str, tuple[str, ...]], float]] = {}

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.keys = name, tag_keys

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(self.keys)
        self.values[self.name, tuple(tags[key] for key in self.keys)] = value


def test_gauges_say_what_the_records_say(monkeypatch) -> None:
    monkeypatch.setattr(metrics, "Gauge", Kept)
    monkeypatch.setattr(Kept, "values", {})
    stage = StageMetrics("r")
    stage.stage_started("search", 3, 900.0)
    for trial in ("0000", "0001", "0002"):
        stage.trial_started(trial)
    stage.recorded(record("0000", 1, "running", samples=100, select_s=1.0))
    stage.recorded(record("0000", 2, "done", samples=250, select_s=0.0))
    stage.recorded(record("0001", 1, "stopped", samples=100, select_s=0.0))
    of_stage = ("r", "search")
    assert Kept.values[metrics.SAMPLES_CONSUMED, of_stage] == 350
    assert Kept.values[metrics.SELECTION_SHARE, of_stage] == pytest.approx(1 / 10)
    states = {state: Kept.values[metrics.TRIALS, (*of_stage, state)] for state in metrics.STATES}
    assert states == {"running": 1, "stopped": 1, "done": 1, "failed": 0}
    stage.stage_started("retrain", 1, 100.0)
    assert Kept.values[metrics.SAMPLES_CONSUMED, ("r", "retrain")] == 0
    assert Kept.values[metrics.SAMPLES_CONSUMED, of_stage] == 350


@pytest.mark.ray
def test_the_memory_of_actors_is_asked_for_once_at_a_time(ray_cluster, monkeypatch) -> None:
    import time

    import ray

    monkeypatch.setattr(metrics, "Gauge", Kept)
    monkeypatch.setattr(Kept, "values", {})
    monkeypatch.setattr(metrics, "LOOK_EVERY_S", 0.0)

    @ray.remote(num_cpus=0)
    class Busy:
        def work(self, seconds: float) -> int:
            time.sleep(seconds)
            return int(Path("/proc/self/statm").read_text().split()[1])

    selector, worker = Busy.remote(), Busy.remote()
    idle = SimpleNamespace(status="PAUSED", temporary_state=SimpleNamespace(ray_actor=None))
    trial = SimpleNamespace(status="RUNNING", temporary_state=SimpleNamespace(ray_actor=worker))
    memory = metrics.ActorMemory("r", [selector])
    ray.get([selector.work.remote(0.0), worker.work.remote(0.0)])
    busy = selector.work.remote(0.5)
    for _ in range(5):
        memory.on_step_end(0, [trial, idle])  # type: ignore[list-item]
    assert len(memory._asked) <= 2
    pages = ray.get(busy)
    deadline = time.monotonic() + 30
    while len(Kept.values) < 2 and time.monotonic() < deadline:
        memory.on_step_end(0, [trial, idle])  # type: ignore[list-item]
        time.sleep(0.05)
    role = {tags[1]: value for (_, tags), value in Kept.values.items()}
    assert set(role) == {"selector", "trial"}
    assert role["selector"] == pytest.approx(pages * 4096, rel=0.2)
    ray.kill(worker)
    memory.on_step_end(0, [trial])  # type: ignore[list-item]
    ray.get(selector.work.remote(0.2))
    memory.on_step_end(0, [])
    memory.on_step_end(0, [])


def test_the_dashboard_draws_all_of_our_metrics_and_no_others() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    used = {name for expression in expressions for name in re.findall(r"ray_raysubset_\w+", expression)}
    assert used == EXPORTED
    queries = re.findall(r"ray_raysubset_\w+", json.dumps(board["templating"]))
    assert set(queries) <= EXPORTED
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


SCRIPT = '''
import logging, sys, time, urllib.request
from threading import Thread
import ray
import raysubset as rs
from raysubset.runtime.backlog import Backlog
from raysubset.tuning import metrics

def scrape(port, seen):
    """Remember the last value of every series, as Prometheus does."""
    while True:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode()
        seen.update(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("ray_raysubset"))
        time.sleep(0.3)

class Slow:
    def record(self):
        time.sleep(0.5)

if __name__ == "__main__":
    port, root = int(sys.argv[1]), sys.argv[2]
    ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level=logging.ERROR,
             log_to_driver=False, _metrics_export_port=port, _system_config={"metrics_report_interval_ms": 500})
    metrics.LOOK_EVERY_S = 0.2
    seen = {}
    Thread(target=scrape, args=(port, seen), daemon=True).start()
    rs.tune(model="mlp", data=rs.load_dataset("embedded", limit=600), plan=rs.SubsetPlan(ratio=0.2), name="m",
            recipe=rs.Recipe(epochs=200), space={"lr": rs.loguniform(1e-3, 1e-1)}, search="random", trials=1,
            root=root, progress=False, retrain=0)
    selector = ray.remote(Slow).options(num_cpus=0).remote()
    backlog = Backlog()
    for _ in range(2):
        backlog.sent("0000", selector.record.remote())
    backlog.asked("0000")
    time.sleep(3)  # several exports
    print(*(f"{series} {value}" for series, value in seen.items()), sep="\\n")
    ray.shutdown()
'''


@pytest.mark.ray
@pytest.mark.slow
def test_a_search_is_seen_on_the_prometheus_endpoint(tmp_path) -> None:
    script = tmp_path / "search.py"
    script.write_text(textwrap.dedent(SCRIPT))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ran = subprocess.run(
        [sys.executable, str(script), str(port), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    seen = samples_of(ran.stdout)
    assert set(seen) == EXPORTED
    states = {tags["state"]: value for tags, value in seen["ray_raysubset_trials"]}
    assert states == {"running": 0, "stopped": 0, "done": 1, "failed": 0}
    assert {tags["role"] for tags, _ in seen["ray_raysubset_actor_memory_bytes"]} == {"selector", "trial"}
    assert all(2**25 < value < 2**34 for _, value in seen["ray_raysubset_actor_memory_bytes"])
    ((_, samples),) = seen["ray_raysubset_samples_consumed"]
    lines = (tmp_path / "m" / "records.jsonl").read_text(encoding="utf-8").splitlines()
    assert samples == max(json.loads(line)["samples_consumed"] for line in lines)


def samples_of(text: str) -> dict[str, list[tuple[dict[str, Any], float]]]:
    """Our samples in Prometheus' text format, by name."""
    found: dict[str, list[tuple[dict[str, Any], float]]] = {}
    for name, tags, value in re.findall(r"^(ray_raysubset_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        found.setdefault(name, []).append((dict(re.findall(r'(\w+)="([^"]*)"', tags)), float(value)))
    return found
