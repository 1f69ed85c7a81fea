"""Correlation studies that cannot be, and folders and files that hold none: refused, nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raysubset.data.dataset import Dataset
from raysubset.errors import BudgetError, OptionsError, RecordError, SearchSpaceError
from raysubset.hpo.space import choice
from raysubset.report.rank_cells import STUDY_FILE, Calibration, read_study
from raysubset.selection.plan import SubsetPlan
from raysubset.tuning.cells import StudyOptions, draw_points
from raysubset.tuning.correlation import CorrelationStudy, open_study
from raysubset.tuning.progress import Silent
from raysubset.tuning.run import open_run
from tests.tuning.made_up_stages import ASKED, SESSION, SPACE, experiment, study_in

pytestmark = pytest.mark.slow  # seconds each on a busy machine; the pieces have everyday tests


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"configs": 1}, "configs=1, need at least 2"),
        ({"repeats": 0}, "repeats=0"),
        ({"full_seeds": 0}, "full_seeds=0"),
        ({"ratios": (0.1, 1.5)}, "ratio 1.5, need 0 < ratio <= 1"),
        ({"ratios": (0.1, 0.1)}, "each once"),
        ({"ratios": (0.1, 0.1000001)}, "each once"),  # they would share their stages
        ({"ratios": ()}, "at least one"),
        ({"pairings": ("none", "all")}, "pairing 'all', need one of both, subset, none"),
        ({"calibration": ASKED}, "a calibration has one"),
        ({"pairings": ("both",), "calibration": Calibration(threshold=2, score="f1", pairing="both", by="mean")},
         "tau=2.*by='mean'.*score='f1'"),
    ],
)  # fmt: skip
def test_options_say_what_is_wrong(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        StudyOptions(**options)


def test_a_study_that_does_not_fit_leaves_nothing_behind(digits: Dataset, tmp_path: Path) -> None:
    exact = SubsetPlan(selector="adaptive-random", budget="exact")
    with pytest.raises(BudgetError, match=r"0\.0005"):
        study_in(tmp_path, digits, experiment(plan=exact), ratios=(0.2, 0.0005))
    with pytest.raises(SearchSpaceError):
        study_in(tmp_path, digits, experiment(space={"batch_size": choice([16, 32])}))
    assert list(tmp_path.iterdir()) == []


def test_ways_that_a_study_cannot_have(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="el2n: chooses by evidence gathered beforehand"):
        study_in(tmp_path, digits, ways=("adaptive-random", "el2n"))
    with pytest.raises(OptionsError, match="ways=asp-loss, asp-loss, need each once"):
        StudyOptions(ways=("asp-loss", "asp-loss"))
    with pytest.raises(OptionsError, match="a calibration has one plan"):
        StudyOptions(ways=("adaptive-random", "asp-loss"), pairings=("both",), calibration=ASKED)
    assert list(tmp_path.iterdir()) == []


def test_the_records_of_another_study_are_refused(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages()
    study = study_in(tmp_path, digits, ratios=(0.1,), pairings=("both",), repeats=1)
    study.measure(SESSION)
    other = CorrelationStudy(study.run, study.options, draw_points(SPACE, 8, seed=5))
    with pytest.raises(RecordError, match="Is the folder that of another study"):
        other.measure(SESSION)


def test_a_search_is_no_study(digits: Dataset, tmp_path: Path) -> None:
    from raysubset.tuning.run import create_run

    create_run(experiment(), digits, tmp_path, Silent(), command="", settings={})
    with pytest.raises(OptionsError, match="is a search, not a study"):
        open_study(open_run(tmp_path / "c", digits, Silent()))


@pytest.mark.parametrize("text", ["{}", "[1]", '{"schema": 9}', "no json", '{"schema": 1, "cells": 3}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / STUDY_FILE).write_text(text)
    with pytest.raises(RecordError, match=r"correlation\.json"):
        read_study(tmp_path)
