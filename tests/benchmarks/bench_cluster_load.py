"""A search of many short trials on a cluster of three nodes of this machine: what it holds on to must stay flat.

    python tests/benchmarks/bench_cluster_load.py [TRIALS] [EPOCHS] [--out FILE.svg]

TRIALS (default 200) of EPOCHS (default 3) of the mlp on the embedded digits, on a head that trains nothing and two
nodes of one CPU each. Once a second it is sampled how many file descriptors, how much memory and how much of the
object store each kind of process has. Printed: the least and greatest of each over the last two thirds of the
search, when every process is there, and how much it grows over them; the figure shows all of it.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import perf_counter

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_agent_register_timeout_ms", "180000")  # three nodes start slowly on two cores
# where Ray notes the address of its last cluster: no other program shall join this one by accident
os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray")

import numpy as np
import psutil
import ray
import torch
from ray._private.internal_api import get_memory_info_reply, get_state_from_address
from ray.cluster_utils import Cluster

import raysubset as rs
from raysubset.experiment import Experiment, SearchOptions
from raysubset.report.records import read_records
from raysubset.report.svg import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, canvas, render
from raysubset.tuning.progress import Silent
from raysubset.tuning.run import create_run
from raysubset.tuning.session import open_session

EVERY_S = 1.0
WARM = 1 / 3  # of the search: workers start, each library allocates its pools
MIB = 2**20
KINDS = {  # kind of process -> what its command line holds; Ray names actors after the call while they run one
    "GCS": ("gcs_server",),
    "raylets": ("raylet/raylet",),
    "trials": ("ray::SubsetTrainable", "ray::_Inner"),
    "selector": ("ray::SelectorService",),
}
COLOURS = {
    "driver": BLUE,
    "GCS": GREY,
    "raylets": GREEN,
    "trials": VERMILLION,
    "selector": ORANGE,
    "object store": PURPLE,
}


@dataclass
class Sampler:
    """Looks at this process and all it started, once a second, from a thread.

    Attributes:
        times: Seconds since the start of each sample.
        descriptors, memory: Kind -> open files, and resident MiB, summed over its processes.
        processes: Kind -> number of processes.
    """

    address: str
    times: list[float] = field(default_factory=list)
    descriptors: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, list[float]] = field(default_factory=dict)
    processes: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stop, self._started = Event(), perf_counter()
        self._state = get_state_from_address(self.address)
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._sample()

    def _sample(self) -> None:
        this = psutil.Process()
        kinds: dict[str, list[psutil.Process]] = {"driver": [this], **{kind: [] for kind in KINDS}}
        for process in this.children(recursive=True):
            kind = _kind(process)
            if kind is not None:
                kinds[kind].append(process)
        self.times.append(perf_counter() - self._started)
        for kind, processes in kinds.items():
            looks = [look for process in processes if (look := _look(process)) is not None]
            self.processes.setdefault(kind, []).append(len(looks))
            self.descriptors.setdefault(kind, []).append(sum(files for files, _ in looks))
            self.memory.setdefault(kind, []).append(sum(resident for _, resident in looks) / MIB)
        store = get_memory_info_reply(self._state).store_stats.object_store_bytes_used / MIB
        self.memory.setdefault("object store", []).append(store)


def _kind(process: psutil.Process) -> str | None:
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return None
    return next((kind for kind, parts in KINDS.items() if any(part in command for part in parts)), None)


def _look(process: psutil.Process) -> tuple[int, int] | None:
    """Return open files and resident bytes that are not shared; None if the process has just ended."""
    try:
        memory = process.memory_info()
        return process.num_fds(), memory.rss - getattr(memory, "shared", 0)
    except psutil.Error:
        return None


def experiment(trials: int, epochs: int) -> Experiment:
    """A search whose trials all run to their end."""
    return Experiment(
        name="load",
        model="mlp",
        plan=rs.SubsetPlan(ratio=0.2),
        recipe=rs.Recipe(epochs=epochs, batch_size=32, lr=0.05),
        space={"lr": rs.loguniform(1e-3, 1e-1), "momentum": rs.uniform(0.5, 0.95)},
        search=SearchOptions(trials=trials, search="random", scheduler="none", evaluate="epochs", retrain=0),
    )


def search(trials: int, epochs: int, root: Path) -> tuple[Sampler, float]:
    """Run the search on a cluster of its own; returns the samples and its seconds."""
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 200 * MIB}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=200 * MIB)
    cluster.wait_for_nodes(timeout=180)
    ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
    data = rs.load_dataset("embedded", limit=600)
    run = create_run(experiment(trials, epochs), data, root, Silent(), command="", settings={})
    try:
        with Sampler(cluster.address) as sampler:
            started = perf_counter()
            with open_session(run) as session:
                session.search()
            seconds = perf_counter() - started
    finally:
        ray.shutdown()
        cluster.shutdown()
    return sampler, seconds


def draw(sampler: Sampler) -> str:
    """Return the figure: descriptors above, memory below, over seconds."""
    with canvas(7.2, 5.4, rows=2) as (figure, (above, below)):
        for axes, series in ((above, sampler.descriptors), (below, sampler.memory)):
            for kind, values in series.items():
                axes.plot(sampler.times, values, color=COLOURS[kind], label=kind, linewidth=1.4)
            axes.set_ylim(bottom=0)
        above.set_ylabel("file descriptors")
        below.set_ylabel("memory of its own, MiB")
        below.set_xlabel("seconds")
        below.legend(ncols=3)
        return render(figure, "load")


def table(sampler: Sampler) -> list[str]:
    """Return lines of Markdown: least, greatest, and growth over the rest after the warm-up."""
    times = np.array(sampler.times)
    late = times >= times[-1] * WARM
    lines = ["| what | of | least | greatest | growth over the search |", "| --- | --- | --- | --- | --- |"]
    for what, series in (("file descriptors", sampler.descriptors), ("memory, MiB", sampler.memory)):
        for kind, values in series.items():
            seen = np.array(values)[late]
            slope = np.polyfit(times[late], seen, 1)[0] if len(seen) > 1 else 0.0
            growth = slope * (times[late][-1] - times[late][0])
            lines.append(f"| {what} | {kind} | {seen.min():.0f} | {seen.max():.0f} | {growth:+.1f} |")
    return lines


def main() -> None:
    """Run, check that every epoch of every trial was recorded once, print the table, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="?", type=int, default=200)
    parser.add_argument("epochs", nargs="?", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figure here")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as root:
        sampler, seconds = search(asked.trials, asked.epochs, Path(root))
        rows = read_records(Path(root) / "load" / "records.jsonl").stage("search")
        lines = (Path(root) / "load" / "records.jsonl").read_text().count("\n")
    failed = [row for row in rows if row.status == "failed"]
    assert not failed, failed[0]
    assert len(rows) == lines == asked.trials * asked.epochs, (len(rows), lines)
    print(
        f"{asked.trials} trials x {asked.epochs} epochs in {seconds:.0f} s, {len(sampler.times)} samples, no error"
    )
    print("\n".join(table(sampler)))
    if asked.out is not None:
        asked.out.write_text(draw(sampler), encoding="utf-8")


if __name__ == "__main__":
    main()
