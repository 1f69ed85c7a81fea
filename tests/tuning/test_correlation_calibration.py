"""Calibration: the smallest ratio that ranks well enough, and no training beyond it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raysubset.data.dataset import Dataset
from raysubset.report.rank_cells import STUDY_FILE, Calibration, Study
from raysubset.report.rank_study import calibration_rows, rank_rows, recommended
from raysubset.report.rank_verdict import calibration_words, study_facts
from tests.tuning.made_up_stages import ASKED, SESSION, study_in

pytestmark = pytest.mark.slow  # seconds each on a busy machine; the pieces have everyday tests


def calibrated(root: Path, digits: Dataset, asked: Calibration) -> Study:
    options = {"ratios": (0.9, 0.1, 0.5), "pairings": ("both",), "full_seeds": 1, "calibration": asked}
    study = study_in(root, digits, configs=12, **options)
    return study.measure(SESSION)


def test_calibration_takes_the_smallest_ratio_that_holds_and_trains_no_larger(
    digits: Dataset, tmp_path: Path, stages: Any
) -> None:
    made = stages(noise=0.3)
    asked = replace(ASKED, threshold=0.3)
    measured = calibrated(tmp_path, digits, asked)
    rows = {r.ratio: r for r in rank_rows(measured) if (r.score, r.reference, r.full) == ("loss", "loss", False)}
    assert [(r.ratio, r.tau) for r in calibration_rows(measured, asked)] == [(k, rows[k].tau) for k in (0.1, 0.5)]
    assert rows[0.1].over_configs.low < 0.3 <= rows[0.5].over_configs.low
    chosen = recommended(measured)
    assert chosen == 0.5
    assert made.called == ["full-0", "r0.1-both-0", "r0.1-both-1", "r0.5-both-0", "r0.5-both-1"]
    words = calibration_words(measured)
    assert words.startswith(
        f"Recommended: --ratio {chosen:g}, the smallest tried at which the lower end of tau's 95 %"
    )
    spent = sum(cell.samples for cell in measured.cells)
    assert f"It cost {spent:,} samples, {12 * 1080:,} of them on all data." in words
    assert json.loads((tmp_path / "c" / STUDY_FILE).read_text())["recommended_ratio"] == chosen
    assert dict(study_facts(measured))["calibration"] == words


def test_tau_itself_holds_sooner_than_its_lower_end(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages(noise=0.6)
    by_tau = Calibration(threshold=0.6, score="loss", pairing="both", by="estimate")
    soon = recommended(calibrated(tmp_path / "soon", digits, by_tau))
    late = recommended(calibrated(tmp_path / "late", digits, ASKED))
    assert soon is not None
    assert late is None or late > soon


def test_where_no_ratio_holds_none_is_recommended(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    made = stages(noise=30.0)
    measured = calibrated(tmp_path, digits, Calibration(threshold=0.99, score="loss", pairing="both", by="lower"))
    assert recommended(measured) is None
    assert measured.finished
    assert len(made.called) == 1 + 3 * 2
    assert calibration_words(measured).startswith("At no ratio tried the lower end")


def test_an_unfinished_calibration_decides_nothing(tmp_path: Path) -> None:
    study = Study(configs=({"lr": 1},), cells=(), finished=False, calibration=ASKED)
    assert "Not decided yet" in calibration_words(study)
    assert rank_rows(study) == ()


def test_a_calibration_that_lacks_a_repeat_recommends_nothing_yet(
    digits: Dataset, tmp_path: Path, stages: Any
) -> None:
    stages(noise=0.3)
    measured = calibrated(tmp_path, digits, replace(ASKED, threshold=0.3))
    cut = replace(measured, cells=measured.cells[:-1], finished=False)
    assert recommended(cut) is not None, "by what is there"
    assert calibration_words(cut).startswith("Not decided yet")
