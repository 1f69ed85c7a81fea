"""What a loss may be at untried points: a random forest or a Gaussian process, each with joint draws.

Forest [1]: the trees are the sample. With f_t(x) the prediction of tree t of T,

    mean(x) = average of f_t(x)     var(x) = average of (f_t(x) - mean(x))^2
    draw(x) = mean(x) + sum_t z_t (f_t(x) - mean(x)) / sqrt(T),     z_t ~ N(0, 1)

so that draws have these means and variances, and points that fall into the same leaves go up and down together.

Gaussian process [2]: Matern 5/2, a length for every feature and the noise fitted; draws are of the function,
without the noise.

References:
    [1] Hutter et al., 2011, "Sequential model-based optimization for general algorithm configuration",
        doi:10.1007/978-3-642-25566-3_40.
    [2] Snoek et al., 2012, "Practical Bayesian optimization of machine learning algorithms", arXiv:1206.2944.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from raysubset.hpo.encode import Vectors

Surrogate = Literal["rf", "gp"]
SURROGATES: tuple[Surrogate, ...] = get_args(Surrogate)

TREES = 10  # as SMAC and Hyper-Tune have
FEATURE_SHARE = 5 / 6  # tried at every split, as in SMAC
FIT_STEPS = 15  # of the likelihood's ascent: more of them change little and cost 20 ms each at 200 points


class Regressor(Protocol):
    """A fitted model of standardised losses."""

    def predict(self, features: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and variance, float64[n] each, of n points."""
        ...

    def draws(self, features: Vectors, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return joint draws, float64[count, n]."""
        ...


def standardised(losses: Sequence[float]) -> NDArray[np.float64]:
    """Return losses with mean 0 and variance 1, all 0 if they are equal.

    A loss that is not finite, a failed trial's, is as bad as the worst that is; if none is finite, all are equal.
    """
    values = np.array(losses, dtype=np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(len(values))
    values[~finite] = values[finite].max()
    largest = np.abs(values).max() or 1.0
    values = values / largest  # squares of 1e200 are inf
    centred = values - values.mean()
    spread = float(np.sqrt((centred**2).mean()))
    return centred / spread if spread > 1e-12 else np.zeros(len(values))


def fit_regressor(kind: Surrogate, features: Vectors, targets: NDArray[np.float64], seed: int) -> Regressor:
    """Fit a forest ("rf") or a Gaussian process ("gp") to n >= 2 points.

    Args:
        kind: Which.
        features: float64[n, D], as `Encoding.features` gives them.
        targets: float64[n], standardised losses.
        seed: Of the forest's bootstrap, below 2^32.

    Cost: forest 15 ms for n up to 200; process O(n^3), a third of a second at 200.
    """
    return _fit_forest(features, targets, seed) if kind == "rf" else _Process(fit_process(features, targets))


@dataclass(frozen=True, slots=True)
class _Forest:
    trees: Sequence[Any]

    def votes(self, features: Vectors) -> NDArray[np.float64]:
        """Return every tree's prediction, float64[T, n]."""
        points = features.astype(np.float32)
        return np.stack([tree.predict(points)[:, 0] for tree in self.trees])

    def predict(self, features: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        votes = self.votes(features)
        return votes.mean(axis=0), votes.var(axis=0)

    def draws(self, features: Vectors, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        votes = self.votes(features)
        mean = votes.mean(axis=0)
        normal = rng.standard_normal((count, len(votes)))
        return np.asarray(mean + normal @ (votes - mean) / np.sqrt(len(votes)))


def _fit_forest(features: Vectors, targets: NDArray[np.float64], seed: int) -> _Forest:
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(TREES, max_features=FEATURE_SHARE, random_state=seed).fit(features, targets)
    return _Forest(
        [tree.tree_ for tree in forest.estimators_]
    )  # the bare trees skip 100 microseconds of checks each


@dataclass(frozen=True, slots=True)
class _Process:
    process: Any

    def predict(self, features: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # variances of -1e-12 are set to 0
            mean, deviation = self.process.predict(features, return_std=True)
        return mean, deviation**2

    def draws(self, features: Vectors, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        mean, covariance = self.process.predict(features, return_cov=True)
        eigenvalues, eigenvectors = np.linalg.eigh(covariance)
        root = eigenvectors * np.sqrt(eigenvalues.clip(0.0))
        return np.asarray(mean + rng.standard_normal((count, len(mean))) @ root.T)


def fit_process(
    features: Vectors, targets: NDArray[np.float64], meaning: Callable[[Vectors], Vectors] | None = None
) -> Any:
    """Return scikit-learn's Gaussian process, fitted, that predicts the function without the noise.

    Args:
        features: float64[n, D], n >= 2.
        targets: float64[n], standardised.
        meaning: What a point stands for; the kernel compares meanings.
    """
    from bayes_opt.parameter import wrap_kernel
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel

    matern = Matern(np.ones(features.shape[1]), (0.05, 20.0), nu=2.5)
    smooth = wrap_kernel(matern, meaning) if meaning else matern
    process = GaussianProcessRegressor(smooth + WhiteKernel(0.01, (1e-4, 1.0)), optimizer=_ascend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: the feature does not matter
        process.fit(features, targets)
    process.kernel_ = process.kernel_.k1
    return process


def _ascend(
    objective: Callable[..., Any], start: NDArray[np.float64], bounds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    from scipy.optimize import minimize

    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": FIT_STEPS})
    return found.x, found.fun
