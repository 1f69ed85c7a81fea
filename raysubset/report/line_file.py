"""A file of JSON lines that only grows: a line is in it whole, or not at all.

A line is written by one system call on a file opened for appending, so a crash leaves at most one cut line, at the
end; the next one to open the file for writing mends it. Readers change nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from raysubset.errors import StorageError


class LineFile:
    """Appends lines to a file; not for use by several threads.

    Opening creates the folder and mends the last line.

    Args:
        path: Of the file.
        keep: Bytes of it that stay; None for all but a last line that was cut short.

    Raises:
        StorageError: The folder or file cannot be opened for writing.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            if keep is None:
                _mend_tail(path)
            else:
                self._file.truncate(keep)
        except OSError as error:
            raise StorageError(f"Cannot write {path}: {error.strerror or error}.") from error

    def write(self, line: str) -> None:
        """Write one line, given without its end; it is in the operating system's hands then. Cost: about 20 µs.

        Raises:
            StorageError: It cannot be written whole (for example, disk full); no part of it remains.
        """
        encoded = line.encode("utf-8") + b"\n"
        size = os.fstat(self._file.fileno()).st_size
        try:
            if (written := self._file.write(encoded)) != len(encoded):
                raise OSError(0, f"{written} of {len(encoded)} bytes written")
        except OSError as error:
            self._file.truncate(size)
            raise StorageError(f"Cannot append to {self.path}: {error.strerror}. Is the disk full?") from error

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_complete(line: bytes) -> bool:
    """Say whether a last line without its end is whole: no proper prefix of a JSON object is JSON."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _mend_tail(path: Path) -> None:
    """End the last line with a newline, or remove it when a crash cut it short."""
    content = path.read_bytes()
    start = content.rfind(b"\n") + 1
    if start == len(content):
        return
    with path.open("r+b") as file:
        if is_complete(content[start:]):
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        else:
            file.truncate(start)
