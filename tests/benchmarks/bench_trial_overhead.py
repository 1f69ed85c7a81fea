"""Framework time per trial: 200 short trials on the embedded digits.

A trial's own work is what it reports (train + select + evaluate); the rest of the workers' time is framework:
Ray Tune's loop, reports, resets, the searcher, records. The start of the workers is given apart and together.

    python tests/benchmarks/bench_trial_overhead.py [trials] [repeats]
"""

from __future__ import annotations

import statistics
import sys
import tempfile

import raysubset as rs
from raysubset.report.records import read_records
from raysubset.report.run_info import RunInfo
from raysubset.runtime.session import plan_slots, ray_session


def overhead_ms(trials: int, seed: int) -> tuple[float, float]:
    """Return milliseconds a trial beyond its own work, without and with the start of the workers."""
    with tempfile.TemporaryDirectory() as root:
        result = rs.tune(
            model="lenet",
            data=rs.load_dataset("embedded"),
            space={"lr": rs.loguniform(1e-3, 1e-1)},
            recipe=rs.Recipe(epochs=3, batch_size=32),
            search="random",
            trials=trials,
            name="overhead",
            root=root,
            seed=seed,
            progress=False,
        )
        rows = read_records(result.run.folder / "records.jsonl").stage("search")
        wall = RunInfo.read(result.run.folder).stages["search"].wall_s
    import ray

    workers = plan_slots(0, int(ray.cluster_resources()["CPU"]), 0).concurrency
    own = sum(row.train_s + row.select_s + row.eval_s for row in rows)
    first = rows[0]
    start = first.finished_s - first.train_s - first.select_s - first.eval_s
    spare = (wall - start) * workers - own
    return 1e3 * spare / trials, 1e3 * (spare + start * workers) / trials


def main() -> None:
    trials, repeats = (int(value) for value in (*sys.argv[1:], 200, 3)[:2])
    with ray_session():
        measured = [overhead_ms(trials, seed) for seed in range(repeats)]
    for label, values in zip(("running", "with the workers' start"), zip(*measured, strict=True), strict=True):
        print(f"{label}: median {statistics.median(values):.1f} ms a trial, all {[round(v, 1) for v in values]}")


if __name__ == "__main__":
    main()
