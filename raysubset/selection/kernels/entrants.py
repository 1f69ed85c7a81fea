"""The rows that enter a race, read a chunk at a time: any float type, and rows that nobody has seen yet.

A row not seen stands at the ceiling, the largest value seen anywhere (0 where nothing was): the rule of
`raysubset.proxy.memory`. A shard does not know the ceiling; it is told, and fills it in chunk by chunk, so that no
vector of all rows is ever copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import SelectionError

Floats = NDArray[np.float16] | NDArray[np.float32] | NDArray[np.float64]
Ready = NDArray[np.float32] | NDArray[np.float64]

CHUNK = 1 << 18  # rows read at a time
SAMPLE = 1 << 15  # values that a threshold is estimated from, at least


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What a shard says of its rows before a race: 4 bytes a sampled row (8 for float64), and some 100.

    Attributes:
        rows: How many there are, 0 for an empty shard.
        low, high: Least and largest value seen; infinity and minus infinity where nothing was seen.
        sample: Values of the rows whose global number the stride divides, in row order; NaN where not seen.
    """

    rows: int
    low: float
    high: float
    sample: Ready


def ceiling_of(surveys: Sequence[Survey]) -> float:
    """Return the value at which rows not seen stand: the largest seen in any shard, 0 where nothing was."""
    high = max((survey.high for survey in surveys), default=-math.inf)
    return high if math.isfinite(high) else 0.0


def stride_for(n: int) -> int:
    """Return the stride at which n rows give `SAMPLE` to 2 `SAMPLE` values (all of them below that)."""
    return max(1, n // SAMPLE)


@dataclass(frozen=True, slots=True, eq=False)
class Entrants:
    """The rows first_row, first_row + 1, ... with their values.

    Attributes:
        values: float16, float32 or float64[n]; read as float32 or float64, which loses nothing.
        first_row: Global number of the first.
        seen: bool[n], False where the value is that of the ceiling; None: all are seen.
    """

    values: Floats
    first_row: int = 0
    seen: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def chunks(self, ceiling: float = 0.0) -> Iterator[tuple[int, Ready]]:
        """Yield (global number of its first row, contiguous values) of each chunk, ceiling filled in."""
        for start in range(0, len(self), CHUNK):
            values = _ready(self.values[start : start + CHUNK])
            if self.seen is not None:
                values = np.where(self.seen[start : start + CHUNK], values, values.dtype.type(ceiling))
            yield self.first_row + start, values

    def survey(self, stride: int) -> Survey:
        """Look through all values once.

        Args:
            stride: Of the sample; the same for all shards, so that together they sample what one would.

        Raises:
            SelectionError: A value seen is NaN or infinite (names its row).

        Cost: O(n) time; nothing of the vector's size is allocated.
        """
        low, high = math.inf, -math.inf
        for start in range(0, len(self), CHUNK):
            values = _ready(self.values[start : start + CHUNK])
            if self.seen is not None:
                values = values[self.seen[start : start + CHUNK]]
            if len(values) == 0:
                continue
            least, largest = float(values.min()), float(values.max())
            if not (math.isfinite(least) and math.isfinite(largest)):
                self._refuse(start)
            low, high = min(low, least), max(high, largest)
        return Survey(len(self), low, high, self._sample(stride))

    def _sample(self, stride: int) -> Ready:
        every = slice(-self.first_row % stride, None, stride)
        sample = _ready(self.values[every])
        if self.seen is not None:
            sample = np.where(self.seen[every], sample, sample.dtype.type(np.nan))
        return sample.copy() if sample.base is not None else sample

    def _refuse(self, start: int) -> None:
        part = slice(start, start + CHUNK)
        bad = ~np.isfinite(self.values[part])
        if self.seen is not None:
            bad &= self.seen[part]
        row = start + int(np.flatnonzero(bad)[0])
        raise SelectionError(
            f"Importance of row {self.first_row + row} is {self.values[row]}; all {len(self)} must be finite."
        )


def _ready(values: Floats) -> Ready:
    """Return what the sweeps read: contiguous float32 or float64."""
    kind: Any = np.float64 if values.dtype == np.float64 else np.float32
    return cast("Ready", np.ascontiguousarray(values, dtype=kind))
