"""records.jsonl: one `TrialRecord` per line, appended while a run goes on and read back afterwards.

A crash leaves at most one cut line, at the end (see `line_file`). A resumed run may train epochs of a trial again:
from the first repeated epoch on, the later lines win.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from raysubset.errors import RecordError, StorageError
from raysubset.report.line_file import LineFile, is_complete
from raysubset.report.secrets import redacted
from raysubset.types import TrialRecord

RECORDS_FILE = "records.jsonl"
STATUSES = ("running", "stopped", "done", "failed")
_COUNTS = ("epoch", "epochs", "samples_consumed")
_NUMBERS = ("equiv_epochs", "ratio", "train_loss", "train_s", "select_s", "eval_s", "finished_s")
_OPTIONAL_NUMBERS = (
    "val_loss", "val_accuracy", "val_rmse", "val_r2", "test_loss", "test_accuracy", "test_rmse", "test_r2",
    "rung", "peak_bytes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one run, each (stage, trial, epoch) once.

    Attributes:
        rows: In the order of their (last) lines.
        warnings: What was left out and why, in words; empty for a clean file.
    """

    rows: tuple[TrialRecord, ...]
    warnings: tuple[str, ...] = ()

    def stage(self, name: str) -> tuple[TrialRecord, ...]:
        """Return the records of one stage, in file order."""
        return tuple(row for row in self.rows if row.stage == name)


def read_records(path: Path) -> Records:
    """Read a records file.

    A last line without a newline that is not complete JSON was cut short by a crash: it is left out and named
    in ``warnings``.

    Raises:
        StorageError: The file cannot be read.
        RecordError: Any other bad line; the message names file and line.

    Cost: O(bytes of the file) time and memory.
    """
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
    warnings: tuple[str, ...] = ()
    if tail and is_complete(tail):
        lines.append(tail)
    elif tail:
        warnings = (f"{path.name}, line {len(lines) + 1}: cut short (by a crash?) and left out.",)
    latest: dict[tuple[str, str, int], TrialRecord] = {}
    reached: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines, start=1):
        record = parse_record(line, f"{path}, line {number}")
        trial = (record.stage, record.trial)
        for epoch in range(record.epoch, reached.get(trial, 0) + 1):  # trained again from here on
            latest.pop((*trial, epoch), None)
        latest[*trial, record.epoch] = record
        reached[trial] = record.epoch
    return Records(tuple(latest.values()), warnings)


def parse_record(line: bytes, where: str) -> TrialRecord:
    """Read and check one line.

    Raises:
        RecordError: It is no record; the message begins with ``where``.
    """
    try:
        record = TrialRecord.from_json(line.decode("utf-8"))
    except (RecordError, UnicodeDecodeError) as error:
        raise RecordError(f"{where}: {error}") from error
    faults = _faults(record)
    if faults:
        raise RecordError(f"{where}: " + "; ".join(faults))
    return record


def _faults(record: TrialRecord) -> list[str]:
    """Name the fields whose values no writer of ours produces; arithmetic on them would fail far from here."""
    faults = [f"{name} must be text, got {value!r}" for name in ("stage", "trial", "metric_used", "reason")
              if not isinstance(value := getattr(record, name), str)]  # fmt: skip
    for name in _COUNTS:
        if not isinstance(value := getattr(record, name), int) or isinstance(value, bool) or value < 0:
            faults.append(f"{name} must be an integer >= 0, got {value!r}")
    for name in _NUMBERS + _OPTIONAL_NUMBERS:
        value = getattr(record, name)
        if value is None and name in _OPTIONAL_NUMBERS:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            faults.append(f"{name} must be a number, got {value!r}")
    if record.status not in STATUSES:
        faults.append(f"status must be one of {', '.join(STATUSES)}, got {record.status!r}")
    if not isinstance(record.config, Mapping):
        faults.append(f"config must be a mapping, got {record.config!r}")
    return faults


class RecordWriter(LineFile):
    """Appends records to a file, one line and one system call each; see `LineFile`."""

    def append(self, record: TrialRecord) -> None:
        """Write one record, secrets of the environment hidden.

        Raises:
            StorageError: See `LineFile.write`.
        """
        self.write(redacted(record.to_json()))
