"""The page of an architecture search, finished, unfinished and damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_selections import selections
from synthetic import record
from test_nas_info import ASKED
from test_report_page import Page, figure_ids

from raysubset.errors import RecordError
from raysubset.report.cell_figure import draw_cells
from raysubset.report.cell_layout import CellPicture
from raysubset.report.html import write_report
from raysubset.report.nas_info import NasInfo, RankAgreement, TableVerdict
from raysubset.report.records import RECORDS_FILE, RecordWriter

CELL = "|conv_3x3~0|+|skip_connect~0|none~1|"


def search(folder: Path, *, whole: bool = True, **changes: Any) -> Path:
    facts = {**ASKED, "name": "nas <i>"}
    if whole:
        facts |= {"cell": CELL, "score": 0.31, "judged": 40, "judged_s": 12.0, "supernet_samples": 4000,
                  "supernet_epochs": 2.5, "supernet_train_s": 30.0,
                  "table": TableVerdict("cifar10", None, 0.90, 9000, 15625, 0.94, 0.91),
                  "agreement": RankAgreement(0.05, -0.1, 0.2, 200)}  # fmt: skip
    NasInfo(**{**facts, **changes}).write(folder)
    if whole:
        with RecordWriter(folder / RECORDS_FILE) as writer:
            for epoch in range(1, 6):
                writer.append(record("supernet", epoch, stage="supernet", train_loss=2.0 / epoch, ratio=0.5,
                                     peak_bytes=2_000_000_000))  # fmt: skip
        lines = [{"cell": f"c{i}", "score": 0.1 + 0.005 * i, "wall_s": 0.1} for i in range(40)]
        (folder / "candidates.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in lines) + '{"cell": "c'
        )
        alphas = [{"epoch": e, "normal": [[0.5, 0.5], [0.2 * e, 1 - 0.2 * e]]} for e in range(1, 5)]
        (folder / "alphas.jsonl").write_text("".join(json.dumps(line) + "\n" for line in alphas))
        draw_cells(folder / "cell.svg", [CellPicture("found", ("in", "out"), ((0, 1, "conv_3x3"),))])
    return folder


def page(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_a_finished_search_shows_cell_training_judgements_and_bad_news(tmp_path: Path) -> None:
    shown = page(search(tmp_path))
    assert figure_ids(shown) == ["cell", "training", "judged", "alphas"]
    assert f"Found {CELL}, the best of 40 judged." in shown.words
    assert "rank 9,000 of 15,625" in shown.words
    assert "worse than the median of the benchmark" in shown.words
    assert "not shown to rank cells as the benchmark does: Kendall's tau 0.05" in shown.words
    assert "2.00 GB" in shown.words
    assert "Best 15 of 40 cells judged" in shown.words
    assert "raysubset nas" in shown.words
    assert not shown.all("i")
    assert all((image["src"] or "").startswith("data:image/svg+xml;base64,") for image in shown.all("img"))


def test_the_rows_that_a_supernet_was_trained_on_are_shown(tmp_path: Path) -> None:
    folder = search(tmp_path)
    assert "Which rows were chosen was not kept" in page(folder).words
    selections(trials=1, epochs=5).write(folder)
    shown = page(folder)
    drawn = ["cell", "training", "judged", "alphas", "balance", "classes", "times", "watched"]
    assert figure_ids(shown) == [*drawn, "hardest", "easiest", "most-chosen", "least-chosen"]
    assert "Counted is every subset that the supernet was trained on" in shown.words
    assert "light where the row was in the epoch's subset" in shown.words
    for words in ("Hardest rows", "Easiest rows", "Most often chosen", "Least often chosen"):
        assert words in shown.words
    for words in ("was not kept", "over all trials", "trials agree on", "All trials"):
        assert words not in shown.words
    selections(trials=1, epochs=4).write(folder)
    assert "Counted are 4 subsets of 5 epochs" in page(folder).words


def test_equal_searches_give_equal_pages(tmp_path: Path) -> None:
    first = write_report(search(tmp_path / "a")).read_bytes()
    assert first == write_report(search(tmp_path / "b")).read_bytes()


def test_a_search_that_has_just_begun_says_so(tmp_path: Path) -> None:
    shown = page(search(tmp_path, whole=False))
    assert figure_ids(shown) == []
    assert "This run is unfinished" in shown.words
    assert "No cell has been found yet." in shown.words


def test_a_damaged_line_is_refused_with_file_and_line(tmp_path: Path) -> None:
    search(tmp_path)
    (tmp_path / "candidates.jsonl").write_text('{"cell": "a", "score": 1}\n{"cell": "b"}\n')
    with pytest.raises(RecordError, match=r"candidates\.jsonl, line 2: KeyError: 'score'"):
        write_report(tmp_path)
