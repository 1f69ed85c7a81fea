"""A block: an Arrow table of consecutive rows with columns id, input, label, in Ray's object store."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ray.data.extensions import ArrowTensorArray

from raysubset.errors import DataError


def block_table(low: int, inputs: NDArray[Any], labels: NDArray[np.int64]) -> pa.Table:
    """Return the block of rows whose ids begin at ``low``. Cost: no copy of contiguous inputs."""
    return pa.table(
        {
            "id": np.arange(low, low + len(labels)),
            "input": ArrowTensorArray.from_numpy(np.ascontiguousarray(inputs)),
            "label": labels,
        }
    )


def block_inputs(table: pa.Table, number: int, low: int, high: int) -> NDArray[Any]:
    """Return the inputs of a block, a read-only view of the object store.

    Args:
        table: The block.
        number: Of the block, for the message.
        low: The id it must begin with.
        high: Behind the id it must end with.

    Raises:
        DataError: The ids are not those that its place promises.
    """
    ids = block_column(table, "id")
    if len(ids) != high - low or len(ids) == 0 or ids[0] != low or ids[-1] != high - 1:
        raise DataError(f"Block {number} holds ids {ids[:1]}..{ids[-1:]}, not those from {low} to {high - 1}.")
    return block_column(table, "input")


def block_column(table: pa.Table, name: str) -> NDArray[Any]:
    """Return a column as a numpy view; our blocks have one chunk a column."""
    column = table.column(name)
    chunk = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    view: NDArray[Any] = chunk.to_numpy() if name == "input" else chunk.to_numpy(zero_copy_only=True)
    return view
