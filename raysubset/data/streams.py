"""Rows in blocks: the order in which an epoch reads them, so that it reads each block once.

Training wants its rows in random order; blocks that do not all fit in memory want to be read one after the other.

    k rows fit in a window     the order stays as it was drawn over the whole pool: the window is gathered block by
                               block before the first batch, and batches are cut from it
    else                       the blocks are permuted anew each epoch and dealt into windows that fit; windows
                               come one after the other, and inside a window rows keep the order of the draw

So an epoch holds one window, and two rows of one window meet in a batch as they would in memory, while rows of
different windows meet only where windows meet. The order is a function of ids, block layout, window, seed and
epoch: never of the machine, of its object store, or of what a process has cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from raysubset.seeds import generator

if TYPE_CHECKING:
    from raysubset.data.batches import RowSource


class RowStream(Protocol):
    """Rows that were announced, handed out in that order."""

    def take(self, count: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return inputs and labels of the next ``count`` rows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class BlockLayout:
    """How rows lie in blocks.

    Attributes:
        starts: int64[blocks + 1], the first id of each block, and n.
        window_rows: Rows that a process may hold of an epoch; None: all.
    """

    starts: NDArray[np.int64]
    window_rows: int | None = None

    def owner(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the block of each id, int64 of the shape of ``ids``."""
        return np.searchsorted(self.starts, ids, side="right") - 1

    def order(self, ids: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
        """Return positions into ``ids``, int64[k], in the order of reading.

        Args:
            ids: int64[k], the epoch's rows in the order drawn over the pool.
            seed: The experiment's seed.
            epoch: From 0.

        Cost: O(k log k) where rows come in windows, else O(k).
        """
        if self.window_rows is None or len(ids) <= self.window_rows:
            return np.arange(len(ids), dtype=np.int64)
        owner = self.owner(ids)
        rows = np.bincount(owner, minlength=len(self.starts) - 1)
        window = np.zeros(len(rows), dtype=np.int64)
        number = held = 0
        for block in generator(seed, epoch, "blocks").permutation(len(rows)):
            if held and held + rows[block] > self.window_rows:
                number, held = number + 1, 0
            window[block], held = number, held + int(rows[block])
        return np.argsort(window[owner], kind="stable")


@runtime_checkable
class BlockSource(Protocol):
    """A `RowSource` whose rows lie in blocks: it says how, and reads rows that are announced block by block."""

    @property
    def layout(self) -> BlockLayout:
        """How the rows lie."""
        ...

    def stream(self, ids: NDArray[np.int64]) -> RowStream:
        """Announce the rows that will be wanted, in the order in which they will be."""
        ...


def read_order(source: RowSource, ids: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Return positions into ``ids`` in the order of reading: as they are, unless the source lies in blocks."""
    if isinstance(source, BlockSource):
        return source.layout.order(ids, seed, epoch)
    return np.arange(len(ids), dtype=np.int64)


def row_stream(source: RowSource, ids: NDArray[np.int64]) -> RowStream:
    """Announce the rows of an epoch to their source."""
    return source.stream(ids) if isinstance(source, BlockSource) else DirectStream(source, ids)


class DirectStream:
    """Asks the source for every batch as it comes: rows that are mapped or in memory."""

    def __init__(self, source: RowSource, ids: NDArray[np.int64]) -> None:
        self._source, self._ids, self._taken = source, ids, 0

    def take(self, count: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the next rows. Cost: one copy of them."""
        index = self._ids[self._taken : self._taken + count]
        self._taken += count
        return self._source.rows(index)


def segments(owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cut a sequence of rows wherever no block that came before comes again.

    Args:
        owner: int64[k], the block of each row.

    Returns:
        int64[m + 1], ascending from 0 to k: segment i is [cuts[i], cuts[i + 1]). Each block lies in one segment.

    Cost: O(k).
    """
    _, block = np.unique(owner, return_inverse=True)
    place = np.arange(len(block))
    last = np.zeros(len(block), dtype=np.int64)
    np.maximum.at(last, block, place)
    reach = np.maximum.accumulate(last[block])
    return np.append(0, np.flatnonzero(reach == place) + 1)
