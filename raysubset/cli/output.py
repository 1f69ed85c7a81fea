"""What commands print in the end."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from raysubset.report.run_info import RUN_FILE, RunInfo
from raysubset.report.tables import summary_rows


def print_summary(folder: Path, report: Path, console: Console, as_json: bool) -> None:
    """Print what a run found and cost, as a table or as one JSON object on standard output."""
    rows = _rows(folder)
    if as_json:
        facts = json.loads(RunInfo.read(folder).to_json()) if (folder / RUN_FILE).exists() else {}
        print(json.dumps({**facts, "report": str(report), "summary": dict(rows)}))
        return
    table = Table(show_header=False, box=None, padding=(0, 2))
    for label, value in rows:
        table.add_row(label, value)
    console.print(table)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)


def _rows(folder: Path) -> list[tuple[str, str]]:
    """Sum up what a folder holds: an architecture search, a study of searches, or a search or study of ranks."""
    from raysubset.report.grid_page import grid_facts, grid_files, read_grid
    from raysubset.report.nas_info import NAS_FILE
    from raysubset.report.nas_page import nas_facts, read_search

    if (folder / NAS_FILE).exists():
        return nas_facts(read_search(folder))
    if files := grid_files(folder):
        return [row for file in files for row in grid_facts(read_grid(file))]
    return summary_rows(folder)
