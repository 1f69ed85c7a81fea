"""A study: a named grid of searches, each an ordinary run in a folder of its own, put into one table.

<root>/<study>/<cell>/        a run, see `tuning.run`
               study.json     every cell, its result or why it has none; rewritten after each
               results.md     the tables
               report.html    the same to look at

A cell that is finished is not run again and one that was interrupted goes on; one that fails is recorded with its
cause and the others go on. All cells share one Ray session.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raysubset.data.dataset import Dataset
from raysubset.errors import InterruptedRunError, OptionsError, RaysubsetError, StorageError
from raysubset.report.atomic import write_text
from raysubset.report.run_info import RUN_FILE
from raysubset.report.study_lines import CellResult, line_facts, lines
from raysubset.report.study_table import accuracy_table, cell_table, cost_table, markdown
from raysubset.runtime.session import ray_session
from raysubset.tuning.recorder import Listener
from raysubset.tuning.run import create_run, open_run
from raysubset.tuning.session import open_session
from raysubset.tuning.study_grid import Cell, Study, read_cell

STUDY_SCHEMA = 1


def run_study(
    study: Study,
    data: Mapping[str, Dataset],
    root: Path,
    listener: Listener,
    *,
    say: Callable[[str], None],
    only: Sequence[str] = (),
    command: str = "",
    watts: float | None = None,
) -> tuple[CellResult, ...]:
    """Run the cells that are not finished, and write the tables after each.

    Args:
        study: What to run.
        data: Data sets by the keys of the cells.
        root: Folder of all studies.
        listener: Follows the stages of every run.
        say: Told of each cell before and after it runs.
        only: Name patterns of the cells to run; the others are shown as they stand.
        command: The command line that repeats the study.
        watts: Power of the machine, for an estimate of energy.

    Returns:
        All cells of the study, in its order.

    Raises:
        OptionsError: A pattern fits nothing, a data set is missing, or a cell that has begun was asked for with
            other settings (says which); nothing has run then.
        DataError: A cell that has begun was on other data; nothing has run then.
        InterruptedRunError: Stopped; the same call goes on.
        StorageError: The study's files cannot be read or written.
    """
    chosen, folder = study.matching(only), root / study.name
    _check(study, data, folder, listener)
    causes = _earlier_causes(folder / study.file("study", ".json"))
    with ray_session():
        for number, cell in enumerate(chosen, start=1):
            where = f"cell {number} of {len(chosen)}, {cell.name}"
            if read_cell(folder, cell).state == "finished":
                say(f"{where}: finished before")
                continue
            say(where)
            try:
                causes[cell.name] = _attempt(study, cell, data[cell.data], folder, listener, command)
            finally:  # an interruption shows in the tables, too
                results = {result.cell: result for result in _write(study, folder, causes, command, watts)}
            result = results[cell.name]
            say(f"{where}: {result.state} {result.cause}".rstrip())
    return _write(study, folder, causes, command, watts)


def _check(study: Study, data: Mapping[str, Dataset], folder: Path, listener: Listener) -> None:
    """Refuse data that are missing, and cells that began with other data or settings, before anything runs."""
    if missing := sorted({cell.data for cell in study.cells} - set(data)):
        raise OptionsError(f"Study {study.name!r} needs the data sets {', '.join(missing)}.")
    for cell in study.cells:
        if _has_begun(folder, cell):
            open_run(folder / cell.name, data[cell.data], listener, cell.experiment)


def _has_begun(folder: Path, cell: Cell) -> bool:
    return (folder / cell.name / RUN_FILE).is_file()


def _attempt(study: Study, cell: Cell, data: Dataset, folder: Path, listener: Listener, command: str) -> str:
    """Run a cell, or go on with it; return why it failed, "" if it did not."""
    try:
        if _has_begun(folder, cell):
            run = open_run(folder / cell.name, data, listener, cell.experiment)
        else:
            run = create_run(cell.experiment, data, folder, listener, command=command, settings={})
        with open_session(run) as session:
            run.note(result=session.test(session.retrain(session.search())))
    except InterruptedRunError as error:
        raise InterruptedRunError(
            f"Study {study.name!r} was interrupted in cell {cell.name!r}. The same command goes on with it."
        ) from error
    except RaysubsetError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # hours of other cells must not be lost to one: its cause is kept and shown
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
    return ""


def _write(
    study: Study, folder: Path, causes: Mapping[str, str], command: str, watts: float | None
) -> tuple[CellResult, ...]:
    """Write study.json, results.md and report.html from the files of the runs."""
    from raysubset.report.html import write_grid_report  # matplotlib: a second that only a report should cost

    cells = tuple(read_cell(folder, cell, causes.get(cell.name, "")) for cell in study.cells)
    facts = _facts(study, cells, command, watts)
    write_text(folder / study.file("study", ".json"), json.dumps(facts, indent=2, allow_nan=False) + "\n")
    write_text(folder / study.file("results", ".md"), _page(study, cells, command, watts))
    write_grid_report(folder / study.file("study", ".json"))
    return cells


def _facts(study: Study, cells: Sequence[CellResult], command: str, watts: float | None) -> dict[str, Any]:
    """Return what study.json says."""
    return {
        "schema": STUDY_SCHEMA,
        "study": study.name,
        "table": study.table,
        "command": command,
        "watts": watts,
        "notes": list(study.notes),
        "lines": [line_facts(line) for line in lines(cells)],
        "cells": [asdict(cell) for cell in cells],
    }


def _page(study: Study, cells: Sequence[CellResult], command: str, watts: float | None) -> str:
    """Return what results.md says."""
    parts = [
        "# " + " ".join(filter(None, (study.name, study.table))),
        f"`{command}`" if command else "",
        "\n".join(f"- {note}" for note in study.notes),
        *(markdown(table) for table in (accuracy_table(cells), cost_table(cells, watts), cell_table(cells))),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _earlier_causes(file: Path) -> dict[str, str]:
    """Return why cells failed in an earlier session."""
    if not file.is_file():
        return {}
    try:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        return {cell["cell"]: cell["cause"] for cell in cells}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{file} is not what a study writes ({error}). Move it away to go on.") from error
