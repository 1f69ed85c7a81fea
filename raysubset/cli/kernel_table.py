"""How ``raysubset bench kernels`` tells what it measured."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from raysubset.bench.kernel_rows import MEGABYTE, Row, against_us, rows_of, verdict
from raysubset.bench.kernels import Case
from raysubset.bench.runs import Run, versions

HEADINGS = ("contender", "CPU s", "min", "max", "of ours", "picked", "{}", "ratio", "extra MB")
WIDTH = 120  # columns, where it is not a terminal that says how many there are


def tell_run(run: Run, console: Console) -> None:
    """Print one line about a run that has ended."""
    memory = "unknown" if run.extra_bytes is None else f"{run.extra_bytes / MEGABYTE:.0f} MB"
    told = run.note or f"{_seconds(run.cpu_s)} CPU s, {_seconds(run.wall_s)} s, {memory}, {run.quality:.6g}"
    _say(f"{run.case}, {run.contender}, repeat {run.repeat}: {told}", console)


def print_tables(cases: Sequence[Case], runs: Sequence[Run]) -> None:
    """Print a table a case, and what falls against us."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    rows = rows_of(runs)
    for case in cases:
        of_case = [row for row in rows if row.case == case.name]
        console.print(_table(case, of_case))
        for row in of_case:
            if row.note:
                _say(f"{row.contender}: {row.note}", console)
    loads = [run.load for run in runs if not run.note]
    if loads:
        _say(
            f"Load average while measuring: {min(loads):.1f} to {max(loads):.1f}, {os.cpu_count()} CPUs.", console
        )
    console.print(verdict(rows))
    for sentence in against_us(rows):
        _say(f"  {sentence}", console)


def as_json(runs: Sequence[Run]) -> str:
    """Return everything as one JSON object; what is not known is null."""
    rows = rows_of(runs)
    raw = {"runs": [asdict(run) for run in runs], "rows": [asdict(row) for row in rows]}
    return json.dumps(_finite({"versions": versions(), **raw, "against_us": against_us(rows)}), allow_nan=False)


def _table(case: Case, rows: Sequence[Row]) -> Table:
    n, k = max((row.n, row.k) for row in rows)
    table = Table(title=f"{case.name}: {case.title} (k = {k:,} of {n:,})", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading.format(case.measure), justify="left" if heading == "contender" else "right")
    for row in rows:
        if not row.repeats:
            table.add_row(row.contender)
            continue
        table.add_row(
            row.contender,
            _seconds(row.cpu_s),
            _seconds(row.cpu_min_s),
            _seconds(row.cpu_max_s),
            _known(row.times_ours, ".2f", "x"),
            f"{row.picked:,}",
            f"{row.quality:.5g}",
            _known(row.quality_ratio, ".4f"),
            "" if row.extra_bytes is None else f"{row.extra_bytes / MEGABYTE:.0f}",
        )
    return table


def _say(text: str, console: Console) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 10 else f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"


def _known(value: float, form: str, unit: str = "") -> str:
    return "" if math.isnan(value) else f"{value:{form}}{unit}"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value
