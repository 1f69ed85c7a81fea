"""What later trials gain from the memory of earlier ones: first epochs shared, scheduled and full.

    python tests/benchmarks/bench_shared_memory.py DATA_DIR [seeds] [trials] [ratio]

LeNet on MNIST (54,000 training rows), random search with ASHA, 9 epochs; the same configurations in every row of a
seed. Prints samples of the search, the accuracy of its winner retrained on all data, and that of the trials which
were trained to the end on their subsets (of those that all three searches let go that far, so they are paired).
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
from pathlib import Path

import ray

import raysubset as rs
from raysubset.report.records import read_records

FIRST_EPOCHS = ("full", "scheduled", "shared")


def search(data: rs.Dataset, first_epoch: str, seed: int, trials: int, ratio: float, root: Path) -> rs.TuneResult:
    """Run one search; its winner is retrained on all data."""
    return rs.tune(
        model="lenet",
        data=data,
        plan=rs.SubsetPlan(ratio=ratio, first_epoch=first_epoch),  # type: ignore[arg-type]
        recipe=rs.Recipe(epochs=9, channels_last=True),
        search="random",
        scheduler="asha",
        trials=trials,
        retrain=1,
        name=f"{first_epoch}-{seed}",
        root=root,
        seed=seed,
        progress=False,
    )


def finished(result: rs.TuneResult) -> dict[str, float]:
    """Return trial -> validation accuracy of those trained to the end."""
    rows = read_records(result.run.folder / "records.jsonl").stage("search")
    return {
        row.trial: row.val_accuracy for row in rows if row.epoch == row.epochs and row.val_accuracy is not None
    }


def main() -> None:
    root_of_data = sys.argv[1]
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    trials = int(sys.argv[3]) if len(sys.argv) > 3 else 12
    ratio = float(sys.argv[4]) if len(sys.argv) > 4 else 0.1
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    data = rs.load_dataset("mnist", root=root_of_data)
    gains: dict[str, list[float]] = {name: [] for name in FIRST_EPOCHS}
    with tempfile.TemporaryDirectory() as root:
        for seed in range(seeds):
            results = {name: search(data, name, seed, trials, ratio, Path(root)) for name in FIRST_EPOCHS}
            ends = {name: finished(result) for name, result in results.items()}
            common = sorted(set.intersection(*(set(end) for end in ends.values())))
            for name, result in results.items():
                winner = result.retrain()
                mean = statistics.mean(ends[name][trial] for trial in common) if common else float("nan")
                gains[name].append(mean)
                print(
                    f"seed {seed} {name:9}: {result.run.info.stages['search'].samples:9,} samples, winner "
                    f"retrained {100 * (winner.test_accuracy or 0):.2f} %, {len(common)} trials to the end "
                    f"{100 * mean:.2f} %",
                    flush=True,
                )
    for name in FIRST_EPOCHS[1:]:
        differences = [100 * (a - b) for a, b in zip(gains[name], gains["full"], strict=True)]
        print(f"{name} - full: {', '.join(f'{value:+.2f}' for value in differences)} points a seed")


if __name__ == "__main__":
    main()
