"""The page of a study of many searches (``raysubset hpo-dss``, ``hpo-table``): its tables, and what they say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysubset.errors import RecordError, StorageError
from raysubset.report.headline import Headline
from raysubset.report.intervals import Estimate
from raysubset.report.page import Page, Part
from raysubset.report.published import Published
from raysubset.report.run_page import UNFINISHED
from raysubset.report.study_lines import CellResult, Line, lines
from raysubset.report.study_table import accuracy_table, cell_table, cost_table
from raysubset.report.svg import BLUE, GREY, INK, VERMILLION, Picture, canvas, render
from raysubset.report.tables import Table
from raysubset.report.wording import NOT_MEASURED, count, points, times

GRID_SCHEMA = 1
STEM = "study"
NOTE = (
    "Faster and fewer: against the search on all data of the same seed. ± is half a Student 95 % interval over "
    "seeds; with one seed there is none. Cells that are missing are left out of the means."
)
MISSING_NOTE = "Planned and without a result; the means above leave them out. The same command goes on with them."


@dataclass(frozen=True, slots=True)
class Grid:
    """What a study's file says.

    Attributes:
        name, table: Of the study, and which of a paper's tables it is, "" for none.
        command: That repeats it.
        notes: How it was done.
        watts: Power of the machine as its owner says, or None.
        cells: All of them, finished or not.
    """

    name: str
    table: str
    command: str
    notes: tuple[str, ...]
    watts: float | None
    cells: tuple[CellResult, ...]

    @property
    def missing(self) -> tuple[CellResult, ...]:
        """Cells without a result."""
        return tuple(cell for cell in self.cells if cell.state != "finished")


def grid_files(folder: Path) -> list[Path]:
    """Return the studies' files in a folder, by name; none if it is the folder of something else."""
    return sorted((*folder.glob(f"{STEM}.json"), *folder.glob(f"{STEM}-T*.json")))


def page_file(file: Path) -> str:
    """study-T3.json -> "report-T3.html"."""
    return f"report{file.stem.removeprefix(STEM)}.html"


def read_grid(file: Path) -> Grid:
    """Read a study's file.

    Raises:
        StorageError: It cannot be read.
        RecordError: It is of another schema, or is not what a study writes; the message names the file.
    """
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        if plain["schema"] != GRID_SCHEMA:
            raise RecordError(f"{file} has schema {plain['schema']!r}, this version reads {GRID_SCHEMA}.")
        cells = tuple(_cell(cell) for cell in plain["cells"])
        return Grid(
            plain["study"], plain["table"], plain["command"], tuple(plain["notes"]), plain.get("watts"), cells
        )
    except OSError as error:
        raise StorageError(f"Cannot read {file}: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{file} is not what a study writes ({type(error).__name__}: {error}).") from error


def _cell(plain: Mapping[str, Any]) -> CellResult:
    paper = plain["published"]
    if paper is not None:
        speedup = None if paper["speedup"] is None else tuple(paper["speedup"])
        paper = Published(**{**paper, "speedup": speedup})
    return CellResult(**{**plain, "published": paper})


def grid_page(grid: Grid) -> Page:
    """Put a study's page together."""
    rows = lines(grid.cells)
    drawn = (_gaps(rows), _savings(rows))
    parts = (
        Part("How it went", pictures=tuple(picture for picture in drawn if picture is not None)),
        Part("Cells that are missing", (MISSING_NOTE,), tables=(missing_table(grid),) if grid.missing else ()),
        Part("Numbers", (*grid.notes, NOTE),
             tables=(accuracy_table(grid.cells), cost_table(grid.cells, grid.watts), cell_table(grid.cells))),
    )  # fmt: skip
    return Page(
        title=" ".join(filter(None, (grid.name, grid.table))),
        subtitle=f"A study of {len(grid.cells)} searches: {len(rows)} ways, each once a seed.",
        notices=(UNFINISHED,) if grid.missing else (),
        headline=Headline(tuple(_found(rows)), tuple(_against(grid, rows)), tuple(_unmeasured(grid, rows))),
        facts=grid_facts(grid),
        parts=tuple(part for part in parts if part.shows),
        command=grid.command,
    )


def grid_facts(grid: Grid) -> tuple[tuple[str, str], ...]:
    """Return (label, value) pairs that sum a study up."""
    done = [cell for cell in grid.cells if cell.state == "finished"]
    watts = f"estimated by {grid.watts:g} W, as was said by --watts" if grid.watts else f"{NOT_MEASURED} (--watts)"
    return (
        ("state", "UNFINISHED: the numbers below are partial" if grid.missing else "finished"),
        ("cells", f"{len(done)} of {len(grid.cells)} finished"),
        ("data", ", ".join(dict.fromkeys(cell.dataset for cell in grid.cells))),
        ("models", ", ".join(dict.fromkeys(cell.model for cell in grid.cells))),
        ("seeds", ", ".join(str(seed) for seed in sorted({cell.seed for cell in grid.cells}))),
        ("samples, all cells", count(sum(cell.samples or 0 for cell in done))),
        ("energy", watts),
    )


def missing_table(grid: Grid) -> Table:
    """Return the cells without a result, each with its state; a failed one with its cause."""
    rows = tuple(
        (cell.cell, cell.method, cell.dataset, f"{cell.ratio:g}", str(cell.seed),
         f"failed: {cell.cause}" if cell.state == "failed" else cell.state)
        for cell in grid.missing
    )  # fmt: skip
    title = f"{len(rows)} of {len(grid.cells)} cells are missing"
    return Table(title, ("cell", "method", "data set", "ratio", "seed", "state"), rows)


# ---------------------------------------------------------------------- in words


def _label(line: Line) -> str:
    first = line.cells[0]
    return f"{first.method}, {first.dataset}, {first.ratio:g}"


def _found(rows: Sequence[Line]) -> Iterator[str]:
    for line in rows:
        gap, saved = line.gap(), line.saving(lambda c: c.samples)
        if saved is None or not line.cells[0].against:
            continue
        took = line.saving(lambda c: c.wall_s)
        time = "" if took is None else f", {times(took.value, 'less time', 'more time')}"
        accuracy = "" if gap is None else f"test accuracy {_points(gap)} against the search on all data, with "
        than = "" if gap is not None else " than the search on all data"
        yield (
            f"{_label(line)}: {accuracy}{times(saved.value, 'fewer samples', 'more samples')}{time}{than}, "
            "retraining included."
        )


def _points(gap: Estimate) -> str:
    return points(gap) if math.isfinite(gap.low) else f"{100 * gap.value:+.1f} points (no interval)"


def _against(grid: Grid, rows: Sequence[Line]) -> Iterator[str]:
    for line in rows:
        gap, took = line.gap(), line.saving(lambda c: c.wall_s)
        if gap is not None and gap.high < 0 and math.isfinite(gap.high):
            yield f"{_label(line)} is less accurate than the search on all data, beyond the noise of seeds."
        if took is not None and took.value < 1 and line.cells[0].against:
            yield f"{_label(line)} takes {times(took.value, 'less time', 'more time')} than on all data."
    if failed := [cell.cell for cell in grid.cells if cell.state == "failed"]:
        yield f"{len(failed)} of {len(grid.cells)} cells failed: {', '.join(failed)}."


def _unmeasured(grid: Grid, rows: Sequence[Line]) -> Iterator[str]:
    if grid.missing:
        yield f"{len(grid.missing)} of {len(grid.cells)} cells have no result; they are listed below."
    if any(len(line.finished) == 1 for line in rows):
        yield "Some rows rest on one seed: they have no interval."
    if any(line.pairs and line.gap() is None for line in rows):
        yield "The data have no test rows: accuracy against all data is not measured."
    if not any(line.pairs for line in rows):
        yield "No cell has a finished search on all data beside it: nothing that was saved is measured."


# ---------------------------------------------------------------------- figures


def _gaps(rows: Sequence[Line]) -> Picture | None:
    gaps = [(line, gap) for line in rows if line.cells[0].against and (gap := line.gap()) is not None]
    if not gaps:
        return None
    with canvas(height=1.1 + 0.34 * len(gaps)) as (figure, (axes,)):
        for place, (_, gap) in enumerate(gaps):
            if math.isfinite(gap.low):
                axes.hlines(place, 100 * gap.low, 100 * gap.high, color=BLUE, linewidth=1.4)
            axes.plot(100 * gap.value, place, "o", color=BLUE, markersize=5.5)
        axes.axvline(0, color=GREY, linewidth=1.2)
        axes.set_yticks(range(len(gaps)), [_label(line) for line, _ in gaps])
        axes.set_ylim(len(gaps) - 0.5, -0.5)
        axes.set_xlabel("test accuracy less that of the full search, points")
        svg = render(figure, "gaps")
    words = "; ".join(f"{_label(line)}: {_points(gap)}" for line, gap in gaps)
    return Picture(
        slug="gaps",
        title="Accuracy against the search on all data",
        alt=f"Test accuracy of each way less that of the search on all data. {words}.",
        caption="Paired by seed; lines: Student's 95 % interval over seeds, none with one. Across 0: no "
        "difference shown.",
        svg=svg,
    )


_SAVED: tuple[tuple[str, Callable[[CellResult], float | None], str], ...] = (
    ("samples", lambda cell: cell.samples, BLUE),
    ("time", lambda cell: cell.wall_s, VERMILLION),
)


def _savings(rows: Sequence[Line]) -> Picture | None:
    saved = [
        (line, [line.saving(reading) for _, reading, _ in _SAVED])
        for line in rows
        if line.cells[0].against and line.saving(lambda c: c.samples) is not None
    ]
    if not saved:
        return None
    with canvas(height=1.3 + 0.42 * len(saved)) as (figure, (axes,)):
        for part, (name, _, colour) in enumerate(_SAVED):
            factors = [0.0 if (one := each[part]) is None else one.value for _, each in saved]
            places = [place + 0.36 * part - 0.18 for place in range(len(saved))]
            axes.barh(places, factors, height=0.34, color=colour, label=f"fewer {name}")
        axes.axvline(1, color=INK, linewidth=1.0)
        axes.set_yticks(range(len(saved)), [_label(line) for line, _ in saved])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("times less than the full search, retraining included")
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.2)
        svg = render(figure, "savings")
    words = "; ".join(
        f"{_label(line)}: " + ", ".join(
            f"{name} {times(one.value, 'less', 'more')}"
            for (name, _, _), one in zip(_SAVED, each, strict=True) if one is not None)
        for line, each in saved
    )  # fmt: skip
    return Picture("savings", "What was saved", f"Bar chart of savings against the search on all data. {words}.",
                   "Below 1 (the line) it was dearer.", svg)  # fmt: skip
