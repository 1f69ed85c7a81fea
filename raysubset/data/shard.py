"""The rows that one of W training workers owns, and its part of every batch.

Worker r of W owns a contiguous range of ids, so it reads its own blocks and no others. Its part of a batch is the
rows of the batch that it owns, so the workers together train on the batches of a single worker, whichever rows
were selected. With the loss of its part multiplied by `Part.share`, the mean over the workers of the gradients is
the gradient of the whole batch: for P rows held of B, with weights w and losses l,

    share * mean over P of (w l) = W / B * sum over P of (w l)

Parts differ in size (half of B rows give or take sqrt(B) / 2 for two workers), and one may be empty. A part of
fewer than two rows is filled up with rows of weight 0, since BatchNorm cannot train on one and a worker cannot
sit out a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError

LEAST_ROWS = 2  # what BatchNorm can train on


@dataclass(frozen=True, slots=True)
class Shard:
    """Which of how many workers this is.

    Attributes:
        rank: r, in [0, size).
        size: W, >= 1.

    Raises:
        OptionsError: Out of range.
    """

    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.rank < self.size:
            raise OptionsError(f"There is no worker {self.rank} of {self.size}: need 0 <= rank < size, size >= 1.")

    def bounds(self, n: int) -> tuple[int, int]:
        """Return [low, high), the ids that this worker owns of n; sizes differ by one row at most.

        Raises:
            OptionsError: Fewer rows than workers.
        """
        if n < self.size:
            raise OptionsError(f"{n} rows cannot be shared by {self.size} workers: each needs at least one.")
        return n * self.rank // self.size, n * (self.rank + 1) // self.size


WHOLE = Shard()


@dataclass(frozen=True, slots=True)
class Part:
    """A worker's part of a batch.

    Attributes:
        whole: Rows of the batch over all workers.
        rows: Of them in this part; rows behind these are stand-ins of weight 0.
        share: What the part's mean loss is multiplied by.
    """

    whole: int
    rows: int
    share: float


def own_part(
    index: NDArray[np.int64], weight: NDArray[np.float32], bounds: tuple[int, int], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], Part]:
    """Return ids and weights of a worker's part of a batch, stand-ins last.

    Args:
        index: int64[B], ids of the whole batch.
        weight: float32[B], their weights.
        bounds: [low, high) that the worker owns, not empty.
        size: W.
    """
    low, high = bounds
    mine = (index >= low) & (index < high)
    ids, weights = index[mine], weight[mine]
    rows = len(ids)
    held = max(rows, min(LEAST_ROWS, high - low))
    if held > rows:
        owned = np.arange(low, min(high, low + LEAST_ROWS))
        ids = np.append(ids, np.setdiff1d(owned, ids)[: held - rows])
        weights = np.append(weights, np.zeros(held - rows, dtype=weights.dtype))
    return ids, weights, Part(len(index), rows, size * held / len(index))
