"""CPU seconds of simulated searches by scheduler, and how cost and idle time grow with the workers.

python tests/benchmarks/bench_simulator.py [workers of the largest search, 1000] [trials a worker, 10]

Random search over the power law, 81 epochs on all of 50,000 rows, eta 3. "one bracket" is synchronous halving of
all trials at once, where everybody waits for the last of a rung; "halving" and "hyperband" open the next bracket
meanwhile. Hyper-Tune takes its brackets in turn here: its theta means fitting surrogates, 0.2 s and more a trial.
"""

from __future__ import annotations

import statistics
import sys
from time import process_time

import numpy as np

from raysubset.hpo.brackets import Bracket
from raysubset.hpo.catalog import SCHEDULERS, make_scheduler
from raysubset.hpo.curves import POWER_LAW_SPACE, PowerLaw
from raysubset.hpo.hyper_tune import HyperTune
from raysubset.hpo.proposer import RandomProposer
from raysubset.hpo.rungs import place_rungs
from raysubset.hpo.scheduler import Scheduler
from raysubset.hpo.search import Search
from raysubset.hpo.simulator import simulate
from raysubset.hpo.synchronous import SynchronousHalving
from raysubset.hpo.trace import Trace

ROWS, ETA, REPEATS = 50_000, 3, 3
COSTS = np.full(81, ROWS, dtype=np.int64)
RUNGS = place_rungs(COSTS, ETA)


def scheduler_of(name: str, trials: int) -> Scheduler:
    if name == "one bracket":
        sizes = tuple(max(1, trials // ETA**rung) for rung in range(len(RUNGS.levels)))
        return SynchronousHalving((Bracket(0, sizes),), ETA)
    if name == "hyper-tune":
        return HyperTune(len(RUNGS.levels), RUNGS.levels, ETA, 0, lambda history: None)
    return make_scheduler(name, RUNGS, ETA, 0, POWER_LAW_SPACE)


def measure(name: str, trials: int, workers: int, straggling: float = 0.0) -> tuple[Trace, float]:
    proposer = RandomProposer(POWER_LAW_SPACE, 0)
    began = process_time()
    search = Search(RUNGS, scheduler_of(name, trials), proposer, trials=trials, concurrency=workers)
    trace = simulate(search, PowerLaw(COSTS, ROWS), straggling=straggling)
    return trace, process_time() - began


def line(trace: Trace, trials: int) -> str:
    """Full epochs a trial, hours to the first whole trial and to the end, idle share."""
    first = next(one.elapsed_s for one in trace.incumbents if one.rung == RUNGS.halvings)
    epochs = trace.samples / ROWS / trials
    return f"{epochs:12.2f} {first / 3600:7.3f} {trace.wall_s / 3600:7.3f} {100 * trace.idle_share:6.1f}"


def main() -> None:
    largest = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    each = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    print("1,000 trials on 8 workers: CPU seconds, median of", REPEATS)
    for name in SCHEDULERS:
        seconds = statistics.median(measure(name, 1000, 8)[1] for _ in range(REPEATS))
        print(f"  {name:13} {seconds:6.2f}")
    for straggling in (0.0, 1.0):
        print(f"\n{each} trials a worker, straggling {straggling:g}; first: hours to the first whole trial")
        print("  scheduler      workers epochs/trial   first   hours idle %  CPU s")
        workers = 10
        while workers <= largest:
            for name in ("asha", "asha-promote", "dasha", "halving", "one bracket", "hyperband", "hyper-tune"):
                trace, seconds = measure(name, each * workers, workers, straggling)
                print(f"  {name:13} {workers:8,} {line(trace, each * workers)} {seconds:6.2f}", flush=True)
            workers *= 10


if __name__ == "__main__":
    main()
