"""Rows in files that are read elsewhere: what the driver knows of them, and what a worker needs to read some.

The driver lists files, reads footers and labels, and looks at one header; a `Part` names some of the rows, travels
to a worker and is read there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError

AT_ONCE = 16  # files that are waited for together: a store far away answers each in a tenth of a second


class Part(Protocol):
    """Some rows, unread; small, and made to be pickled."""

    def __len__(self) -> int: ...

    def read(self) -> NDArray[Any]:
        """Read and decode the rows: uint8[n, C, H, W] or float32[n, d].

        Raises:
            DataError: A row is corrupt or of another form, or a file is not what it was; names file and row.
            StorageError: A remote file cannot be reached.
        """
        ...

    def raw(self) -> Iterator[bytes]:
        """Yield the rows as they lie in the files, undecoded."""
        ...


class RowFiles(Protocol):
    """All rows of a split, numbered by file and place in the file: the same numbers wherever they are read."""

    @property
    def form(self) -> tuple[int, ...]:
        """Shape of one row: (C, H, W) of images, (d,) of features."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 for images, float32 for features."""
        ...

    def __len__(self) -> int: ...

    def part(self, rows: NDArray[np.int64]) -> Part:
        """Name some rows; ``rows`` ascend."""
        ...

    def identity(self) -> Iterator[bytes]:
        """Yield what tells these files from others without reading them: names, sizes, layout."""
        ...


def image_shape(found: tuple[int, int, int], channels: int | None) -> tuple[int, int, int]:
    """Return (C, H, W) of a set whose first image has the form ``found``.

    Raises:
        OptionsError: ``channels`` is not 1, 3 or None.
    """
    if channels not in (None, 1, 3):
        raise OptionsError(f"channels={channels}: 1 (grey), 3 (colour) or None (as the first image).")
    return (found[0] if channels is None else channels, *found[1:])


def places(names: list[str], counts: list[int], row: Callable[[int], str]) -> Callable[[int], str]:
    """Return a function that names the i-th of rows which come from several files.

    Args:
        names: Of the files.
        counts: Rows from each.
        row: Names a row inside its file, by i.
    """
    ends = np.cumsum(counts)
    return lambda i: f"{names[int(np.searchsorted(ends, i, side='right'))]}{row(i)}"
