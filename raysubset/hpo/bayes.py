"""Bayesian optimisation: a Gaussian process and expected improvement, on the package bayesian-optimization.

The package sees numbers in [0, 1] only (see `hpo.encode`): its own integers and categories share one length scale
with the floats whatever their range, and are marked experimental. Integers, categories and inactive parameters are
brought to what they stand for inside the kernel [1], so the process is constant where the point is the same.

Fidelity: the losses of one rung count, the highest that has enough. Running trials are given the mean loss
("constant liar" [2]), so that workers do not all try the same.

References:
    [1] Garrido-Merchan, Hernandez-Lobato, 2020, "Dealing with categorical and integer-valued variables in Bayesian
        optimization with Gaussian processes", arXiv:1805.03463.
    [2] Ginsbourger et al., 2010, "Kriging is well-suited to parallelize optimization",
        doi:10.1007/978-3-642-10701-6_6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysubset.hpo.encode import Encoding, Vectors
from raysubset.hpo.history import History, Point
from raysubset.hpo.one_thread import one_thread
from raysubset.hpo.proposer import RandomProposer
from raysubset.hpo.regressors import fit_process, standardised
from raysubset.hpo.space import Space
from raysubset.seeds import seed64

RANDOM = 5_000  # points at which the acquisition is tried,
CLIMBS = 1  # and of those, from how many it is improved: each takes a quarter of a second, and more find no more


@dataclass(frozen=True, slots=True)
class BayesProposer:
    """Random points until a rung has ``startup`` losses, then Bayesian optimisation over the highest such rung.

    Attributes:
        space: A space that `check_space` accepts.
        seed: The experiment's seed.
        startup: Losses at one rung that the process needs, >= 1.
    """

    space: Space
    seed: int
    startup: int = 10

    @one_thread()
    def propose(self, history: History, draw: int, rung: int) -> Point:
        """Return a point. Cost: O(n^3)."""
        informed = history.informed_rung(self.startup)
        if informed is None:
            return RandomProposer(self.space, self.seed).propose(history, draw, rung)
        points, losses = history.at(informed)
        pending = history.pending()
        encoding = Encoding(self.space)
        known = encoding.features(encoding.to_vectors([*points, *pending]))
        scores = np.append(-standardised(losses), np.zeros(len(pending)))
        found = _suggest(encoding, *_distinct(known, scores), seed64(self.seed, draw, "bo") % 2**32)
        (point,) = encoding.to_points(encoding.from_features(found))
        return point


def _distinct(features: Vectors, scores: NDArray[np.float64]) -> tuple[Vectors, NDArray[np.float64]]:
    """Join equal points; their scores are averaged."""
    distinct, owner = np.unique(features, axis=0, return_inverse=True)
    owner = owner.ravel()
    return distinct, np.bincount(owner, scores) / np.bincount(owner)


def _suggest(encoding: Encoding, features: Vectors, scores: NDArray[np.float64], seed: int) -> Vectors:
    """Return the features that promise most, float64[1, D]."""
    from bayes_opt.acquisition import ExpectedImprovement
    from bayes_opt.target_space import TargetSpace

    def meaning(places: Vectors) -> Vectors:
        return encoding.features(encoding.deactivate(encoding.from_features(np.atleast_2d(places))))

    space = TargetSpace(None, {str(column): (0.0, 1.0) for column in range(features.shape[1])})
    for place, score in zip(features, scores, strict=True):
        space.register(place, float(score))
    process = fit_process(features, scores, meaning)
    found = ExpectedImprovement(xi=0.0).suggest(process, space, RANDOM, CLIMBS, fit_gp=False, random_state=seed)
    return np.atleast_2d(found)
