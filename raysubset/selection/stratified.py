"""Coverage-centric core-sets: uniform over the range of a score, without its hardest end.

The hardest share beta of the rows is dropped (often mislabelled), the range of the remaining scores is cut into
bins of equal width, and the budget is handed out to the non-empty bins, smallest first: each gives an equal part
of what is left, or all it has [1, Algorithm 1]. Rows inside a bin are drawn uniformly.

References:
    [1] Zheng et al., 2023, "Coverage-centric coreset selection for high pruning rates", arXiv:2210.15809.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError
from raysubset.selection.protocol import Context, check_budget
from raysubset.selection.sampling import top_m
from raysubset.selection.top import finite_order, measured
from raysubset.types import Selection


@dataclass(frozen=True, slots=True)
class Stratified:
    """k rows spread over the bins of a score.

    Attributes:
        signal: The score; see `TopScore`. "aum" is hard where it is low, every other score where it is high.
        bins: Strata of equal width, >= 1.
        prune: Share of the rows dropped as hardest, in [0, 1); less where k needs them.

    Cost: O(n log n) time, 40 n bytes.
    """

    signal: str = "aum"
    bins: int = 50
    prune: float = 0.1

    def __post_init__(self) -> None:
        faults = []
        if self.bins < 1:
            faults.append(f"bins={self.bins!r}, need an integer >= 1")
        if not 0 <= self.prune < 1:
            faults.append(f"prune={self.prune!r}, need a share in [0, 1)")
        if faults:
            raise OptionsError.of("Stratified", faults)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows, in increasing order; see `Selector.select`.

        Raises:
            SelectionError: The signal is neither measured nor computable here, or NaN (names its row).
        """
        n = context.pool_size
        check_budget(k, n)
        hardness = finite_order(measured(context, self.signal))
        if self.signal == "aum":
            hardness = -hardness
        dropped = min(int(self.prune * n), n - k)
        kept = np.sort(top_m(-hardness, n - dropped, rng))
        strata = equal_width(hardness[kept], self.bins)
        quotas = fill_smallest_first(np.bincount(strata, minlength=self.bins), k)
        order = rng.permutation(len(kept))
        order = order[np.argsort(strata[order], kind="stable")]
        starts = np.cumsum(np.bincount(strata, minlength=self.bins)) - np.bincount(strata, minlength=self.bins)
        chosen = [order[start : start + quota] for start, quota in zip(starts, quotas, strict=True)]
        return Selection.uniform(kept[np.sort(np.concatenate(chosen))], n)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection; see `Selector`."""
        return 5.0 * n * c + 2.0 * n * h + n * (10.0 + 2 * math.log2(n + 1.0))


def equal_width(values: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Return the bin of each value, int64[n] in [0, bins): equal widths over the range of ordinary values.

    Values of 1e300 and beyond, as infinities are written here, go to the bin at their end.
    """
    ordinary = values[np.abs(values) < 1e300]
    low, high = (ordinary.min(), ordinary.max()) if len(ordinary) else (0.0, 0.0)
    share = (np.clip(values, low, high) - low) / (high - low if high > low else 1.0)
    return np.minimum((share * bins).astype(np.int64), bins - 1)


def fill_smallest_first(counts: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Split k over bins: from the smallest, each gives its equal part of what is left, or all it has.

    Args:
        counts: int64[bins], rows in each; empty ones get nothing.
        k: 0 <= k <= counts.sum().

    Returns:
        int64[bins] summing to k, none above its count. Ties go to the lowest bin.
    """
    quotas = np.zeros_like(counts)
    filled = np.flatnonzero(counts)
    by_size = filled[np.argsort(counts[filled], kind="stable")]
    for done, stratum in enumerate(by_size):
        quotas[stratum] = min(int(counts[stratum]), k // (len(by_size) - done))
        k -= int(quotas[stratum])
    return quotas
