"""How soon the dashboard's page stands, with many trials in the records, in headless Chromium.

    python tests/benchmarks/bench_dashboard.py [trials] [repeats]

Writes a made-up run (records and journal of an ASHA search of 27 epochs with rungs at 1, 3, 9, 27), serves it by
`raysubset dashboard`, and prints, medians of the repeats, each in a fresh browser context: first contentful paint,
when the trials stood in the table, when the charts did; further the CPU that the server needs to take the run in,
and to tell one more report.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from time import process_time, sleep

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "dashboard")]

from browser import chromium, served, wait_until  # noqa: E402
from report.synthetic import record, run_info  # noqa: E402

from raysubset.dashboard.board import Board  # noqa: E402
from raysubset.report.driver import Driver, StagePlan  # noqa: E402
from raysubset.report.records import RECORDS_FILE  # noqa: E402

EPOCHS, RUNGS, PER_EPOCH = 27, (1, 3, 9, 27), 400
LATE_MS = 120_000


def write_run(folder: Path, trials: int) -> int:
    """Write a run; returns the lines of its records."""
    rng = np.random.default_rng(0)
    run_info(name=f"{trials:,} trials", trials=trials, epochs=EPOCHS).write(folder)
    Driver.here({"search": StagePlan(trials, float(trials * EPOCHS * PER_EPOCH))}).write(folder)
    records, journal, clock = [], [], 0.0
    levels = [PER_EPOCH * rung for rung in RUNGS]
    journal.append({"search": "tpe", "scheduler": "asha", "levels": levels, "epochs": list(RUNGS)})
    for number in range(trials):
        name, quality = f"{number:04d}", float(rng.uniform(0.2, 1.5))
        config = {"lr": float(10 ** rng.uniform(-4, -1)), "momentum": float(rng.uniform(0.5, 1)), "batch_size": 64}
        last = RUNGS[min(3, int(rng.geometric(2 / 3)) - 1)]
        journal.append({"event": "start", "trial": name, "bracket": 0, "point": config})
        for epoch in range(1, last + 1):
            clock += 0.05
            rung = RUNGS.index(epoch) if epoch in RUNGS else None
            loss = quality + 2 * math.exp(-epoch / 5)
            status = "running" if epoch < last else "done" if last == EPOCHS else "stopped"
            if number % 50 == 7 and epoch == last:
                status = "failed"
            judged = rung is not None and status != "failed"
            told = {
                "config": config, "epochs": EPOCHS, "status": status, "rung": rung, "finished_s": clock,
                "samples_consumed": PER_EPOCH * epoch, "val_loss": loss if judged else None,
                "val_accuracy": 1 / (1 + loss) if judged else None,
                "reason": {"failed": "loss is not finite", "stopped": "not among the best"}.get(status, ""),
            }  # fmt: skip
            records.append(record(name, epoch, **told).to_json())
            event = {
                "event": "report",
                "trial": name,
                "samples": PER_EPOCH * epoch,
                "loss": None,
                "elapsed_s": clock,
            }
            journal.append({**event, "judged": judged, "epochs": epoch})
    (folder / RECORDS_FILE).write_text("\n".join(records) + "\n")
    (folder / "search-search.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in journal))
    return len(records)


def page_times(address: str, repeats: int) -> list[tuple[float, float, float, float]]:
    """Return (first contentful paint, table, charts) of each repeat, ms since the navigation began, and CPU ms.

    The latter are those of the page's main thread until then: what a busy machine leaves comparable.
    """
    found = []
    with chromium() as browser:
        for _ in range(repeats):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            devtools = context.new_cdp_session(page)
            devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(address, wait_until="commit", timeout=LATE_MS)
            wait_until(page, "() => ['told', 'charts'].every((name) => performance.getEntriesByName(name).length)")
            names = "['first-contentful-paint', 'told', 'charts']"
            marks = page.evaluate(f"{names}.map((n) => performance.getEntriesByName(n)[0].startTime)")
            used = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
            found.append((*marks, 1e3 * used["TaskDuration"]))
            context.close()
            sleep(1)
    return found


def main(trials: int = 10_000, repeats: int = 3) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        lines = write_run(folder, trials)
        size = (folder / RECORDS_FILE).stat().st_size
        started = process_time()
        board = Board([folder])
        taken_in = process_time() - started
        started = process_time()
        first = board.changes("0")
        whole = json.dumps(first)
        told_whole = process_time() - started
        delta_s = []
        for number in range(repeats):
            with (folder / RECORDS_FILE).open("a") as file:
                file.write(record(f"new{number}", 1).to_json() + "\n")
            started = process_time()
            told = board.changes("0", shown="search", boot=first["boot"], since=first["version"] + number)
            delta = json.dumps(told)
            delta_s.append(process_time() - started)
        with served(folder) as address:
            times = page_times(address, repeats)
    print(f"{trials:,} trials, {lines:,} records, {size / 2**20:.1f} MiB; medians of {repeats}")
    for name, values in zip(
        ("first contentful paint", "table of trials", "charts", "CPU of the page"),
        zip(*times, strict=True),
        strict=True,
    ):
        each = ", ".join(f"{value:,.0f}" for value in values)
        print(f"{name}: {statistics.median(values):,.0f} ms ({each})")
    print(
        f"server, CPU: takes the run in, once, in {taken_in:.2f} s; tells all in {told_whole * 1e3:.0f} ms, "
        f"{len(whole):,} bytes"
    )
    print(f"one more report, CPU: {statistics.median(delta_s) * 1e3:.0f} ms, {len(delta):,} bytes")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
