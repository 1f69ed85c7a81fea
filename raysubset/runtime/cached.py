"""Rows of a split that does not fit in this node's object store: blocks are fetched, used and let go.

    stream    announced rows are gathered segment by segment (`data.streams.segments`): each block that a segment
              needs is fetched once, its wanted rows copied out, the next block fetched meanwhile
    cache     the blocks used last stay mapped, within a bound; what is mapped is used first

A fetch maps a block that lies in this node's store, brings it from another node's, or has Ray restore it from
disk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from numpy.typing import NDArray

from raysubset.data.streams import BlockLayout, segments
from raysubset.runtime.blocks import block_inputs

if TYPE_CHECKING:
    from raysubset.runtime.store import StoredSplit

ID_AND_LABEL_BYTES = 16  # of a row, beside its input


class BlockCache:
    """The blocks that a process has mapped, at most ``max_bytes`` of them (or one block, if that is larger).

    Args:
        blocks: References to Arrow tables.
        starts: int64[blocks + 1], the first id of each, and n.
        row_bytes: Of a row in a block.
        max_bytes: Of mapped blocks.

    Attributes:
        reads: int64[blocks], how often each was fetched.
        bytes, peak_bytes: Mapped now, and at most so far.
    """

    def __init__(
        self, blocks: Sequence[ray.ObjectRef[Any]], starts: NDArray[np.int64], row_bytes: int, max_bytes: int
    ) -> None:
        self.reads = np.zeros(len(blocks), dtype=np.int64)
        self.bytes = self.peak_bytes = 0
        self._blocks, self._starts, self._max_bytes = blocks, starts, max_bytes
        self._sizes = np.diff(starts) * row_bytes
        self._mapped: OrderedDict[int, NDArray[Any]] = OrderedDict()

    def __contains__(self, number: int) -> bool:
        return number in self._mapped

    def get(self, number: int) -> NDArray[Any]:
        """Return the inputs of a block, a view that is good until others are asked for."""
        if number in self._mapped:
            self._mapped.move_to_end(number)
            return self._mapped[number]
        size = int(self._sizes[number])
        while self._mapped and self.bytes + size > self._max_bytes:
            self.bytes -= int(self._sizes[self._mapped.popitem(last=False)[0]])
        table = ray.get(self._blocks[number])
        self.reads[number] += 1
        self.bytes += size
        self.peak_bytes = max(self.peak_bytes, self.bytes)
        self._mapped[number] = block_inputs(
            table, number, int(self._starts[number]), int(self._starts[number + 1])
        )
        return self._mapped[number]

    def prefetch(self, number: int) -> None:
        """Have a block brought into this node's store while others are used; it is not mapped, nor kept there."""
        if number not in self._mapped:
            ray.wait([self._blocks[number]], timeout=0, fetch_local=True)


class CachedSource:
    """A `RowSource` and `BlockSource` that holds a bounded part of its rows.

    Args:
        stored: The split.
        cache_bytes: Of mapped blocks.

    Attributes:
        labels: int64[n], a view of the object store.
        layout: How the rows lie in blocks.
        cache: Counts what was fetched, and bounds what is mapped.

    Raises:
        DataError: A block's ids are not the ones its place promises (when it is fetched).
    """

    def __init__(self, stored: StoredSplit, cache_bytes: int) -> None:
        self.labels: NDArray[np.int64] = ray.get(stored.labels)
        self.layout: BlockLayout = stored.layout
        self.form, self.dtype = stored.form, stored.dtype
        row_bytes = stored.row_bytes + ID_AND_LABEL_BYTES
        self.cache = BlockCache(stored.blocks, stored.layout.starts, row_bytes, cache_bytes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def reads(self) -> NDArray[np.int64]:
        """int64[blocks], how often each block was fetched by this process."""
        return self.cache.reads

    def rows(self, index: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return inputs and labels of global rows, in the order asked. Each block they lie in is fetched once.

        Cost: one copy of those rows, O(k log k), and the fetches: 1 ms a block in this node's store, some 15 ms
        for 16 MB that Ray restores from a local disk.
        """
        owner = self.layout.owner(index)
        by_block = np.argsort(owner, kind="stable")
        blocks, first = np.unique(owner[by_block], return_index=True)
        spans = pairwise([*first, len(index)])
        places = {block: by_block[low:high] for block, (low, high) in zip(blocks.tolist(), spans, strict=True)}
        order = sorted(places, key=lambda block: (block not in self.cache, block))
        gathered = np.empty((len(index), *self.form), dtype=self.dtype)
        for block, following in zip_longest(order, order[1:]):
            inputs = self.cache.get(block)
            if following is not None:
                self.cache.prefetch(following)
            here = places[block]
            gathered[here] = inputs[index[here] - self.layout.starts[block]]
            del inputs  # a view pins its block
        return gathered, self.labels[index]

    def stream(self, ids: NDArray[np.int64]) -> SegmentStream:
        """Announce the rows of an epoch, in the order in which they will be wanted."""
        return SegmentStream(self, ids)


class SegmentStream:
    """Hands out announced rows; holds one segment of them at a time, gathered when its first row is wanted.

    Args:
        source: Where they lie.
        ids: int64[k], in the order of reading.
    """

    def __init__(self, source: CachedSource, ids: NDArray[np.int64]) -> None:
        self._source, self._ids = source, ids
        self._cuts = segments(source.layout.owner(ids))
        self._segment, self._taken = -1, 0
        self._inputs: NDArray[Any] = np.empty((0, *source.form), dtype=source.dtype)

    def take(self, count: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the next rows; a view where they lie in one segment."""
        start, stop = self._taken, self._taken + count
        self._taken = stop
        labels = self._source.labels[self._ids[start:stop]]
        pieces = []
        while start < stop:
            if self._segment < 0 or start >= self._cuts[self._segment + 1]:
                self._gather_next()
            low, high = self._cuts[self._segment : self._segment + 2]
            piece = self._inputs[start - low : min(stop, high) - low]
            pieces.append(piece if high >= stop else piece.copy())  # a view would keep its segment
            start = min(stop, high)
        if len(pieces) == 1:
            return pieces[0], labels
        return np.concatenate(pieces) if pieces else self._inputs[:0], labels

    def _gather_next(self) -> None:
        """Gather the next segment; the one before is let go first."""
        self._segment += 1
        self._inputs = self._inputs[:0].copy()
        low, high = self._cuts[self._segment : self._segment + 2]
        self._inputs, _ = self._source.rows(self._ids[low:high])
        if high < len(self._ids):
            self._source.cache.prefetch(int(self._source.layout.owner(self._ids[high : high + 1])[0]))
