"""Reports of regressions: RMSE and R2 where accuracy stands, and files written before there were any."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from raysubset.errors import RecordError
from raysubset.report.comparison import COMPARISON_FILE, Comparison, Way, read_comparison, read_trainings
from raysubset.report.comparison_lines import derived, way_lines
from raysubset.report.comparison_tables import comparison_found, comparison_tables
from raysubset.report.headline import headline
from raysubset.report.html import write_report
from raysubset.report.records import RECORDS_FILE, Records, RecordWriter, parse_record
from raysubset.report.run_info import Result, RunInfo
from raysubset.report.summary import summarise
from raysubset.report.tables import rows_of, top_trials
from raysubset.types import TrialRecord
from tests.report.synthetic import record, run_info

NEW = ("val_rmse", "val_r2", "test_rmse", "test_r2")
OURS = Result({"lr": 0.1}, val_rmse=0.7, val_r2=0.5, test_rmse=0.75, test_r2=0.4375, test_loss=0.5625)


def regression(**changes) -> RunInfo:
    return run_info(**({"task": "regression", "result": OURS} | changes))


def records() -> Records:
    return Records((record("a", 1, val_accuracy=None, val_loss=0.36, val_rmse=0.6, val_r2=0.64),))


def test_records_and_runs_of_before_still_read() -> None:
    plain = json.loads(record().to_json())
    for name in NEW:
        del plain[name]
    assert parse_record(json.dumps(plain).encode(), "line 1") == record()
    info = json.loads(run_info(result=Result({}, val_accuracy=0.9)).to_json())
    del info["task"]
    for name in NEW:
        del info["result"][name]
    assert RunInfo.from_json(json.dumps(info)) == run_info(result=Result({}, val_accuracy=0.9))


def test_records_of_a_regression_come_back_as_they_were() -> None:
    row = record(val_accuracy=None, val_rmse=0.6, val_r2=-3.5, test_rmse=0.8, test_r2=None)
    assert TrialRecord.from_json(row.to_json()) == row
    with pytest.raises(RecordError, match="val_r2 must be a number"):
        parse_record(row.to_json().replace("-3.5", '"good"').encode(), "line 1")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"task": "ranking"}, "task must be one of classification, regression"),
        ({"result": replace(OURS, test_r2=1.5)}, "result.test_r2 must be at most 1"),
        ({"result": replace(OURS, val_rmse=-1.0)}, "result.val_rmse must be >= 0"),
        ({"n_test": 0}, "result.test_rmse is given, but n_test is 0"),
    ],
)
def test_scores_that_cannot_be_are_refused(changes, fault) -> None:
    with pytest.raises(RecordError, match=fault):
        regression(**changes)


def test_a_summary_says_rmse_and_r2_and_no_accuracy() -> None:
    made = summarise(regression(), records())
    said = dict(rows_of(made))
    assert [said[name] for name in ("validation RMSE", "validation R2", "test RMSE", "test R2")] == [
        "0.7", "0.5", "0.75", "0.4375",
    ]  # fmt: skip
    assert said["against the search on all data"] == "not measured"
    assert not any("accuracy" in name for name in said)
    table = top_trials(made)
    assert table.rows[0][table.columns.index("val. RMSE")] == "0.6"
    assert table.rows[0][table.columns.index("val. R2")] == "0.64"
    words = headline(made)
    assert "Test RMSE 0.75, R2 0.4375, on 500 test rows, in units of the targets." in words.found
    assert "The same search on all data was not run: time saved and error added are not measured." in (
        words.unmeasured
    )


@pytest.mark.parametrize(("rmse", "r2", "side"), [(0.70, 0.51, "against"), (0.80, 0.36, "found")])
def test_a_larger_error_than_on_all_data_is_said_among_what_falls_against_it(rmse, r2, side) -> None:
    full = replace(OURS, test_rmse=rmse, test_r2=r2)
    words = headline(summarise(regression(result_full=full), records()))
    gap = f"RMSE {0.75 - rmse:+.4g}, R2 {0.4375 - r2:+.4g}"
    assert any(gap in text for text in getattr(words, side))
    assert not any(gap in text for text in getattr(words, "found" if side == "against" else "against"))


def test_equal_test_targets_have_no_r2() -> None:
    words = headline(summarise(regression(result=replace(OURS, test_r2=None)), records()))
    assert any("R2 undefined (all targets are equal)" in text for text in words.found)


BASE, LOSS = "adaptive-random-static-r0.1", "asp-loss-static-r0.1"
R2 = {BASE: (0.30, 0.34, 0.32), LOSS: (0.25, 0.31, 0.28)}


def study(folder) -> Comparison:
    ways = (
        Way(name=BASE, method="adaptive-random", schedule="static", ratio=0.1),
        Way(name=LOSS, method="asp-loss", schedule="static", ratio=0.1, against=BASE),
    )
    made = Comparison(
        ways=ways, seeds=(0, 1, 2), full_samples=8000, judged_on="test", plans={BASE: {}, LOSS: {}}, measure="R2"
    )
    regression(result=None).write(folder)
    made.write(folder, {})
    with RecordWriter(folder / RECORDS_FILE) as writer:
        for name, values in R2.items():
            for seed, value in enumerate(values):
                scores = {"val_accuracy": None, "test_r2": value, "test_rmse": 1 - value, "test_loss": 0.5}
                writer.append(record(f"{name}-{seed}", 4, stage="train", status="done",
                                     config={"plan": name, "seed": seed}, **scores))  # fmt: skip
    return made


def test_a_study_of_trainings_is_compared_by_r2(tmp_path) -> None:
    made = study(tmp_path)
    trainings = read_trainings(tmp_path, made)
    base, loss = way_lines(made, trainings)
    assert base.accuracy.value == pytest.approx(0.32)
    assert loss.gain.value == pytest.approx(-0.04)
    assert loss.rmse.value == pytest.approx(0.72)
    plain = derived(made, trainings)["lines"][1]
    assert plain["R2"]["value"] == pytest.approx(0.28)
    assert plain["RMSE"]["value"] == pytest.approx(0.72)
    assert "accuracy" not in plain
    table = comparison_tables(made, trainings)[0]
    assert table.rows[1][table.columns.index("test R2, %")].startswith("28.00")
    assert table.rows[1][table.columns.index("test RMSE")].startswith("0.72")
    assert next(comparison_found(made, trainings)).startswith("Ratio 0.1: adaptive-random, static comes out")
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "points of R2" in page
    assert "accuracy" not in page


def test_a_study_of_before_is_of_accuracies(tmp_path) -> None:
    study(tmp_path)
    plain = json.loads((tmp_path / COMPARISON_FILE).read_text(encoding="utf-8"))
    del plain["measure"]
    (tmp_path / COMPARISON_FILE).write_text(json.dumps(plain), encoding="utf-8")
    assert read_comparison(tmp_path).measure == "accuracy"
