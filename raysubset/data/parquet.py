"""Parquet files in the Hugging Face image layout.

One row per sample: an image column ``img`` or ``image`` of struct{bytes, path} or plain binary, and an integer
column ``label`` or ``fine_label``. Class names come from the schema metadata: ``class_names`` (a JSON list), or
the ClassLabel feature in Hugging Face's own ``huggingface`` key; without either the classes are numbered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raysubset.data.arrays import numbered_classes
from raysubset.data.images import ImageTable, decode_images
from raysubset.data.split import thin
from raysubset.errors import DataError, DatasetNotFoundError

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label")


def read_parquet(path: Path, limit: int | None = None) -> ImageTable:
    """Read and decode one file.

    Args:
        path: The file.
        limit: Rows to keep (see `raysubset.data.split.thin`); the others are not decoded.

    Raises:
        DatasetNotFoundError: No such file.
        DataError: The file is corrupt, empty or lacks a column, or an image or label is bad; names file and row.

    Cost: one row group of encoded images beside the decoded array; CIFAR-10's 50,000 JPEGs take 7-9 s on one core.
    """
    if not path.is_file():
        raise DatasetNotFoundError(f"No parquet file {path}.")
    try:
        with pq.ParquetFile(path) as file:
            return _read_open(file, path, limit)
    except (
        pa.ArrowException,
        OSError,
    ) as error:  # ArrowInvalid is also a ValueError, hence not caught as DataError
        raise DataError(f"{path}: not a readable parquet file ({error}).") from error


def _read_open(file: pq.ParquetFile, path: Path, limit: int | None) -> ImageTable:
    schema = file.schema_arrow
    image = named_column(schema, IMAGE_COLUMNS, path)
    label = named_column(schema, LABEL_COLUMNS, path)
    labels = checked_labels(file.read(columns=[label])[label], path)
    rows = thin(labels, limit) if limit is not None else np.arange(len(labels), dtype=np.int64)
    images, encoding = decode_images(
        len(rows), _encoded(file, image, rows, path), lambda i: f"{path}, row {rows[i]}"
    )
    classes = class_names(schema, label, path) or numbered_classes(labels)
    return ImageTable(images, labels[rows], classes, encoding)


def named_column(schema: pa.Schema, allowed: Sequence[str], path: object) -> str:
    """Return the first of the allowed names that the file has.

    Raises:
        DataError: It has none.
    """
    for name in allowed:
        if name in schema.names:
            return name
    raise DataError(f"{path}: no column {' or '.join(allowed)}; it has {', '.join(schema.names)}.")


def checked_labels(column: pa.ChunkedArray, path: object) -> NDArray[np.int64]:
    """Return a label column as int64.

    Raises:
        DataError: Empty, not integers, or a label is missing; names the row.
    """
    if len(column) == 0:
        raise DataError(f"{path}: no rows.")
    if not pa.types.is_integer(column.type):
        raise DataError(f"{path}: labels must be integers, got {column.type}.")
    if column.null_count:
        raise DataError(f"{path}, row {first_null(column)}: the label is missing.")
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _encoded(file: pq.ParquetFile, name: str, rows: NDArray[np.int64], path: Path) -> Iterator[list[bytes]]:
    """Yield the wanted rows' image files, one row group at a time. ``rows`` ascend."""
    start = 0
    for group in range(file.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        wanted = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
        if len(wanted):
            column = image_bytes(file.read_row_group(group, columns=[name])[name], path).take(wanted - start)
            if column.null_count:
                raise DataError(f"{path}, row {wanted[first_null(column)]}: the image has no bytes.")
            yield column.to_pylist()
        start = stop


def image_bytes(column: pa.ChunkedArray, path: object) -> pa.ChunkedArray:
    """Return the bytes of an image column; ``struct_field`` keeps a null struct null.

    Raises:
        DataError: The column holds no bytes.
    """
    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise DataError(f"{path}: images must be binary or struct{{bytes, path}}, got {column.type}.")
    return column


def first_null(column: pa.ChunkedArray) -> int:
    """Return the place of the first missing value; there must be one."""
    return int(pc.index(column.is_null(), True).as_py())


def class_names(schema: pa.Schema, label: str, path: object) -> tuple[str, ...]:
    """Return the class names in the metadata of ``schema``, () if there are none.

    Raises:
        DataError: The metadata is there but is not what its key promises.
    """
    metadata = schema.metadata or {}
    try:
        if b"class_names" in metadata:
            return _strings(json.loads(metadata[b"class_names"]))
        if b"huggingface" in metadata:
            feature = json.loads(metadata[b"huggingface"])["info"]["features"].get(label, {})
            return _strings(feature.get("names", ()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: the class names in the schema metadata cannot be read ({error!r}).") from error
    return ()


def _strings(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"a list of strings was expected, got {names!r:.80}")
    return tuple(names)
