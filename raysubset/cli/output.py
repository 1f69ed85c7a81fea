"""What commands print: lines, facts, tables; what will run and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from raysubset.report.run_info import RUN_FILE, RunInfo
from raysubset.report.tables import Table, summary_rows

if TYPE_CHECKING:
    from raysubset.tuning.run import Run

LEAST_WIDTH = 120  # of tables


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line as it is: nothing in it is markup, and the terminal breaks it where it likes."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def announce(run: Run, work: str, samples: float, console: Console, *, ways: str = "", most: str = "",
             beside: str = "") -> None:  # fmt: skip
    """Say what will run and what it is predicted to cost.

    Args:
        run: What runs.
        work: A line that says how much.
        samples: That it consumes.
        console: Where it is said.
        ways: Between what, where several ways of choosing rows are compared.
        most: "at most " where it may be fewer.
        beside: What the samples are to be held against.
    """
    from raysubset.tuning.presets import seconds_per_sample
    from raysubset.tuning.progress import duration
    from raysubset.tuning.task import task_words

    experiment, data = run.experiment, run.data
    pace = seconds_per_sample(experiment.model, data.input_shape, data.num_classes, experiment.recipe.batch_size)
    cost = f"{most}{samples:,.0f} samples{beside}, {most}{duration(samples * pace)} of one worker"
    say(console, f"{experiment.name}: {run.info.dataset}, {run.info.model}, {run.info.device}{ways}")
    for line in (*task_words(experiment, data), work):
        say(console, line)
    say(console, f"predicted: {cost}")


def print_facts(facts: Mapping[str, Any], as_json: bool, width: int = 10) -> None:
    """Print facts as one JSON object, or a line each with names ``width`` columns wide."""
    if as_json:
        print(json.dumps(facts))
        return
    console = Console()
    for key, value in facts.items():
        say(console, f"{key:>{width}}  {value}")


def print_summary(folder: Path, report: Path, console: Console, as_json: bool) -> None:
    """Print what a run found and cost, as a table or as one JSON object on standard output."""
    rows = _rows(folder)
    if as_json:
        facts = json.loads(RunInfo.read(folder).to_json()) if (folder / RUN_FILE).exists() else {}
        print(json.dumps({**facts, "report": str(report), "summary": dict(rows)}))
        return
    table = RichTable(show_header=False, box=None, padding=(0, 2))
    for label, value in rows:
        table.add_row(label, Text(value))
    console.print(table)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)


def _rows(folder: Path) -> list[tuple[str, str]]:
    """Sum up what a folder holds: an architecture search, a study of searches, or a search or study of ranks."""
    from raysubset.report.grid_page import grid_facts, grid_files, read_grid
    from raysubset.report.nas_folder import read_search
    from raysubset.report.nas_info import NAS_FILE
    from raysubset.report.nas_page import nas_facts

    if (folder / NAS_FILE).exists():
        return nas_facts(read_search(folder))
    if files := grid_files(folder):
        return [row for file in files for row in grid_facts(read_grid(file))]
    return summary_rows(folder)


def print_tables(tables: Iterable[Table], console: Console) -> None:
    """Print tables one under the other, at least `LEAST_WIDTH` columns wide."""
    wide = Console(width=max(console.width, LEAST_WIDTH), stderr=console.stderr)
    for table in tables:
        drawn = RichTable(title=table.title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for column in table.columns:
            drawn.add_column(column, overflow="fold")
        for row in table.rows:
            drawn.add_row(*map(Text, row))
        wide.print(drawn)
