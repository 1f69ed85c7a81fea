"""The journal of a search: one line of JSON an event, ahead of whatever Ray Tune remembers.

Tune drops the state of schedulers from its snapshots, and takes those every ten seconds at most. The journal is
written before an event has any effect, so a driver that is killed loses none. Its first line says what the search
was; a resumed search that is another one is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysubset.errors import OptionsError, StorageError
from raysubset.hpo.search import Event
from raysubset.report.line_file import LineFile


class Journal:
    """An append-only file of events.

    Args:
        path: Of the file; made if it is not there.
        heading: What the search is, in plain JSON types.

    Attributes:
        events: What stood in the file when it was opened; a last line cut short by a crash is dropped.

    Raises:
        OptionsError: The file is of another search; says what differs.
        StorageError: It cannot be read or written, or a line in it is damaged; names it.
    """

    def __init__(self, path: Path, heading: Mapping[str, Any]) -> None:
        try:
            lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        except OSError as error:
            raise StorageError(f"Cannot read the journal {path}: {error.strerror or error}.") from error
        told, *self.events = [_parsed(line, path, number) for number, line in enumerate(lines, start=1)] or [None]
        now = json.loads(json.dumps(heading))
        if told is not None and told != now:
            raise OptionsError(f"The journal {path} is of another search: {_differences(told, now)}.")
        self._file = LineFile(path, keep=sum(len(line) + 1 for line in lines))
        if told is None:
            self.append(now)

    def append(self, event: Event) -> None:
        """Write one event; it is in the operating system's hands when this returns. Cost: about 20 µs.

        Raises:
            StorageError: It cannot be written whole.
        """
        self._file.write(json.dumps(event, allow_nan=False))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _parsed(line: bytes, path: Path, number: int) -> Any:
    try:
        event = json.loads(line)
    except ValueError as error:
        event, why = None, str(error)
    else:
        why = f"it holds {type(event).__name__}"
    if not isinstance(event, dict):
        raise StorageError(
            f"Line {number} of the journal {path} is damaged: a JSON object is wanted, {why}. The search cannot "
            "go on from it; a copy of the file mends it, or cutting it before that line."
        )
    return event


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    )
