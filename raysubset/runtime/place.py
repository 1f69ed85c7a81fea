"""A data set of either kind, put where trials read it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import ray
from numpy.typing import NDArray

from raysubset.data.batches import ArraySource, RowSource
from raysubset.data.dataset import Dataset, Split
from raysubset.data.transform import Transform, pixel_counts
from raysubset.errors import DataError
from raysubset.runtime.blocks import block_column
from raysubset.runtime.sharded import ShardedDataset
from raysubset.runtime.shards import store_shards
from raysubset.runtime.store import StoredSplit, store_split

AnyDataset = Dataset | ShardedDataset


class Placed(NamedTuple):
    """Training and validation rows in the object store, and the statistics of the training rows."""

    train: StoredSplit
    validation: StoredSplit
    transform: Transform


def place(data: AnyDataset, train: NDArray[np.int64], validation: NDArray[np.int64]) -> Placed:
    """Put training and validation rows into the object store.

    Args:
        data: The data set; of a sharded one the workers read and decode the rows.
        train: int64, ascending rows of ``data.train``.
        validation: The same for those held out.

    Raises:
        DataError, StorageError: See `store_shards`.
    """
    if isinstance(data, Dataset):
        rows = data.train.take(train)
        return Placed(store_split(rows), store_split(data.train.take(validation)), Transform.fit(rows.inputs))
    stored, held_out = store_shards(data.train.take(train), data.train.take(validation))
    return Placed(stored, held_out, stored_statistics(stored))


def stored_statistics(stored: StoredSplit) -> Transform:
    """Return what `Transform.fit` says of a stored split; every block is counted where it lies.

    Cost: one more reading of all blocks (150 MB of images a quarter of a second), 2 kB a block and channel here.
    """
    if stored.dtype == np.float32:
        return Transform((), ())
    count = ray.remote(_counted).options(num_cpus=1)
    total = np.zeros((stored.form[0], 256), dtype=np.int64)
    waiting = [count.remote(block) for block in stored.blocks]
    for counts in waiting:
        total += ray.get(counts)
    return Transform.of_counts(total)


def _counted(block: object) -> NDArray[np.int64]:
    return pixel_counts(block_column(block, "input"))


def stored_test_rows(data: AnyDataset) -> StoredSplit:
    """Put the test rows into the object store: this is where those of a sharded data set are read.

    Raises:
        DataError: There are none.
    """
    if data.test is None:
        raise DataError(f"{data.name} has no test rows.")
    return store_split(data.test) if isinstance(data.test, Split) else store_shards(data.test)[0]


def rows_for_testing(data: AnyDataset) -> RowSource:
    """Return the test rows in this process; see `stored_test_rows`."""
    return ArraySource(data.test) if isinstance(data.test, Split) else stored_test_rows(data).open()
