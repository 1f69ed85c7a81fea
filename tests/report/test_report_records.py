from __future__ import annotations

import math
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import record

from raysubset.errors import RecordError, StorageError
from raysubset.report.records import RecordWriter, read_records


def write(path: Path, *rows: object) -> Path:
    with RecordWriter(path) as writer:
        for row in rows:
            writer.append(row)  # type: ignore[arg-type]
    return path


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    rows = [record("a", 1), record("a", 2, rung=0), record("b", 1, status="failed", reason="no memory")]
    read = read_records(write(tmp_path / "new" / "folder" / "records.jsonl", *rows))
    assert read.rows == tuple(rows)
    assert read.warnings == ()


def test_nan_losses_survive_as_nan_or_not_measured(tmp_path: Path) -> None:
    failed = record(status="failed", train_loss=math.nan, val_loss=math.inf)
    (row,) = read_records(write(tmp_path / "r.jsonl", failed)).rows
    assert math.isnan(row.train_loss)
    assert row.val_loss is None


def test_every_record_is_on_disk_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with RecordWriter(path) as writer:
        for epoch in (1, 2, 3):
            writer.append(record(epoch=epoch))
            assert len(read_records(path).rows) == epoch


def test_the_last_line_of_a_repeated_epoch_wins_and_takes_the_later_place(tmp_path: Path) -> None:
    rows = [record("a", 1), record("a", 2, val_loss=9.0), record("b", 1), record("a", 2, val_loss=0.25)]
    read = read_records(write(tmp_path / "r.jsonl", *rows))
    assert [(row.trial, row.epoch, row.val_loss) for row in read.rows] == [
        ("a", 1, 1.0),
        ("b", 1, 1.0),
        ("a", 2, 0.25),
    ]


def test_stages_do_not_overwrite_each_other(tmp_path: Path) -> None:
    read = read_records(write(tmp_path / "r.jsonl", record(), record(stage="retrain")))
    assert [row.stage for row in read.rows] == ["search", "retrain"]
    assert [row.stage for row in read.stage("retrain")] == ["retrain"]


@given(cut=st.integers(min_value=1))
def test_a_line_cut_anywhere_is_left_out_with_a_warning(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = write(tmp_path_factory.mktemp("cut") / "r.jsonl", record(epoch=1), record(epoch=2))
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    length = len(whole) - start - 1  # without its newline
    keep = 1 + cut % (length - 1)
    path.write_bytes(whole[: start + keep])
    read = read_records(path)
    assert [row.epoch for row in read.rows] == [1]
    assert len(read.warnings) == 1
    assert "line 2" in read.warnings[0]


def test_a_whole_last_line_without_newline_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", record(epoch=1), record(epoch=2))
    path.write_bytes(path.read_bytes()[:-1])
    assert [row.epoch for row in read_records(path).rows] == [1, 2]


def test_a_resumed_writer_does_not_grow_onto_a_cut_line(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", record(epoch=1), record(epoch=2))
    path.write_bytes(path.read_bytes()[:-20])
    write(path, record(epoch=2), record(epoch=3))
    assert [row.epoch for row in read_records(path).rows] == [1, 2, 3]


def test_a_resumed_writer_keeps_a_whole_line_that_lacks_its_newline(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", record(epoch=1))
    path.write_bytes(path.read_bytes()[:-1])
    write(path, record(epoch=2))
    assert [row.epoch for row in read_records(path).rows] == [1, 2]


@pytest.mark.parametrize(
    "bad",
    [
        b"not json\n",
        b"\n",
        b"[1, 2]\n",
        b'{"schema": 1}\n',
        b'{"schema": 99}\n',
        b"\xff\xfe\n",
        record(epoch=2).to_json()[:-9].encode() + b"\n",  # cut, but a later line follows
        replace(record(), train_s=math.nan).to_json().encode() + b"\n",
        replace(record(), status="asleep").to_json().encode() + b"\n",
        replace(record(), epoch="3").to_json().encode() + b"\n",
        replace(record(), samples_consumed=-1).to_json().encode() + b"\n",
        replace(record(), epochs=True).to_json().encode() + b"\n",
        replace(record(), config=["lr"]).to_json().encode() + b"\n",
        replace(record(), val_loss="low").to_json().encode() + b"\n",
    ],
)
def test_any_other_bad_line_names_file_and_line(tmp_path: Path, bad: bytes) -> None:
    path = write(tmp_path / "records.jsonl", record(epoch=1))
    path.write_bytes(path.read_bytes() + bad + record(epoch=3).to_json().encode() + b"\n")
    with pytest.raises(RecordError, match=r"records\.jsonl, line 2: "):
        read_records(path)


def test_a_whole_last_line_of_another_schema_is_an_error_not_a_crash_mark(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"schema": 2}')
    with pytest.raises(RecordError, match=r"line 1: .*schema 2"):
        read_records(tmp_path / "r.jsonl")


def test_a_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"Cannot read .*r\.jsonl"):
        read_records(tmp_path / "r.jsonl")


def test_a_file_in_the_way_of_the_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(StorageError, match="Cannot write .*records.jsonl"):
        RecordWriter(tmp_path / "run" / "records.jsonl")


def test_no_permission_is_a_storage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may write anywhere
    try:
        with pytest.raises(StorageError, match="Cannot write .*records.jsonl"):
            RecordWriter(tmp_path / "records.jsonl")
    finally:
        os.seteuid(user)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RecordWriter(path) as writer:
        writer.append(record(epoch=1))
        before = path.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limits[1]))
        try:
            with pytest.raises(StorageError, match="Cannot append"):
                writer.append(record(epoch=2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == before
        writer.append(record(epoch=2))
    assert len(read_records(path).rows) == 2


def test_epochs_trained_again_replace_all_that_followed_them(tmp_path: Path) -> None:
    """A trial rewound to epoch 1, or another trial under its number, leaves no later epochs of the old one."""
    rows = [record("a", epoch, train_loss=loss) for epoch, loss in ((1, 1.0), (2, 0.9), (3, 0.8), (2, 0.7))]
    other = record("b", 3)
    assert read_records(write(tmp_path / "r.jsonl", *rows, other)).rows == (rows[0], rows[3], other)
