"""What approximators learn from: the logits of trained networks on the rows they were trained on.

Distances are forward divergences with the trained network p as the target,

    KL(p || q) = sum_c p_c ( log p_c - log q_c ),

and the means over training cells make the three predictors that ignore the architecture: nothing that does not
beat the last of them has learnt anything about architectures.

    B0 class prior           q_i = mean over cells and all rows
    B1 label-conditional     q_i = mean over cells and the rows with i's label
    B2 per-instance          q_i = mean over cells
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import DataError

FLOOR = 1e-7
"""The least probability a logarithm is taken of."""


class Supervision(Protocol):
    """Logits of A trained networks on n rows with C classes, never all in memory at once.

    Whoever keeps them answers for them: those that are not finite raise `DataError` when they are read.
    """

    @property
    def cells(self) -> tuple[str, ...]:
        """Names of the A cells, by row of the bank."""
        ...

    @property
    def size(self) -> int:
        """Rows, n."""
        ...

    @property
    def num_classes(self) -> int:
        """Classes, C."""
        ...

    def logits(self, cell: int, rows: slice | NDArray[np.int64] = ...) -> NDArray[np.float32]:
        """Return float32[k, C] of the cell in bank row ``cell`` at ``rows``; all n of them if not said."""
        ...

    def pairs(self, cells: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return float32[k, C] of k pairs of bank rows and rows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class InstanceMeans:
    """Mean predictions of trained networks for every row.

    Attributes:
        total: float32[n, C], the sum of their probabilities.
        count: How many networks, >= 1.
    """

    total: NDArray[np.float32]
    count: int

    @classmethod
    def over(cls, supervision: Supervision, cells: NDArray[np.int64]) -> Self:
        """Add up the networks in bank rows ``cells``, one after another.

        Raises:
            DataError: There is no cell.

        Cost: O(len(cells) n C) time, 12 n C bytes.
        """
        if len(cells) == 0:
            raise DataError("There is no cell to take the mean predictions of, need at least one.")
        total = np.zeros((supervision.size, supervision.num_classes), dtype=np.float32)
        for cell in cells:
            total += np.exp(log_targets(supervision, int(cell)))
        return cls(total, len(cells))

    def per_instance(self) -> NDArray[np.float32]:
        """Return B2 as log probabilities, float32[n, C]."""
        return log_floored(self.total / np.float32(self.count))

    def class_prior(self) -> NDArray[np.float32]:
        """Return B0 as log probabilities, float32[C]."""
        return log_floored((self.total.mean(axis=0, dtype=np.float64) / self.count).astype(np.float32))

    def label_conditional(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return B1 as log probabilities, float32[n, C], of int64[n] labels."""
        summed = np.zeros((int(labels.max()) + 1, self.total.shape[1]))
        np.add.at(summed, labels, self.total.astype(np.float64))
        means = summed / (np.maximum(np.bincount(labels), 1) * self.count)[:, None]
        return log_floored(means.astype(np.float32))[labels]

    def without(self, rows: NDArray[np.int64], log_p: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log of the other networks' mean, float32[k, C], for k pairs.

        Args:
            rows: int64[k].
            log_p: float32[k, C], what the pair's own network, one of those added up, predicts there.

        Raises:
            DataError: There are no others.
        """
        if self.count < 2:
            raise DataError("A mean over all networks but one needs at least two networks, here is one.")
        return log_floored((self.total[rows] - np.exp(log_p)) / np.float32(self.count - 1))


def log_targets(supervision: Supervision, cell: int) -> NDArray[np.float32]:
    """Return log p, float32[n, C], of the trained network in bank row ``cell``."""
    return _log_softmax(supervision.logits(cell))


def log_target_pairs(
    supervision: Supervision, cells: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return log p, float32[k, C], of k pairs of bank rows and rows."""
    return _log_softmax(supervision.pairs(cells, rows))


def divergences(log_p: NDArray[np.float32], log_q: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return KL(p || q), float64[k] in nats, >= 0 up to rounding.

    Args:
        log_p: float32[k, C], the target; -inf where p is 0.
        log_q: [k, C] or what broadcasts to it, finite.
    """
    p = np.exp(log_p, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # 0 * -inf
        terms = p * (log_p - log_q)
    return np.asarray(np.where(p > 0, terms, 0.0).sum(axis=1))


def log_floored(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logarithm, of `FLOOR` where there is less."""
    return np.log(np.maximum(probabilities, np.float32(FLOOR)))


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), dtype=np.float32)
