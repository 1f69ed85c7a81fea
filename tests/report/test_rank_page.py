"""The page of a study of ranks that is not finished: which cells are missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic import run_info
from test_report_page import Page

from raysubset.errors import RecordError
from raysubset.report.html import write_report
from raysubset.report.rank_cells import END, Cell, Study, read_study

PLANNED = ("full-0", "full-1", "r0.1-none-0", "r0.1-both-0")


def cell(name: str, best: int) -> Cell:
    losses = tuple(float(abs(i - best)) for i in range(5))
    scores = {END: {"loss": losses, "accuracy": tuple(1 - loss / 10 for loss in losses)}}
    full = name.startswith("full")
    return Cell(name=name, full=full, ratio=1.0 if full else 0.1, pairing="both" if full else "none", repeat=0,
                samples=500, wall_s=2.0, scores=scores)  # fmt: skip


def study(folder: Path, cells: tuple[Cell, ...], finished: bool = False) -> Page:
    run_info().write(folder)
    made = Study(configs=({"lr": 1},) * 5, cells=cells, finished=finished, planned=PLANNED)
    made.write(folder, {})
    assert read_study(folder) == made
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_missing_cells_are_named(tmp_path: Path) -> None:
    page = study(tmp_path, (cell("full-0", 1), cell("r0.1-none-0", 2)))
    assert "This run is unfinished" in page.words
    assert "2 of 4 cells are missing" in page.words
    assert "full-1" in page.texts
    assert "r0.1-both-0" in page.texts


def test_a_finished_study_misses_nothing_even_where_a_calibration_stopped_early(tmp_path: Path) -> None:
    assert "are missing" not in study(tmp_path, (cell("full-0", 1), cell("full-1", 1)), finished=True).words


def test_a_study_with_nothing_measured_has_a_page(tmp_path: Path) -> None:
    assert "4 of 4 cells are missing" in study(tmp_path, ()).words


def test_a_study_of_another_schema_is_refused_by_name(tmp_path: Path) -> None:
    study(tmp_path, ())
    path = tmp_path / "correlation.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 5'))
    with pytest.raises(RecordError, match=r"correlation\.json: .* schema 5, this version reads 1"):
        write_report(tmp_path)
