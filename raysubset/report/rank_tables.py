"""A study of rank correlation as tables of text, for page and terminal; the sentences are in `rank_verdict`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from raysubset.report.intervals import Estimate
from raysubset.report.rank_cells import END, SCORES, Study
from raysubset.report.rank_gains import Gain, pairing_gains, way_gains
from raysubset.report.rank_study import RankRow, rank_rows
from raysubset.report.tables import Table
from raysubset.report.wording import count, number, seconds

_UNITS = {"accuracy": "points", "loss": "nats"}


def missing_table(study: Study) -> Table:
    """Return the cells that were planned and are not measured; none once the study is finished."""
    measured = {cell.name for cell in study.cells}
    rows = (
        () if study.finished else tuple((name, "not measured") for name in study.planned if name not in measured)
    )
    return Table(f"{len(rows)} of {len(study.planned)} cells are missing", ("cell", "state"), rows)


def study_tables(study: Study) -> tuple[Table, ...]:
    """Return the tables that have rows: one a reference, gains of pairing, earlier epochs, cells."""
    rows = rank_rows(study)
    tables = (
        *(_reference_table(rows, reference) for reference in SCORES[::-1]),
        _gain_table("What a way of choosing rows adds to tau", way_gains(study)),
        _gain_table("What pairing adds to tau", pairing_gains(study)),
        _early_table(rows),
        _cell_table(study),
    )
    return tuple(table for table in tables if table.rows)


def _reference_table(rows: Sequence[RankRow], reference: str) -> Table:
    chosen = [row for row in rows if row.reference == reference and row.at == END]
    return Table(
        f"Against the ranking by {reference} on all data",
        (
            "ratio",
            "rows by",
            "pairing",
            "by",
            "tau",
            "95 % configs",
            "95 % repeats",
            "Pearson",
            "Spearman",
            f"top-1 regret, {_UNITS[reference]}",
            "top tenth",
            "cost",
        ),
        tuple(
            (
                *_way(row),
                row.score,
                _tau(row.tau),
                _span(row.over_configs),
                _span(row.over_repeats),
                _tau(row.pearson),
                _tau(row.spearman),
                _regret(row),
                f"{100 * row.overlap:.0f} %",
                f"{row.cost:.3f}",
            )
            for row in chosen
        ),
    )


def _way(row: RankRow) -> tuple[str, str, str]:
    return ("all", "-", "ceiling") if row.full else (f"{row.ratio:g}", row.way or "-", row.pairing)


def _tau(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _span(interval: Estimate | None) -> str:
    return "-" if interval is None else f"{interval.low:.2f}..{interval.high:.2f}"


def _regret(row: RankRow) -> str:
    """In points of accuracy, or in nats; a pick that failed on all data has no finite one."""
    if not math.isfinite(row.regret):
        return "failed" if row.regret > 0 else "-"
    return f"{100 * row.regret:.2f}" if row.reference == "accuracy" else number(row.regret)


def _gain_table(title: str, gains: Sequence[Gain]) -> Table:
    return Table(
        title,
        ("ratio", "rows by", "pairing", "over", "by", "against", "gain", "95 % configs", "95 % repeats"),
        tuple(
            (
                f"{gain.ratio:g}",
                gain.way or "-",
                gain.pairing,
                gain.over,
                gain.score,
                gain.reference,
                "-" if math.isnan(gain.gain) else f"{gain.gain:+.2f}",
                _span(gain.over_configs),
                _span(gain.over_repeats),
            )
            for gain in gains
        ),
    )


def _early_table(rows: Sequence[RankRow]) -> Table:
    return Table(
        "Judged before the end",
        ("ratio", "rows by", "pairing", "by", "against", "judged at", "tau", "95 % configs", "95 % repeats"),
        tuple(
            (
                *_way(row),
                row.score,
                row.reference,
                row.at,
                _tau(row.tau),
                _span(row.over_configs),
                _span(row.over_repeats),
            )
            for row in rows
            if row.at != END
        ),
    )


def _cell_table(study: Study) -> Table:
    return Table(
        "Trainings of all configurations",
        ("stage", "ratio", "rows by", "pairing", "samples", "wall time", "failed"),
        tuple(
            (
                cell.name,
                f"{cell.ratio:g}",
                cell.way or "-",
                cell.pairing,
                count(cell.samples),
                seconds(cell.wall_s),
                str(cell.failed),
            )
            for cell in study.cells
        ),
    )
