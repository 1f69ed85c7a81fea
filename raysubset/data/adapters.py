"""Data sets of other libraries, known by their shape alone: torch map-style and Ray Data.

Neither library is imported: a torch data set is ``__len__`` and ``__getitem__``, a Ray one ``iter_batches``.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raysubset.data.arrays import as_inputs, as_labels
from raysubset.data.images import natural_channels, to_pixels
from raysubset.errors import DataError

RAY_INPUT_COLUMNS = ("image", "img", "inputs")
RAY_LABEL_COLUMN = "label"


def read_torch(dataset: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Read a map-style data set of (image, label).

    A torchvision data set without transforms that keeps its images in ``data`` and its labels in ``targets`` is
    taken whole; any other is read item by item, through its transforms, once: random ones are frozen.

    Args:
        dataset: Items are (image, label); an image is a PIL image, uint8 C x H x W or H x W x C, or floats.

    Raises:
        DataError: Empty, an item has another form, or the items differ in shape.

    Cost: one copy of the data; item by item also one Python call a row.
    """
    if len(dataset) == 0:
        raise DataError(f"{type(dataset).__name__} has no rows.")
    if _is_plain_torchvision(dataset):
        return as_inputs(dataset.data), as_labels(dataset.targets)
    first = _item(dataset, 0)[0]
    inputs = np.empty((len(dataset), *first.shape), dtype=first.dtype)
    labels = np.empty(len(dataset), dtype=np.int64)
    for row in range(len(dataset)):
        image, labels[row] = _item(dataset, row)
        if image.shape != first.shape or image.dtype != first.dtype:
            raise DataError(
                f"Row {row} is {image.dtype}{image.shape}, row 0 is {first.dtype}{first.shape}: all must agree."
            )
        inputs[row] = image
    channels_first = isinstance(dataset[0][0], Image.Image)  # `_item` has seen to it; arrays may have them last
    return inputs if channels_first else as_inputs(inputs), labels


def _is_plain_torchvision(dataset: Any) -> bool:
    """Only torchvision's own classes: a subclass may change items on the way out."""
    return (
        type(dataset).__module__.startswith("torchvision.datasets.")
        and getattr(dataset, "transforms", None) is None
        and all(hasattr(dataset, name) for name in ("data", "targets"))
        and np.ndim(dataset.targets) == 1
    )


def _item(dataset: Any, row: int) -> tuple[NDArray[Any], int]:
    """Return one image as an array (PIL images channels first) and its label."""
    try:
        image, label = dataset[row]
        label = operator.index(label)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"Row {row} of {type(dataset).__name__} is not (image, integer label): {error}."
        ) from error
    if isinstance(image, Image.Image):
        return to_pixels(image, natural_channels(image, f"row {row}")), label
    return np.asarray(image), label


def read_ray(dataset: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Read a Ray Data set in the order in which it yields its blocks.

    Args:
        dataset: Its ``iter_batches(batch_format="numpy")`` yields columns ``image``, ``img`` or ``inputs``, and
            ``label``.

    Raises:
        DataError: Empty, a column is missing, or the images differ in shape.

    Cost: the batches and their concatenation, so twice the data for a moment.
    """
    inputs, labels = [], []
    for batch in dataset.iter_batches(batch_format="numpy"):
        column = next((name for name in RAY_INPUT_COLUMNS if name in batch), None)
        if column is None or RAY_LABEL_COLUMN not in batch:
            raise DataError(
                f"Ray data set has columns {', '.join(batch)}; need {' or '.join(RAY_INPUT_COLUMNS)}, and "
                f"{RAY_LABEL_COLUMN}."
            )
        inputs.append(as_inputs(batch[column]))
        labels.append(as_labels(batch[RAY_LABEL_COLUMN]))
    if not inputs:
        raise DataError("Ray data set has no rows.")
    if len(shapes := {(part.dtype.str, part.shape[1:]) for part in inputs}) > 1:
        raise DataError(f"Ray data set mixes inputs of {sorted(shapes)}.")
    return np.concatenate(inputs), np.concatenate(labels)
