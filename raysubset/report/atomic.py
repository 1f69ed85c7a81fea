"""Replace a file in one step, so that a reader or a crash never meets half of it."""

from __future__ import annotations

import os
from pathlib import Path

from raysubset.errors import StorageError


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path``, flush it to the disk, then rename it over ``path``.

    The folder is created when it is missing. On any failure the old file stays as it was and no part of the
    new one remains.

    Raises:
        StorageError: The folder or file cannot be written (no permission, disk full, a file in the way).
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"Cannot write {path}: {error.strerror or error}.") from error
