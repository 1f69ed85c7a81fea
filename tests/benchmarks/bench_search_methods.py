"""Regret against samples: searchers and schedulers on one small real search, equal budgets of samples.

    python tests/benchmarks/bench_search_methods.py [seeds] [budget in whole trials] [method ...]

LeNet on the embedded MNIST sample, ratio 0.2, 9 epochs, rungs at 1/9, 1/3 and 1 of a trial. After a share of the
budget a search would return its incumbent: the lowest validation loss at the highest rung reached. Each incumbent
is trained on all data for the same epochs, and judged on the test rows; regret is the points of test accuracy by
which it stays below the best configuration that any search of that seed returned. Means over seeds, and the range.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray

import raysubset as rs
from raysubset.data.batches import ArraySource
from raysubset.data.transform import Transform
from raysubset.hpo.pairing import TrialSeeds
from raysubset.proxy.service import SelectorService
from raysubset.report.records import read_records
from raysubset.runtime.trial import Trial, TrialSpec
from raysubset.selection.protocol import Context
from raysubset.types import TrialRecord

METHODS = {  # searcher, scheduler
    "Hyper-Tune": ("hyper-tune", "hyper-tune"),
    "BOHB": ("bohb", "hyperband"),
    "HyperBand": ("random", "hyperband"),
    "ASHA, stopping": ("random", "asha"),
    "ASHA, promotion": ("random", "asha-promote"),
    "TPE + ASHA": ("tpe", "asha"),
    "TPE": ("tpe", "none"),
    "BO": ("bo", "none"),
    "random": ("random", "none"),
}
SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
EPOCHS, RATIO = 9, 0.2
SPACE = {
    "lr": rs.loguniform(1e-4, 1.0),
    "momentum": rs.uniform(0.0, 0.99),
    "batch_size": rs.choice([16, 32, 64]),
    "weight_decay": rs.loguniform(1e-5, 1e-1),
}
Config = tuple[tuple[str, Any], ...]


def incumbents(rows: list[TrialRecord], budget: float) -> list[Config]:
    """Return what the search would have returned after each share of its budget."""
    consumed: dict[str, int] = {}
    spent, best, found = 0, (1, 0.0), []
    config: Config = ()
    due = list(SHARES)
    for row in sorted(rows, key=lambda row: row.finished_s):
        spent += row.samples_consumed - consumed.get(row.trial, 0)
        consumed[row.trial] = row.samples_consumed
        while due and spent > due[0] * budget:
            found.append(config)
            due.pop(0)
        if row.rung is not None and row.val_loss is not None and (-row.rung, row.val_loss) < best:
            best, config = (-row.rung, row.val_loss), tuple(sorted(row.config.items()))
    return found + [config] * len(due)


def search(data: rs.Dataset, method: str, seed: int, whole_trials: int, root: Path) -> tuple[list[Config], int]:
    """Run one search; returns its incumbents, and the samples it consumed."""
    searcher, scheduler = METHODS[method]
    result = rs.tune(
        model="lenet",
        data=data,
        space=SPACE,
        plan=rs.SubsetPlan(ratio=RATIO, schedule="static"),
        recipe=rs.Recipe(epochs=EPOCHS, channels_last=True),
        search=searcher,
        scheduler=scheduler,
        trials=9 * whole_trials,
        budget_epochs=EPOCHS * whole_trials,
        name=f"{searcher}-{scheduler}-{seed}",
        root=root,
        seed=seed,
        progress=False,
    )
    rows = read_records(result.run.folder / "records.jsonl").stage("search")
    info = result.run.info
    budget = EPOCHS * whole_trials * RATIO * info.n_train
    return incumbents(list(rows), budget), info.stages["search"].samples


@ray.remote
def accuracy(data: rs.Dataset, config: Config, seed: int) -> float:
    """Train a configuration on all data; returns its test accuracy."""
    import torch

    torch.set_num_threads(1)
    split, test = data.train, data.test
    assert test is not None
    recipe = rs.Recipe(epochs=EPOCHS, channels_last=True).with_config(dict(config))
    plan = rs.SubsetPlan(selector="full", ratio=1.0, schedule="static")
    spec = TrialSpec("t", "lenet", recipe, plan, TrialSeeds(seed, seed), data.num_classes)
    client = SelectorService(Context(len(split), split.labels))
    transform = Transform.fit(split.inputs)
    trial = Trial(spec, ArraySource(split), ArraySource(test), transform, client)
    try:
        while not trial.done:
            trial.run_epoch()
    except rs.errors.NonFiniteLossError:
        return 1 / data.num_classes
    return trial.evaluate().accuracy


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    whole_trials = int(sys.argv[2]) if len(sys.argv) > 2 else 18
    methods = sys.argv[3:] or list(METHODS)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    data = rs.load_dataset("embedded")
    returned: dict[tuple[str, int], list[Config]] = {}
    samples: dict[str, list[int]] = {method: [] for method in methods}
    with tempfile.TemporaryDirectory() as root:
        for seed in range(seeds):
            for method in methods:
                returned[method, seed], spent = search(data, method, seed, whole_trials, Path(root))
                samples[method].append(spent)
                print(f"{method}, seed {seed}: {spent:,} samples", file=sys.stderr, flush=True)
    stored = ray.put(data)
    wanted = sorted(
        {(config, seed) for (_, seed), configs in returned.items() for config in configs if config}, key=str
    )
    values = dict(zip(wanted, ray.get([accuracy.remote(stored, *each) for each in wanted]), strict=True))
    best = {seed: max(value for (_, s), value in values.items() if s == seed) for seed in range(seeds)}
    print(f"{'method':16} {'samples':>9}  regret in points after " + ", ".join(f"{share:g}" for share in SHARES))
    for method in methods:
        cells = []
        for at in range(len(SHARES)):
            configs = [(returned[method, seed][at], seed) for seed in range(seeds)]
            points = [100 * (best[seed] - values[config, seed]) if config else 100.0 for config, seed in configs]
            cells.append(f"{statistics.mean(points):5.2f} [{min(points):.2f}, {max(points):.2f}]")
        print(f"{method:16} {statistics.mean(samples[method]):9,.0f}  {'   '.join(cells)}")
    print("best of each seed: " + ", ".join(f"{100 * value:.2f} %" for value in best.values()))


if __name__ == "__main__":
    main()
