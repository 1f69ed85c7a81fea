"""A long search on the embedded set: does anything grow? Memory of driver, trial workers and selector over time.

    python tests/benchmarks/bench_search_memory.py [trials] [model] [epochs] [figure.svg]

TPE and ASHA, ratio 0.2. Resident memory of this process and of Ray's workers is read every second. Prints trials
that failed, trials a minute, and per process its memory after a tenth of the time, at the end, and the slope of a
straight line through all later readings in MB per 100 trials.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from threading import Event, Thread
from time import perf_counter

import numpy as np
import psutil
import ray

import raysubset as rs
from raysubset.report.records import read_records

SETTLED = 0.1  # share of the time after which caches are warm


class MemoryLog(Thread):
    """Reads the resident memory of this process and of Ray's workers every second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.readings: dict[str, list[tuple[float, float]]] = defaultdict(list)  # process -> (seconds, MB)
        self._over, self._began = Event(), perf_counter()

    def run(self) -> None:
        driver = psutil.Process()
        while not self._over.wait(1.0):
            for process in [driver, *driver.children(recursive=True)]:
                try:
                    name, memory = process.name(), process.memory_info().rss / 2**20
                except psutil.NoSuchProcess:
                    continue
                kind = name.split(".")[0].replace("_Inner", "SubsetTrainable")  # Ray adds the method that runs
                label = "driver" if process.pid == driver.pid else f"{kind} {process.pid}"
                self.readings[label].append((perf_counter() - self._began, memory))

    def stop(self) -> None:
        """End the readings."""
        self._over.set()
        self.join()


def draw(log: MemoryLog, path: Path) -> None:
    """Draw memory over time, a line a process."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="seconds", ylabel="resident memory, MB")
    for label, readings in log.readings.items():
        if len(readings) > 10:
            axes.plot(*zip(*readings, strict=True), label=label)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7)
    figure.savefig(path)


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    model = sys.argv[2] if len(sys.argv) > 2 else "lenet"
    epochs = int(sys.argv[3]) if len(sys.argv) > 3 else 9
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    data, log = rs.load_dataset("embedded"), MemoryLog()
    with tempfile.TemporaryDirectory() as root:
        log.start()
        began = perf_counter()
        result = rs.tune(
            model=model,
            data=data,
            plan=rs.SubsetPlan(ratio=0.2),
            recipe=rs.Recipe(epochs=epochs, channels_last=model != "mlp"),
            trials=trials,
            root=root,
            name="long",
            progress=False,
        )
        seconds = perf_counter() - began
        log.stop()
        rows = read_records(Path(root) / "long" / "records.jsonl").stage("search")
    last = {row.trial: row.status for row in rows}
    failed = sum(status == "failed" for status in last.values())
    print(
        f"{len(last)} {model} trials of up to {epochs} epochs in {seconds:.0f} s, start-up included "
        f"({60 * len(last) / seconds:.0f} a minute), {failed} failed, best {100 * result.best.val_accuracy:.1f} %"
    )
    for label, readings in log.readings.items():
        times, memory = np.array(readings).T
        late = times > SETTLED * seconds
        if times[-1] - times[0] < seconds / 2 or late.sum() < 3:
            continue  # it came or went meanwhile
        slope = np.polyfit(times[late], memory[late], 1)[0] * seconds / len(last) * 100
        at = np.linspace(len(memory) * SETTLED, len(memory) - 1, 5).astype(int)
        print(f"{label:28} {', '.join(f'{memory[i]:.0f}' for i in at)} MB, {slope:+.2f} MB per 100 trials")
    if len(sys.argv) > 4:
        draw(log, Path(sys.argv[4]))


if __name__ == "__main__":
    main()
