"""The selector at scale: waits through the actor, draws from memories in shards up to 1e8 rows, half precision.

    python tests/benchmarks/bench_selector_scale.py [parts] [largest n]

``parts`` are letters out of "iqsh" (default all): idle, queue (64 trials), shards, half precision. The shards'
figure is written to selector_scale.svg beside this file. Under four minutes on two cores, half with 1e7 for n.
Wall clocks suffer from whatever else the machine does: CPU seconds are printed beside them.
"""

from __future__ import annotations

import logging
import math
import os
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import psutil
import ray

import raysubset as rs
from raysubset.proxy.distributed import DistributedMemory, MemoryShard
from raysubset.proxy.memory import REMEMBERED, EpochSignals, ProxyMemory
from raysubset.proxy.stream import StreamSpec
from raysubset.runtime.memory_shards import RayShards, start_memory
from raysubset.seeds import generator
from raysubset.selection.kernels.race import race_top_m

PLAN = rs.SubsetPlan(metric="loss", ratio=0.1, schedule="static", first_epoch="scheduled")
SHARDS, REPEATS, TRIALS = 2, 3, 64


def signals_for(rows: np.ndarray, epoch: int) -> EpochSignals:
    values = generator(0, epoch).standard_exponential(len(rows), dtype=np.float32)
    return EpochSignals(rows, values, values, values, values < 1)


def quantiles(waits: list[float]) -> str:
    return f"{1e3 * statistics.median(waits):8.1f} | {1e3 * float(np.quantile(waits, 0.99)):8.1f}"


def cpu_of(actor: Any) -> float:
    return float(ray.get(actor.__ray_call__.remote(lambda _: time.process_time())))


def idle() -> None:
    """One trial, an idle selector: `record` is taken in before the next epoch is asked for."""
    from raysubset.runtime.client import RaySelector
    from raysubset.runtime.selectors import start_selectors

    print("| rows | calls | p50 ms | p99 ms | selector's CPU ms a call, record included |\n" + "| ---: " * 5 + "|")
    for n, calls in ((50_000, 300), (1_280_000, 100)):
        started = start_selectors(f"idle/{n}", PLAN, n, concurrency=1)
        client, waits = RaySelector(started.only), []
        client.open("t", StreamSpec(PLAN, calls + 5, 0))
        for epoch in range(calls + 5):
            if epoch == 5:
                before = cpu_of(started.only)
            asked = time.perf_counter()
            rows = client.next("t", epoch).selection.indices
            waits.append(time.perf_counter() - asked)
            client.record("t", epoch, signals_for(np.array(rows), epoch))
            ray.get(started.only.trials.remote())
        cost = (cpu_of(started.only) - before) / calls
        print(f"| {n:,} | {calls} | {quantiles(waits[5:])} | {1e3 * cost:.1f} |", flush=True)
        started.stop()


def queue(n: int = 50_000, epochs: int = 10, epoch_s: float = 1.0) -> None:
    """64 trials at one selector, each with epochs of a second, started within one."""
    from raysubset.runtime.client import RaySelector
    from raysubset.runtime.selectors import start_selectors

    started = start_selectors("queue", PLAN, n, concurrency=TRIALS)
    clients = [RaySelector(started.only) for _ in range(TRIALS)]
    for number, client in enumerate(clients):
        client.open(f"t{number}", StreamSpec(PLAN, epochs, number))
    clients[0].next("t0", 0)

    def train(number: int) -> list[float]:
        waits = []
        time.sleep(epoch_s * number / TRIALS)
        for epoch in range(epochs):
            asked = time.perf_counter()
            rows = clients[number].next(f"t{number}", epoch).selection.indices
            waits.append(time.perf_counter() - asked)
            time.sleep(epoch_s)
            clients[number].record(f"t{number}", epoch, signals_for(np.array(rows), epoch))
        return waits

    before, began = cpu_of(started.only), time.perf_counter()
    with ThreadPoolExecutor(TRIALS) as pool:
        waits = [wait for trial in pool.map(train, range(TRIALS)) for wait in trial]
    busy = (cpu_of(started.only) - before) / (time.perf_counter() - began)
    print("| rows | trials | p50 ms | p99 ms | selector busy |\n" + "| ---: " * 5 + "|")
    print(f"| {n:,} | {TRIALS} | {quantiles(waits)} | {busy:.0%} |", flush=True)
    started.stop()


def fill(shard: MemoryShard) -> None:
    """Every row seen, values as losses are; in place of an epoch's signals, which would be 21 bytes a row."""
    memory = shard._memory
    for values in memory.values.values():
        for start in range(0, len(values), 1 << 20):
            part = values[start : start + (1 << 20)]
            part[:] = generator(0, start).standard_exponential(len(part), dtype=np.float32)
    memory.seen[:] = True


class Resident:
    """The most that some processes held while a block ran: private pages of each, and shared ones once."""

    def __init__(self, processes: list[psutil.Process]) -> None:
        self._processes, self.peak, self._stop = processes, 0, threading.Event()

    def now(self) -> int:
        held = [process.memory_info() for process in self._processes]
        return sum(one.rss - one.shared for one in held) + max(one.shared for one in held)

    def __enter__(self) -> Resident:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, self.now())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def drawn(memory: DistributedMemory, actors: RayShards, m: int) -> tuple[float, float, int]:
    """Return wall seconds, CPU seconds of all processes (medians), and the most bytes held."""
    pids = [ray.get(actor.__ray_call__.remote(lambda _: os.getpid())) for actor in actors.actors]
    walls, cpus = [], []
    with Resident([psutil.Process(), *map(psutil.Process, pids)]) as resident:
        for key in range(1 + REPEATS):  # the first reads compiled code
            before, began = time.process_time() + sum(map(cpu_of, actors.actors)), time.perf_counter()
            assert len(memory.draw("loss", m, key)) == m
            walls.append(time.perf_counter() - began)
            cpus.append(time.process_time() + sum(map(cpu_of, actors.actors)) - before)
    return statistics.median(walls[1:]), statistics.median(cpus[1:]), resident.peak


def shards(largest: int) -> None:
    """Draws from a memory of one metric in two actors, then in this process: cost against rows."""
    print(
        "| rows | memory | m | wall s | CPU s, all processes | CPU ns a row | most held MB, all processes |\n"
        + "| ---: " * 7
        + "|"
    )
    costs: dict[tuple[str, float], list[tuple[int, float]]] = {}
    sizes = [(10**power, share) for power in range(4, 9) if 10**power <= largest for share in (0.01, 0.1)]
    for dtype in ("float32", "float16"):
        plan = rs.SubsetPlan(metric="loss", first_epoch="scheduled", memory=dtype)  # type: ignore[arg-type]
        for n, share in sizes:
            m = int(share * n)
            memory, actors = start_memory(n, SHARDS, plan)
            ray.get([actor.__ray_call__.remote(fill) for actor in actors.actors])
            wall, cpu, held = drawn(memory, actors, m)
            costs.setdefault((dtype, share), []).append((n, cpu))
            print(
                f"| {n:,} | {dtype} | {m:,} | {wall:.3f} | {cpu:.4f} | {1e9 * cpu / n:.1f} | {held / 1e6:,.0f} |",
                flush=True,
            )
            actors.stop()
    print("\n| rows | m | in one process, CPU s |\n" + "| ---: " * 3 + "|")
    for n, share in sizes:  # last: what it takes would count as held
        cost = in_one_process(n, int(share * n))
        costs.setdefault(("one process, float32", share), []).append((n, cost))
        print(f"| {n:,} | {int(share * n):,} | {cost:.4f} |", flush=True)
    figure(costs)


def in_one_process(n: int, m: int) -> float:
    values = generator(0).standard_exponential(n, dtype=np.float32)
    costs = []
    for repeat in range(1 + REPEATS):
        before = time.process_time()
        race_top_m(values, m, generator(repeat), ordered=False)
        costs.append(time.process_time() - before)
    return statistics.median(costs[1:])


def figure(costs: dict[tuple[str, float], list[tuple[int, float]]]) -> None:
    """CPU seconds against rows, both logarithmic; slope 1 is linear."""
    from raysubset.report.svg import BLUE, GREEN, GREY, VERMILLION, canvas, render

    with canvas(5.4, 3.6) as (page, (axes,)):
        drawn_large = [(name, points) for (name, share), points in costs.items() if share == 0.1]
        for (name, points), colour in zip(drawn_large, (BLUE, GREEN, VERMILLION), strict=False):
            label = name if "process" in name else f"two shards, {name}"
            axes.loglog(*zip(*points, strict=True), "o-", color=colour, label=label)
        n, cost = costs["float32", 0.1][-1]
        ends = np.array([1e4, n])
        axes.loglog(ends, cost * ends / n, "--", color=GREY, label="linear")
        axes.set_xlabel("rows n, of which n / 10 are drawn")
        axes.set_ylabel("CPU seconds of all processes")
        axes.legend()
        text = render(page, "selector-scale").replace(' aria-hidden="true"', "", 1)
    for name, value in (
        ("currentColor", "#222222"),
        ("var(--grid)", "#dddddd"),
        ("var(--blue)", BLUE),
        ("var(--vermillion)", VERMILLION),
        ("var(--green)", GREEN),
        ("var(--grey)", GREY),
    ):
        text = text.replace(name, value)  # a file of its own has no page to take its colours from
    Path(__file__).with_name("selector_scale.svg").write_text(text + "\n", encoding="utf-8")
    for (name, share), points in costs.items():
        messages = points[0][1]  # what the fewest rows cost
        if len(large := [(n, cost - messages) for n, cost in points if n >= 10**7]) > 1:
            (n0, c0), (n1, c1) = large[0], large[-1]
            slope = math.log(c1 / c0) / math.log(n1 / n0)
            print(
                f"{name}, m = {share:g} n: beyond {1e3 * messages:.1f} ms it grows as n^{slope:.2f} from {n0:,} on"
            )


def half() -> None:
    """What float16 changes: ranks of the importances, rows drawn with the same noise, the k largest."""
    print(
        "| memory of | rows | metric | Spearman | rows drawn alike at T = 1 | at T = 0.1 | k largest alike |\n"
        + "| ---: " * 7
        + "|"
    )
    for name, memory in (("LeNet, embedded digits, 8 epochs", trained()), ("log-normal losses", made())):
        twin = ProxyMemory.from_state(memory.state(), "float16")
        n = len(memory)
        for metric in REMEMBERED:
            if metric not in memory.values:
                continue
            exact, kept = memory.importance(metric), twin.importance(metric)
            same = [
                statistics.mean(
                    len(np.intersect1d(*(race_top_m(v, n // 10, generator(key), t) for v in (exact, kept))))
                    / (n // 10)
                    for key in range(5)
                )
                for t in (1.0, 0.1)
            ]
            top = [np.lexsort((np.arange(n), -v))[: n // 10] for v in (exact, kept)]
            alike = len(np.intersect1d(*top)) / (n // 10)
            print(
                f"| {name} | {n:,} | {metric} | {spearman(exact, kept):.7f} | {same[0]:.3%} | {same[1]:.3%} | "
                f"{alike:.3%} |",
                flush=True,
            )


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    from raysubset.selection.sampling import rescale

    return float(np.corrcoef(rescale(a, "rank"), rescale(b, "rank"))[0, 1])


def trained() -> ProxyMemory:
    """The memory of a real training."""
    import torch

    from raysubset.data.batches import ArraySource
    from raysubset.data.transform import Transform
    from raysubset.hpo.pairing import TrialSeeds
    from raysubset.proxy.service import SelectorService
    from raysubset.runtime.trial import Trial, TrialSpec
    from raysubset.selection.protocol import Context

    torch.set_num_threads(1)
    data = rs.load_dataset("embedded")
    service, rows = SelectorService(Context(len(data.train))), ArraySource(data.train)
    plan = rs.SubsetPlan(ratio=0.3, first_epoch="full")
    recipe = rs.Recipe(epochs=8, batch_size=64, lr=0.02)
    spec = TrialSpec("t", "lenet", recipe, plan, TrialSeeds(0, 0), data.num_classes)
    trial = Trial(spec, rows, rows, Transform.fit(data.train.inputs), service)
    for _ in range(8):
        trial.run_epoch()
    return ProxyMemory.from_state(service.state("t")["memory"])


def made(n: int = 1_280_000) -> ProxyMemory:
    memory = ProxyMemory(n, metrics=("loss",))
    memory.values["loss"][:] = np.exp(generator(1).normal(size=n) * 2 - 2)
    memory.seen[:] = True
    return memory


def main() -> None:
    parts = sys.argv[1] if len(sys.argv) > 1 else "iqsh"
    largest = int(float(sys.argv[2])) if len(sys.argv) > 2 else 10**8
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        object_store_memory=2 * 2**30,
    )
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    # Shards first: what the others import (PyTorch, half a gigabyte) would count as held.
    for letter, part in (("s", lambda: shards(largest)), ("i", idle), ("q", queue), ("h", half)):
        if letter in parts:
            print(flush=True)
            part()
    ray.shutdown()


if __name__ == "__main__":
    main()
