"""How far an accuracy can be trusted: on n test rows, and over n seeds.

Wilson's and Newcombe's intervals cover the draw of the test rows, not the draw of seeds: a second run may differ
by more. Student's covers what differs from repeat to repeat.

References:
    [1] Wilson, 1927, "Probable inference, the law of succession, and statistical inference",
        doi:10.1080/01621459.1927.10502953.
    [2] Newcombe, 1998, "Interval estimation for the difference between independent proportions",
        method 10, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

Z_95 = 1.959963984540054  # standard normal quantile of 0.975


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value with its 95 % interval, all in the same unit."""

    value: float
    low: float
    high: float


def wilson(share: float, n: int) -> Estimate:
    """Return the 95 % Wilson score interval [1] of a share measured on ``n`` >= 1 rows."""
    z2 = Z_95 * Z_95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Return ``first`` - ``second`` with Newcombe's interval [2] from their Wilson intervals.

    It takes the two as independent. Two models tested on the same rows agree on most of them, so the true
    interval is narrower: a difference called real here is real, one called noise may still be real.
    """
    gap = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(gap, gap - below, gap + above)


def student(values: Sequence[float]) -> Estimate | None:
    """Return the mean of repeats with its 95 % Student interval.

    None for fewer than two of them, with nan, and where all are equal: coarse values repeat by chance, and their
    spread of 0 would pass for certainty.
    """
    n = len(values)
    if n < 2 or any(map(math.isnan, values)) or max(values) - min(values) <= 1e-12:
        return None
    from scipy.special import stdtrit  # a third of a second to import

    half = float(stdtrit(n - 1, 0.975)) * stdev(values) / math.sqrt(n)
    mean = fmean(values)
    return Estimate(mean, mean - half, mean + half)
