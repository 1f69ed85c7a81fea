"""``raysubset report``: draw a run's report again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from raysubset.cli.options import Json
from raysubset.cli.output import print_summary


def report(
    folder: Annotated[Path, typer.Argument(help="The run's folder, e.g. runs/my-search.")],
    as_json: Json = False,
) -> None:
    """Write report.html of a run, finished or not, and print its summary."""
    from raysubset.report.html import write_report  # matplotlib takes a second

    path = write_report(folder)
    print_summary(folder, path, Console(), as_json)
