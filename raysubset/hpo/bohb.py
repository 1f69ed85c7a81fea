"""BOHB's model [1]: two kernel densities, of good configurations and of the others, at one fidelity.

Of the n results of a rung, with d parameters, the best max(d + 1, 15 % n) are good and the next max(d + 1, 85 % n)
bad; the highest rung counts that has d + 1 of both. Densities l (good) and g (bad) are products of kernels over
places in [0, 1] and option indices (see `hpo.encode`), with the bandwidths of the normal reference rule,

    h_j = max(1.06 sigma_j n^(-1 / (4 + d)), .001),        sigma_j: standard deviation of column j
    number:               exp(-((x - m) / h)^2 / 2) / (sqrt(2 pi) h)
    choice of c options:  1 - h if x = m, else h / (c - 1)

64 candidates are drawn around good points, numbers from a normal of deviation 3 h truncated to [0, 1], choices
kept but for a share h; the one with the largest l / g is proposed. A third of the proposals are random.

As in HpBandSter [2] but for three faults there. h of a choice is at most (c - 1) / c, where all options count
alike; beyond, its kernel would prefer the other options, and be negative from h = 1. c counts all options;
statsmodels counts those present, so that an option which no good point has makes l infinite. And an inactive
parameter in the first column is filled in like any other.

References:
    [1] Falkner et al., 2018, "BOHB: robust and efficient hyperparameter optimization at scale", arXiv:1807.01774.
    [2] HpBandSter 0.7.4, optimizers/config_generators/bohb.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysubset.hpo.encode import Encoding, Vectors
from raysubset.hpo.history import History, Point
from raysubset.hpo.proposer import RandomProposer
from raysubset.hpo.space import Space
from raysubset.seeds import generator

GOOD_PERCENT = 15
CANDIDATES = 64
RANDOM_SHARE = 1 / 3
WIDENING = 3.0  # of a number's bandwidth, for candidates
NARROWEST = 1e-3  # bandwidth
SMALLEST = 1e-32  # density


@dataclass(frozen=True, slots=True)
class Density:
    """A product of kernels over points.

    Attributes:
        points: float64[n, d], numbers in [0, 1] or option indices.
        levels: int64[d], options of a choice, 0 for a number.
        widths: float64[d], bandwidths.
    """

    points: Vectors
    levels: NDArray[np.int64]
    widths: NDArray[np.float64]

    @classmethod
    def fit(cls, points: Vectors, levels: NDArray[np.int64]) -> Density:
        """Take the bandwidths of the normal reference rule."""
        n, d = points.shape
        widths = np.maximum(1.06 * points.std(axis=0) * n ** (-1.0 / (4 + d)), NARROWEST)
        widest = np.where(levels > 0, (levels - 1) / np.maximum(levels, 1), np.inf)
        return cls(points, levels, np.minimum(widths, widest))

    def at(self, x: Vectors) -> NDArray[np.float64]:
        """Return the density at m points, float64[m]. Cost: O(m n d)."""
        apart = x[:, None, :] - self.points
        widths = np.maximum(self.widths, NARROWEST)  # a choice of one option has none, and its number is not used
        numbers = np.exp(-0.5 * (apart / widths) ** 2) / (np.sqrt(2 * np.pi) * widths)
        choices = np.where(apart == 0, 1 - self.widths, self.widths / np.maximum(self.levels - 1, 1))
        return np.asarray(np.where(self.levels > 0, choices, numbers).prod(axis=2).mean(axis=1))

    def around(self, count: int, rng: np.random.Generator) -> Vectors:
        """Draw candidates near the points, float64[count, d]."""
        from scipy.special import ndtr, ndtri

        centres = self.points[rng.integers(len(self.points), size=count)]
        wide = np.maximum(self.widths, NARROWEST) * WIDENING
        low, high = ndtr(-centres / wide), ndtr((1 - centres) / wide)
        numbers = centres + wide * ndtri(rng.uniform(low, high))
        others = np.floor(rng.random(centres.shape) * self.levels)
        choices = np.where(rng.random(centres.shape) < 1 - self.widths, centres, others)
        return np.where(self.levels > 0, choices, numbers.clip(0.0, 1.0))


@dataclass(frozen=True, slots=True)
class BohbProposer:
    """Random points until a rung has results enough for two densities, then the candidate with the largest l / g.

    Attributes:
        space: A space that `check_space` accepts.
        seed: The experiment's seed.
    """

    space: Space
    seed: int

    def propose(self, history: History, draw: int, rung: int) -> Point:
        """Return a point. Cost: O(n d) for n results, 2 ms for five parameters and 200 of them."""
        rng = generator(self.seed, draw, "bohb")
        encoding = Encoding(self.space)
        halves = split(history, encoding, rng)
        if halves is None or rng.random() < RANDOM_SHARE:
            return RandomProposer(self.space, self.seed).propose(history, draw, rung)
        good, bad = (Density.fit(points, encoding.levels) for points in halves)
        candidates = good.around(CANDIDATES, rng)
        ratio = np.maximum(bad.at(candidates), SMALLEST) / np.maximum(good.at(candidates), SMALLEST)
        (point,) = encoding.to_points(candidates[[int(ratio.argmin())]])
        return point


def split(history: History, encoding: Encoding, rng: np.random.Generator) -> tuple[Vectors, Vectors] | None:
    """Return the good and the bad points of the highest rung that has d + 1 of both, inactive values filled in."""
    least = len(encoding.names) + 1
    level = history.informed_rung(2 * least)
    if level is None:
        return None
    points, losses = history.at(level)
    order = np.argsort(np.where(np.isfinite(losses), losses, np.inf), kind="stable")
    vectors = encoding.to_vectors(points)[order]
    good = max(least, GOOD_PERCENT * len(points) // 100)
    bad = max(least, (100 - GOOD_PERCENT) * len(points) // 100)
    return impute(vectors[:good], encoding, rng), impute(vectors[good : good + bad], encoding, rng)


def impute(vectors: Vectors, encoding: Encoding, rng: np.random.Generator) -> Vectors:
    """Return full vectors: NaN is filled from another point that has a value there, all gaps it can fill at once.

    Where no point has one, with a draw.
    """
    filled = vectors.copy()
    for vector in filled:
        while len(gaps := np.flatnonzero(np.isnan(vector))):
            donors = np.flatnonzero(~np.isnan(vectors[:, gaps[0]]))
            if len(donors):
                vector[gaps] = vectors[rng.choice(donors), gaps]
            else:
                vector[gaps[0]] = encoding.sample(1, rng)[0, gaps[0]]
    return filled
