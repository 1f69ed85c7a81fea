"""Which rows go where: stratified validation split and deterministic thinning.

Both give each class its share by largest remainder, so that the total is met exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import DataError, OptionsError
from raysubset.seeds import generator


def stratified_split(
    labels: NDArray[Any], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into train and validation, every class in proportion.

    Args:
        labels: int64[n].
        fraction: Validation share, in (0, 1); round(fraction * n) rows (half to even) go to validation.
        seed: Names the draw; the split depends on (labels, fraction, seed) only.

    Returns:
        Train rows and validation rows: int64, ascending, disjoint, together all n. Class counts go by largest
        remainder, ties to the lower label; a class of two or more rows keeps one on each side unless the total
        makes that impossible.

    Raises:
        OptionsError: ``fraction`` outside (0, 1), or so extreme that one side would be empty.
        DataError: The labels are targets of a regression.

    Cost: O(n log n + classes^2) time.
    """
    if labels.dtype.kind == "f":
        raise DataError(
            "These targets are numbers, and this judges classifiers. For a regression there are raysubset.tune, "
            "`raysubset hpo`, `train` and `ablate`, and loops of your own: raysubset.Subset and epoch.loss."
        )
    n = len(labels)
    total = round(fraction * n) if 0.0 < fraction < 1.0 else 0
    if not 0 < total < n:
        raise OptionsError(
            f"Validation fraction {fraction!r} of {n} rows: need 0 < fraction < 1 and a row on each side."
        )
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    counts = _shares(sizes, total, keep_some_out=True)
    keys = generator(seed, "split").random(n)
    chosen = _first_of_each_class(sizes, counts, np.lexsort((keys, classes)))
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def judging_split(labels: NDArray[Any], fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into train and validation as `stratified_split` does; targets of a regression are one class.

    Raises:
        OptionsError: ``fraction`` outside (0, 1), or so extreme that one side would be empty.
    """
    return stratified_split(_strata(labels), fraction, seed)


def thin(labels: NDArray[Any], limit: int) -> NDArray[np.int64]:
    """Choose ``limit`` rows, every class in proportion, the first rows of each class; no randomness.

    Args:
        labels: int64[n]; targets of a regression are one class.
        limit: Rows to keep, >= 1; n or more keeps all.

    Returns:
        int64[min(limit, n)], ascending. Every class keeps a row if ``limit`` allows it.

    Raises:
        OptionsError: ``limit`` < 1.
    """
    if limit < 1:
        raise OptionsError(f"limit={limit}: need at least 1 row.")
    if limit >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    _, classes, sizes = np.unique(_strata(labels), return_inverse=True, return_counts=True)
    counts = _shares(sizes, limit, keep_some_out=False)
    return np.flatnonzero(_first_of_each_class(sizes, counts, np.argsort(classes, kind="stable")))


def _strata(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return classes as they are, targets of a regression as one class."""
    return np.zeros(len(labels), dtype=np.int64) if labels.dtype.kind == "f" else labels


def _shares(sizes: NDArray[np.int64], total: int, *, keep_some_out: bool) -> NDArray[np.int64]:
    """Largest remainder with bounds: whole shares nearest to total * sizes / n that sum to ``total``."""
    quota = total * sizes / sizes.sum()
    lower = np.minimum(sizes - 1, 1) if keep_some_out else np.ones_like(sizes)
    upper = np.where(sizes >= 2, sizes - 1, sizes) if keep_some_out else sizes
    if lower.sum() > total:
        lower = np.zeros_like(sizes)
    if upper.sum() < total:
        upper = sizes
    counts: NDArray[np.int64] = np.clip(np.floor(quota).astype(np.int64), lower, upper)
    while (short := total - int(counts.sum())) != 0:
        step = 1 if short > 0 else -1
        open_ = counts < upper if short > 0 else counts > lower
        counts[np.argmax(np.where(open_, step * (quota - counts), -np.inf))] += step
    return counts


def _first_of_each_class(
    sizes: NDArray[np.int64], counts: NDArray[np.int64], order: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark the first counts[c] rows of each class c in ``order``, which has the classes one after another."""
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order[rank < np.repeat(counts, sizes)]] = True
    return chosen
