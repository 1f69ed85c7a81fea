"""What the search itself costs under Ray Tune: a trivial objective through our searcher, scheduler and journal.

    python tests/benchmarks/bench_search_throughput.py [trials] [repeats]

Prints trials a minute with reused workers, milliseconds between two reports without and with a checkpoint at each
(a promotion scheduler saves at every rung it pauses at), trial changes included, and the driver's memory growth.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from raysubset.hpo.catalog import make_scheduler
from raysubset.hpo.proposer import RandomProposer
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.search import Search
from raysubset.hpo.space import loguniform
from raysubset.runtime.session import ray_session
from raysubset.tuning.faults import Faults
from raysubset.tuning.jobs import Jobs
from raysubset.tuning.journal import Journal
from raysubset.tuning.scheduler import SearchScheduler
from raysubset.tuning.searchers import SearchSource

SPACE = {"lr": loguniform(1e-3, 1e-1)}
RUNGS = Rungs((100.0, 300.0, 900.0), (1, 3, 9))


class Trivial(tune.Trainable):
    """A step of no work: the loss is the learning rate."""

    def setup(self, config: dict[str, Any]) -> None:
        self._config, self._samples = config, 0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._config, self._samples = new_config, 0
        return True

    def step(self) -> dict[str, Any]:
        self._samples += 100
        rung = RUNGS.levels.index(self._samples) if self._samples in RUNGS.levels else None
        return {
            "samples_consumed": self._samples,
            "epoch": self._samples // 100,
            "score": self._config["point"]["lr"],
            "rung": rung,
            "status": "running",
            "done": self._samples >= 900,
            SHOULD_CHECKPOINT: bool(self._config.get("save")),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "state.json").write_text(json.dumps(self._samples))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self._samples = json.loads((Path(checkpoint_dir) / "state.json").read_text())


class Saving(SearchSource):
    """Asks for a checkpoint at every report."""

    def suggest(self, trial_id: str) -> Any:
        config = super().suggest(trial_id)
        return {**config, "save": True} if isinstance(config, dict) else config


def run(scheduler: str, trials: int, saving: bool = False) -> dict[str, float]:
    """Return seconds, reports and trials of one search after its first report, and the driver's growth in MB."""
    os.environ.update(
        TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1", RAY_AIR_NEW_OUTPUT="0", TUNE_MAX_PENDING_TRIALS_PG="2"
    )
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.jsonl", {})
        times: list[float] = []

        def note(event: Any) -> None:
            journal.append(event)
            if event["event"] == "report":
                times.append(perf_counter())

        search = Search(
            RUNGS,
            make_scheduler(scheduler, RUNGS, 3, 0, SPACE),
            RandomProposer(SPACE, 0),
            trials=trials,
            concurrency=2,
            journal=note,
        )
        jobs, before = Jobs(search, perf_counter), process.memory_info().rss
        analysis = tune.run(
            Trivial,
            name="t",
            storage_path=folder,
            metric="score",
            mode="min",
            num_samples=trials,
            search_alg=(Saving if saving else SearchSource)(jobs),
            scheduler=SearchScheduler(jobs, Faults()),
            resources_per_trial={"cpu": 1},
            reuse_actors=True,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
            verbose=0,
        )
        journal.close()
        failed = sum(trial.status == "ERROR" for trial in analysis.trials)
        return {
            "seconds": times[-1] - times[0],
            "reports": len(times),
            "trials": search.started,
            "failed": failed,
            "driver_mb": (process.memory_info().rss - before) / 2**20,
        }


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with ray_session():
        for scheduler, saving in (("asha", False), ("asha", True), ("asha-promote", False)):
            runs = [run(scheduler, trials if not saving else trials // 5, saving) for _ in range(repeats)]
            minute = statistics.median(60 * each["trials"] / each["seconds"] for each in runs)
            report = statistics.median(1e3 * each["seconds"] / each["reports"] for each in runs)
            growth = ", ".join(f"{each['driver_mb']:+.0f}" for each in runs)
            print(
                f"{scheduler}{', a checkpoint a report' if saving else ''}: {minute:,.0f} trials a minute, "
                f"{report:.1f} ms a report, {sum(each['failed'] for each in runs):.0f} failed, driver {growth} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
