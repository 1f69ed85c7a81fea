"""The page of a study of many searches: what is missing, what failed, what is against it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from test_report_page import Page, figure_ids
from test_study_tables import done

from raysubset.errors import RecordError
from raysubset.report.grid_page import grid_facts, page_file, read_grid
from raysubset.report.html import write_report
from raysubset.report.study_lines import CellResult


def cells(missing: bool) -> list[CellResult]:
    made = [done(f"full-s{seed}", seed, 0.90 + 0.01 * seed, 100.0, 2000) for seed in range(3)]
    made += [
        done(f"craig-s{seed}", seed, 0.79 + 0.02 * seed, 250.0, 200, method="CRAIG <b>", ratio=0.05,
             rows_by="craig", taken_by="craig", against=f"full-s{seed}")
        for seed in range(3)
    ]  # fmt: skip
    if missing:
        results = ("trials", "search_accuracy", "val_accuracy", "test_accuracy", "search_samples",
                   "retrain_samples", "search_s", "retrain_s")  # fmt: skip
        nothing = dict.fromkeys(results)
        made[4] = CellResult(**{**asdict(made[4]), **nothing, "state": "failed", "cause": "it broke"})
        made[5] = CellResult(**{**asdict(made[5]), **nothing, "state": "waiting"})
    return made


def write(folder: Path, missing: bool = False, file: str = "study.json", **changes: Any) -> Path:
    facts = {"schema": 1, "study": "demo", "table": "", "command": "raysubset hpo-dss --seeds 3",
             "notes": ["A note."], "watts": None, "lines": [],
             "cells": [asdict(cell) for cell in cells(missing)]}  # fmt: skip
    (folder / file).write_text(json.dumps({**facts, **changes}), encoding="utf-8")
    return folder / file


def page(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_a_finished_study_has_its_figures_tables_and_bad_news(tmp_path: Path) -> None:
    write(tmp_path)
    shown = page(tmp_path)
    assert figure_ids(shown) == ["gaps", "savings"]
    assert "CRAIG <b>, cifar10, 0.05: test accuracy -10.0 points" in shown.words
    assert "less accurate than the search on all data, beyond the noise of seeds" in shown.words
    assert "takes 2.36 times more time than on all data" in shown.words
    assert "unfinished" not in shown.words
    assert "raysubset hpo-dss --seeds 3" in shown.words
    assert "cells are missing" not in shown.words
    assert not shown.all("b")


def test_a_study_without_test_rows_says_what_was_saved_and_what_is_not_measured(tmp_path: Path) -> None:
    write(tmp_path, cells=[{**asdict(cell), "test_accuracy": None} for cell in cells(False)])
    shown = page(tmp_path)
    assert "Nothing has been measured" not in shown.words
    assert re.search(r"0\.05: [\d.]+ times (fewer|more) samples.* than the search on all data", shown.words)
    assert "no test rows" in shown.words


def test_missing_cells_are_listed_with_their_state(tmp_path: Path) -> None:
    file = write(tmp_path, missing=True)
    shown = page(tmp_path)
    assert "This run is unfinished" in shown.words
    assert "2 of 6 cells are missing" in shown.words
    assert "failed: it broke" in shown.words
    assert "waiting" in shown.words
    assert dict(grid_facts(read_grid(file)))["cells"] == "4 of 6 finished"


def test_a_study_without_any_result_still_has_a_page(tmp_path: Path) -> None:
    plain = [{**asdict(cell), "state": "waiting"} for cell in cells(False)]
    write(tmp_path, cells=plain)
    shown = page(tmp_path)
    assert figure_ids(shown) == []
    assert "6 of 6 cells are missing" in shown.words


def test_each_table_of_a_study_has_a_page_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, file="study-T3.json", table="T3")
    write(tmp_path, file="study-T4.json", table="T4", watts=100.0)
    assert write_report(tmp_path).name == page_file(tmp_path / "study-T4.json") == "report-T4.html"
    assert "Wh" in (tmp_path / "report-T4.html").read_text(encoding="utf-8")
    assert (tmp_path / "report-T3.html").exists()


@pytest.mark.parametrize(
    ("changes", "message"), [({"schema": 7}, "schema 7, this version reads 1"), ({"cells": [{}]}, "KeyError")]
)
def test_what_is_not_a_study_of_ours_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write(tmp_path, **changes)
    with pytest.raises(RecordError, match=message) as error:
        write_report(tmp_path)
    assert "study.json" in str(error.value)
    assert not (tmp_path / "report.html").exists()
