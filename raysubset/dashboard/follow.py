"""Read a file that grows, from where the last look ended."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Lines:
    """What was found at one look.

    Attributes:
        lines: Whole lines that are new, without their newlines.
        first: Number of the first of them in the file, from 1.
        anew: The file is another one, or shorter than what was read of it: these are its first lines, and whatever
            was read before is void.
    """

    lines: list[bytes]
    first: int
    anew: bool = False


@dataclass(slots=True)
class Follower:
    """Follows one file of lines.

    A last line without its newline is still being written (or was cut short by a crash, and will be removed by
    who goes on): it is left for a later look.

    Attributes:
        path: The file; it need not exist yet.
    """

    path: Path
    _offset: int = field(default=0, init=False)
    _read: int = field(default=0, init=False)
    _file: int = field(default=-1, init=False)

    def look(self) -> Lines:
        """Return the lines that were added since the last look.

        Raises:
            OSError: The file is there and cannot be read.

        Cost: one ``stat`` where nothing changed, else O(bytes added).
        """
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            return Lines([], 1, self._forget())
        anew = (self._file not in (-1, facts.st_ino) or facts.st_size < self._offset) and self._forget()
        self._file = facts.st_ino
        if facts.st_size == self._offset:
            return Lines([], self._read + 1, anew)
        with self.path.open("rb") as file:
            file.seek(self._offset, os.SEEK_SET)
            *lines, _unfinished = file.read().split(b"\n")
        first = self._read + 1
        self._offset += sum(map(len, lines)) + len(lines)
        self._read += len(lines)
        return Lines(lines, first, anew)

    def _forget(self) -> bool:
        """Begin at the beginning; says whether anything had been read."""
        had_read = self._offset > 0
        self._offset, self._read, self._file = 0, 0, -1
        return had_read
