"""Hyper-Tune [1]: surrogates of every fidelity, trusted as far as they rank the highest one.

Level k has the results D_k and a model M_k of their standardised losses. With y the losses at the highest level
that has enough results, and y' a joint draw of M_k at the same points (for that level's own model: at points it
was not fitted to), the ranking loss counts the ordered pairs that the draw puts the other way round,

    L_k = sum_{i != j} [ (y'_i < y'_j) xor (y_i < y_j) ],    theta_k = share of draws in which L_k is the smallest,

ties within a draw shared equally. The models' votes are joined to

    mean(x) = sum_k theta_k mu_k(x),        var(x) = sum_k theta_k^2 var_k(x).

A level may be a share of the training or a ratio of the data: theta asks only how well it ranks.

References:
    [1] Li et al., 2022, "Hyper-Tune: towards efficient hyper-parameter tuning at scale", arXiv:2201.06834.
    [2] Salinas et al., 2022, "Syne Tune: a library for large scale hyperparameter tuning", AutoML.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raysubset.errors import UnknownNameError
from raysubset.hpo.acquisition import best_new, expected_improvement
from raysubset.hpo.encode import Encoding, Vectors
from raysubset.hpo.history import History, Point
from raysubset.hpo.one_thread import one_thread
from raysubset.hpo.proposer import RandomProposer
from raysubset.hpo.regressors import SURROGATES, Regressor, Surrogate, fit_regressor, standardised
from raysubset.hpo.space import Space
from raysubset.seeds import generator, seed64

LEAST = 6  # results that a level needs [2]
FOLDS = 5  # at most, of at least two points each
RANDOM_SHARE = 0.3  # of the proposals


def ranking_loss(predicted: ArrayLike, losses: ArrayLike) -> NDArray[np.int64]:
    """Count the ordered pairs that predictions put the other way round than the losses do.

    Args:
        predicted: float64[n], or float64[S, n] for S predictions.
        losses: float64[n].

    Returns:
        int64[S] in [0, n (n - 1)]; a pair that is equal in one of the two counts once.

    Cost: O(S n^2).
    """
    known = np.asarray(losses)[:, None] < np.asarray(losses)
    rows = np.atleast_2d(np.asarray(predicted, dtype=np.float64))
    return np.array([np.count_nonzero((row[:, None] < row) != known) for row in rows])


def smallest_share(losses: ArrayLike) -> NDArray[np.float64]:
    """Return the share of rows in which each column is the smallest; columns that tie share the row equally.

    Args:
        losses: Shape [S, K].

    Returns:
        float64[K], >= 0, sum 1.
    """
    rows = np.asarray(losses)
    smallest = rows == rows.min(axis=1, keepdims=True)
    return np.asarray((smallest / smallest.sum(axis=1, keepdims=True)).mean(axis=0))


def fidelity_weights(
    history: History, space: Space, seed: int, samples: int = 100, surrogate: Surrogate = "rf"
) -> NDArray[np.float64] | None:
    """Return theta, how far each rung's results tell the ranking at the highest rung with enough results.

    Args:
        history: What was tried.
        space: Where from.
        seed: The experiment's seed.
        samples: Joint draws, S.
        surrogate: "rf" or "gp".

    Returns:
        float64[rungs], >= 0, sum 1; 0 at rungs with fewer than 6 results. None if no rung has 6.

    Cost: up to five model fits at the highest rung and one at each other, remembered while the data stay the same.
    """
    top = history.informed_rung(LEAST)
    if top is None:
        return None
    encoding, theta = Encoding(space), np.zeros(history.rungs)
    levels = [level for level in range(top + 1) if len(history.losses[level]) >= LEAST]
    if levels == [top]:  # nothing to compare
        theta[top] = 1.0
        return theta
    data = {level: _level_data(history, encoding, level) for level in levels}
    features, losses = data[top]
    missed = []
    for level in levels:
        rng = generator(seed, level, "theta")
        if level < top:
            draws = _fit(surrogate, *data[level], seed).draws(features, samples, rng)
        else:
            draws = held_out_draws(surrogate, features, losses, samples, seed, rng)
        missed.append(ranking_loss(draws, losses))
    theta[levels] = smallest_share(np.stack(missed, axis=1))
    return theta


def _level_data(history: History, encoding: Encoding, level: int) -> tuple[Vectors, NDArray[np.float64]]:
    points, losses = history.at(level)
    return encoding.features(encoding.to_vectors(points)), standardised(losses)


def held_out_draws(
    surrogate: Surrogate,
    features: Vectors,
    losses: NDArray[np.float64],
    samples: int,
    seed: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return draws at every point from a model that was fitted without it (cross-validation)."""
    folds = min(FOLDS, len(losses) // 2)
    fold = rng.permutation(len(losses)) % folds
    draws = np.empty((samples, len(losses)))
    for k in range(folds):
        model = _fit(surrogate, features[fold != k], losses[fold != k], seed)
        draws[:, fold == k] = model.draws(features[fold == k], samples, rng)
    return draws


def _fit(surrogate: Surrogate, features: Vectors, losses: NDArray[np.float64], seed: int) -> Regressor:
    return _fit_bytes(surrogate, features.shape[1], features.tobytes(), losses.tobytes(), seed)


@lru_cache(maxsize=32)
def _fit_bytes(surrogate: Surrogate, width: int, features: bytes, losses: bytes, seed: int) -> Regressor:
    """Fit a model, once for the same data: a report changes one level, and the scheduler asks for theta too."""
    points = np.frombuffer(features).reshape(-1, width)
    return fit_regressor(surrogate, points, np.frombuffer(losses), seed64(seed, "forest") % 2**32)


@dataclass(frozen=True, slots=True)
class HyperTuneProposer:
    """Expected improvement on the joined surrogates, three draws of ten at random.

    Random too until a rung has six results. Running trials are taken for average ones, so that workers do not all
    try the same, and no configuration is proposed twice while others are found.

    Attributes:
        space: A space that `check_space` accepts.
        seed: The experiment's seed.
        surrogate: "rf" (random forest) or "gp" (Gaussian process).

    Raises:
        UnknownNameError: Another surrogate.
    """

    space: Space
    seed: int
    surrogate: Surrogate = "rf"

    def __post_init__(self) -> None:
        if self.surrogate not in SURROGATES:
            raise UnknownNameError.of("surrogate", self.surrogate, SURROGATES)

    @one_thread()
    def propose(self, history: History, draw: int, rung: int) -> Point:
        """Return a point. Cost: see `fidelity_weights`; the search of the space takes 50 ms with a forest."""
        rng = generator(self.seed, draw, "hyper-tune")
        theta = fidelity_weights(history, self.space, self.seed, surrogate=self.surrogate)
        top = history.informed_rung(LEAST)
        if theta is None or top is None or rng.random() < RANDOM_SHARE:
            return RandomProposer(self.space, self.seed).propose(history, draw, rung)
        encoding = Encoding(self.space)
        models = [(theta[level], self._model(history, encoding, int(level))) for level in np.flatnonzero(theta)]
        points, losses = history.at(top)
        best = float(standardised(losses).min())

        def improvement(vectors: Vectors) -> NDArray[np.float64]:
            features = encoding.features(vectors)
            votes = [(weight, *model.predict(features)) for weight, model in models]
            mean = sum(weight * mu for weight, mu, _ in votes)
            variance = sum(weight**2 * var for weight, _, var in votes)
            return expected_improvement(np.asarray(mean), np.asarray(variance), best)

        tops = [points[place] for place in np.argsort(losses, kind="stable")]
        known = encoding.to_vectors([*tops, *history.points.values()])
        found = best_new(improvement, encoding, known, rng)
        if found is None:
            return RandomProposer(self.space, self.seed).propose(history, draw, rung)
        (point,) = encoding.to_points(found)
        return point

    def _model(self, history: History, encoding: Encoding, level: int) -> Regressor:
        features, losses = _level_data(history, encoding, level)
        pending = encoding.features(encoding.to_vectors(history.pending()))
        average = np.full(len(pending), np.median(losses))
        return _fit(self.surrogate, np.concatenate([features, pending]), np.append(losses, average), self.seed)
