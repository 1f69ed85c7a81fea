"""Proxy data for architecture search: rows by the histogram of their entropies.

The entropies of a pre-trained model are counted in bins of their base-10 logarithm; a bin of h rows is chosen with
probability P, a row inside it uniformly, so a row has the probability P / h [1]:

    P1  proportional to max h - h + 1    the rarer its entropy the more        (h > 0 in all three)
    P2  equal
    P3  proportional to 1 / h

Here, unlike in the authors' code, an entropy of 0 counts as 1e-12 (log 0 loops for ever), bins are half open (a
value on an edge belongs to the upper one) and P2 leaves empty bins out. Rows are drawn without replacement.

References:
    [1] Na, Mok, Choe, Yoon, 2021, "Accelerating neural architecture search via proxy data", arXiv:2106.04784.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError
from raysubset.selection.protocol import Context, check_budget
from raysubset.selection.sampling import draw
from raysubset.selection.top import finite_order, measured
from raysubset.types import Selection

Law = Literal["P1", "P2", "P3"]
LAWS: tuple[Law, ...] = ("P1", "P2", "P3")
LEAST_ENTROPY = 1e-12


@dataclass(frozen=True, slots=True)
class ProxyData:
    """k rows by their entropy's place in the histogram.

    Attributes:
        law: "P1", "P2" or "P3".
        bin_width: Of log10 entropy, > 0. The authors take 0.5 for CIFAR-10, 0.25 for CIFAR-100 and ImageNet, 0.2
            for SVHN.

    Cost: O(n + k log k) time, 48 n bytes.
    """

    law: Law = "P1"
    bin_width: float = 0.5

    def __post_init__(self) -> None:
        faults = []
        if self.law not in LAWS:
            faults.append(f"law={self.law!r}, need one of {', '.join(LAWS)}")
        if not 0 < self.bin_width < math.inf:
            faults.append(f"bin_width={self.bin_width!r}, need a number > 0")
        if faults:
            raise OptionsError.of("ProxyData", faults)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows, in drawing order; see `Selector.select`.

        Raises:
            SelectionError: The entropy is neither measured nor computable here, or NaN (names its row).
        """
        check_budget(k, context.pool_size)
        bins, counts = histogram(finite_order(measured(context, "entropy")), self.bin_width)
        probability = (bin_probabilities(counts, self.law) / np.maximum(counts, 1))[bins]
        return Selection.uniform(draw(np.log(probability), k, rng, device=context.device), context.pool_size)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection; see `Selector`."""
        return 5.0 * n * c + 60.0 * n + k * math.log2(k + 1.0)


def histogram(entropies: NDArray[np.float64], bin_width: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (bin int64[n], counts int64[bins]) of log10 entropies.

    Bin i spans [low + i width, low + (i + 1) width), low the least log10 entropy.
    """
    logs = np.log10(np.maximum(entropies, LEAST_ENTROPY))
    bins = np.floor((logs - logs.min()) / bin_width).astype(np.int64)
    return bins, np.bincount(bins)


def bin_probabilities(counts: NDArray[np.int64], law: Law) -> NDArray[np.float64]:
    """Return float64[bins] summing to 1, 0 for empty bins."""
    filled = counts > 0
    mass = {
        "P1": (counts.max() - counts + 1.0),
        "P2": np.ones(len(counts)),
        "P3": 1.0 / np.maximum(counts, 1),
    }[law]
    return np.asarray(np.where(filled, mass, 0.0) / mass[filled].sum())
