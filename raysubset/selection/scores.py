"""Scores of single rows: how hard, how uncertain, how often forgotten.

For logits z, p = softmax(z), one-hot label y and last-layer gradient g = (p - y) [h, 1]^T:

    entropy           -sum_k p_k log p_k                           (nats, 0 log 0 = 0)
    least confidence  1 - p_(1)                                    p_(1) >= p_(2) >= ... sorted
    margin            1 - (p_(1) - p_(2))
    loss              -log p_y
    EL2N [1]          ||p - y||, mean over models
    GraNd [1]         ||g||, mean over models
    forgetting [2]    how often a row that was right was wrong at its next presentation; never right: infinity
    AUM [3]           z_y - max_{k != y} z_k, mean over epochs     low: hard or mislabelled

The uncertain, the hard and the forgotten score high; a high AUM is easy. All functions are pure, on numpy arrays,
and add up in float64; they cost O(M n c) time and a copy of the logits.

References:
    [1] Paul, Ganguli, Dziugaite, 2021, "Deep learning on a data diet", arXiv:2107.07075.
    [2] Toneva et al., 2019, "An empirical study of example forgetting", arXiv:1812.05159.
    [3] Pleiss et al., 2020, "Identifying mislabeled data using the area under the margin ranking",
        arXiv:2001.10528.
    [4] Coleman et al., 2020, "Selection via proxy", arXiv:1906.11829: least confidence, entropy, forgetting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raysubset.errors import SelectionError
from raysubset.selection.gradients import Gradients

Scores = NDArray[np.float64]


def softmax(logits: NDArray[Any]) -> Scores:
    """Return the softmax of logits over the last axis as float64; any finite logits."""
    shifted = np.exp(_centred(logits))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def entropy(p: NDArray[Any]) -> Scores:
    """Return float64[n] of probabilities [n, c], in nats, in [0, log c]."""
    p64 = np.asarray(p, dtype=np.float64)
    return np.asarray(-(p64 * np.log(np.where(p64 > 0, p64, 1.0))).sum(axis=-1)) + 0.0  # -0 becomes 0


def least_confidence(p: NDArray[Any]) -> Scores:
    """Return float64[n] of probabilities [n, c], in [0, 1 - 1/c]."""
    return np.asarray(1.0 - np.asarray(p, dtype=np.float64).max(axis=-1))


def margin(p: NDArray[Any]) -> Scores:
    """Return float64[n] of probabilities [n, c], c >= 2, in [0, 1]: 1 where two classes share the lead."""
    first, second = _two_largest(np.asarray(p, dtype=np.float64))
    return np.asarray(1.0 - (first - second))


def loss(logits: NDArray[Any], labels: NDArray[np.int64]) -> Scores:
    """Return the cross-entropy, float64[n] >= 0, of logits [n, c] and labels int64[n] in [0, c)."""
    check_labels(labels, np.asarray(logits).shape)
    shifted = _centred(logits)
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels])


def el2n(p: NDArray[Any], labels: NDArray[np.int64]) -> Scores:
    """Return ||p - y||_2, float64[n] in [0, sqrt(2)].

    Args:
        p: Probabilities [n, c], or [M, n, c] of M models, over which the norm is averaged.
        labels: int64[n] in [0, c).
    """
    residual = np.array(p, dtype=np.float64)
    check_labels(labels, residual.shape[-2:])
    residual[..., np.arange(len(labels)), labels] -= 1.0
    norms = np.linalg.norm(residual, axis=-1)
    return np.asarray(norms if norms.ndim == 1 else norms.mean(axis=0))


def grand(models: Sequence[Gradients]) -> Scores:
    """Return the mean over models of the last-layer gradient norm ||p - y|| sqrt(||h||^2 + 1), float64[n]."""
    return np.asarray(np.mean([gradients.norms() for gradients in models], axis=0))


def forgetting_counts(correct: ArrayLike) -> Scores:
    """Count the presentations at which a row that was right last time was wrong.

    Args:
        correct: [epochs, n]: 1 right, 0 wrong, -1 or NaN where the row was not presented; such an epoch leaves the
            row's state as it was.

    Returns:
        float64[n]; infinity for a row that was never right, presented or not: unlearned rows come first, not last.

    Raises:
        SelectionError: Another value than these (names epoch and row).
    """
    history = np.asarray(correct, dtype=np.float64)
    known = np.isin(history, (-1.0, 0.0, 1.0)) | np.isnan(history)
    if not known.all():
        epoch, row = (int(axis[0]) for axis in np.nonzero(~known))
        raise SelectionError(
            f"correct[{epoch}, {row}] is {history[epoch, row]}; allowed: 1 right, 0 wrong, -1 or NaN absent."
        )
    right, forgotten, learned = (np.zeros(history.shape[1], dtype) for dtype in (bool, np.float64, bool))
    for epoch in history:
        forgotten += right & (epoch == 0)
        learned |= epoch == 1
        right = np.where(epoch >= 0, epoch == 1, right)  # NaN >= 0 is False
    return np.where(learned, forgotten, np.inf)


def margins(logits: NDArray[Any], labels: NDArray[np.int64]) -> Scores:
    """Return z_y - max_{k != y} z_k, float64[n], of logits [n, c], c >= 2, and labels int64[n] in [0, c)."""
    z = np.array(logits, dtype=np.float64)
    check_labels(labels, z.shape)
    own = z[np.arange(len(labels)), labels]
    z[np.arange(len(labels)), labels] = -np.inf
    return np.asarray(own - z.max(axis=1))


def area_under_margin(margins_of_epochs: ArrayLike) -> Scores:
    """Return the mean margin of each row, float64[n], over the epochs [epochs, n] that presented it (not NaN).

    Raises:
        SelectionError: A row was never presented.
    """
    history = np.asarray(margins_of_epochs, dtype=np.float64)
    presented = ~np.isnan(history)
    counts = presented.sum(axis=0)
    if (counts == 0).any():
        row = int(np.flatnonzero(counts == 0)[0])
        raise SelectionError(f"Row {row} has no margin in any of {len(history)} epochs, hence no area under it.")
    return np.asarray(np.where(presented, history, 0.0).sum(axis=0) / counts)


class TrainingTrace:
    """Forgetting and AUM of a pool, gathered as it is trained on, without keeping the history. 18 n bytes.

    A presentation must be recorded once; the caller sees to that.
    """

    def __init__(self, n: int) -> None:
        self._presented = np.zeros(n, np.int32)
        self._right, self._learned = np.zeros(n, bool), np.zeros(n, bool)
        self._forgotten = np.zeros(n, np.int32)
        self._margin = np.zeros(n, np.float64)

    def __len__(self) -> int:
        return len(self._presented)

    def record(
        self, rows: NDArray[np.int64], correct: NDArray[np.bool_], margin: NDArray[np.floating[Any]]
    ) -> None:
        """Take in the presentations of an epoch, or of one batch of it.

        Args:
            rows: int64[k], unique, in [0, n).
            correct: bool[k], the label was the arg max.
            margin: float[k], z_y - max_{k != y} z_k.

        Raises:
            SelectionError: A row outside the pool, twice, or with a margin that is not finite.

        Cost: O(k log k).
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise SelectionError(f"The trace of n={len(self)} rows was given rows {rows.min()}..{rows.max()}.")
        if len(np.unique(rows)) != len(rows):
            raise SelectionError(f"An epoch presents a row once, got {len(rows)} presentations of fewer rows.")
        bad = np.flatnonzero(~np.isfinite(margin))
        if len(bad):
            raise SelectionError(f"Row {rows[bad[0]]} has margin {margin[bad[0]]}; it must be finite.")
        self._forgotten[rows] += self._right[rows] & ~correct
        self._learned[rows] |= correct
        self._right[rows] = correct
        self._presented[rows] += 1
        self._margin[rows] += margin

    def signals(self) -> dict[str, NDArray[np.float32]]:
        """Return "forgetting" and "aum" as float32[n].

        A row that was never presented counts as never learned: forgetting infinite, AUM at the lowest measured
        value (0 where nothing was measured).

        Cost: O(n).
        """
        seen = self._presented > 0
        aum = self._margin / np.maximum(self._presented, 1)
        lowest = aum.min(where=seen, initial=np.inf) if seen.any() else 0.0
        return {
            "forgetting": np.where(self._learned, self._forgotten, np.inf).astype(np.float32),
            "aum": np.where(seen, aum, lowest).astype(np.float32),
        }


def check_labels(labels: NDArray[np.int64], shape: tuple[int, ...]) -> None:
    """Refuse labels that do not fit values of shape (n, c).

    Raises:
        SelectionError: Not one a row, or a label outside [0, c) (names its row).
    """
    n, c = shape
    if len(labels) != n:
        raise SelectionError(f"Got {len(labels)} labels for {n} rows.")
    outside = np.flatnonzero((labels < 0) | (labels >= c))
    if len(outside):
        raise SelectionError(f"Row {outside[0]} has label {labels[outside[0]]}, need [0, {c}): one a logit.")


def _centred(logits: NDArray[Any]) -> Scores:
    z = np.asarray(logits, dtype=np.float64)
    return np.asarray(z - z.max(axis=-1, keepdims=True))


def _two_largest(p: Scores) -> tuple[Scores, Scores]:
    if p.shape[-1] < 2:
        raise SelectionError(f"A margin is between two classes, got probabilities of shape {p.shape}.")
    ordered = np.partition(p, p.shape[-1] - 2, axis=-1)
    return ordered[..., -1], ordered[..., -2]
