"""Rows in parquet files, anywhere: images in the Hugging Face layout, or features as fixed-size lists of floats.

See `raysubset.data.parquet` for the image layout. Features are a column ``inputs`` or ``features`` of type
fixed_size_list<float or double>[d] and become float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from raysubset.data.images import decode_images_as, image_form
from raysubset.data.locations import Location
from raysubset.data.parquet import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    checked_labels,
    class_names,
    first_null,
    image_bytes,
    named_column,
)
from raysubset.data.row_files import AT_ONCE, image_shape, places
from raysubset.errors import DataError, DatasetNotFoundError

FEATURE_COLUMNS = ("inputs", "features")
READ_ROWS = 512  # rows taken from a file at a time


class ParquetFile(NamedTuple):
    """What the footer says: path, rows, bytes, and a hash of the row groups' sizes."""

    path: str
    rows: int
    size: int
    layout: bytes


class Opened(NamedTuple):
    """A file's footer and labels."""

    file: ParquetFile
    schema: pa.Schema
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ParquetPart:
    """Rows of parquet files; see `row_files.Part`.

    Attributes:
        root: Says in which filesystem.
        column: The images or features.
        form: Of one row.
        wanted: Files, and rows in each, ascending.
    """

    root: Location
    column: str
    form: tuple[int, ...]
    wanted: tuple[tuple[ParquetFile, NDArray[np.int64]], ...]

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.wanted)

    def read(self) -> NDArray[Any]:
        """Read and decode. Cost: the rows and some hundred encoded ones; row groups are passed over in pieces."""
        if len(self.form) == 1:
            return np.concatenate([values for _, _, values in self._features()])
        files = [str(self.root.at(file.path)) for file, _ in self.wanted]
        within = np.concatenate([rows for _, rows in self.wanted])
        where = places(files, [len(rows) for _, rows in self.wanted], lambda i: f", row {within[i]}")
        return decode_images_as(self.form, len(self), self._images(), where)

    def raw(self) -> Iterator[bytes]:
        """Yield the encoded images, or the features' bytes."""
        if len(self.form) == 1:
            for _, _, values in self._features():
                yield from (np.ascontiguousarray(row).tobytes() for row in values)
        else:
            for images in self._images():
                yield from images

    def _images(self) -> Iterator[list[bytes]]:
        for file, rows, column in self._columns():
            images = image_bytes(column, file)
            if images.null_count:
                raise DataError(f"{file}, row {rows[first_null(images)]}: the image has no bytes.")
            yield images.to_pylist()

    def _features(self) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float32]]]:
        for file, rows, column in self._columns():
            if column.null_count:
                raise DataError(f"{file}, row {rows[first_null(column)]}: the features are missing.")
            flat = column.flatten().to_numpy(zero_copy_only=False)
            with np.errstate(over="ignore"):
                values = flat.reshape(len(rows), -1).astype(np.float32, copy=False)
            if not (finite := np.isfinite(values).all(axis=1)).all():
                raise DataError(f"{file}, row {rows[int(finite.argmin())]}: features are not finite in float32.")
            yield file, rows, values

    def _columns(self) -> Iterator[tuple[str, NDArray[np.int64], Any]]:
        """Yield (file, rows, their column), a few hundred rows at a time."""
        for known, rows in self.wanted:
            place = self.root.at(known.path)
            if (size := place.info().size) != known.size:
                raise DataError(f"{place} has {size} bytes, and had {known.size} when the data set was opened.")
            with place.opened() as handle, pq.ParquetFile(handle) as file:
                for some, column in _taken(file, self.column, rows):
                    yield str(place), some, column


def _taken(file: pq.ParquetFile, name: str, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Any]]:
    """Yield the wanted rows of a column; row groups without any are not read."""
    edges = np.cumsum([0] + [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)])
    for group, (low, high) in enumerate(pairwise(edges)):
        left = rows[np.searchsorted(rows, low) : np.searchsorted(rows, high)]
        if len(left) == 0:
            continue
        for batch in file.iter_batches(batch_size=READ_ROWS, row_groups=[group], columns=[name]):
            here = left[: np.searchsorted(left, low + len(batch))]
            if len(here):
                yield here, batch.column(0).take(pa.array(here - low))
            left, low = left[len(here) :], low + len(batch)
            if len(left) == 0:
                break


@dataclass(frozen=True, slots=True, eq=False)
class ParquetRows:
    """All rows of some parquet files; see `row_files.RowFiles`.

    Attributes:
        root: Says in which filesystem.
        files: In the order of their rows.
        column: The images or features.
        form: Of one row.
    """

    root: Location
    files: tuple[ParquetFile, ...]
    column: str
    form: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 for images, float32 for features."""
        return np.dtype(np.uint8 if len(self.form) == 3 else np.float32)

    def __len__(self) -> int:
        return sum(file.rows for file in self.files)

    def part(self, rows: NDArray[np.int64]) -> ParquetPart:
        """Name some rows; they ascend."""
        edges = np.cumsum([0] + [file.rows for file in self.files])
        cuts = np.searchsorted(rows, edges)
        wanted = tuple(
            (file, rows[low:high] - edge)
            for file, edge, (low, high) in zip(self.files, edges, pairwise(cuts), strict=False)
            if high > low
        )
        return ParquetPart(self.root, self.column, self.form, wanted)

    def identity(self) -> Iterator[bytes]:
        """Yield names, sizes, rows and the compressed sizes of the columns."""
        for file in self.files:
            yield f"{file.path.rsplit('/', 1)[-1]}:{file.rows}:{file.size}:".encode() + file.layout


def parquet_rows(
    files: Sequence[Location], channels: int | None = None
) -> tuple[ParquetRows, NDArray[np.int64], tuple[str, ...]]:
    """Read footers and labels of files, in this order.

    Args:
        files: At least one, all in one filesystem.
        channels: 1 or 3; None: as the first image.

    Returns:
        The rows, their labels int64[n], and the class names in the first file's metadata (() if there are none).

    Raises:
        DatasetNotFoundError: A file is not there.
        DataError: A file is corrupt, lacks a column, differs from the first in type; or there is no row.
        StorageError: A remote file cannot be reached.

    Cost: footers and label columns, and up to the first image; 8 n bytes.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        opened = list(pool.map(_open, files))
    filled = [each for each in opened if each.file.rows]
    if not filled:
        raise DataError(f"{files[0]}: no rows{f', nor in {len(files) - 1} more files' if files[1:] else ''}.")
    first = filled[0]
    column = _input_column(first.schema, files[0])
    for place, each in zip(files, opened, strict=True):
        name = named_column(each.schema, (column,), place)
        if each.schema.field(name).type != first.schema.field(column).type:
            raise DataError(
                f"{place}: column {column} is {each.schema.field(name).type}, in {first.file.path} "
                f"{first.schema.field(column).type}."
            )
    return (
        ParquetRows(
            files[0], tuple(each.file for each in filled), column, _form(files[0], first, column, channels)
        ),
        np.concatenate([each.labels for each in filled]),
        first.classes,
    )


def _open(place: Location) -> Opened:
    """Read one footer and its labels."""
    if (info := place.info()).type != fs.FileType.File:
        raise DatasetNotFoundError(f"No parquet file {place}.")
    with place.opened() as handle, pq.ParquetFile(handle) as file:
        schema, footer = file.schema_arrow, file.metadata
        label = named_column(schema, LABEL_COLUMNS, place)
        labels = np.zeros(0, dtype=np.int64)
        if footer.num_rows:
            labels = checked_labels(file.read(columns=[label])[label], place)
        layout = blake2b(digest_size=16)
        for group in (footer.row_group(i) for i in range(footer.num_row_groups)):
            chunks = [group.column(i) for i in range(group.num_columns)]
            sizes = [(chunk.total_compressed_size, chunk.total_uncompressed_size) for chunk in chunks]
            layout.update(f"{group.num_rows}:{sizes}".encode())
        known = ParquetFile(place.path, footer.num_rows, info.size, layout.digest())
        return Opened(known, schema, labels, class_names(schema, label, place))


def _input_column(schema: pa.Schema, place: Location) -> str:
    """Find the images or the features."""
    column = named_column(schema, (*IMAGE_COLUMNS, *FEATURE_COLUMNS), place)
    kind = schema.field(column).type
    features = pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)
    if column in FEATURE_COLUMNS and not features:
        raise DataError(f"{place}: column {column} must be fixed_size_list<float or double>[d], got {kind}.")
    return column


def _form(root: Location, first: Opened, column: str, channels: int | None) -> tuple[int, ...]:
    """Return the form of the first row; of an image its header is enough."""
    if column in FEATURE_COLUMNS:
        return (int(first.schema.field(column).type.list_size),)
    part = ParquetPart(root, column, (0, 0, 0), ((first.file, np.zeros(1, dtype=np.int64)),))
    return image_shape(image_form(next(part.raw()), f"{root.at(first.file.path)}, row 0"), channels)
