"""Rows in an image folder, anywhere: one sub-folder per class, see `raysubset.data.folder`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyarrow import fs

from raysubset.data.folder import SUFFIXES
from raysubset.data.images import PIECE, decode_images_as, image_form
from raysubset.data.locations import Location
from raysubset.data.row_files import AT_ONCE, image_shape
from raysubset.errors import DataError


class ImageFile(NamedTuple):
    """Path and bytes of an image file."""

    path: str
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class FolderPart:
    """Images of a folder; see `row_files.Part`.

    Attributes:
        root: Says in which filesystem.
        form: (C, H, W).
        files: One a row.
    """

    root: Location
    form: tuple[int, ...]
    files: tuple[ImageFile, ...]

    def __len__(self) -> int:
        return len(self.files)

    def read(self) -> NDArray[Any]:
        """Read and decode. Cost: the rows and some dozen encoded ones."""
        return decode_images_as(
            self.form, len(self), self._chunks(), lambda i: str(self.root.at(self.files[i].path))
        )

    def raw(self) -> Iterator[bytes]:
        """Yield the encoded images."""
        for chunk in self._chunks():
            yield from chunk

    def _chunks(self) -> Iterator[list[bytes]]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for start in range(0, len(self), PIECE):
                yield list(pool.map(self._content, self.files[start : start + PIECE]))

    def _content(self, known: ImageFile) -> bytes:
        place = self.root.at(known.path)
        with place.opened() as file:
            content: bytes = file.read()
        if len(content) != known.size:
            raise DataError(
                f"{place} has {len(content)} bytes, and had {known.size} when the data set was opened."
            )
        return content


@dataclass(frozen=True, slots=True, eq=False)
class FolderRows:
    """All images of a folder; see `row_files.RowFiles`.

    Attributes:
        root: Says in which filesystem; the folder that holds the classes.
        form: (C, H, W).
        files: One a row; classes and files in the order of their names.
    """

    root: Location
    form: tuple[int, ...]
    files: tuple[ImageFile, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Always uint8."""
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.files)

    def part(self, rows: NDArray[np.int64]) -> FolderPart:
        """Name some rows."""
        return FolderPart(self.root, self.form, tuple(self.files[row] for row in rows))

    def identity(self) -> Iterator[bytes]:
        """Yield names below the folder, and sizes."""
        skipped = len(self.root.path)
        for file in self.files:
            yield f"{file.path[skipped:]}:{file.size}".encode()


def folder_rows(
    root: Location, classes: Sequence[str] | None = None, channels: int | None = None
) -> tuple[FolderRows, NDArray[np.int64], tuple[str, ...]]:
    """List every image below each class folder.

    Args:
        root: Holds one folder per class; hidden folders and files that are not images are passed over.
        classes: The class names that give the labels (those of the training part), else the folders found.
        channels: 1 or 3; None: as the first image.

    Returns:
        The rows, their labels int64[n], and the class names.

    Raises:
        DatasetNotFoundError: There is no such folder.
        DataError: No class folder, one that is unknown to ``classes`` or has no images, or a bad first image.
        StorageError: A remote folder cannot be reached.

    Cost: one listing and the first image; about 150 bytes a file.
    """
    found: dict[str, list[tuple[tuple[str, ...], ImageFile]]] = {}
    for info in root.listing():
        path = PurePosixPath(info.path)
        below = path.relative_to(root.path).parts
        if below[0].startswith(".") or (len(below) == 1 and info.type != fs.FileType.Directory):
            continue
        images = found.setdefault(below[0], [])
        if (
            len(below) > 1
            and info.type == fs.FileType.File
            and PurePosixPath(info.path).suffix.lower() in SUFFIXES
        ):
            images.append((below, ImageFile(info.path, info.size)))
    if not found:
        raise DataError(f"{root}: no class folders; expected {root}/<class>/<image>.")
    names = tuple(classes) if classes is not None else tuple(sorted(found))
    if unknown := sorted(set(found) - set(names)):
        raise DataError(
            f"{root}: class folder {unknown[0]!r} is not one of the training classes: {', '.join(names)}."
        )
    for name in sorted(found):
        if not found[name]:
            raise DataError(
                f"{root}/{name}: no image in this class folder; known endings: {', '.join(sorted(SUFFIXES))}."
            )
    files = tuple(file for name in sorted(found) for _, file in sorted(found[name]))
    number = {name: label for label, name in enumerate(names)}
    labels = np.repeat(
        np.array([number[name] for name in sorted(found)], dtype=np.int64),
        [len(found[name]) for name in sorted(found)],
    )
    first = next(FolderPart(root, (0, 0, 0), files[:1]).raw())
    form = image_shape(image_form(first, str(root.at(files[0].path))), channels)
    return FolderRows(root, form, files), labels, names
