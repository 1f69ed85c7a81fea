from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import run_info

from raysubset.errors import RecordError, StorageError
from raysubset.report.run_info import RUN_FILE, Result, RunInfo, StageInfo


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    run = run_info(
        stages={"search": StageInfo(12.5, 1000, 3, True, 4000)},
        result=Result({"lr": 0.1}, 0.9, 0.89, 0.3, 4, 16000, 2.0),
        settings={"recipe": {"batch_size": 64}},
    )
    assert run.write(tmp_path / "new") == tmp_path / "new" / RUN_FILE
    assert RunInfo.read(tmp_path / "new") == run
    assert [path.name for path in (tmp_path / "new").iterdir()] == [RUN_FILE]


def test_optional_parts_may_be_absent() -> None:
    row = json.loads(run_info().to_json())
    for key in ("versions", "dataset_note", "settings", "stages", "result", "result_full"):
        del row[key]
    run = RunInfo.from_json(json.dumps(row))
    assert (run.result, run.stages, run.dataset_note) == (None, {}, "")


def test_a_nan_test_loss_becomes_not_measured() -> None:
    run = run_info(result=Result({"lr": math.inf}, test_loss=math.nan))
    read = RunInfo.from_json(run.to_json())
    assert read.result == Result({"lr": None}, test_loss=None)


def test_missing_and_unknown_fields_are_named_together() -> None:
    row = json.loads(run_info().to_json())
    del row["seed"], row["model"]
    row["colour"] = "red"
    with pytest.raises(RecordError, match="missing model; missing seed; unknown colour"):
        RunInfo.from_json(json.dumps(row))


def test_faults_of_a_nested_part_say_where() -> None:
    row = json.loads(run_info().to_json()) | {"stages": {"search": {"wall_s": 1.0}}}
    with pytest.raises(RecordError, match=r"stages\.search: missing finished"):
        RunInfo.from_json(json.dumps(row))


def test_values_out_of_range_are_named_together() -> None:
    with pytest.raises(RecordError, match=r"n_train must be >= 1, got 0; ratio .* got 1.5; score .* got 'f1'"):
        run_info(n_train=0, ratio=1.5, score="f1")
    with pytest.raises(RecordError, match=r"result\.test_accuracy must be in \[0, 1\], got 93"):
        run_info(result=Result({}, test_accuracy=93.0))
    with pytest.raises(RecordError, match="n_test is 0"):
        run_info(result=Result({}, test_accuracy=0.9), n_test=0)
    with pytest.raises(RecordError, match="got warm-up"):
        run_info(stages={"warm-up": StageInfo(1.0, 1, 1, True)})


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 7}', "{"])
def test_what_is_no_run_is_refused_by_file_name(tmp_path: Path, text: str) -> None:
    (tmp_path / RUN_FILE).write_text(text)
    with pytest.raises(RecordError, match=r"run\.json: "):
        RunInfo.read(tmp_path)


def test_a_folder_without_run_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the folder of a run"):
        RunInfo.read(tmp_path)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_info().write(tmp_path)
    before = (tmp_path / RUN_FILE).read_text()

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(StorageError, match="No space left"):
        replace(run_info(), name="other").write(tmp_path)
    assert (tmp_path / RUN_FILE).read_text() == before
    assert len(list(tmp_path.iterdir())) == 1
