"""A correlation study that was cut off goes on as if it had not been, and its page says which it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raysubset.data.dataset import Dataset
from raysubset.errors import InterruptedRunError
from raysubset.report.html import write_report
from raysubset.report.rank_cells import read_study
from raysubset.report.records import RECORDS_FILE
from raysubset.report.tables import summary_rows
from raysubset.tuning.cells import StudyOptions
from raysubset.tuning.correlation import create_study, open_study
from raysubset.tuning.progress import Silent
from raysubset.tuning.run import open_run
from tests.tuning.made_up_stages import SESSION, experiment, study_in

pytestmark = pytest.mark.slow  # seconds each on a busy machine; the pieces have everyday tests


def test_a_finished_cell_is_read_back_and_an_interrupted_one_goes_on(
    digits: Dataset, tmp_path: Path, stages: Any
) -> None:
    first = stages(dies_in="r0.1-both-1")
    study = study_in(tmp_path, digits, ratios=(0.1,), pairings=("both",), repeats=3)
    with pytest.raises(InterruptedRunError, match="r0.1-both-1"):
        study.measure(SESSION)
    assert first.called == ["full-0", "full-1", "r0.1-both-0", "r0.1-both-1"]
    assert sorted(path.name for path in (tmp_path / "c" / "tune").iterdir()) == ["r0.1-both-1"]
    partial = read_study(tmp_path / "c")
    assert ([cell.name for cell in partial.cells], partial.finished) == (
        ["full-0", "full-1", "r0.1-both-0"],
        False,
    )
    assert dict(summary_rows(tmp_path / "c"))["state"].startswith("UNFINISHED")

    second = stages()
    again = open_study(open_run(tmp_path / "c", digits, Silent()))
    assert again.options == study.options
    assert again.points == study.points
    measured = again.measure(SESSION)
    assert second.called == ["r0.1-both-1", "r0.1-both-2"]
    assert second.given["r0.1-both-1"]["elapsed_s"] == 2.0
    assert second.given["r0.1-both-1"]["points"] == study.points
    assert measured.finished
    assert read_study(tmp_path / "c") == measured

    third = stages()
    open_study(open_run(tmp_path / "c", digits, Silent())).measure(SESSION)
    assert third.called == []
    whole = stages()
    alone = study_in(tmp_path / "alone", digits, ratios=(0.1,), pairings=("both",), repeats=3).measure(SESSION)
    assert len(whole.called) == 5
    assert [cell.scores for cell in alone.cells] == [cell.scores for cell in measured.cells]


@pytest.mark.slow
def test_the_page_of_a_study(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages(dies_in="r0.2-both-1")
    study = study_in(tmp_path, digits)
    with pytest.raises(InterruptedRunError):
        study.measure(SESSION)
    assert "This run is unfinished" in write_report(study.run.folder).read_text()
    stages()
    study.measure(SESSION)
    text = write_report(study.run.folder).read_text()
    assert "Against the ranking by accuracy on all data" in text
    assert "How well subsets rank" in text
    assert "unfinished" not in text
    assert "The same search on all data was not run" not in text


@pytest.fixture
def tiny() -> StudyOptions:
    return StudyOptions(configs=3, ratios=(0.3,), pairings=("both",), repeats=1, full_seeds=1)


@pytest.mark.ray
@pytest.mark.slow
def test_a_tiny_study_runs_and_is_gone_on_with(
    digits: Dataset, ray_cluster: None, tmp_path: Path, tiny: StudyOptions
) -> None:
    from raysubset.tuning.session import open_session

    study = create_study(experiment(), digits, tmp_path, Silent(), tiny, command="raysubset corr")
    with open_session(study.run) as session:
        measured = study.measure(session)
    full, subset = measured.cells
    assert (full.samples, full.failed, subset.failed) == (3 * 2 * study.run.info.n_train, 0, 0)
    assert full.samples + subset.samples == study.planned_samples
    assert all(0 <= value <= 1 for value in subset.scores["end"]["accuracy"])
    assert list((tmp_path / "c" / "tune").iterdir()) == []

    records = tmp_path / "c" / RECORDS_FILE
    lines = records.read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["stage"] == "full-0"]
    records.write_text("\n".join(kept) + "\n")  # as if the study had been stopped after its first cell
    (tmp_path / "c" / f"search-{subset.name}.jsonl").unlink()
    again = open_study(open_run(tmp_path / "c", digits, Silent()))
    with open_session(again.run) as session:
        repeated = again.measure(session)
    assert repeated.cells[0] == full
    assert repeated.cells[1].scores == subset.scores
    assert records.read_text().splitlines()[: len(kept)] == kept
