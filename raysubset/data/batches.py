"""One epoch of a selection as batches of tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysubset.data.dataset import Split
from raysubset.data.shard import WHOLE, Part, Shard, own_part
from raysubset.data.streams import RowStream, read_order, row_stream
from raysubset.data.transform import Transform
from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.types import Selection


class RowSource(Protocol):
    """Rows by global id, wherever they lie."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64[n], the label of every row."""
        ...

    def __len__(self) -> int: ...

    def rows(self, index: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return inputs and labels of the given ids, in that order; the arrays may be read-only views."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ArraySource:
    """The rows of a split in this process's memory (possibly a read-only view of a shared object store)."""

    split: Split

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64[n], the label of every row."""
        return self.split.labels

    def __len__(self) -> int:
        return len(self.split)

    def rows(self, index: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return copies of the given rows. Cost: O(len(index)) rows."""
        return self.split.inputs[index], self.split.labels[index]


@dataclass(frozen=True, slots=True, eq=False)
class PickedRows:
    """Some rows of a source, in an order of their own: row i is ``index[i]`` of it.

    Attributes:
        source: Where they are read.
        index: int64[k], in [0, n), repeats allowed.
    """

    source: RowSource
    index: NDArray[np.int64]

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64[k], the label of every row."""
        return self.source.labels[self.index]

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, index: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return copies of the given rows; cost is that of the source."""
        return self.source.rows(self.index[index])


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a training or evaluation step takes.

    Attributes:
        inputs: float32[B, ...] on the device.
        targets: int64[B] labels on the device, float32[B] in a regression.
        index: int64[B], global row ids (numpy, on the host); -1 for a stand-in, see `data.shard`.
        weight: float32[B] on the device; the loss is mean(weight * loss of each sample).
        part: How these rows are part of a batch that several workers train on; None: they are all of it.
    """

    inputs: Tensor
    targets: Tensor
    index: NDArray[np.int64]
    weight: Tensor
    part: Part | None = None

    def __len__(self) -> int:
        return len(self.index)


def epoch_order(selection: Selection, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the training order as positions into ``selection``, int64[k].

    The rows come as a subsequence of one permutation of the whole pool, ``generator(seed, epoch, "order")``, so a
    subset run and a full run see their common rows in the same order.

    Cost: O(pool_size) time, 16 bytes a pool row.
    """
    position = np.full(selection.pool_size, -1, dtype=np.int64)
    position[selection.indices] = np.arange(len(selection))
    order = position[generator(seed, epoch, "order").permutation(selection.pool_size)]
    return order[order >= 0]


def batch_bounds(k: int, batch_size: int) -> list[tuple[int, int]]:
    """Cut k rows into [start, stop) batches; the last may be short.

    A tail of a single row joins the batch before it, since BatchNorm cannot train on one row. With batch_size 1
    all batches are of one row, and k = 1 is one batch of one.

    Raises:
        OptionsError: k < 1 or batch_size < 1.
    """
    if k < 1 or batch_size < 1:
        raise OptionsError(f"Cannot cut k={k} rows into batches of {batch_size}: need both >= 1.")
    starts = list(range(0, k, batch_size))
    if len(starts) > 1 and batch_size > 1 and k - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], k], strict=True))


def epoch_batches(
    source: RowSource,
    selection: Selection,
    transform: Transform,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    device: torch.device | str = "cpu",
    channels_last: bool = False,
    shard: Shard = WHOLE,
) -> Iterator[Batch]:
    """Yield one epoch of ``selection`` in training order, augmented.

    Args:
        source: The pool; its ids are what ``selection`` indexes.
        selection: Rows and weights.
        transform: Applied on the device.
        batch_size: Rows a batch (see `batch_bounds`).
        seed: The experiment's seed; with ``epoch`` it fixes order and augmentation.
        epoch: Epoch, from 0.
        device: Where the tensors go; images travel as uint8.
        channels_last: Memory format of image batches.
        shard: The worker that asks: it gets its part of every batch, `own_part`.

    Raises:
        SelectionError: The selection was made for a pool of another size.
        OptionsError: batch_size < 1, or fewer rows than workers.

    Cost: one batch in memory, rows gathered batch by batch; a source in blocks that are not all mapped reads each
    block once, holds a window of the epoch's rows, and may bring them in another order (see `data.streams`).
    """
    if selection.pool_size != len(source):
        raise SelectionError(
            f"Selection is for a pool of {selection.pool_size} rows, the source has {len(source)}."
        )
    order = epoch_order(selection, seed, epoch)
    order = order[read_order(source, selection.indices[order], seed, epoch)]
    ids, weights = selection.indices[order], selection.weights[order]
    bounds = shard.bounds(len(source))
    stream = row_stream(source, ids[(ids >= bounds[0]) & (ids < bounds[1])])
    for start, stop in batch_bounds(len(ids), batch_size):
        index, weight, part = ids[start:stop], weights[start:stop], None
        if shard.size > 1:
            index, weight, part = own_part(index, weight, bounds, shard.size)
        inputs, targets = _part_of(source, stream, index, len(index) if part is None else part.rows)
        images = transform.train(_tensor(inputs, device), index, seed, epoch)
        if channels_last and images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        if part is not None:
            index[part.rows :] = -1
        yield Batch(images, _tensor(targets, device), index, _tensor(weight, device), part)


def evaluation_batches(
    source: RowSource | Split,
    transform: Transform,
    batch_size: int,
    device: torch.device | str = "cpu",
    *,
    channels_last: bool = False,
    shard: Shard = WHOLE,
) -> Iterator[Batch]:
    """Yield every row that a worker owns once, in the order of the ids, without augmentation, with weights 1.

    Raises:
        OptionsError: batch_size < 1, or fewer rows than workers.
    """
    rows = ArraySource(source) if isinstance(source, Split) else source
    low, high = shard.bounds(len(rows))
    stream = row_stream(rows, np.arange(low, high, dtype=np.int64))
    for start, stop in batch_bounds(high - low, batch_size):
        index = np.arange(low + start, low + stop, dtype=np.int64)
        inputs, targets = stream.take(len(index))
        images = transform.evaluate(_tensor(inputs, device))
        if channels_last and images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        yield Batch(images, _tensor(targets, device), index, torch.ones(len(index), device=device))


def _part_of(
    source: RowSource, stream: RowStream, index: NDArray[np.int64], own: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the rows of a batch: the next ``own`` of the stream, the stand-ins behind them from anywhere."""
    inputs, targets = stream.take(own)
    if own == len(index):
        return inputs, targets
    others, other_targets = source.rows(index[own:])
    return np.concatenate([inputs, others]), np.concatenate([targets, other_targets])


def _tensor(array: NDArray[Any], device: torch.device | str) -> Tensor:
    """Hand a batch to torch; a view is copied, as it may be read-only, and a model may write into its input."""
    return torch.from_numpy(array if array.flags.owndata and array.flags.writeable else array.copy()).to(device)
