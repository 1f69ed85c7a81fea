"""Small images and parquet files made on the spot, for the tests of the readers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def pixels(n: int, *shape: int, seed: int = 0) -> np.ndarray:
    """uint8[n, *shape] noise."""
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    """The bytes of an image file of one (H, W) or (H, W, 3) array."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def write_parquet(
    path: Path,
    files: Sequence[bytes | None],
    labels: Sequence[int | None],
    *,
    column: str = "img",
    label: str = "label",
    plain: bool = False,
    metadata: dict[str, str] | None = None,
    row_group_size: int = 3,
) -> Path:
    """Write a file in the Hugging Face image layout."""
    if plain:
        images: Any = pa.array(files, pa.binary())
    else:
        rows = [None if data is None else {"bytes": data, "path": None} for data in files]
        images = pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({column: images, label: pa.array(labels, pa.int64())})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=row_group_size)
    return path


def write_folder(root: Path, images_by_class: dict[str, Sequence[np.ndarray]]) -> Path:
    """Write root/<class>/000.png, ..."""
    for name, images in images_by_class.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(root / name / f"{i:03d}.png")
    return root
