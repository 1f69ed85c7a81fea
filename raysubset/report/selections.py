"""selections.npz: which rows a search trained on, when, and how hard they are, with a few of them as images.

Written once, when the search ends or is interrupted; one that was killed has none. What every field means is said
by `proxy.tally`, which counts; here rows are those of the training pool.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import RecordError, StorageError
from raysubset.report.atomic import write_bytes

SELECTIONS_FILE = "selections.npz"
SELECTIONS_SCHEMA = 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Selections:
    """What the selectors of a search handed out.

    Attributes:
        times: uint32[n], subsets that each row was in.
        epochs: int64[E] from 0, those that were counted.
        subsets: int64[E], trials that had a subset at that epoch.
        by_class: int64[E, C], rows of each class in them.
        watched_rows: int64[w], rows followed epoch by epoch.
        watched: uint32[E, w], subsets of the epoch that each was in.
        rank_sum, rank_weight: float32[n], see `difficulty`.
        in_batch: Subsets whose rows are chosen inside batches, which nobody counted.
        labels: int64[n] of the pool.
        classes: Name of each label.
        example_rows: int64[m], rows that are shown.
        examples: uint8[m, C, h, w], those rows; m is 0 where rows are no images.
        selector_peak_bytes: Largest resident memory of a selector's process; 0 where it is not known.
    """

    times: NDArray[np.uint32]
    epochs: NDArray[np.int64]
    subsets: NDArray[np.int64]
    by_class: NDArray[np.int64]
    watched_rows: NDArray[np.int64]
    watched: NDArray[np.uint32]
    rank_sum: NDArray[np.float32]
    rank_weight: NDArray[np.float32]
    in_batch: int
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    example_rows: NDArray[np.int64]
    examples: NDArray[np.uint8]
    selector_peak_bytes: int = 0

    @classmethod
    def of(cls, tally: Mapping[str, Any], labels: NDArray[np.int64], classes: tuple[str, ...]) -> Self:
        """Put what one selector counted beside the names of the classes; no examples yet."""
        lines, width = np.shape(tally["by_class"])
        by_class = np.zeros((lines, max(width, len(classes))), dtype=np.int64)  # the last classes may have no row
        by_class[:, :width] = tally["by_class"]
        nothing = np.zeros(0, dtype=np.int64)
        return cls(
            **{**tally, "by_class": by_class, "in_batch": int(tally["in_batch"])},
            labels=np.asarray(labels),
            classes=tuple(classes) + tuple(str(c) for c in range(len(classes), width)),
            example_rows=nothing,
            examples=np.zeros((0, 1, 1, 1), dtype=np.uint8),
        )

    @property
    def counted(self) -> int:
        """How many subsets were counted."""
        return int(self.subsets.sum())

    @property
    def difficulty(self) -> NDArray[np.float32]:
        """Return float32[n]: mean rank in [0, 1] of each row's last loss, 1 the largest; nan where never seen.

        Over the trials, weighed by the epochs they recorded. A row that is not chosen any more keeps its last
        loss, which may be of an early epoch: it then looks harder than it would today.
        """
        unknown = np.full(len(self.rank_sum), np.nan, dtype=np.float32)
        return np.divide(self.rank_sum, self.rank_weight, out=unknown, where=self.rank_weight > 0)

    def merged(self, other: Selections) -> Selections:
        """Add what another selector, or an earlier session, counted of the same pool.

        Raises:
            RecordError: It is of another pool.
        """
        if len(self.times) != len(other.times) or not np.array_equal(self.watched_rows, other.watched_rows):
            raise RecordError(
                f"Counts over {len(other.times):,} rows do not add to counts over {len(self.times):,} rows."
            )
        epochs = np.union1d(self.epochs, other.epochs)

        def added(name: str) -> Any:
            shape = (len(epochs), *getattr(self, name).shape[1:])
            total = np.zeros(shape, dtype=getattr(self, name).dtype)
            for one in (self, other):
                total[np.searchsorted(epochs, one.epochs)] += getattr(one, name)
            return total

        return replace(
            self,
            times=self.times + other.times,
            epochs=epochs,
            **{name: added(name) for name in ("subsets", "by_class", "watched")},
            rank_sum=self.rank_sum + other.rank_sum,
            rank_weight=self.rank_weight + other.rank_weight,
            in_batch=self.in_batch + other.in_batch,
            selector_peak_bytes=max(self.selector_peak_bytes, other.selector_peak_bytes),
        )

    def write(self, folder: Path) -> Path:
        """Write ``folder``/selections.npz in one step: some 6 bytes a row, 2 kB an epoch, and the images.

        Raises:
            StorageError: It cannot be written.
        """
        arrays = {one.name: np.asarray(getattr(self, one.name)) for one in fields(self)}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, schema=np.int64(SELECTIONS_SCHEMA), **arrays)  # type: ignore[arg-type]
        write_bytes(folder / SELECTIONS_FILE, buffer.getvalue())
        return folder / SELECTIONS_FILE


def read_selections(folder: Path) -> Selections | None:
    """Read ``folder``/selections.npz; None if there is none.

    Raises:
        StorageError: It cannot be read.
        RecordError: It is damaged, or of another schema; the message names the file.
    """
    path = folder / SELECTIONS_FILE
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            if int(kept["schema"]) != SELECTIONS_SCHEMA:
                raise RecordError(f"{path} has schema {kept['schema']}, this version reads {SELECTIONS_SCHEMA}.")
            arrays: dict[str, Any] = {one.name: kept[one.name] for one in fields(Selections)}
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RecordError(f"{path} does not hold the selections of a search ({error}).") from error
    scalars = {name: int(arrays[name]) for name in ("in_batch", "selector_peak_bytes")}
    return Selections(**{**arrays, **scalars, "classes": tuple(map(str, arrays["classes"]))})
