"""Image folders: one sub-folder per class.

root/train/<class>/*.png  with  root/test/<class>/* or root/val/<class>/*     or     root/<class>/*.png
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from raysubset.data.images import ImageTable, decode_images
from raysubset.data.split import thin
from raysubset.errors import DataError, DatasetNotFoundError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"})


class FolderLayout(NamedTuple):
    """The folder whose sub-folders are the training classes, and the one for testing."""

    train: Path
    test: Path | None


def folder_layout(root: Path) -> FolderLayout:
    """Find train and test below ``root``.

    Raises:
        DatasetNotFoundError: No such folder.
    """
    if not root.is_dir():
        raise DatasetNotFoundError(f"No folder {root}.")
    if not (root / "train").is_dir():
        return FolderLayout(root, None)
    test = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    return FolderLayout(root / "train", test)


def read_folder(folder: Path, classes: Sequence[str] | None = None, limit: int | None = None) -> ImageTable:
    """Read every image below each class folder, classes and files in the order of their names.

    Args:
        folder: Holds one folder per class; hidden folders and files that are not images are passed over.
        classes: The class names that give the labels (those of the training part), else the folders found.
        limit: Rows to keep (see `raysubset.data.split.thin`); the others are not decoded.

    Raises:
        DataError: No class folder, a class folder unknown to ``classes`` or without images, or a bad image.
    """
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    names = tuple(classes) if classes is not None else tuple(found)
    if not found:
        raise DataError(f"{folder}: no class folders; expected {folder.name}/<class>/<image>.")
    if unknown := sorted(set(found) - set(names)):
        raise DataError(
            f"{folder}: class folder {unknown[0]!r} is not one of the training classes: {', '.join(names)}."
        )
    files = {name: _image_files(folder / name) for name in found}
    paths = [path for name in found for path in files[name]]
    labels = np.repeat([names.index(name) for name in found], [len(files[name]) for name in found]).astype(
        np.int64
    )
    rows = thin(labels, limit) if limit is not None else np.arange(len(labels), dtype=np.int64)
    chosen = [paths[row] for row in rows]
    images, encoding = decode_images(len(rows), [chosen], lambda i: str(chosen[i]))
    return ImageTable(images, labels[rows], names, encoding)


def _image_files(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise DataError(f"{folder}: no image in this class folder; known endings: {', '.join(sorted(SUFFIXES))}.")
    return files
