"""Rank traces: how important each row was to one training, epoch by epoch (ASP, figures 16 and 17).

After each epoch the memory's rows are ranked by importance, as shares of the pool: 1 is the most important, equal
values share their mean rank, rows not seen yet stand where the selector puts them, at the most important value. Of
a few rows the ranks of each epoch are kept, of all rows only their mean: a trace takes 8 n + 4 E R bytes.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import RecordError, StorageError

TRACED_ROWS = 30  # as in the paper's figure
TRACE_FOLDER = "traces"


@dataclass(frozen=True, slots=True, eq=False)
class RankTrace:
    """What is known after some epochs.

    Attributes:
        metric: What importance is measured by.
        rows: int64[R], whose ranks are kept: evenly spaced over the pool.
        ranks: float32[E, R], in (0, 1].
        total: float64[n], sums of every row's ranks.
    """

    metric: str
    rows: NDArray[np.int64]
    ranks: NDArray[np.float32]
    total: NDArray[np.float64]

    @classmethod
    def empty(cls, n: int, metric: str) -> RankTrace:
        """Return the trace of a training of n rows that has not begun."""
        rows = np.unique(np.linspace(0, n - 1, min(TRACED_ROWS, n)).round().astype(np.int64))
        return cls(metric, rows, np.empty((0, len(rows)), dtype=np.float32), np.zeros(n))

    def after(self, importance: NDArray[np.float32]) -> RankTrace:
        """Return the trace with one epoch more.

        Args:
            importance: float32[n], after that epoch.

        Cost: a sort of n numbers.
        """
        shares = rank_shares(importance)
        ranks = np.vstack([self.ranks, shares[self.rows].astype(np.float32)])
        return RankTrace(self.metric, self.rows, ranks, self.total + shares)

    @property
    def mean(self) -> NDArray[np.float64]:
        """float64[n], each row's mean rank over the epochs."""
        return self.total / max(1, len(self.ranks))

    def easiest(self, k: int) -> NDArray[np.int64]:
        """Return the k rows of least mean rank, the least important first; ties by row."""
        return np.argsort(self.mean, kind="stable")[:k]

    def hardest(self, k: int) -> NDArray[np.int64]:
        """Return the k rows of greatest mean rank, the most important first; ties by row."""
        return np.argsort(-self.mean, kind="stable")[:k]

    def write(self, file: Path) -> None:
        """Replace ``file`` in one step.

        Raises:
            StorageError: It cannot be written.
        """
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                np.savez(stream, metric=self.metric, rows=self.rows, ranks=self.ranks, total=self.total)
            part.replace(file)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StorageError(f"Cannot write {file}: {error.strerror or error}.") from error

    @classmethod
    def read(cls, file: Path) -> RankTrace:
        """Read what `write` wrote.

        Raises:
            StorageError: There is no such file, or it cannot be read.
            RecordError: It is no trace.
        """
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
                return cls(str(kept["metric"]), kept["rows"], kept["ranks"], kept["total"])
        except OSError as error:
            raise StorageError(f"Cannot read {file}: {error.strerror or error}.") from error
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise RecordError(f"{file} is no rank trace ({error}).") from error


def rank_shares(importance: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return float64[n] in (0, 1]: mid-ranks, ascending in importance, as shares of n."""
    _, inverse, counts = np.unique(importance, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - (counts - 1) / 2) / len(importance))[inverse]
