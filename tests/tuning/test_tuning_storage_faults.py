"""A full disk, and files that are cut short or tampered with: what was there stays, and the error names the file.

The disk is a real one of 256 KiB where the tests may mount one; elsewhere the system call fails as it would there.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysubset.errors import RecordError, StorageError
from raysubset.report.atomic import write_text
from raysubset.report.records import RecordWriter, read_records
from raysubset.runtime.failure import SelectorLostError
from raysubset.training.checkpoint import load_checkpoint, save_checkpoint
from raysubset.tuning.faults import StageStopped, stopping
from raysubset.tuning.journal import Journal
from raysubset.types import TrialRecord

SIZE = 256 * 1024


def record(epoch: int, reason: str = "") -> TrialRecord:
    return TrialRecord(
        stage="search", trial="0000", epoch=epoch, epochs=9, config={"lr": 0.1}, status="running", reason=reason,
        samples_consumed=100 * epoch, equiv_epochs=0.1 * epoch, ratio=0.1, metric_used="loss", train_loss=1.0,
        train_s=1.0, select_s=0.0, eval_s=0.0, finished_s=1.0, seed=0,
    )  # fmt: skip


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def filled(disk: Path, leave: int = 0) -> Path:
    """Fill a disk up to its last ``leave`` bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(b"\0" * 1024)
        file.truncate(file.tell() // 4096 * 4096 - leave)
    return ballast


def test_records_on_a_full_disk(small_disk) -> None:
    path = small_disk / "records.jsonl"
    with RecordWriter(path) as writer:
        writer.append(record(1))
        ballast = filled(small_disk, leave=4096)
        with pytest.raises(StorageError, match=r"Cannot append to .*records\.jsonl.*Is the disk full"):
            writer.append(record(2, reason="x" * 20_000))
        assert [row.epoch for row in read_records(path).rows] == [1]
        assert path.read_bytes().endswith(b"\n")
        ballast.unlink()
        writer.append(record(2))
    assert [row.epoch for row in read_records(path).rows] == [1, 2]


def test_run_facts_on_a_full_disk(small_disk) -> None:
    path = small_disk / "run.json"
    write_text(path, "before")
    filled(small_disk)
    with pytest.raises(StorageError, match=r"Cannot write .*run\.json.*No space left"):
        write_text(path, "x" * 20_000)
    assert path.read_text() == "before"
    assert sorted(p.name for p in small_disk.iterdir()) == ["ballast", "run.json"]


def test_a_checkpoint_on_a_full_disk(small_disk) -> None:
    save_checkpoint(small_disk / "c", {"epoch": 1})
    filled(small_disk)
    with pytest.raises(StorageError, match=f"Cannot write a checkpoint to {small_disk / 'c'}"):
        save_checkpoint(small_disk / "c", {"epoch": 2, "weights": np.zeros(20_000)})
    assert load_checkpoint(small_disk / "c") == {"epoch": 1}
    assert len(list((small_disk / "c").iterdir())) == 1


def test_a_journal_on_a_full_disk(small_disk) -> None:
    path, heading = small_disk / "search.jsonl", {"search": "random"}
    journal = Journal(path, heading)
    journal.append({"event": "start", "trial": "0000"})
    ballast = filled(small_disk, leave=4096)
    with pytest.raises(StorageError, match=r"Cannot append to .*search\.jsonl"):
        journal.append({"event": "start", "point": "x" * 20_000})
    ballast.unlink()
    journal.append({"event": "close"})
    journal.close()
    assert [event["event"] for event in events_of(path)] == ["start", "close"]


def test_writes_that_fail_for_want_of_space_without_a_disk(tmp_path, monkeypatch) -> None:
    write_text(tmp_path / "run.json", "before")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"run\.json: No space left on device"):
        write_text(tmp_path / "run.json", "after")
    assert (tmp_path / "run.json").read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


# ------------------------------------------------------------------ truncated or tampered


EVENTS = [{"event": "start", "trial": "0000", "point": {"lr": 0.1}}, {"event": "close"}]


def events_of(path: Path) -> list[Any]:
    journal = Journal(path, {"search": "random"})
    journal.close()
    return journal.events


def kept_journal(folder: Path) -> Path:
    path = folder / "search.jsonl"
    journal = Journal(path, {"search": "random"})
    for event in EVENTS:
        journal.append(event)
    journal.close()
    return path


@pytest.mark.parametrize("cut", range(1, 19))
def test_a_journal_cut_anywhere_in_its_last_line_goes_on_before_it(tmp_path, cut: int) -> None:
    path = kept_journal(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path, {"search": "random"})
    assert journal.events == EVENTS[:1]
    journal.append(EVENTS[1])
    journal.close()
    assert events_of(path) == EVENTS


@pytest.mark.parametrize("line", [b"{", b"", b"[]", b"null", b'{"event": "start", "trial": "00', b"\xff\xfe"])
def test_a_damaged_line_of_a_journal_is_named(tmp_path, line: bytes) -> None:
    path = kept_journal(tmp_path)
    lines = path.read_bytes().splitlines()
    before = path.write_bytes(b"\n".join([lines[0], line, *lines[2:], b""])) and path.read_bytes()
    with pytest.raises(StorageError, match=r"Line 2 of the journal .*search\.jsonl is damaged"):
        Journal(path, {"search": "random"})
    assert path.read_bytes() == before, "nothing is mended behind anybody's back"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"samples_consumed": -1}, "samples_consumed"),
        ({"status": "won"}, "status"),
        ({"trial": ["../../etc"]}, "trial"),
        ({"val_loss": "0.1"}, "val_loss"),
    ],
)
def test_a_tampered_record_is_named(tmp_path, change: dict[str, Any], named: str) -> None:
    path = tmp_path / "records.jsonl"
    with RecordWriter(path) as writer:
        for epoch in (1, 2, 3):
            writer.append(record(epoch))
    lines = path.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **change})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RecordError, match=rf"records\.jsonl, line 2.*{named}"):
        read_records(path)


# ------------------------------------------------------------------ what stops a stage, inside Tune's wrapping


def wrapped(error: Exception) -> Exception:
    """As Tune wraps what a callback raised: text, and the original only as the context."""
    try:
        try:
            raise error
        except Exception as raised:
            raise RuntimeError(str(raised))  # noqa: B904
    except RuntimeError as outer:
        return outer


def test_what_stops_a_stage_is_found_inside_what_tune_raises() -> None:
    stopped = stopping(wrapped(wrapped(StageStopped("selector lost: gone"))))
    assert str(stopped) == "selector lost: gone"
    assert str(stopping(wrapped(SelectorLostError("gone")))) == "selector lost: gone"
    assert stopping(wrapped(ZeroDivisionError())) is None
    with pytest.raises(StorageError, match=r"records\.jsonl"):
        stopping(wrapped(StorageError("Cannot append to records.jsonl")))
    with pytest.raises(StorageError, match="Ray Tune cannot write its state.*No space left"):
        stopping(wrapped(OSError(errno.ENOSPC, "No space left on device")))
