"""Bayesian optimisation: the process, what it is told, and that it finds optima."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bayes_opt.acquisition import ExpectedImprovement
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern
from tolerances import FLOAT64

from raysubset.hpo import bayes
from raysubset.hpo.bayes import BayesProposer
from raysubset.hpo.encode import Vectors
from raysubset.hpo.history import History
from raysubset.hpo.proposer import Proposer, RandomProposer
from raysubset.hpo.regressors import fit_process
from raysubset.hpo.space import Space, choice, integer, loguniform, uniform, when
from raysubset.seeds import generator

LINE: Space = {"x": uniform(-1, 1)}


def line(xs: list[float]) -> History:
    history = History(1)
    for i, x in enumerate(xs):
        history.points[str(i)] = {"x": x}
        history.observe(str(i), 0, (x - 0.3) ** 2)
    return history


def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Vectors, Vectors]]:
    """Listen to what the process is fitted to."""
    heard = []

    def listen(features: Vectors, scores: Vectors, *rest: object) -> object:
        heard.append((features, scores))
        return fit_process(features, scores, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(bayes, "fit_process", listen)
    return heard


def test_random_until_one_rung_has_enough() -> None:
    proposer, chance = BayesProposer(LINE, 4, startup=6), RandomProposer(LINE, 4)
    history = line([-0.9, -0.5, -0.1, 0.1, 0.9])
    assert proposer.propose(history, 5, 0) == chance.propose(history, 5, 0)
    history = line([-0.9, -0.5, -0.1, 0.1, 0.9, 0.6])
    assert proposer.propose(history, 5, 0) != chance.propose(history, 5, 0)


def test_it_goes_to_the_minimum_of_a_parabola() -> None:
    proposer, history = BayesProposer(LINE, 0, startup=4), line([-0.9, -0.2, 0.5, 0.95])
    for draw in range(4):
        point = proposer.propose(history, draw, 0)
        history.points[f"new {draw}"] = point
        history.observe(f"new {draw}", 0, (float(point["x"]) - 0.3) ** 2)
    assert min(history.losses[0].values()) < 1e-3


def test_the_process_is_told_scores_and_predicts_without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = told(monkeypatch)
    BayesProposer(LINE, 0, startup=4).propose(line([-0.9, -0.2, 0.5, 0.95]), 0, 0)
    ((features, scores),) = heard
    assert features[:, 0] == pytest.approx([0.05, 0.4, 0.75, 0.975])
    assert np.argmax(scores) == 2
    assert scores.mean() == pytest.approx(0, abs=FLOAT64)
    assert scores.std() == pytest.approx(1)
    process = fit_process(features, scores)
    noise = process.L_ @ process.L_.T - process.kernel_(features)
    np.testing.assert_allclose(noise, np.diag(np.diag(noise)), atol=FLOAT64)
    assert 1e-4 * (1 - FLOAT64) <= noise[0, 0] <= 1
    known = GaussianProcessRegressor(process.kernel_, alpha=noise[0, 0], optimizer=None).fit(features, scores)
    x = np.linspace(0, 1, 9)[:, None]
    for ours, theirs in zip(process.predict(x, return_std=True), known.predict(x, return_std=True), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_running_trials_are_taken_for_average_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = told(monkeypatch)
    history = line([-0.9, -0.2, 0.5, 0.95])
    proposer = BayesProposer(LINE, 0, startup=4)
    first = proposer.propose(history, 4, 0)
    history.points["running"] = first
    second = proposer.propose(history, 4, 0)
    (_, alone), (_, both) = heard
    assert sorted(both) == sorted([*alone, 0.0])
    assert abs(float(first["x"]) - float(second["x"])) > 0.02


def test_equal_points_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package refuses a point that it has, or prints a warning."""
    heard = told(monkeypatch)
    history = History(1)
    for i, (x, loss) in enumerate([(0.5, 1.0), (0.5, 3.0), (0.1, 2.0), (0.9, 4.0)]):
        history.points[str(i)] = {"x": x}
        history.observe(str(i), 0, loss)
    BayesProposer(LINE, 0, startup=4).propose(history, 4, 0)
    ((features, scores),) = heard
    assert features[:, 0].tolist() == pytest.approx([0.55, 0.75, 0.95])
    deviation = math.sqrt(1.25)
    assert scores.tolist() == pytest.approx([0.5 / deviation, 0.5 / deviation, -1.5 / deviation])


def test_the_process_is_constant_where_the_point_is_the_same() -> None:
    """Between two integers' halves, inside an option's reach, and over an inactive parameter."""
    meanings = []

    def spy(features: Vectors, scores: Vectors, meaning: object) -> object:
        meanings.append(meaning)
        return fit_process(features, scores, meaning)  # type: ignore[arg-type]

    space: Space = {"kind": choice(["a", "b"]), "n": integer(0, 3), "y": when(uniform(0, 1), kind="b")}
    history = History(1)
    for i, n in enumerate((0, 1, 3, 2)):
        history.points[str(i)] = {"kind": "a", "n": n}
        history.observe(str(i), 0, float(n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bayes, "fit_process", spy)
        BayesProposer(space, 0, startup=4).propose(history, 0, 0)
    (meaning,) = meanings
    places = np.array([[0.9, 0.2, 0.30, 0.1], [0.6, 0.5, 0.45, 0.9]])  # both are a, 1
    np.testing.assert_allclose(meaning(places), [[1, 0, 0.375, 0.5]] * 2)  # type: ignore[operator]
    np.testing.assert_allclose(meaning(np.array([[0.1, 0.2, 0.1, 0.9]])), [[0, 1, 0.125, 0.9]])  # type: ignore[operator]


def test_the_acquisition_is_expected_improvement(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proposal is where a dense grid says that the expected improvement is largest."""
    history = line([-0.9, -0.4, 0.1, 0.95])
    features = np.array([[0.05], [0.3], [0.55], [0.975]])
    losses = np.array([(x - 0.3) ** 2 for x in (-0.9, -0.4, 0.1, 0.95)])
    scores = -(losses - losses.mean()) / losses.std()
    process = fit_process(features, scores)
    assert isinstance(process.kernel_, Matern)
    acquisition = ExpectedImprovement(xi=0.0)
    acquisition.y_max = scores.max()
    grid = np.linspace(0, 1, 2001)[:, None]
    best = grid[np.argmax(acquisition.base_acq(*process.predict(grid, return_std=True))), 0]
    point = BayesProposer(LINE, 0, startup=4).propose(history, 4, 0)
    assert (float(point["x"]) + 1) / 2 == pytest.approx(best, abs=2e-3)


@pytest.mark.slow
def test_it_finds_better_points_than_chance() -> None:
    """Median best of 20 over 8 seeds, log and conditional parameters; a third of chance's or less."""
    space: Space = {
        "lr": loguniform(1e-4, 1),
        "kind": choice(["a", "b"]),
        "depth": when(integer(1, 9), kind="a"),
    }

    def best(proposer: Proposer) -> float:
        history = History(1)
        for draw in range(20):
            point = proposer.propose(history, draw, 0)
            assert point is not None
            history.points[str(draw)] = point
            loss = (math.log10(float(point["lr"])) + 2) ** 2 + (point["kind"] != "a") / 2
            history.observe(str(draw), 0, loss + abs(float(point.get("depth", 4)) - 4) / 4)
        return min(history.losses[0].values())

    ours = [best(BayesProposer(space, seed, startup=6)) for seed in range(8)]
    chance = [best(RandomProposer(space, seed)) for seed in range(8)]
    assert np.median(ours) < np.median(chance) / 3


def test_many_seeds_agree_on_a_clear_minimum() -> None:
    xs = [float(x) for x in generator(0).uniform(-1, 1, 12)]
    found = [float(BayesProposer(LINE, seed, startup=4).propose(line(xs), 12, 0)["x"]) for seed in range(3)]
    assert max(abs(x - 0.3) for x in found) < 0.1
