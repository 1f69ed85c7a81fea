"""Contenders against each other: every repeat in a fresh process of one thread, taking turns.

A fresh process knows no other contender's heap, thread pools or compiled code, and taking turns spreads the load
of the machine over all. ``python -m raysubset.bench.runs JOB`` is such a process.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import torch

from raysubset.bench.contenders import Contender, Task
from raysubset.bench.kernels import CASES, Case
from raysubset.bench.measure import Reading, environment, metered
from raysubset.bench.model_outputs import read_outputs
from raysubset.bench.quality import Picked
from raysubset.selection.kernels.backend import numba_available
from raysubset.selection.protocol import Context

PACKAGES = ("raysubset", "torch", "numpy", "numba", "submodlib-py", "apricot-select")


@dataclass(frozen=True, slots=True)
class Run:
    """One contender, once.

    Attributes:
        case, contender: Names.
        repeat: Which time; the seed.
        n, k: Rows, and how many were asked for; 0 if the run failed.
        picked: Rows chosen.
        cpu_s, wall_s, extra_bytes: See `Reading`; NaN and None if the run failed.
        quality: The case's measure; NaN if the run failed.
        load: The machine's load average of the last minute; neighbours take memory bandwidth, and with it CPU
            seconds, from whoever needs much of it.
        note: Why it failed, else "".
    """

    case: str
    contender: str
    repeat: int
    n: int = 0
    k: int = 0
    picked: int = 0
    cpu_s: float = np.nan
    wall_s: float = np.nan
    extra_bytes: int | None = None
    quality: float = np.nan
    load: float = np.nan
    note: str = ""


def run_all(
    cases: Sequence[Case], outputs: Path, repeats: int, most_rows: int | None, tell: Callable[[Run], None]
) -> Iterator[Run]:
    """Yield the runs of all contenders, case after case, repeat after repeat, contender after contender.

    Args:
        cases: What to run.
        outputs: The file of `raysubset.bench.model_outputs`.
        repeats: Runs of each contender.
        most_rows: Cap on the rows of a case, for a quick look.
        tell: Called with each run.
    """
    for case in cases:
        for repeat, contender in product(range(repeats), case.contenders):
            run = Run(case.name, contender.name, repeat)
            if contender.package is not None and find_spec(contender.package) is None:
                run = replace(run, note=f"{contender.package} is not installed: pip install 'raysubset[peers]'")
            else:
                run = _fresh(run, outputs, most_rows)
            tell(run)
            yield run


def solve(case: Case, contender: Contender, known: Context, most_rows: int | None, repeat: int) -> Run:
    """Let a contender solve a case in this process, after a small task to warm up.

    Args:
        case: The case.
        contender: One of its contenders.
        known: All rows.
        most_rows: Cap on the rows, or None.
        repeat: The seed.
    """
    rows = case.rows if most_rows is None else min(case.rows, most_rows)
    _attempt(contender, case.task(known, min(rows, case.warm_up)), repeat)
    task = case.task(known, rows)
    picked, reading = _attempt(contender, task, repeat)
    readings = [reading, *(_attempt(contender, task, repeat)[1] for _ in range(case.calls - 1))]
    readings.sort(key=lambda each: each.cpu_s)
    middle = readings[len(readings) // 2]
    return Run(
        *(case.name, contender.name, repeat, task.context.pool_size, task.k, len(picked.rows)),
        *(
            middle.cpu_s,
            middle.wall_s,
            max((r.extra_bytes for r in readings if r.extra_bytes is not None), default=None),
        ),
        *(case.quality(task, picked), os.getloadavg()[0]),
    )


def versions() -> dict[str, str]:
    """Return the versions of what is measured; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _attempt(contender: Contender, task: Task, seed: int) -> tuple[Picked, Reading]:
    """Take a contender's steps; only they are metered."""
    parts: list[Picked] = []
    total = Reading(0.0, 0.0, 0)
    for step in contender.steps(task, seed):
        part, reading = metered(step)
        parts.append(part)
        total = total.then(reading)
    if len(parts) == 1:
        return parts[0], total
    return Picked(np.concatenate([part.rows for part in parts])), total


def _fresh(run: Run, outputs: Path, most_rows: int | None) -> Run:
    """Do a run in a process of its own."""
    job = json.dumps([run.case, run.contender, run.repeat, str(outputs), most_rows])
    command = [sys.executable, "-m", "raysubset.bench.runs", job]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message; out of memory?"]
        return replace(run, note=f"exit code {done.returncode}: {last[0]}")
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def _main(job: str) -> None:
    """Do one job and print its run as JSON, on the last line."""
    case_name, contender_name, repeat, outputs, most_rows = json.loads(job)
    case = CASES[case_name]
    contender = next(each for each in case.contenders if each.name == contender_name)
    torch.set_num_threads(1)
    if not contender.numba:
        _hide_numba()
    run = solve(case, contender, read_outputs(Path(outputs)), most_rows, repeat)
    print(json.dumps(asdict(run)))


def _hide_numba() -> None:
    """Make numba look uninstalled, in the way the import system documents."""
    sys.modules["numba"] = None  # type: ignore[assignment]
    if numba_available():
        raise RuntimeError("Numba was asked for before it was hidden.")


if __name__ == "__main__":
    _main(sys.argv[1])
