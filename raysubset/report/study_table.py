"""The tables of a study, as text: for a terminal, and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from raysubset.report.intervals import Estimate
from raysubset.report.published import Published
from raysubset.report.study_lines import CellResult, Line, lines, mean_over_seeds
from raysubset.report.tables import Table
from raysubset.report.wording import count, seconds

ABSENT = "-"


def overview_table(results: Sequence[CellResult]) -> Table:
    """Return the columns that fit a terminal."""
    columns = ("method", "data set", "ratio", "seeds", "test %", "to full", "faster / retrained", "published")
    return Table("Overview", columns, tuple(_overview_row(line) for line in lines(results)))


def accuracy_table(results: Sequence[CellResult]) -> Table:
    """Return what was found, beside what a paper found."""
    columns = ("method", "data set", "model", "searched by", "rows by", "ratio", "seeds", "trials",
               "search val. %", "retrained val. %", "test %", "to full, points", "published %",
               "ours to published", "published to full", "device")  # fmt: skip
    return Table("Accuracy", columns, tuple(_accuracy_row(line) for line in lines(results)))


def cost_table(results: Sequence[CellResult], watts: float | None = None) -> Table:
    """Return what it cost; with ``watts``, the energy that a machine of that power would have taken."""
    columns = ["method", "data set", "ratio", "seeds", "search samples", "with retraining", "search time",
               "retraining time", "fewer samples, search", "with retraining", "faster, search", "with retraining",
               "published faster", "published cost"]  # fmt: skip
    if watts is not None:
        columns.append(f"energy at {watts:g} W, Wh")
    return Table("Cost", tuple(columns), tuple(_cost_row(line, watts) for line in lines(results)))


def cell_table(results: Sequence[CellResult]) -> Table:
    """Return every cell with its state; a failed one with its cause."""
    rows = tuple(
        (
            cell.cell,
            f"failed: {cell.cause}" if cell.state == "failed" else cell.state,
            _rows_by(cell),
            ABSENT if cell.trials is None else str(cell.trials),
            _percent(mean_over_seeds([cell.search_accuracy])),
            _percent(mean_over_seeds([cell.test_accuracy])),
            ABSENT if cell.search_samples is None else count(cell.search_samples),
            ABSENT if cell.samples is None else count(cell.samples),
            ABSENT if cell.search_s is None else seconds(cell.search_s),
            ABSENT if cell.wall_s is None else seconds(cell.wall_s),
        )
        for cell in results
    )
    columns = ("cell", "state", "rows by", "trials", "search val. %", "test %", "search samples",
               "with retraining", "search time", "with retraining")  # fmt: skip
    return Table("Cells", columns, rows)


def markdown(table: Table) -> str:
    """Return the table in Markdown, under a heading."""
    rows = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    body = ("| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in row) + " |" for row in rows)
    return "\n".join((f"## {table.title}", "", *body))


def _overview_row(line: Line) -> tuple[str, ...]:
    first = line.cells[0]
    return (
        first.method,
        first.dataset,
        f"{first.ratio:g}",
        _seeds(line),
        _percent(line.mean(lambda c: c.test_accuracy)),
        _gap(line),
        f"{_times(line.saving(lambda c: c.search_s))} / {_times(line.saving(lambda c: c.wall_s))}",
        _published_in_short(first.published),
    )


def _accuracy_row(line: Line) -> tuple[str, ...]:
    first = line.cells[0]
    paper = first.published
    trials = line.mean(lambda c: c.trials)
    return (
        first.method,
        first.dataset,
        first.model,
        first.searched_by,
        " / ".join(dict.fromkeys(_rows_by(cell) for cell in line.finished or line.cells)),
        f"{first.ratio:g}",
        _seeds(line),
        ABSENT if trials is None else f"{trials.value:.4g}",
        _percent(line.mean(lambda c: c.search_accuracy)),
        _percent(line.mean(lambda c: c.val_accuracy)),
        _percent(line.mean(lambda c: c.test_accuracy)),
        _gap(line),
        _published_accuracy(paper),
        _percent(line.above_published(), "+"),
        _published_gap(paper),
        " / ".join(dict.fromkeys(cell.device for cell in line.finished)) or ABSENT,
    )


def _cost_row(line: Line, watts: float | None) -> tuple[str, ...]:
    first = line.cells[0]
    paper = first.published
    row = (
        first.method,
        first.dataset,
        f"{first.ratio:g}",
        _seeds(line),
        _whole(line.mean(lambda c: c.search_samples)),
        _whole(line.mean(lambda c: c.samples)),
        _seconds(line.mean(lambda c: c.search_s)),
        _seconds(line.mean(lambda c: c.retrain_s)),
        _times(line.saving(lambda c: c.search_samples)),
        _times(line.saving(lambda c: c.samples)),
        _times(line.saving(lambda c: c.search_s)),
        _times(line.saving(lambda c: c.wall_s)),
        _published_speedup(paper),
        ABSENT if paper is None or paper.cost is None else f"{paper.cost:g} GPU days",
    )
    if watts is None:
        return row
    wall = line.mean(lambda c: c.wall_s)
    return (*row, ABSENT if wall is None else f"{watts * wall.value / 3600:.3g}")


def _rows_by(cell: CellResult) -> str:
    if cell.taken_by in ("", cell.rows_by):
        return cell.rows_by
    return f"{cell.taken_by} (in place of {cell.rows_by}, which would cost more than it saves)"


def _gap(line: Line) -> str:
    """Say over how many seeds, where cells on full data are missing."""
    fewer = 0 < len(line.pairs) < len(line.finished)
    return _percent(line.gap(), "+") + (f" ({len(line.pairs)} of them)" if fewer else "")


def _seeds(line: Line) -> str:
    return f"{len(line.finished)} of {len(line.cells)}"


def _published_accuracy(paper: Published | None) -> str:
    if paper is None or paper.accuracy is None:
        return ABSENT
    return f"{paper.accuracy:.2f}" + ("" if paper.spread is None else f" ± {paper.spread:.2f}")


def _published_gap(paper: Published | None) -> str:
    return ABSENT if paper is None or paper.gap is None else f"{paper.gap:+.2f}"


def _published_speedup(paper: Published | None) -> str:
    return ABSENT if paper is None or paper.speedup is None else "{:g} to {:g}x".format(*paper.speedup)


def _published_in_short(paper: Published | None) -> str:
    """Accuracy, gap to full data and speed-up, as far as they are printed."""
    said = (_published_accuracy(paper), _published_gap(paper), _published_speedup(paper))
    return ", ".join(text for text in said if text != ABSENT) or ABSENT


def _half(estimate: Estimate) -> float | None:
    return estimate.high - estimate.value if math.isfinite(estimate.high) else None


def _spread(estimate: Estimate, unit: float, digits: int) -> str:
    half = _half(estimate)
    return "" if half is None else f" ± {unit * half:.{digits}f}"


def _percent(estimate: Estimate | None, sign: str = "") -> str:
    return ABSENT if estimate is None else f"{100 * estimate.value:{sign}.2f}{_spread(estimate, 100, 2)}"


def _times(estimate: Estimate | None) -> str:
    return ABSENT if estimate is None else f"{estimate.value:.2f}{_spread(estimate, 1, 2)}x"


def _whole(estimate: Estimate | None) -> str:
    return ABSENT if estimate is None else f"{estimate.value:,.0f}"


def _seconds(estimate: Estimate | None) -> str:
    return ABSENT if estimate is None else seconds(estimate.value)
