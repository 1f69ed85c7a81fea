"""What a report costs: pages of 200 trials x 30 epochs and of 10,000 trials, and the counting of selections.

python tests/benchmarks/bench_report.py            medians of three, CPU seconds of this process
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np

from raysubset.proxy.memory import EpochSignals, ProxyMemory
from raysubset.proxy.stream import EpochSubset, StreamSpec
from raysubset.proxy.tally import Tally
from raysubset.report.html import write_report
from raysubset.selection.plan import SubsetPlan
from raysubset.types import Selection

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
REPEATS = 3


def median(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median CPU seconds of doing something."""
    taken = []
    for _ in range(repeats):
        started = process_time()
        work()
        taken.append(process_time() - started)
    return statistics.median(taken)


def pages() -> None:
    """Time the pages of made-up runs."""
    from made_selections import selections
    from synthetic import whole_run

    for trials, epochs, repeats in ((200, 30, REPEATS), (10_000, 9, 1)):
        with tempfile.TemporaryDirectory() as folder:
            run = whole_run(Path(folder), trials=trials, epochs=epochs, full=False)
            selections(n=5000, epochs=epochs, trials=20, images=48).write(run)
            write_report(run)  # fonts and imports
            seconds = median(lambda run=run: write_report(run), repeats)
            size = (run / "report.html").stat().st_size
            print(f"page of {trials:,} trials x {epochs} epochs: {seconds:.2f} s, {size / 1e6:.2f} MB")


def counting() -> None:
    """Time what a selector does beside its choice."""
    rng = np.random.default_rng(0)
    for n in (54_000, 1_281_167):
        tally = Tally(rng.integers(0, 1000, n))
        spec = StreamSpec(SubsetPlan(), 300, 0)
        rows = rng.permutation(n)[: n // 20]
        subset = Selection.uniform(rows, n)
        ones = np.ones(n, dtype=np.float32)
        memory = ProxyMemory(n)
        memory.record(0, EpochSignals(np.arange(n), rng.random(n, dtype=np.float32), ones, ones, ones > 0))
        count = [0]

        def choose(tally=tally, spec=spec, subset=subset, count=count) -> None:
            count[0] += 1
            tally.count("t", spec, EpochSubset(count[0], subset, "loss", len(subset)))

        def hear(tally=tally, memory=memory, count=count) -> None:
            count[0] += 1
            tally.hear("t", count[0], memory)

        print(f"n = {n:,}: counting a subset of {len(rows):,} rows {1e3 * median(choose, 9):.2f} ms, "
              f"hearing a trial {1e3 * median(hear):.0f} ms")  # fmt: skip


if __name__ == "__main__":
    counting()
    pages()
