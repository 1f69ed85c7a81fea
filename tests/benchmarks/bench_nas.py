"""Architecture search on a chosen part of the data against search on all of it, side by side.

    python tests/benchmarks/bench_nas.py DATA_DIR nb201 [seeds] [ratios]     SPOS, preset small, CIFAR-10
    python tests/benchmarks/bench_nas.py DATA_DIR darts [seeds] [ratios]     DARTS, preset small, CIFAR-10
    python tests/benchmarks/bench_nas.py DATA_DIR workers [repeats]          200 candidates by one and two judges

The searches of a seed run one after the other (full, then each plan at each ratio), so that they meet the same
machine. Printed, over seeds: wall seconds of the supernet's epochs and of the whole search (start of the workers,
training and judging), ratios against full within a seed, Kendall's tau between scores and table, and the table's
test accuracy of the chosen cell.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray

import raysubset as rs
from raysubset.nas.space201 import Space201
from raysubset.nas.strategies import draw_distinct
from raysubset.nas.table import TableBench
from raysubset.nas_experiment import NasExperiment
from raysubset.report.nas_info import NasInfo
from raysubset.runtime.architectures import open_supernet
from raysubset.runtime.session import cluster_slots
from raysubset.tuning.judging import JudgePool, chunk_size
from raysubset.tuning.nas_presets import nas_preset
from raysubset.tuning.nas_run import create_nas_run
from raysubset.tuning.nas_search import place_rows, search_architecture
from raysubset.tuning.progress import Silent

PLANS = {
    "full": lambda ratio: rs.SubsetPlan.full(),
    "adaptive random": lambda ratio: rs.SubsetPlan(selector="adaptive-random", ratio=ratio),
    "mixture": lambda ratio: rs.SubsetPlan(ratio=ratio),
}


def experiment(name: str, space: str, plan: rs.SubsetPlan, seed: int) -> tuple[NasExperiment, Any]:
    algo = "darts" if space == "darts" else "spos"
    preset = nas_preset("small", space, algo)
    return NasExperiment(name=name, space=space, algo=algo, plan=plan, seed=seed, **preset.options), preset


def search(
    data: rs.Dataset, table: TableBench | None, name: str, space: str, plan: rs.SubsetPlan, seed: int
) -> Any:
    """Run one search; returns its facts and its wall seconds."""
    asked, _ = experiment(name, space, plan, seed)
    started = perf_counter()
    with tempfile.TemporaryDirectory() as root:
        run = create_nas_run(asked, data, Path(root), Silent(), command="bench_nas")
        run.table = table
        info = search_architecture(run)
        alphas = Path(root) / name / "alphas.jsonl"
        return info, perf_counter() - started, alphas.read_text().splitlines() if alphas.exists() else []


def compare(folder: str, space: str, seeds: int, ratios: list[float]) -> None:
    preset = experiment("x", space, rs.SubsetPlan(), 0)[1]
    data = rs.load_dataset("cifar10", folder, limit=preset.limit).shrunk(preset.shrink)
    file = Path(folder) / "nasbench201" / "nasbench201.parquet"
    table = TableBench.read(file, complete=True) if space == "nb201" else None
    found: dict[tuple[str, float], list[tuple[NasInfo, float]]] = {}
    for seed in range(seeds):
        for plan, ratio in [
            ("full", 1.0),
            *((plan, r) for r in ratios for plan in ("adaptive random", "mixture")),
        ]:
            if space == "darts" and plan == "adaptive random":
                continue
            name = f"{plan}-{ratio}-{seed}".replace(" ", "-")
            info, wall, alphas = search(data, table, name, space, PLANS[plan](ratio), seed)
            found.setdefault((plan, ratio), []).append((info, wall))
            print(_line(plan, ratio, info, wall), flush=True)
            if alphas:
                print(f"    first alphas {alphas[0][:160]}\n    last alphas  {alphas[-1][:160]}", flush=True)
    print("\n| plan | ratio | epochs s | times less | whole search s | times less | tau | table test % |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (plan, ratio), runs in found.items():
        full = found["full", 1.0]
        epochs = [info.supernet_train_s or 0.0 for info, _ in runs]
        whole = [_search_s(info, wall) for info, wall in runs]
        less = [(f[0].supernet_train_s or 0.0) / own for f, own in zip(full, epochs, strict=True)]
        less_whole = [_search_s(*f) / own for f, own in zip(full, whole, strict=True)]
        taus = [info.agreement.tau for info, _ in runs if info.agreement]
        tests = [100 * info.table.test for info, _ in runs if info.table]
        cells = [f"{_of(epochs, 1)} | {_of(less, 2)} | {_of(whole, 1)} | {_of(less_whole, 2)}", _of(taus, 3)]
        print(f"| {plan} | {ratio:g} | {' | '.join(cells)} | {_of(tests, 2)} |")


def _search_s(info: NasInfo, wall: float) -> float:
    """Leave out what is no part of a search: judging cells for tau, retraining."""
    return (info.supernet_wall_s or 0.0) + info.judged_s + info.finalists_s


def _of(values: list[float], digits: int) -> str:
    if not values:
        return "-"
    return f"{statistics.fmean(values):.{digits}f} ({', '.join(f'{value:.{digits}f}' for value in values)})"


def _line(plan: str, ratio: float, info: NasInfo, wall: float) -> str:
    parts = [f"{plan} {ratio:g} seed {info.seed}: epochs {info.supernet_train_s:.1f} s", f"all {wall:.1f} s"]
    parts.append(f"{info.supernet_epochs:.1f} passes, judged {info.judged} in {info.judged_s:.1f} s")
    if info.finalists:
        parts.append(f"{info.finalists} finalists in {info.finalists_s:.1f} s")
    if info.agreement and info.table:
        parts.append(f"tau {info.agreement.tau:.3f}, table {100 * info.table.test:.2f} (rank {info.table.rank})")
    if info.retrained:
        parts.append(f"retrained {info.retrained}")
    return ", ".join(parts) + f", {info.cell}"


def workers(folder: str, repeats: int) -> None:
    """Time 200 candidates by one judge and by two, in turn, the judges started beforehand."""
    asked, preset = experiment("workers", "nb201", rs.SubsetPlan.full(), 0)
    data = rs.load_dataset("cifar10", folder, limit=preset.limit).shrunk(preset.shrink)
    cells = [str(cell) for cell in draw_distinct(Space201(), 200, 0, "compared")]
    with tempfile.TemporaryDirectory() as root:
        run = create_nas_run(asked, data, Path(root), Silent(), command="bench_nas")
        setting = place_rows(run, cluster_slots(2))
        weights = open_supernet(asked, setting.open())[0].model.state_dict()
        pools = {
            n: JudgePool(setting, weights, replace(cluster_slots(2), concurrency=n), chunk_size(asked))
            for n in (1, 2)
        }
        for pool in pools.values():
            list(pool.judge(cells[:8]))  # started and warm
        times: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(repeats):
            for n, pool in pools.items():
                started = perf_counter()
                list(pool.judge(cells))
                times[n].append(perf_counter() - started)
        for pool in pools.values():
            pool.close()
    print(f"one judge {_of(times[1], 2)} s, two {_of(times[2], 2)} s")
    print(f"times faster: {_of([a / b for a, b in zip(times[1], times[2], strict=True)], 2)}")


if __name__ == "__main__":
    folder, what, *rest = sys.argv[1:]
    places = 3 if what == "workers" else None  # one pool waits while the other judges: three judges, two at work
    ray.init(num_cpus=places, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    if what == "workers":
        workers(folder, int(rest[0]) if rest else 3)
    else:
        ratios = [float(ratio) for ratio in rest[1].split(",")] if len(rest) > 1 else [0.5, 0.1]
        compare(folder, what, int(rest[0]) if rest else 3, ratios)
    ray.shutdown()
