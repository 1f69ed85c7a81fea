"""Hyper-Tune's surrogates: the golden theta, the forests' and processes' draws, and what is proposed."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from proposer_spaces import EVERYTHING
from scipy import integrate, stats
from sklearn.ensemble import RandomForestRegressor
from tolerances import FLOAT64, PROPERTY, of_share

from raysubset.errors import UnknownNameError
from raysubset.hpo import surrogate as module
from raysubset.hpo.acquisition import best_new, expected_improvement
from raysubset.hpo.encode import Encoding, Vectors
from raysubset.hpo.history import History
from raysubset.hpo.proposer import Proposer, RandomProposer
from raysubset.hpo.regressors import fit_regressor, standardised
from raysubset.hpo.space import Space, choice, integer, loguniform, sample_space, uniform
from raysubset.hpo.surrogate import HyperTuneProposer, fidelity_weights, ranking_loss, smallest_share
from raysubset.seeds import generator

SQUARE: Space = {"x": uniform(0, 1), "y": uniform(0, 1)}


def bowl(point: object) -> float:
    return (point["x"] - 0.3) ** 2 + (point["y"] - 0.6) ** 2  # type: ignore[index]


def search(counts: list[int], worth: list[float], seed: int = 0, space: Space = SQUARE) -> History:
    """Level k has the first counts[k] points; worth[k] in [-1, 1] is how far its losses follow the bowl."""
    history = History(len(counts))
    for i in range(max(counts)):
        history.points[str(i)] = sample_space(space, generator(seed, i))
    for level, (count, share) in enumerate(zip(counts, worth, strict=True)):
        for i in range(count):
            noise = float(generator(seed, level, i, "noise").uniform(0, 0.5))
            history.observe(str(i), level, share * bowl(history.points[str(i)]) + (1 - abs(share)) * noise)
    return history


# ---------------------------------------------------------------- theta


def test_golden_ranking_losses_and_theta() -> None:
    """The file's deterministic variant (`pnorm_weights`, `schedule_w_full`) is not offered.

    Its `order_preserving` is 1 - ranking loss / (n (n - 1)), and `theta_first_argmin` is what theta would be if
    the first of several smallest took all. `bracket_prob` belongs to the scheduler.
    """
    values = golden("hypertune_theta")
    y, predictions, expected = values["inputs"]["y"], values["inputs"]["preds"], values["expected"]
    losses = ranking_loss(list(predictions.values()), y)
    assert dict(zip(predictions, losses.tolist(), strict=True)) == expected["ranking_loss"]
    assert (1 - losses / 20).tolist() == pytest.approx(expected["order_preserving"], rel=FLOAT64)
    theta = smallest_share(values["inputs"]["mc_losses"])
    assert theta.tolist() == pytest.approx(expected["theta_tie_shared"], rel=FLOAT64)
    assert theta.tolist() != pytest.approx(expected["theta_first_argmin"])


@PROPERTY
@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-2, 2)), min_size=2, max_size=8))
def test_ranking_loss_by_brute_force(pairs: list[tuple[int, float]]) -> None:
    losses, predicted = zip(*pairs, strict=True)
    expected = sum(
        (predicted[i] < predicted[j]) != (losses[i] < losses[j]) for i, j in permutations(range(len(pairs)), 2)
    )
    assert ranking_loss(predicted, losses).tolist() == [expected]


@pytest.mark.parametrize("surrogate", ["rf", "gp"])
def test_the_level_that_ranks_best_is_trusted(surrogate: module.Surrogate) -> None:
    """Ten results at the top cannot say much of themselves; level 0 is the bowl, level 1 noise."""
    theta = fidelity_weights(search([60, 60, 10, 2], [1, 0, 1, 1]), SQUARE, 0, surrogate=surrogate)
    assert theta is not None
    assert theta.sum() == pytest.approx(1)
    assert theta[0] > 0.6
    assert theta[1] < 0.1
    assert theta[3] == 0  # two results


def test_a_level_that_ranks_backwards_has_no_weight() -> None:
    theta = fidelity_weights(search([60, 20], [-1, 1]), SQUARE, 0)
    assert theta is not None
    assert theta.tolist() == pytest.approx([0, 1], abs=0.05)


def test_theta_needs_six_results() -> None:
    assert fidelity_weights(search([5, 0], [1, 1]), SQUARE, 0) is None
    for counts, supported in (([6, 5], [True, False]), ([30, 6], [True, True]), ([5, 6], [False, True])):
        theta = fidelity_weights(search(counts, [1, 1]), SQUARE, 0)
        assert theta is not None
        assert (theta > 0).tolist() == supported
        assert theta.sum() == pytest.approx(1)


def test_the_top_levels_own_model_is_judged_at_points_it_has_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every result is held out once, in at most five folds of at least two; predictions keep their decimals."""
    fits: list[Vectors] = []

    class Line:
        def __init__(self, features: Vectors, losses: NDArray[np.float64]) -> None:
            self.known = {row.tobytes() for row in features}

        def draws(self, features: Vectors, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
            assert not self.known & {row.tobytes() for row in features}
            assert len(features) >= 2
            return np.tile(features[:, 0] * 0.1, (count, 1))

    def fit(kind: str, features: Vectors, losses: NDArray[np.float64], seed: int) -> Line:
        fits.append(features)
        return Line(features, losses)

    monkeypatch.setattr(module, "_fit", fit)
    for n, folds in ((6, 3), (9, 4), (11, 5), (23, 5)):
        fits.clear()
        features = generator(0).random((n, 2))
        draws = module.held_out_draws("rf", features, np.arange(n, dtype=np.float64), 3, 0, generator(1))
        assert len(fits) == folds
        np.testing.assert_allclose(
            draws, np.tile(features[:, 0] * 0.1, (3, 1)), rtol=FLOAT64
        )  # not cut to integers


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("kind", ["rf", "gp"])
def test_draws_have_the_means_and_deviations_that_are_predicted(kind: module.Surrogate) -> None:
    """The deviation, not the variance, spreads the draws; and they are joint."""
    rng = generator(3)
    features = rng.random((8, 2))
    model = fit_regressor(kind, features, standardised(list(np.sin(6 * features[:, 0]))), 0)
    x = np.concatenate([rng.random((6, 2)), np.array([[0.5, 0.5], [0.5, 0.5 + 1e-6]])])
    mean, variance = model.predict(x)
    draws = model.draws(x, 20_000, generator(4))
    assert (variance > 1e-6).all()
    assert np.abs(variance - np.sqrt(variance)).max() > 0.1  # or the test could not tell them apart
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=5 * np.sqrt(variance.max() / 20_000))
    np.testing.assert_allclose(draws.var(axis=0), variance, rtol=0.06)
    assert np.corrcoef(draws[:, -1], draws[:, -2])[0, 1] > 0.99


def test_a_forest_is_scikit_learns_and_its_trees_are_the_sample() -> None:
    features = generator(3).random((40, 2))
    targets = standardised(list(features[:, 0] ** 2))
    x = generator(4).random((50, 2)).astype(np.float32).astype(np.float64)
    mean, variance = fit_regressor("rf", features, targets, 7).predict(x)
    oracle = RandomForestRegressor(10, max_features=5 / 6, random_state=7).fit(features, targets)
    np.testing.assert_allclose(mean, oracle.predict(x), rtol=FLOAT64, atol=FLOAT64)
    votes = [tree.predict(x) for tree in oracle.estimators_]
    np.testing.assert_allclose(variance, np.var(votes, axis=0), atol=FLOAT64)


def test_a_process_goes_through_the_points() -> None:
    features = generator(3).random((40, 2))
    targets = standardised(list(features[:, 0] ** 2))
    x = generator(4).random((50, 2))
    mean, variance = fit_regressor("gp", features, targets, 0).predict(x)
    expected = (x[:, 0] ** 2 - (features[:, 0] ** 2).mean()) / (features[:, 0] ** 2).std()
    np.testing.assert_allclose(mean, expected, atol=0.1)
    assert (variance < 0.05).all()


def test_losses_are_standardised() -> None:
    assert standardised([1.0, 3.0]).tolist() == pytest.approx([-1, 1])
    assert standardised([1.0, math.inf, 3.0, math.nan, -math.inf]).tolist() == pytest.approx(
        [-2, 0.5, 0.5, 0.5, 0.5]
    )
    assert standardised([2.0, 2.0]).tolist() == [0, 0]
    assert standardised([math.inf, math.nan]).tolist() == [0, 0]
    assert standardised([0.1 + 0.2, 0.3]).tolist() == [0, 0]  # equal but for rounding
    assert standardised([1e300, 3e300]).tolist() == pytest.approx([-1, 1])
    assert standardised([1e-300, 3e-300]).tolist() == pytest.approx([-1, 1])


# ---------------------------------------------------------------- acquisition


@settings(PROPERTY, max_examples=20)
@given(st.floats(-3, 3), st.floats(0.01, 2), st.floats(-3, 3))
def test_expected_improvement_is_the_integral(mean: float, deviation: float, best: float) -> None:
    def density(loss: float) -> float:
        return max(best - loss, 0) * float(stats.norm.pdf(loss, mean, deviation))

    expected = (
        integrate.quad(density, mean - 9 * deviation, best, limit=200)[0] if best > mean - 9 * deviation else 0
    )
    found = expected_improvement(np.array([mean]), np.array([deviation**2]), best)
    assert found[0] == pytest.approx(expected, abs=1e-6)


def test_without_variance_the_improvement_is_certain() -> None:
    found = expected_improvement(np.array([1.0, 3.0]), np.zeros(2), 2.0)
    assert found.tolist() == [1.0, 0.0]


def test_the_search_climbs_to_the_best_point_that_is_new() -> None:
    encoding = Encoding(EVERYTHING)

    def worth(vectors: Vectors) -> NDArray[np.float64]:
        points = encoding.to_points(encoding.fill(vectors, generator(0)))
        return np.array([-abs(math.log(float(p["lr"]) / 0.01)) - (p["optimizer"] != "sgd") * 5 for p in points])

    nobody = np.empty((0, len(EVERYTHING)))
    found = best_new(worth, encoding, nobody, generator(1))
    assert found is not None
    (point,) = encoding.to_points(found)
    assert point["optimizer"] == "sgd"
    assert float(point["lr"]) == pytest.approx(0.01, rel=0.02)


def test_known_points_are_not_found_again() -> None:
    space: Space = {"n": integer(1, 3), "kind": choice("ab")}
    encoding = Encoding(space)
    everything = [{"n": n, "kind": kind} for n in (1, 2, 3) for kind in "ab"]

    def worth(vectors: Vectors) -> NDArray[np.float64]:
        return -vectors.sum(axis=1)

    for known in range(6):
        found = best_new(worth, encoding, encoding.to_vectors(everything[:known]), generator(0))  # type: ignore[arg-type]
        assert found is not None
        assert encoding.to_points(found)[0] in everything[known:]
        if known == 0:
            assert encoding.to_points(found) == [{"n": 1, "kind": "a"}]
    assert best_new(worth, encoding, encoding.to_vectors(everything), generator(0)) is None  # type: ignore[arg-type]


def test_the_end_of_a_range_is_not_found_again() -> None:
    """exp(log(1e-4)) is 1.0000000000000009e-4, whose place is not 0."""
    encoding = Encoding({"lr": loguniform(1e-4, 1)})
    nobody = np.empty((0, 1))
    first = best_new(lambda vectors: -vectors[:, 0], encoding, nobody, generator(0))
    assert first is not None
    known = encoding.to_vectors(encoding.to_points(first))
    second = best_new(lambda vectors: -vectors[:, 0], encoding, known, generator(0))
    assert second is not None
    assert first[0, 0] == 0.0
    assert second[0, 0] > 1e-6


# ---------------------------------------------------------------- proposals


def test_three_of_ten_are_random_and_the_others_new() -> None:
    history = search([12], [1])
    proposer, chance = HyperTuneProposer(SQUARE, 2), RandomProposer(SQUARE, 2)
    draws = 60
    proposals = [proposer.propose(history, draw, 0) for draw in range(draws)]
    random = [point == chance.propose(history, draw, 0) for draw, point in enumerate(proposals)]
    assert abs(sum(random) / draws - 0.3) < of_share(0.3, draws)
    modelled = [bowl(point) for point, was_random in zip(proposals, random, strict=True) if not was_random]
    assert np.median(modelled) < np.median([bowl(point) for point in history.points.values()]) / 2


def test_in_a_small_space_every_point_is_proposed_once_and_then_random_ones() -> None:
    space: Space = {"n": integer(1, 3), "kind": choice("abc")}
    history, proposer = History(1), HyperTuneProposer(space, 0)
    for n in (1, 2, 3):
        for kind in "ab":
            history.points[f"{n}{kind}"] = {"n": n, "kind": kind}
            history.observe(f"{n}{kind}", 0, n + (kind != "a"))
    chance = RandomProposer(space, 0)
    draws = [d for d in range(12) if proposer.propose(history, d, 0) != chance.propose(history, d, 0)]
    assert len(draws) >= 4
    assert {proposer.propose(history, draw, 0)["kind"] for draw in draws} == {"c"}
    for n in (1, 2, 3):
        history.points[f"{n}c"] = {"n": n, "kind": "c"}  # running: these too are known
    assert all(proposer.propose(history, d, 0) == chance.propose(history, d, 0) for d in draws)


def test_the_votes_are_weighted_by_theta(monkeypatch: pytest.MonkeyPatch) -> None:
    """mean = sum theta mu, var = sum theta^2 var, the best of the top level's standardised losses."""
    asked = []

    def listen(mean: NDArray[np.float64], variance: NDArray[np.float64], best: float) -> NDArray[np.float64]:
        asked.append((mean[0], variance[0], best))
        return expected_improvement(mean, variance, best)

    class Constant:
        def __init__(self, mean: float, variance: float) -> None:
            self.values = mean, variance

        def predict(self, features: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            mean, variance = self.values
            return np.full(len(features), mean), np.full(len(features), variance)

    history = search([20, 8, 7], [1, 1, 1])
    models = {20: Constant(1.0, 4.0), 8: Constant(10.0, 9.0), 7: Constant(5.0, 2.0)}
    monkeypatch.setattr(module, "_fit", lambda kind, features, losses, seed: models[len(features)])
    monkeypatch.setattr(module, "fidelity_weights", lambda *a, **k: np.array([0.25, 0.0, 0.75]))
    monkeypatch.setattr(module, "expected_improvement", listen)
    monkeypatch.setattr(module, "RANDOM_SHARE", 0.0)
    HyperTuneProposer(SQUARE, 0).propose(history, 0, 0)
    top = list(history.losses[2].values())
    best = (min(top) - np.mean(top)) / np.std(top)
    assert asked[0] == pytest.approx((0.25 * 1 + 0.75 * 5, 0.25**2 * 4 + 0.75**2 * 2, best))


def test_running_trials_keep_others_away() -> None:
    history = search([15], [1])
    proposer = HyperTuneProposer(SQUARE, 0, "gp")
    chance = RandomProposer(SQUARE, 0)
    draw = next(d for d in range(20) if proposer.propose(history, d, 0) != chance.propose(history, d, 0))
    first = proposer.propose(history, draw, 0)
    history.points["running"] = first
    second = proposer.propose(history, draw, 0)
    assert math.dist(list(first.values()), list(second.values())) > 0.01  # type: ignore[arg-type]


def test_another_surrogate_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Unknown surrogate 'rff'. Did you mean 'rf'"):
        HyperTuneProposer(SQUARE, 0, "rff")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(("surrogate", "share"), [("rf", 0.8), ("gp", 0.3)])
def test_it_finds_better_points_than_chance(surrogate: module.Surrogate, share: float) -> None:
    """Median best of 40 over 10 seeds."""
    space: Space = {"lr": loguniform(1e-5, 1), "kind": choice("abc"), "width": integer(8, 512, log=True)}

    def best(proposer: Proposer) -> float:
        history = History(1)
        for draw in range(40):
            point = proposer.propose(history, draw, 0)
            assert point is not None
            history.points[str(draw)] = point
            far = (math.log10(float(point["lr"])) + 2) ** 2 + (math.log2(float(point["width"])) - 6) ** 2 / 4
            history.observe(str(draw), 0, far + "abc".index(str(point["kind"])) / 2)
        return min(history.losses[0].values())

    ours = [best(HyperTuneProposer(space, seed, surrogate)) for seed in range(10)]
    chance = [best(RandomProposer(space, seed)) for seed in range(10)]
    assert np.median(ours) < share * np.median(chance)
