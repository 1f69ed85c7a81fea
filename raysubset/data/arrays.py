"""Whatever arrays a caller has -> the two forms raysubset trains on.

images    uint8[n, C, H, W], C in {1, 3}
features  float32[n, ...], finite
labels    int64[n] classes, or float32[n] targets of a regression, finite
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import DataError

CHANNELS = (1, 3)
MAX_UNNAMED_CLASSES = 100_000  # a larger label is an id or a timestamp, not a class


def as_inputs(array: Any) -> NDArray[Any]:
    """Return ``array`` as uint8[n, C, H, W] images or as float32[n, ...] features.

    Args:
        array: uint8 images (n, H, W), (n, H, W, C) or (n, C, H, W), the channel axis being the one of size 1
            or 3; or features of any floating dtype, cast to float32 and otherwise kept.

    Raises:
        DataError: Another dtype or rank, no or two possible channel axes, a feature that is not finite in float32.

    Cost: no copy for uint8 (n, C, H, W), (n, H, W) and float32, else one copy.
    """
    values = np.asarray(array)
    if values.dtype == np.uint8:
        return _channels_first(values)
    if not np.issubdtype(values.dtype, np.floating) or values.ndim < 2:
        raise DataError(
            f"Inputs must be uint8 images or floating features with at least two axes, got {values.dtype}"
            f"{values.shape}. Lists of images of unequal size have dtype object."
        )
    with np.errstate(over="ignore"):
        features = values.astype(np.float32, copy=False)
    finite = np.isfinite(features).reshape(len(features), -1).all(axis=1)
    if not finite.all():
        raise DataError(f"Features of row {int(finite.argmin())} are not finite in float32.")
    return features


def _channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Find the channel axis and move it to place 1."""
    if images.ndim == 3:
        return images[:, np.newaxis]
    if images.ndim != 4:
        raise DataError(f"uint8 inputs are images of 3 or 4 axes (n first), got shape {images.shape}.")
    first, last = images.shape[1] in CHANNELS, images.shape[3] in CHANNELS
    if first == last:
        found = "both axis 1 and axis 3" if first else "neither axis 1 nor axis 3"
        raise DataError(f"Images of shape {images.shape}: {found} could hold the channels (size 1 or 3).")
    return images if first else np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def as_targets(array: Any) -> NDArray[Any]:
    """Return ``array`` as int64[n] labels, or floating values as float32[n] targets of a regression.

    Raises:
        DataError: Not one axis of numbers, or a target that is not finite in float32.
    """
    targets = np.asarray(array)
    if targets.ndim != 1 or not np.issubdtype(targets.dtype, np.floating):
        return as_labels(targets)
    with np.errstate(over="ignore"):
        values = targets.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise DataError(f"The target of row {int(np.isfinite(values).argmin())} is not finite in float32.")
    return values


def as_labels(array: Any) -> NDArray[np.int64]:
    """Return ``array`` as int64[n].

    Raises:
        DataError: Not one axis of integers.
    """
    labels = np.asarray(array)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"Labels must be integers on one axis, got {labels.dtype}{labels.shape}.")
    return labels.astype(np.int64, copy=False)


def numbered_classes(*labels: NDArray[np.int64]) -> tuple[str, ...]:
    """Name the classes "0", "1", ... up to the largest label.

    Raises:
        DataError: A label is too large to be a class.
    """
    top = max(int(part.max()) for part in labels)
    if top >= MAX_UNNAMED_CLASSES:
        raise DataError(f"Label {top} is too large: labels number the classes from 0.")
    return tuple(str(label) for label in range(top + 1))
