"""What commands print in the end."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from raysubset.report.run_info import RunInfo
from raysubset.report.tables import summary_rows


def print_summary(folder: Path, report: Path, console: Console, as_json: bool) -> None:
    """Print what a run found and cost, as a table or as one JSON object on standard output."""
    if as_json:
        facts = json.loads(RunInfo.read(folder).to_json())
        print(json.dumps({**facts, "report": str(report), "summary": dict(summary_rows(folder))}))
        return
    table = Table(show_header=False, box=None, padding=(0, 2))
    for label, value in summary_rows(folder):
        table.add_row(label, value)
    console.print(table)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
