"""BOHB: densities against statsmodels, the model against HpBandSter, the rest by hand."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from proposer_spaces import EVERYTHING, configuration_space
from scipy import integrate, stats
from statsmodels.nonparametric.kernel_density import KDEMultivariate
from tolerances import FLOAT64, KS_P_VALUE, of_share

from raysubset.hpo import bohb
from raysubset.hpo.bohb import BohbProposer, Density, impute, split
from raysubset.hpo.encode import Encoding, Vectors
from raysubset.hpo.history import History
from raysubset.hpo.proposer import RandomProposer
from raysubset.hpo.space import Space, Value, choice, loguniform, sample_space, uniform
from raysubset.seeds import generator

MIXED: Space = {
    "x": uniform(0, 1),
    "kind": choice(["a", "b"]),
    "lr": loguniform(1e-4, 1),
    "flag": choice([True, False]),
}
LEVELS = np.array([0, 2, 0, 2])


def statsmodels_density(points: Vectors, levels: NDArray[np.int64]) -> KDEMultivariate:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about a generator that it does not use here
        types = "".join("u" if options else "c" for options in levels)
        return KDEMultivariate(points, types, bw="normal_reference")


def draw_points(count: int, seed: int, levels: NDArray[np.int64] = LEVELS) -> Vectors:
    draws = generator(seed).random((count, len(levels)))
    return np.where(levels > 0, np.floor(draws * levels), draws)


def fill(history: History, space: Space, rung: int, losses: list[float], seed: int = 0) -> None:
    for i, loss in enumerate(losses):
        trial = f"{rung}-{i}"
        history.points[trial] = sample_space(space, generator(seed, rung, i))
        history.observe(trial, rung, loss)


@pytest.mark.parametrize("seed", range(4))
def test_densities_are_those_of_statsmodels(seed: int) -> None:
    points, x = draw_points(9 + 7 * seed, seed), draw_points(30, seed + 100)
    ours, theirs = Density.fit(points, LEVELS), statsmodels_density(points, LEVELS)
    np.testing.assert_allclose(ours.widths, theirs.bw, rtol=FLOAT64)
    np.testing.assert_allclose(ours.at(x), theirs.pdf(x), rtol=FLOAT64)


def test_a_density_sums_to_one() -> None:
    levels = np.array([0, 5])
    density = Density.fit(draw_points(20, 3, levels), levels)
    x = np.linspace(-3, 4, 4_001)
    parts = [integrate.trapezoid(density.at(np.stack([x, np.full_like(x, k)], axis=1)), x) for k in range(5)]
    assert sum(parts) == pytest.approx(1.0, abs=1e-6)
    assert min(parts) > 0


def test_a_choice_never_counts_against_itself() -> None:
    """Indices 0 and 9 have a deviation of 4.5: the rule's bandwidth would make 1 - h negative."""
    levels = np.array([10, 0])
    points = np.array([[0.0, 0.5], [9.0, 0.5], [0.0, 0.4], [9.0, 0.6]])
    density = Density.fit(points, levels)
    assert density.widths[0] == 0.9
    at = density.at(np.array([[option, 0.5] for option in range(10)], dtype=np.float64))
    assert (at > 0).all()
    assert at.max() == pytest.approx(at.min())


def test_an_option_that_no_good_point_has_is_unlikely_not_infinite() -> None:
    levels = np.array([3, 0])
    density = Density.fit(np.array([[1.0, 0.5], [1.0, 0.4], [1.0, 0.6]]), levels)
    known, strange = density.at(np.array([[1.0, 0.5], [2.0, 0.5]]))
    assert strange == pytest.approx(known * 0.0005 / 0.999)
    oracle = statsmodels_density(density.points, levels)
    oracle.bw = np.clip(oracle.bw, 1e-3, None)  # HpBandSter's floor
    with np.errstate(divide="ignore"):
        assert oracle.pdf(np.array([[2.0, 0.5]])) == math.inf


def test_candidates_are_drawn_around_the_points() -> None:
    density = Density(np.array([[0.1, 2.0]]), np.array([0, 4]), np.array([0.1, 0.3]))
    numbers, options = density.around(4_000, generator(0)).T
    assert stats.kstest(numbers, stats.truncnorm(-1 / 3, 3, loc=0.1, scale=0.3).cdf).pvalue > KS_P_VALUE
    expected = np.array([0.3 / 4, 0.3 / 4, 0.7 + 0.3 / 4, 0.3 / 4])
    shares = np.bincount(options.astype(int), minlength=4) / 4_000
    assert (np.abs(shares - expected) < of_share(expected, 4_000)).all()
    far = Density(np.array([[0.0], [1.0]]), np.array([0]), np.array([1e-3])).around(1_000, generator(1))
    assert far.min() >= 0
    assert far.max() <= 1
    assert 0 < np.abs(far - np.round(far)).max() < 0.02


@pytest.mark.parametrize(
    ("results", "good", "bad"),
    [(9, 0, 0), (10, 5, 5), (20, 5, 15), (33, 5, 28), (40, 6, 34), (100, 15, 85), (101, 15, 85)],
)
def test_good_and_bad_by_hand(results: int, good: int, bad: int) -> None:
    """d = 4: at least 5 of both; 15 and 85 percent, rounded down."""
    history = History(1)
    losses = [float(loss) for loss in generator(0).permutation(results)]
    fill(history, MIXED, 0, losses)
    halves = split(history, Encoding(MIXED), generator(0))
    if good == 0:
        assert halves is None
        return
    assert halves is not None
    order = sorted(range(results), key=losses.__getitem__)
    vectors = Encoding(MIXED).to_vectors(list(history.points.values()))
    np.testing.assert_array_equal(halves[0], vectors[order[:good]])
    np.testing.assert_array_equal(halves[1], vectors[order[good : good + bad]])


def test_failures_are_bad_and_ties_go_to_the_first() -> None:
    history = History(1)
    fill(history, MIXED, 0, [math.nan, 2.0, math.inf, 2.0, -math.inf, 2.0, 1.0, 2.0, 3.0, 4.0])
    halves = split(history, Encoding(MIXED), generator(0))
    assert halves is not None
    vectors = Encoding(MIXED).to_vectors(list(history.points.values()))
    np.testing.assert_array_equal(halves[0], vectors[[6, 1, 3, 5, 7]])
    np.testing.assert_array_equal(halves[1], vectors[[8, 9, 0, 2, 4]])


def test_the_highest_rung_with_enough_results_counts() -> None:
    history = History(3)
    for rung, count in enumerate((30, 10, 9)):
        fill(history, MIXED, rung, [float(i) for i in range(count)])
    halves = split(history, Encoding(MIXED), generator(0))
    assert halves is not None
    vectors = Encoding(MIXED).to_vectors(history.at(1)[0])
    np.testing.assert_array_equal(np.concatenate(halves), vectors)


def test_gaps_are_filled_from_points_that_have_a_value() -> None:
    encoding = Encoding(EVERYTHING)
    points = [sample_space(EVERYTHING, generator(1, i)) for i in range(40)]
    vectors = encoding.to_vectors(points)
    filled = impute(vectors, encoding, generator(0))
    assert not np.isnan(filled).any()
    known = ~np.isnan(vectors)
    np.testing.assert_array_equal(filled[known], vectors[known])
    for column in range(len(encoding.names)):
        assert np.isin(filled[:, column], vectors[known[:, column], column]).all()
    assert known[:, 0].sum() < 40  # the first column too
    nobody = impute(
        encoding.to_vectors([{"optimizer": "adam", "lr": 0.01, "batch_size": 32, "layers": 2}] * 3),
        encoding,
        generator(0),
    )
    assert ((nobody[:, 0] >= 0) & (nobody[:, 0] <= 1)).all()
    assert len(np.unique(nobody[:, 0])) == 3


def test_a_donor_fills_all_the_gaps_it_can() -> None:
    """As HpBandSter does: values that belong together stay together."""
    encoding = Encoding(EVERYTHING)
    columns = [encoding.names.index(name) for name in ("momentum", "nesterov")]
    points = [
        p for p in (sample_space(EVERYTHING, generator(2, i)) for i in range(60)) if p["optimizer"] != "rmsprop"
    ]
    vectors = encoding.to_vectors(points)
    pairs = {tuple(row) for row in vectors[:, columns] if not np.isnan(row).any()}
    assert {tuple(row) for row in impute(vectors, encoding, generator(3))[:, columns]} <= pairs


def test_the_candidate_with_the_largest_ratio_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(1)
    fill(history, MIXED, 0, [float(loss) for loss in generator(5).permutation(40)])
    halves = split(history, Encoding(MIXED), generator(0))
    assert halves is not None
    candidates = draw_points(64, 9)
    monkeypatch.setattr(Density, "around", lambda self, count, rng: candidates[:count])
    monkeypatch.setattr(bohb, "RANDOM_SHARE", 0.0)
    good, bad = (statsmodels_density(points, LEVELS) for points in halves)
    best = int(np.argmax(good.pdf(candidates) / bad.pdf(candidates)))
    assert [BohbProposer(MIXED, 0).propose(history, 0, 0)] == Encoding(MIXED).to_points(candidates[[best]])


def test_a_third_is_random() -> None:
    history = History(1)
    fill(history, MIXED, 0, [float(i) for i in range(12)])
    proposer, chance = BohbProposer(MIXED, 3), RandomProposer(MIXED, 3)
    draws = 200
    random = sum(proposer.propose(history, i, 0) == chance.propose(history, i, 0) for i in range(draws))
    assert abs(random / draws - 1 / 3) < of_share(1 / 3, draws)


def test_the_model_is_hpbandsters() -> None:
    """The same results give the same densities, so the same ranking of candidates."""
    generators = pytest.importorskip("hpbandster.optimizers.config_generators.bohb")
    history = History(2)
    fill(history, MIXED, 0, [float(loss) for loss in generator(1).random(40)])
    fill(history, MIXED, 1, [float(loss) for loss in generator(2).random(30)] + [math.inf, math.nan])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = generators.BOHB(configuration_space(MIXED))
        for rung, losses in enumerate(history.losses):
            for trial, loss in losses.items():
                theirs.new_result(job(history.points[trial], loss, 3.0**rung))
    names = list(theirs.configspace)
    columns = [names.index(name) for name in MIXED]  # theirs are sorted by name
    halves = split(history, Encoding(MIXED), generator(0))
    assert halves is not None
    assert max(theirs.kde_models) == 3.0
    x = draw_points(64, 7)
    ratios = []
    for name, points in zip(("good", "bad"), halves, strict=True):
        density, oracle = Density.fit(points, LEVELS), theirs.kde_models[3.0][name]
        np.testing.assert_allclose(points, oracle.data[:, columns], atol=FLOAT64)
        np.testing.assert_allclose(density.widths, oracle.bw[columns], rtol=FLOAT64)
        np.testing.assert_allclose(density.at(x), oracle.pdf(x[:, np.argsort(columns)]), rtol=FLOAT64)
        ratios.append((density.at(x), oracle.pdf(x[:, np.argsort(columns)])))
    (our_good, their_good), (our_bad, their_bad) = ratios
    np.testing.assert_array_equal(np.argsort(our_bad / our_good), np.argsort(their_bad / their_good))


def job(point: Any, loss: float, budget: float) -> SimpleNamespace:
    config = {name: MIXED[name].options.index(v) if name in ("kind", "flag") else v for name, v in point.items()}  # type: ignore[union-attr]
    return SimpleNamespace(result={"loss": loss}, exception=None, kwargs={"budget": budget, "config": config})


@pytest.mark.slow
def test_its_points_are_better_than_random_ones() -> None:
    """Half the loss or less in the median, over 20 searches of 40.

    The best of a search is not: here, as HpBandSter's, it is no better than the best of as many random points.
    """
    modelled, random = [], []
    for seed in range(20):
        history, proposer, chance = History(1), BohbProposer(MIXED, seed), RandomProposer(MIXED, seed)
        for draw in range(40):
            point = proposer.propose(history, draw, 0)
            history.points[str(draw)] = point
            history.observe(str(draw), 0, loss(dict(point)))
            (random if point == chance.propose(history, draw, 0) else modelled).append(loss(dict(point)))
    assert np.median(modelled) < np.median(random) / 2


def loss(point: dict[str, Value]) -> float:
    far = 4 * (float(point["x"]) - 0.3) ** 2 + (math.log10(float(point["lr"])) + 2) ** 2 / 4
    return far + (point["kind"] != "a") / 2 + (point["flag"] is True) / 4
