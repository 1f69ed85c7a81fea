"""InfoBatch: leave out a random part of the easy rows and let the others count for them.

Of the rows whose last loss is below the mean, a share is left out at random; each that stays has the weight
|easy| / |easy kept|, which is 1 / (1 - prune) up to rounding the count; the others have weight 1. The expected
gradient is that of the whole pool exactly, whatever |easy| is. The last epochs train on everything.

The authors' package seeds numpy's global generator each epoch, so all seeds prune alike, and keeps stale weights
in the last epochs unless E delta is a whole number; here the stream is the caller's, and weights belong to the
selection.

References:
    [1] Qin et al., 2024, "InfoBatch: lossless training speed up by unbiased dynamic data pruning",
        arXiv:2303.04947.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError, SelectionError
from raysubset.selection.protocol import Context, check_budget
from raysubset.types import Selection


@dataclass(frozen=True, slots=True)
class InfoBatch:
    """All hard rows and a random part of the easy ones; it decides itself how many.

    Attributes:
        prune: Share of the easy rows left out, in [0, 1).
        delta: Share of the training after which nothing is left out, in [0, 1].

    Cost: O(n) time, 30 n bytes.
    """

    prune: float = 0.5
    delta: float = 0.875

    def __post_init__(self) -> None:
        faults = []
        if not 0 <= self.prune < 1:
            faults.append(f"prune={self.prune!r}, need a share in [0, 1)")
        if not 0 <= self.delta <= 1:
            faults.append(f"delta={self.delta!r}, need a share in [0, 1]")
        if faults:
            raise OptionsError.of("InfoBatch", faults)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose rows, in increasing order; see `Selector.select`.

        Everything, with weights 1, while no loss was measured and from ``progress >= delta`` on.

        Raises:
            SelectionError: k is not the pool's size, or a loss is NaN or infinite (names its row).
        """
        n = context.pool_size
        check_budget(k, n)
        if k != n:
            raise SelectionError(
                f"Selector 'infobatch' was asked for k={k} of n={n}; it decides itself how many rows it "
                "leaves out: use ratio=1."
            )
        if "loss" not in context.signals or context.progress >= self.delta:
            return Selection.uniform(np.arange(n), n)
        easy = easy_rows(context.signal("loss"))
        kept_easy = max(1, int((1 - self.prune) * len(easy) + 1e-9)) if len(easy) else 0  # 1e-9: (1 - .9) 10 is 1
        weights = np.ones(n, dtype=np.float32)
        weights[easy] = 0
        weights[rng.permutation(easy)[:kept_easy]] = len(easy) / max(kept_easy, 1)
        rows = np.flatnonzero(weights)
        return Selection(rows, weights[rows], n, unbiased=True)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection; see `Selector`."""
        return 6.0 * n


def easy_rows(losses: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the rows of loss below the mean, increasing; none where all are equal.

    Raises:
        SelectionError: A loss is NaN or infinite (names its row).
    """
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        raise SelectionError(f"The loss of row {bad[0]} is {losses[bad[0]]}; all {len(losses)} must be finite.")
    mean = losses.mean(dtype=np.float64)  # of equal float32 numbers exact: their sum fits 53 bits
    return np.flatnonzero(losses < mean)
