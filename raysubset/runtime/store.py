"""A split in Ray's object store: put once through Ray Data, read zero-copy by every trial of a node.

Blocks carry explicit global ids. A trial that opens the split maps the blocks into its own address space
(read-only numpy views, no copy), and gathers the rows of a subset by sorting them into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray
from ray.data.extensions import ArrowTensorArray

from raysubset.data.dataset import Split
from raysubset.errors import DataError

BLOCK_BYTES = 32 * 2**20  # large enough to amortise a fetch, small enough to spill and to spread over nodes


@dataclass(frozen=True, slots=True, eq=False)
class StoredSplit:
    """References to a split's blocks; a few hundred bytes, so it travels with every task.

    Attributes:
        blocks: Arrow tables with columns id, input, label.
        starts: int64[blocks + 1], global id of each block's first row, and n.
    """

    blocks: tuple[ray.ObjectRef[Any], ...]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def open(self) -> StoredSource:
        """Map the blocks into this process. Cost: one shared-memory lookup a block on the node that holds them."""
        return StoredSource(self)


def store_split(split: Split) -> StoredSplit:
    """Put a split into the object store. Cost: one copy of its bytes."""
    row_bytes = max(1, split.inputs[:1].nbytes)
    rows = max(1, BLOCK_BYTES // row_bytes)
    edges = np.append(np.arange(0, len(split), rows), len(split))
    tables = [_block(split, int(low), int(high)) for low, high in pairwise(edges)]
    blocks = tuple(ray.data.from_arrow(tables).to_arrow_refs())
    return StoredSplit(blocks, edges.astype(np.int64))


def _block(split: Split, low: int, high: int) -> pa.Table:
    return pa.table(
        {
            "id": np.arange(low, high),
            "input": ArrowTensorArray.from_numpy(np.ascontiguousarray(split.inputs[low:high])),
            "label": split.labels[low:high],
        }
    )


class StoredSource:
    """A `RowSource` over a stored split.

    Raises:
        DataError: A block's ids are not the ones its place promises.
    """

    def __init__(self, stored: StoredSplit) -> None:
        tables = ray.get(list(stored.blocks))
        self._starts = stored.starts
        self._inputs = [_view(table, "input") for table in tables]
        self.labels: NDArray[np.int64] = np.concatenate([_view(table, "label") for table in tables])
        for number, table in enumerate(tables):
            ids = _view(table, "id")
            if len(ids) == 0 or ids[0] != stored.starts[number] or ids[-1] != stored.starts[number + 1] - 1:
                raise DataError(
                    f"Block {number} holds ids {ids[:1]}..{ids[-1:]}, not those from {stored.starts[number]}."
                )

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: NDArray[np.int64]) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
        """Return inputs and labels of global rows, in the order asked. Cost: one copy of those rows."""
        if len(self._inputs) == 1:
            return self._inputs[0][index], self.labels[index]
        owner = np.searchsorted(self._starts, index, side="right") - 1
        gathered = np.empty((len(index), *self._inputs[0].shape[1:]), dtype=self._inputs[0].dtype)
        for block in np.unique(owner):
            here = owner == block
            gathered[here] = self._inputs[block][index[here] - self._starts[block]]
        return gathered, self.labels[index]


def _view(table: pa.Table, column: str) -> NDArray[np.generic]:
    """Return a column as a numpy view; our blocks have one chunk a column."""
    chunk = (
        table.column(column).combine_chunks()
        if table.column(column).num_chunks != 1
        else table.column(column).chunk(0)
    )
    view: NDArray[np.generic] = chunk.to_numpy() if column == "input" else chunk.to_numpy(zero_copy_only=True)
    return view
