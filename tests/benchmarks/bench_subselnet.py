"""SubSelNet's costs, and a search that it serves.

    python tests/benchmarks/bench_subselnet.py samplers [repeats]      CPU seconds of choosing 4,000 of 40,000 rows
    python tests/benchmarks/bench_subselnet.py bank                    memory of a bank of 1 GB, written and read
    python tests/benchmarks/bench_subselnet.py hpo DATA_DIR FIT [trials epochs]
    python tests/benchmarks/bench_subselnet.py searches DATA_DIR FIT [trials epochs]

"hpo": one cell that the fit FIT (`raysubset subselnet fit`, CIFAR-10) kept unseen, TPE and ASHA over the space of
the paper's appendix D.4, on everything and on 5 and 10 %: SubSelNet's subset, chosen once for all configurations;
fixed random subsets (5 of each size); AUTOMATA. Winners are retrained on everything and tested once. "searches":
seconds of the searches on everything and on SubSelNet's subsets alone, one after the other on a quiet machine.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import torch

import raysubset as rs
from raysubset.seeds import generator
from raysubset.selection.protocol import Context
from raysubset.subselnet.bank import LogitBank
from raysubset.subselnet.inductive import InductiveScorer
from raysubset.subselnet.samplers import Gibbs, Transductive

RATIOS = (0.05, 0.1)
RANDOM_DRAWS = 5


def samplers(repeats: int) -> None:
    n, k, width, classes = 40_000, 4_000, 64, 10
    rng = generator(0, "bench")
    losses = rng.exponential(1.2, n).astype(np.float32)
    context = Context(n, signals={"loss": losses})
    scorer = InductiveScorer(16, width, classes, (64, 16))
    features = rng.normal(size=(n, width)).astype(np.float32)
    labels = rng.integers(0, classes, n)
    log_p = rng.normal(size=(n, classes)).astype(np.float32)
    cell = np.zeros(16, dtype=np.float32)
    long = Transductive(0.3, steps=100)
    unsettled: Any = {"prefix": long, "full, 4 draws": Transductive(0.3, steps=100, gradient="full")}
    long.logits(context, k, generator(0))  # what is imported at the first call is no part of it
    for name, sampler in unsettled.items():
        _print(
            f"transductive, up to 100 {name} steps", repeats, lambda s=sampler: s.logits(context, k, generator(0))
        )
    _print("gibbs", repeats, lambda: Gibbs(0.3).select(context, k, generator(0)))
    _print("inductive", repeats, lambda: scorer.logits(cell, features, labels, log_p, 0.1))


def _print(name: str, repeats: int, work: Any) -> None:
    times = []
    for _ in range(repeats):
        started = process_time()
        work()
        times.append(process_time() - started)
    print(f"{name}: {statistics.median(times):.3f} CPU s ({', '.join(f'{t:.3f}' for t in times)})", flush=True)


def bank() -> None:
    cells, n, classes = 1000, 50_000, 10
    with tempfile.TemporaryDirectory() as folder:
        made = LogitBank.create(Path(folder), [f"cell {i}" for i in range(cells)], n, classes, "bench")
        rng = np.random.default_rng(0)
        logits = rng.normal(size=(n, classes)).astype(np.float32)
        before, started = _anonymous(), perf_counter()
        for cell in made.cells:
            made.write(cell, logits, 0.5, 1.0)
        print(f"bank of {np.prod(made.shape) * 2 / 1e9:.2f} GB written in {perf_counter() - started:.1f} s")
        peak, started = 0, perf_counter()
        for _ in range(200):
            made.pairs(rng.integers(0, cells, 512), rng.integers(0, n, 512))
            peak = max(peak, _anonymous() - before)
        print(f"200 draws of 512 pairs: {1e3 * (perf_counter() - started) / 200:.2f} ms each")
        total = np.zeros((n, classes), dtype=np.float32)
        for cell in range(cells):
            total += made.logits(cell)
            peak = max(peak, _anonymous() - before)
        print(f"all cells added up in {perf_counter() - started:.1f} s")
        print(f"peak of this process' own memory: +{peak / 1e6:.0f} MB")


def _anonymous() -> int:
    """Return the bytes of this process that are no file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("needs Linux")


def hpo(data_dir: str, fit: str, trials: int, epochs: int, only_searches: bool = False) -> None:
    import ray

    from raysubset.nas.cell_model import CellModel
    from raysubset.report.fit_info import FitInfo
    from raysubset.tuning.subselnet_presets import optimizer_space
    from raysubset.tuning.subselnet_run import open_run

    info = FitInfo.read(Path(fit))
    data = rs.load_dataset(info.data, data_dir, limit=info.limit).shrunk(info.shrink)
    run = open_run(Path(fit), data)
    cell = str(run.folds.unseen[0])
    print(f"cell {cell}; {info.n_train} rows, {trials} trials of {epochs} epochs", flush=True)
    ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    full_s = None
    for name, plan, draw in _plans(fit, cell):
        if only_searches and not name.startswith(("full", "subselnet")):
            continue
        with tempfile.TemporaryDirectory() as root:
            started = perf_counter()
            found = rs.tune(
                model=CellModel(cell, run.experiment.size),
                data=data,
                space=optimizer_space(),
                plan=plan,
                recipe=rs.Recipe(epochs=epochs, batch_size=64, flip=0.5),
                trials=trials,
                retrain=0 if only_searches else 1,
                seed=info.seed + draw,  # a fit serves the split of its own seed alone
                name="hpo",
                root=root,
            )
            search_s = perf_counter() - started
            result = "not" if only_searches else found.retrain()
        full_s = search_s if full_s is None else full_s
        print(f"{name}: search {search_s:.1f} s ({full_s / search_s:.2f} x), retrained {result}", flush=True)


def _plans(fit: str, cell: str) -> list[tuple[str, rs.SubsetPlan, int]]:
    """Return (name, plan, which draw): each random one has a seed, hence a split, of its own."""
    plans = [("full", rs.SubsetPlan.full(), 0)]
    options = {"fitted": str(Path(fit).resolve()), "cell": cell}
    for ratio in RATIOS:
        static: Any = {"ratio": ratio, "schedule": "static"}
        ours = rs.SubsetPlan(selector="subselnet", options=options, **static)
        plans.append((f"subselnet {ratio:g}", ours, 0))
        random = rs.SubsetPlan(selector="random", **static)
        plans += [(f"random {ratio:g}, draw {draw}", random, draw) for draw in range(RANDOM_DRAWS)]
        plans.append((f"automata {ratio:g}", rs.SubsetPlan(selector="automata", **static), 0))
    return plans


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, *rest = sys.argv[1:]
    if what == "samplers":
        samplers(*map(int, rest or ["5"]))
    elif what == "bank":
        bank()
    else:
        hpo(*rest[:2], *(int(text) for text in (rest[2:] or ["16", "27"])), only_searches=what == "searches")
