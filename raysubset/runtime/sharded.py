"""Data larger than memory: read and decoded by Ray Data on the workers, kept in blocks in the object store.

    driver     lists files, reads footers, labels (8 n bytes) and one image header; no input is decoded here
    workers    one Ray Data task a block reads and decodes its rows, once a session; Ray spills what does not fit
    trials     read blocks: mapped where all fit, else each at most once an epoch, see `StoredSplit.open`

Rows are numbered by file name and place in the file, whatever the blocks. Training and validation rows are stored
as splits of their own, in blocks of consecutive ids: an image is decoded once, the bytes of a row group are read
once for each split and block that has rows in it. Validation rows stay sharded like the others. Test rows are
decoded by the last stage; only their number and labels are known before.

The order of training is that of the same data in memory as long as an epoch's rows fit in ``epoch_bytes``; beyond
that, rows come in windows of permuted blocks (`data.streams`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pyarrow import fs

from raysubset.data.arrays import numbered_classes
from raysubset.data.folder_rows import folder_rows
from raysubset.data.locations import Location
from raysubset.data.parquet_rows import parquet_rows
from raysubset.data.row_files import RowFiles
from raysubset.errors import DataError, DatasetNotFoundError, OptionsError
from raysubset.runtime.shards import ShardedSplit, ShardOptions

SAMPLED_ROWS = 16  # of the training files, read for a fingerprint
TEST_NAMES = ("test", "val")  # a split for testing begins with, in this order


@dataclass(frozen=True, slots=True, eq=False)
class ShardedDataset:
    """A data set whose inputs lie in files, perhaps far away and perhaps more than memory holds.

    It serves a search like `Dataset`, and is opened without Ray.

    Attributes:
        name: Short, for tables.
        train: The rows that are trained on (and split for validation).
        test: Rows for the last stage only, or None.
        classes: Name of each label.
        source: Where it is read from, for people.
        note: One line the user should see, else "".

    Raises:
        DataError: A label has no class, or train and test differ in dtype or shape.
    """

    name: str
    train: ShardedSplit
    test: ShardedSplit | None
    classes: tuple[str, ...]
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        for part, split in self._splits():
            wrong = (split.labels < 0) | (split.labels >= self.num_classes)
            if wrong.any():
                row = int(wrong.argmax())
                raise DataError(
                    f"{self.name}, {part} row {row}: label {split.labels[row]}, allowed [0, {self.num_classes})."
                )
            if (split.files.form, split.files.dtype) != (self.input_shape, self.train.files.dtype):
                raise DataError(
                    f"{self.name}: {part} inputs are {split.files.dtype}{split.files.form} a row, train has "
                    f"{self.train.files.dtype}{self.input_shape}."
                )

    @property
    def regression(self) -> bool:
        """False: sharded data have classes."""
        return False

    def _splits(self) -> list[tuple[str, ShardedSplit]]:
        return [("train", self.train)] + ([("test", self.test)] if self.test is not None else [])

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, e.g. (3, 32, 32)."""
        return self.train.files.form

    def fingerprint(self) -> str:
        """Hash what can be known without reading everything to 16 hex digits (blake2b).

        Seen: every label, form, dtype, class names' number; of each file its name, bytes and (parquet) the
        compressed size of every column of every row group; the bytes of 16 training rows, evenly spaced.
        Not seen: another content of the same size in any other row, and of test rows altogether.

        Cost: 16 rows of 16 row groups, O(n) for the labels.
        """
        digest = blake2b(digest_size=8)
        for part, split in self._splits():
            digest.update(f"{part}:{split.files.dtype.str}{split.files.form}{len(split)}".encode())
            digest.update(np.ascontiguousarray(split.labels).data)
            digest.update(np.ascontiguousarray(split.ids).data)
            for fact in split.files.identity():
                digest.update(fact)
        rows = np.unique(np.linspace(0, len(self.train) - 1, SAMPLED_ROWS).astype(np.int64))
        for content in self.train.files.part(self.train.ids[rows]).raw():
            digest.update(content)
        return digest.hexdigest()

    def thin(self, limit: int) -> Self:
        """Keep at most ``limit`` rows of each split, stratified, without randomness (`split.thin`)."""
        test = self.test.thin(limit) if self.test is not None else None
        return replace(self, train=self.train.thin(limit), test=test)

    @classmethod
    def from_parquet(
        cls,
        train: str | Path,
        test: str | Path | None = None,
        *,
        classes: Sequence[str] | None = None,
        channels: int | None = None,
        name: str | None = None,
        **options: int,
    ) -> Self:
        """Open parquet files: images in the Hugging Face layout, or features (`raysubset.data.parquet_rows`).

        Args:
            train: A file, or a folder of ``*.parquet``; local path, s3:// or gs:// URI. In a folder, files or
                sub-folders whose names begin with "train" are for training and those with "test" (else "val") for
                testing; if none begins with "train" all are for training. Files count in the order of their names.
            test: A file or folder, in place of the one found beside the training files.
            classes: Class names; else those in the first file's metadata, else "0", "1", ...
            channels: 1 or 3; else as the first image. Grey images of a colour set become colour.
            name: For tables; else the folder's name.
            options: Fields of `ShardOptions`: block_bytes, epoch_bytes, cache_bytes, map_bytes.

        Raises:
            DatasetNotFoundError: There is no such file or folder, or no parquet file in it.
            DataError: A file is corrupt or lacks a column, or there is no row; names file and row.
            StorageError: A remote store cannot be reached; within seconds (Google's: 15).
            OptionsError: An option or URI is wrong.
        """
        shards = _options(options)
        found, beside = _parquet_files(Location.of(train))
        tested = _parquet_files(Location.of(test))[0] if test is not None else beside
        files, labels, names = parquet_rows(found, channels)
        first = _split(files, labels, shards)
        second = _split(*parquet_rows(tested, files.form[0])[:2], shards) if tested else None
        return cls._of(name, Location.of(train), first, second, classes or names)

    @classmethod
    def from_folder(
        cls, root: str | Path, *, channels: int | None = None, name: str | None = None, **options: int
    ) -> Self:
        """Open an image folder: root/train/<class>/* and root/test or root/val, or root/<class>/* without a test.

        Args:
            root: Local path, s3:// or gs:// URI.
            channels: 1 or 3; else as the first image.
            name: For tables; else the folder's name.
            options: Fields of `ShardOptions`.

        Raises:
            DatasetNotFoundError, DataError, StorageError, OptionsError: See `from_parquet`.
        """
        shards, place = _options(options), Location.of(root)
        if place.info().type != fs.FileType.Directory:
            raise DatasetNotFoundError(f"No folder {place}.")
        below = {kind: place.at(f"{place.path}/{kind}") for kind in ("train", *TEST_NAMES)}
        there = {kind: part for kind, part in below.items() if part.info().type == fs.FileType.Directory}
        files, labels, classes = folder_rows(there.get("train", place), None, channels)
        tested = next((there[kind] for kind in TEST_NAMES if kind in there), None) if "train" in there else None
        first = _split(files, labels, shards)
        second = None
        if tested is not None:
            second = _split(*folder_rows(tested, classes, files.form[0])[:2], shards)
        return cls._of(name, place, first, second, classes)

    @classmethod
    def _of(
        cls,
        name: str | None,
        place: Location,
        train: ShardedSplit,
        test: ShardedSplit | None,
        classes: Sequence[str],
    ) -> Self:
        names = classes or numbered_classes(train.labels, *([test.labels] if test is not None else []))
        return cls(name or _short_name(place), train, test, tuple(names), f"{place} (sharded)")


def _options(options: dict[str, int]) -> ShardOptions:
    try:
        return ShardOptions(**options)
    except TypeError as error:
        known = ", ".join(ShardOptions.__dataclass_fields__)
        raise OptionsError(f"ShardedDataset: {error}. Known options: {known}.") from error


def _split(files: RowFiles, labels: NDArray[np.int64], options: ShardOptions) -> ShardedSplit:
    return ShardedSplit(files, np.arange(len(labels), dtype=np.int64), labels, options)


def _short_name(place: Location) -> str:
    path = PurePosixPath(place.path)
    return path.parent.name if path.suffix == ".parquet" else path.name


def _parquet_files(place: Location) -> tuple[list[Location], list[Location]]:
    """Return the files for training and for testing, each in the order of their names."""
    kind = place.info().type
    if kind == fs.FileType.File:
        return [place], []
    if kind != fs.FileType.Directory:
        raise DatasetNotFoundError(f"No parquet file or folder {place}.")
    found = sorted(
        PurePosixPath(info.path).relative_to(place.path).parts
        for info in place.listing()
        if info.type == fs.FileType.File and info.path.endswith(".parquet")
    )
    if not found:
        raise DatasetNotFoundError(f"No *.parquet in {place}.")

    def of(prefix: str) -> list[Location]:
        chosen = [parts for parts in found if any(part.startswith(prefix) for part in parts)]
        return [place.at(f"{place.path}/{'/'.join(parts)}") for parts in chosen]

    if not (train := of("train")):
        return of(""), []
    test = next((files for files in map(of, TEST_NAMES) if files), [])
    if both := [file for file in test if file in train]:
        raise DataError(
            f"{both[0]} is both for training and for testing by the names on its path (train*; test*, else val*). "
            "Name the two folders or files: from_parquet(train, test)."
        )
    return train, test
