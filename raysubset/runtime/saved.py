"""A state in the run's storage, a local folder, s3:// or gs://: written whole or not at all, checked when read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from raysubset.data.locations import Location
from raysubset.errors import DatasetNotFoundError, RaysubsetError, StorageError
from raysubset.training.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint


class SavedState:
    """One state, replaced at each save.

    Locally it is `training.checkpoint`. A remote file is written beside its place and moved there by the store
    itself, which replaces objects whole: a process that dies, or a store that fills up or goes away in between,
    leaves the old state readable.

    Args:
        place: Folder of its own: a path, or a URI that `data.locations` knows.

    Raises:
        OptionsError: The URI is not one of those.
    """

    def __init__(self, place: str | Path) -> None:
        self._folder = Location.of(place)
        self._file = self._folder.at(f"{self._folder.path}/{FILE_NAME}")

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state, see `training.checkpoint.save_checkpoint`.

        Raises:
            StorageError: It cannot be written; the old one is as it was.

        Cost: A local copy of the state; remotely, sending it once.
        """
        if not self._folder.is_remote:
            save_checkpoint(Path(self._folder.path), state)
            return
        with tempfile.TemporaryDirectory() as local:
            save_checkpoint(Path(local), state)
            try:
                self._replace(Path(local) / FILE_NAME)
            except (OSError, pa.ArrowException) as error:
                raise StorageError(f"Cannot write {self._file}: {error}. The old state is as it was.") from error

    def _replace(self, local: Path) -> None:
        store = self._file.filesystem()
        part = f"{self._file.path}.{uuid4().hex}.part"
        store.create_dir(self._folder.path, recursive=True)
        try:
            with local.open("rb") as source, store.open_output_stream(part) as target:
                shutil.copyfileobj(source, target, 2**22)
            store.move(part, self._file.path)
        except BaseException:
            with suppress(OSError, pa.ArrowException):
                store.delete_file(part)
            raise

    def load(self) -> dict[str, Any] | None:
        """Return the state that was saved last, None if none was.

        Raises:
            StorageError: It is truncated, damaged or not ours, or cannot be reached.
        """
        if not self._folder.is_remote:
            folder = Path(self._folder.path)
            return load_checkpoint(folder) if (folder / FILE_NAME).exists() else None
        with tempfile.TemporaryDirectory() as local:
            try:
                with self._file.opened() as source, (Path(local) / FILE_NAME).open("wb") as target:
                    shutil.copyfileobj(source, target, 2**22)
            except DatasetNotFoundError:
                return None
            except RaysubsetError:
                raise
            except OSError as error:
                raise StorageError(f"Cannot read {self._file}: {error}.") from error
            return load_checkpoint(Path(local))
