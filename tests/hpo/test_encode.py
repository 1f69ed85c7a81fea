"""Vectors of points: against ConfigSpace's own configurations, there and back, and what models see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proposer_spaces import EVERYTHING, configuration_space, spaces
from scipy import stats
from tolerances import FLOAT64, KS_P_VALUE, PROPERTY

from raysubset.errors import SearchSpaceError
from raysubset.hpo.encode import Encoding
from raysubset.hpo.space import (
    Choice,
    Domain,
    Space,
    Value,
    choice,
    in_space,
    integer,
    sample_space,
    uniform,
    when,
)
from raysubset.seeds import generator


def drawn(space: Space, count: int = 20) -> list[dict[str, Value]]:
    return [sample_space(space, generator(i)) for i in range(count)]


def as_indices(space: Space, point: dict[str, Value]) -> dict[str, object]:
    """What ConfigSpace calls the same point."""
    return {
        name: domain.options.index(point[name]) if isinstance(domain, Choice) else point[name]
        for name, domain in space.items()
        if name in point
    }


@pytest.mark.slow
def test_vectors_are_those_of_configspace() -> None:
    """But for integers, whose ends ConfigSpace puts at 0 and 1 and we half a unit further in."""
    from ConfigSpace import Configuration

    made, encoding = configuration_space(EVERYTHING), Encoding(EVERYTHING)
    points = drawn(EVERYTHING, 200)
    theirs = np.array([Configuration(made, values=as_indices(EVERYTHING, p)).get_array() for p in points])
    ours = encoding.to_vectors(points)
    for column, name in enumerate(encoding.names):
        expected = theirs[:, made.index_of[name]]
        if name == "layers":  # 1..4
            expected = (expected * 3 + 0.5) / 4
        if name == "batch_size":
            expected = (expected * math.log(256 / 16) + math.log(16 / 15.5)) / math.log(256.5 / 15.5)
        np.testing.assert_allclose(ours[:, column], expected, atol=FLOAT64)
    assert {frozenset(p) for p in points} >= {frozenset(EVERYTHING), frozenset(EVERYTHING) - {"damping"}}


@settings(PROPERTY, max_examples=30)
@given(spaces(), st.integers(0, 2**32))
def test_points_go_to_vectors_and_back(space: dict[str, Domain], seed: int) -> None:
    encoding = Encoding(space)
    points = [sample_space(space, generator(seed, i)) for i in range(3)]
    vectors = encoding.to_vectors(points)
    assert np.nanmin(vectors, initial=0.0) >= 0
    back = encoding.to_points(encoding.fill(vectors, generator(seed)))
    for point, again in zip(points, back, strict=True):
        assert list(again) == list(point)
        assert in_space(space, again)
        for name, value in again.items():
            assert type(value) is type(point[name])
            if isinstance(value, float) and not isinstance(space[name], Choice):
                assert value == pytest.approx(point[name], rel=1e-6, abs=1e-12 * abs(space[name].high))
            elif isinstance(value, int) and not isinstance(space[name], Choice):
                assert value == point[name] or abs(value - point[name]) < 1e-9 * abs(value)  # past 2^30 in the log
            else:
                assert value == point[name]
    np.testing.assert_array_equal(
        np.isnan(encoding.deactivate(encoding.fill(vectors, generator(1)))), np.isnan(vectors)
    )


@settings(PROPERTY, max_examples=30)
@given(spaces(), st.integers(0, 2**32))
def test_draws_and_neighbours_are_points_of_the_space(space: dict[str, Domain], seed: int) -> None:
    encoding, rng = Encoding(space), generator(seed)
    vectors = encoding.sample(4, rng)
    near, origins = encoding.neighbours(vectors, rng)
    for full in (vectors, near):
        points = encoding.to_points(full)
        assert all(in_space(space, point) for point in points)
        kinds = {type(value) for point in points for value in point.values()}
        assert kinds <= {bool, int, float, str}
        np.testing.assert_array_equal(encoding.snap(full), full)
        np.testing.assert_array_equal(encoding.from_features(encoding.features(full)), full)
    assert ((near != vectors[origins]).sum(axis=1) <= 1).all()


def test_neighbours_change_active_parameters_only_and_reach_every_option() -> None:
    encoding = Encoding(EVERYTHING)
    vectors = encoding.fill(encoding.to_vectors(drawn(EVERYTHING, 30)), generator(0))
    near, origins = encoding.neighbours(vectors, generator(1))
    before, after = encoding.to_points(vectors), encoding.to_points(near)
    for row, point in enumerate(before):
        changed = [other for other, origin in zip(after, origins, strict=True) if origin == row]
        assert {p["optimizer"] for p in changed} >= {"sgd", "adam", "rmsprop"} - {point["optimizer"]}
        moved = [{n for n in set(point) & set(p) if p[n] != point[n]} for p in changed]
        assert all(len(names) <= 1 for names in moved)
        assert set().union(*moved) >= set(point) - {"layers", "batch_size"}  # whose steps may come to nothing
    shifts = (near - vectors[origins])[:, encoding.names.index("lr")]
    inside = shifts[(shifts != 0) & (near[:, encoding.names.index("lr")] % 1 != 0)]
    assert 0.1 < inside.std() < 0.25


@pytest.mark.slow
def test_neighbours_change_the_parameters_that_configspace_changes() -> None:
    from ConfigSpace import Configuration
    from ConfigSpace.util import get_one_exchange_neighbourhood

    made, encoding = configuration_space(EVERYTHING), Encoding(EVERYTHING)
    for point in drawn(EVERYTHING, 30):
        start = Configuration(made, values=as_indices(EVERYTHING, point))
        theirs = {
            name
            for other in get_one_exchange_neighbourhood(start, seed=0)
            for name in set(start) & set(other)
            if start[name] != other[name]
        }
        full = encoding.fill(encoding.to_vectors([point]), generator(0))
        near = encoding.to_points(encoding.neighbours(full, generator(1))[0])
        ours = {name for p in near for name in set(p) & set(point) if p[name] != point[name]}
        assert ours - theirs <= {"layers", "batch_size"}
        assert theirs - ours <= {"layers", "batch_size"}


def test_a_conditional_of_an_inactive_parent_is_inactive() -> None:
    encoding = Encoding(EVERYTHING)
    columns = {name: place for place, name in enumerate(encoding.names)}
    full = np.zeros((1, len(columns)))
    full[0, columns["optimizer"]], full[0, columns["nesterov"]] = 1, 1  # adam; nesterov would be True
    gone = {name for name in columns if np.isnan(encoding.deactivate(full)[0, columns[name]])}
    assert gone == {"momentum", "nesterov", "damping"}
    assert set(encoding.to_points(full)[0]) == set(EVERYTHING) - gone


def test_features_by_hand() -> None:
    space: Space = {
        "a": choice(["x", "y", "z"]),
        "b": when(integer(0, 4), a="y"),
        "c": when(choice([1, 2]), a="x"),
    }
    encoding = Encoding(space)
    features = encoding.features(encoding.to_vectors([{"a": "x", "c": 2}, {"a": "y", "b": 1}, {"a": "z"}]))
    assert encoding.names == ("a", "b", "c")
    np.testing.assert_allclose(features, [[1, 0, 0, 0.5, 0, 1], [0, 1, 0, 0.3, 0, 0], [0, 0, 1, 0.5, 0, 0]])


@pytest.mark.parametrize("log", [False, True])
def test_draws_of_integers_follow_the_space(log: bool) -> None:
    """ConfigSpace rounds [0, 1] to integers, which gives the ends half their share."""
    space: Space = {"n": integer(1, 5, log=log)}
    draws = 20_000
    ours = [point["n"] for point in Encoding(space).to_points(Encoding(space).sample(draws, generator(0)))]
    edges = [n - 0.5 for n in range(1, 7)]
    lengths = np.diff(np.log(edges) if log else edges)
    observed = [ours.count(n) for n in range(1, 6)]
    assert stats.chisquare(observed, draws * lengths / lengths.sum()).pvalue > KS_P_VALUE


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(SearchSpaceError, match="1.0 is none of the options 1, 2"):
        Encoding({"a": choice([1, 2])}).to_vectors([{"a": 1.0}])


def test_floats_keep_their_digits() -> None:
    """ConfigSpace's configurations round to 13 decimals, which leaves ten values between 1e-12 and 2e-12."""
    encoding = Encoding({"x": uniform(1e-12, 2e-12)})
    (point,) = encoding.to_points(np.array([[1 / 3]]))
    assert math.isclose(float(point["x"]), 4e-12 / 3, rel_tol=1e-12)
