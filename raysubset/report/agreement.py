"""Do two scores rank the same configurations alike?

    tau-b  = (concordant - discordant pairs) / sqrt((pairs not tied in x) (pairs not tied in y))        Kendall [1]
    rho    = Pearson's correlation of the scores
    s      = Pearson's correlation of their mid-ranks                                                  Spearman
    regret = what the proxy's best configuration lacks of the best one, by the reference

Which configurations were drawn decides much of tau: under independence its standard deviation is .117 for 36 of
them. So tau comes with a 95 % interval: the percentiles of tau over 1,000 resamples of the configurations [2]. It
covers the draw of configurations, not that of seeds.

Higher scores are better, everywhere in this module: a loss enters negated. A configuration that failed has the
score -inf, the worst, tied with others that failed.

References:
    [1] Kendall, 1945, "The treatment of ties in ranking problems", doi:10.1093/biomet/33.3.239.
    [2] Efron, Tibshirani, 1993, "An Introduction to the Bootstrap", ch. 13, ISBN 0-412-04231-2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raysubset.errors import OptionsError
from raysubset.report.intervals import Estimate
from raysubset.seeds import generator

RESAMPLES = 1000
FEWEST = 5  # configurations; fewer say next to nothing: four come in the right order by chance once in 24 times
_BLOCK = 512  # rows of the matrix of pairs held at a time

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a proxy's scores agree with the reference's; nan is not defined (one side is constant).

    Attributes:
        n: Configurations.
        tau: Kendall's tau-b, in [-1, 1].
        interval: tau with its 95 % bootstrap interval over configurations, see `bootstrap_interval`.
        pearson, spearman: In [-1, 1]; Pearson over the pairs of finite scores.
        regret: See `top_regret`.
        overlap: See `top_overlap`, k a tenth of n, rounded up.
    """

    n: int
    tau: float
    interval: Estimate | None
    pearson: float
    spearman: float
    regret: float
    overlap: float


def agreement(proxy: ArrayLike, reference: ArrayLike) -> Agreement:
    """Compare two score vectors of the same configurations.

    Args:
        proxy: float[n], n >= 2, higher is better, -inf failed, no NaN.
        reference: The same of what is meant in the end.

    Raises:
        OptionsError: The vectors are not of one length >= 2, or hold NaN.

    Cost: O(1,000 n^2) multiplications (11 ms for 30 configurations, 0.7 s for 3,000); 18 n kB.
    """
    x, y = _scores(proxy, reference)
    tau, n = kendall(x, y), len(x)
    interval = bootstrap_interval(tau, kendall_resampled(x, y, resample_counts(n)), n)
    return Agreement(n, tau, interval, pearson(x, y), spearman(x, y), top_regret(x, y), top_overlap(x, y))


def _scores(*vectors: ArrayLike) -> list[Vector]:
    scores = [np.asarray(vector, dtype=np.float64) for vector in vectors]
    shapes = {score.shape for score in scores}
    if len(shapes) > 1 or scores[0].ndim != 1 or len(scores[0]) < 2:
        shown = ", ".join(str(score.shape) for score in scores)
        raise OptionsError(f"Rank agreement needs score vectors of one length of at least 2, got shapes {shown}.")
    if any(np.isnan(score).any() for score in scores):
        raise OptionsError(
            "Rank agreement needs scores without NaN: a configuration that failed has the score -inf."
        )
    return scores


# ------------------------------------------------------------------ coefficients


def kendall(proxy: ArrayLike, reference: ArrayLike) -> float:
    """Return Kendall's tau-b; nan if either side is constant. Cost: O(n log n)."""
    x, y = _scores(proxy, reference)
    if _is_constant(x) or _is_constant(y):
        return math.nan
    from scipy.stats import kendalltau  # a second to import, and most commands need no tau

    return float(kendalltau(x, y, variant="b").statistic)


def spearman(proxy: ArrayLike, reference: ArrayLike) -> float:
    """Return Pearson's correlation of the mid-ranks; nan if either side is constant."""
    x, y = _scores(proxy, reference)
    from scipy.stats import rankdata

    return pearson(rankdata(x), rankdata(y))


def pearson(proxy: ArrayLike, reference: ArrayLike) -> float:
    """Return Pearson's correlation over the pairs of finite scores; nan if either side of them is constant.

    A spread of 1e-12 of the scores is rounding: the side counts as constant.
    """
    x, y = _scores(proxy, reference)
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < 2 or any(np.ptp(side) <= 1e-12 * np.abs(side).max() for side in (x, y)):
        return math.nan
    from scipy.stats import pearsonr

    return float(pearsonr(x, y).statistic)


def top_regret(proxy: ArrayLike, reference: ArrayLike) -> float:
    """Return how far, by the reference, the proxy's best configuration lies below the best one; >= 0.

    In the reference's unit; ties at the proxy's top are averaged over, as if one of them were picked at random.
    inf if a configuration at the proxy's top failed in the reference.
    """
    x, y = _scores(proxy, reference)
    picked = y[x == x.max()]
    return float(y.max() - picked.mean()) if y.max() > -math.inf else math.nan


def top_overlap(proxy: ArrayLike, reference: ArrayLike, k: int | None = None) -> float:
    """Return the share of the reference's k best that are among the proxy's k best, in [0, 1].

    Ties at the edge share its places equally, as if they were drawn by lot.

    Args:
        proxy: float[n].
        reference: float[n].
        k: In [1, n]; None is a tenth of n, rounded up.

    Raises:
        OptionsError: k outside [1, n].
    """
    x, y = _scores(proxy, reference)
    k = -(-len(x) // 10) if k is None else k
    if not 1 <= k <= len(x):
        raise OptionsError(f"top-k overlap: k={k}, need 1 <= k <= n={len(x)}.")
    return float(_top_share(x, k) @ _top_share(y, k) / k)


def _top_share(scores: Vector, k: int) -> Vector:
    """Return each one's probability of being among the k best when ties are drawn by lot; they sum to k."""
    edge = np.sort(scores)[-k]
    above, at = scores > edge, scores == edge
    share: Vector = above + at * (k - above.sum()) / at.sum()
    return share


def _is_constant(scores: Vector) -> bool:
    return bool((scores == scores[0]).all())


# ------------------------------------------------------------------ resampling configurations


@lru_cache(maxsize=4)
def resample_counts(n: int) -> NDArray[np.int64]:
    """Return int64[1000, n], read-only: how often each of n configurations comes up in n draws with replacement.

    Keyed by n alone: all statistics of the same configurations are resampled alike, so differences of them may be
    taken resample by resample.
    """
    draws = generator(0, n, "bootstrap").integers(0, n, size=(RESAMPLES, n))
    counts = np.stack([np.bincount(row, minlength=n) for row in draws])
    counts.setflags(write=False)
    return counts


def kendall_resampled(proxy: ArrayLike, reference: ArrayLike, counts: NDArray[np.int64]) -> Vector:
    """Return tau-b of every resample; nan where a side of it is constant.

    With multiplicities w, the sum over pairs of sgn(x_i - x_j) sgn(y_i - y_j) is w' S w / 2, and a side has
    (n^2 - sum over ties of (sum of w)^2) / 2 pairs that are not tied, copies of one configuration being ties.

    Args:
        proxy: float[n].
        reference: float[n].
        counts: int64[b, n], each row of sum n.

    Returns:
        float64[b]. Cost: O(b n^2) time; 8 b n + 10,000 n bytes.
    """
    x, y = (np.unique(side, return_inverse=True)[1] for side in _scores(proxy, reference))
    weights = counts.astype(np.float32)  # counts and sums of n signs are exact in it up to n = 2^24
    pairs = np.zeros(len(counts))
    for low in range(0, len(x), _BLOCK):
        part = slice(low, low + _BLOCK)
        signs = np.sign(x[part, None] - x) * np.sign(y[part, None] - y)
        pairs += ((weights @ signs.T.astype(np.float32)) * counts[:, part]).sum(axis=1, dtype=np.float64)
    untied = _untied(x, counts) * _untied(y, counts)
    taus = np.full(len(counts), math.nan)
    np.divide(pairs, np.sqrt(untied), out=taus, where=untied > 0)
    return taus


def _untied(levels: NDArray[np.intp], counts: NDArray[np.int64]) -> Vector:
    """Return twice the number of pairs at different levels, for each resample."""
    order = np.argsort(levels, kind="stable")
    starts = np.flatnonzero(np.diff(levels[order], prepend=-1))
    groups = np.add.reduceat(counts[:, order], starts, axis=1)
    untied: Vector = (counts.sum(axis=1) ** 2 - (groups**2).sum(axis=1)).astype(np.float64)
    return untied


def bootstrap_interval(value: float, resampled: Vector, n: int) -> Estimate | None:
    """Return a statistic with the 2.5 and 97.5 percentiles of its resamples.

    Resamples in which it is not defined (nan: they drew equal scores alone) are left out. None where there is no
    interval to be had: fewer than `FEWEST` configurations; the statistic, or half of its resamples, not defined;
    all of them equal, as where every pair agrees, of which resampling makes a certainty that it is not.

    Args:
        value: The statistic of all configurations.
        resampled: float64[b], of each resample.
        n: Configurations.
    """
    defined = resampled[~np.isnan(resampled)]
    if n < FEWEST or math.isnan(value) or 2 * len(defined) <= len(resampled) or np.ptp(defined) <= 1e-12:
        return None
    low, high = np.quantile(defined, (0.025, 0.975))
    return Estimate(value, float(low), float(high))
