"""A split in Ray's object store, in blocks of consecutive rows, opened by every process that reads it.

Where the split takes a small enough part of the node's object store, a process maps all its blocks (read-only
numpy views, no copy) and gathers rows from them batch by batch. Where it does not, blocks are fetched when they
are needed and let go: see `runtime.cached`. `StoredSplit.open` decides; both give the same rows in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import ray
import ray.data
from numpy.typing import NDArray

from raysubset.data.dataset import Split
from raysubset.data.streams import BlockLayout, DirectStream
from raysubset.runtime.blocks import block_inputs, block_table
from raysubset.runtime.cached import CachedSource

BLOCK_BYTES = 32 * 2**20  # large enough to amortise a fetch, small enough to spill and to spread over nodes
MAPPED_SHARE = 0.4  # of the node's store that one split may pin: two fit, and there is room for all else
CACHED_SHARE = 0.5  # that the processes of a node may pin together where splits are not mapped
CACHE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class StoredSplit:
    """References to a split's blocks; a few hundred bytes, so it travels with every task.

    Attributes:
        blocks: Arrow tables with columns id, input, label.
        labels: int64[n].
        layout: Which ids lie in which block, and how many rows a process may hold of an epoch.
        form: Shape of one input.
        dtype: Of the inputs.
        cache_bytes: Of blocks that a process keeps mapped where it does not map all of them.
        map_bytes: Of inputs that may all be mapped; None: 40 % of the node's object store.
    """

    blocks: tuple[ray.ObjectRef[Any], ...]
    labels: ray.ObjectRef[Any]
    layout: BlockLayout
    form: tuple[int, ...]
    dtype: np.dtype[Any]
    cache_bytes: int = CACHE_BYTES
    map_bytes: int | None = None

    def __len__(self) -> int:
        return int(self.layout.starts[-1])

    @property
    def row_bytes(self) -> int:
        """Bytes of one input."""
        return prod(self.form) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all inputs."""
        return len(self) * self.row_bytes

    def open(self) -> StoredSource | CachedSource:
        """Open it in this process: mapped if it takes at most ``map_bytes``, else cached.

        Cached blocks of all processes of a node (one a CPU at most) take half of its store at most, so that a
        block can always be fetched; a process keeps one block in any case.

        Cost: mapped, one shared-memory lookup a block on the node that holds it; cached, nothing yet.
        """
        store, cpus = _node()
        if self.nbytes <= (MAPPED_SHARE * store if self.map_bytes is None else self.map_bytes):
            return StoredSource(self)
        return CachedSource(self, min(self.cache_bytes, int(CACHED_SHARE * store / cpus)))


def _node() -> tuple[float, float]:
    """Return bytes of the object store and CPUs of the node that this process runs on."""
    here = ray.get_runtime_context().get_node_id()
    resources = next(node["Resources"] for node in ray.nodes() if node["NodeID"] == here)  # type: ignore[no-untyped-call]
    return float(resources.get("object_store_memory", 0.0)), max(1.0, float(resources.get("CPU", 1.0)))


def store_split(split: Split) -> StoredSplit:
    """Put a split that is in memory into the object store. Cost: one copy of its bytes."""
    form, dtype = split.inputs.shape[1:], split.inputs.dtype
    edges = block_edges(len(split), prod(form) * dtype.itemsize, BLOCK_BYTES)
    tables = [
        block_table(int(low), split.inputs[low:high], split.labels[low:high]) for low, high in pairwise(edges)
    ]
    blocks = tuple(ray.data.from_arrow(tables).to_arrow_refs())
    return StoredSplit(blocks, ray.put(split.labels), BlockLayout(edges), form, dtype)


def block_edges(n: int, row_bytes: int, block_bytes: int) -> NDArray[np.int64]:
    """Cut n rows into blocks of at most ``block_bytes`` (at least a row each): int64[blocks + 1], from 0 to n."""
    rows = max(1, block_bytes // max(1, row_bytes))
    return np.append(np.arange(0, n, rows), n).astype(np.int64)


class StoredSource:
    """A `RowSource` over a stored split, all of it mapped.

    Raises:
        DataError: A block's ids are not the ones its place promises.
    """

    def __init__(self, stored: StoredSplit) -> None:
        self.layout = stored.layout
        self.labels: NDArray[np.int64] = ray.get(stored.labels)
        edges = pairwise(stored.layout.starts.tolist())
        tables = ray.get(list(stored.blocks))
        self._inputs = [block_inputs(tables[i], i, low, high) for i, (low, high) in enumerate(edges)]

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return inputs and labels of global rows, in the order asked. Cost: one copy of those rows."""
        if len(self._inputs) == 1:
            return self._inputs[0][index], self.labels[index]
        owner = self.layout.owner(index)
        gathered = np.empty((len(index), *self._inputs[0].shape[1:]), dtype=self._inputs[0].dtype)
        for block in np.unique(owner):
            here = owner == block
            gathered[here] = self._inputs[block][index[here] - self.layout.starts[block]]
        return gathered, self.labels[index]

    def stream(self, ids: NDArray[np.int64]) -> DirectStream:
        """Announce the rows of an epoch: nothing is to be fetched, they are read batch by batch."""
        return DirectStream(self, ids)
