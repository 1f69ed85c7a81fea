"""What training workers cost: seconds to the first epoch of a stage, between trials, and of an epoch.

    python tests/benchmarks/bench_team.py [workers] [repeats]

LeNet on the embedded digits, four trials of three epochs, one at a time; one worker and several, in turn.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import ray

import raysubset as rs
from raysubset.report.records import read_records


def measured(workers: int, root: Path, name: str) -> tuple[float, float, float]:
    """Return seconds to the first report, between trials, and an epoch's training."""
    result = rs.tune(
        model="lenet",
        data=rs.load_dataset("embedded"),
        plan=rs.SubsetPlan(ratio=0.3),
        recipe=rs.Recipe(epochs=3),
        search="random",
        scheduler="none",
        trials=4,
        concurrency=1,
        workers=workers,
        retrain=0,
        name=name,
        root=root,
        progress=False,
    )
    rows = sorted(
        read_records(result.run.folder / "records.jsonl").stage("search"), key=lambda row: row.finished_s
    )
    changes = [b.finished_s - a.finished_s - b.train_s for a, b in pairwise(rows) if a.trial != b.trial]
    return rows[0].finished_s, statistics.median(changes), statistics.median(row.train_s for row in rows)


def main() -> None:
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(include_dashboard=True, logging_level=logging.ERROR, log_to_driver=False)
    with tempfile.TemporaryDirectory() as root:
        found = {
            count: [measured(count, Path(root), f"{count}-{repeat}") for repeat in range(repeats)]
            for count in (1, workers)
        }
    for count, figures in found.items():
        for what, values in zip(
            ("first report", "between trials", "epoch"), zip(*figures, strict=True), strict=True
        ):
            spread = f"({min(values):.2f} to {max(values):.2f})"
            print(f"{count} worker(s), {what:14}: {statistics.median(values):6.2f} s {spread}")


if __name__ == "__main__":
    main()
