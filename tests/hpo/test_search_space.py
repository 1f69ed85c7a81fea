"""Search spaces: sampling, refusing, and the trip through TOML."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from proposer_spaces import spaces
from scipy import stats
from tolerances import KS_P_VALUE, PROPERTY

from raysubset.errors import SearchSpaceError
from raysubset.hpo.space import (
    Choice,
    Domain,
    Integer,
    Space,
    Uniform,
    active_part,
    check_space,
    choice,
    in_space,
    integer,
    loguniform,
    sample_space,
    space_from_plain,
    space_to_plain,
    uniform,
    when,
)
from raysubset.seeds import generator

GIVEN = {"optimizer": choice(["sgd", "adam", "rmsprop"]), "nesterov": choice([False, True]), "lr": uniform(0, 1)}


def holds(domain: Domain, value: Any) -> bool:
    if isinstance(domain, Choice):
        return any(value == option and type(value) is type(option) for option in domain.options)
    kind = int if isinstance(domain, Integer) else float
    return type(value) is kind and domain.low <= value <= domain.high


def is_active(space: Space, name: str, values: Mapping[str, Any]) -> bool:
    """Straight from the definition."""
    return all(
        is_active(space, parent, values)
        and any(values[parent] == v and type(values[parent]) is type(v) for v in allowed)
        for parent, allowed in space[name].given
    )


@settings(PROPERTY, max_examples=30)
@given(spaces())
def test_round_trip_through_toml(space: dict[str, Domain]) -> None:
    text = tomli_w.dumps(space_to_plain(space))
    back = space_from_plain(tomllib.loads(text))
    assert back == space
    assert list(back) == list(space)
    for name, domain in space.items():
        if isinstance(domain, Choice):
            kinds = [type(option) for option in domain.options]
            assert [type(option) for option in back[name].options] == kinds  # type: ignore[union-attr]


@settings(PROPERTY, max_examples=30)
@given(spaces(), st.integers(0, 2**32))
def test_points_have_the_active_parameters_and_follow_the_stream(space: dict[str, Domain], seed: int) -> None:
    check_space(space, space)
    point = sample_space(space, generator(seed))
    rng = generator(seed)
    everything = {name: domain.sample(rng) for name, domain in space.items()}
    assert list(point) == [name for name in space if is_active(space, name, everything)]
    assert all(holds(space[name], value) and value == everything[name] for name, value in point.items())
    assert in_space(space, point)
    for name in point:
        assert not in_space(space, {other: value for other, value in point.items() if other != name})
    for name in set(space) - set(point):
        assert not in_space(space, {**point, name: everything[name]})
    assert not in_space(space, {**point, "unknown": 1})


def test_integers_reach_both_ends_and_choices_all_options() -> None:
    rng = generator(0)
    assert {integer(2, 4).sample(rng) for _ in range(100)} == {2, 3, 4}
    assert {choice("xyz").sample(rng) for _ in range(100)} == {"x", "y", "z"}


def test_uniform_in_value_or_in_logarithm() -> None:
    rng = generator(1)
    plain = [uniform(2, 6).sample(rng) for _ in range(3000)]
    assert stats.kstest(plain, "uniform", args=(2, 4)).pvalue > KS_P_VALUE
    logs = [math.log10(loguniform(1e-4, 1e-1).sample(rng)) for _ in range(3000)]
    assert stats.kstest(logs, "uniform", args=(-4, 3)).pvalue > KS_P_VALUE


def test_integers_in_the_logarithm() -> None:
    """Each has the length of [n - 1/2, n + 1/2] in the logarithm for its share."""
    rng = generator(2)
    drawn = [integer(1, 5, log=True).sample(rng) for _ in range(20_000)]
    shares = np.diff(np.log([0.5, 1.5, 2.5, 3.5, 4.5, 5.5])) / math.log(11)
    assert stats.chisquare([drawn.count(n) for n in range(1, 6)], 20_000 * shares).pvalue > KS_P_VALUE


class Lowest:
    """A generator at the low end of its range."""

    def uniform(self, low: float, high: float) -> float:
        return low


@pytest.mark.parametrize("low", [0.1, 0.3, 1e-3, 7e-5])
def test_the_ends_of_a_logarithmic_range_are_inside(low: float) -> None:
    """exp(log(0.1)) is 0.10000000000000002, and for others it falls short."""
    assert loguniform(low, low * 2).sample(Lowest()) >= low  # type: ignore[arg-type]
    assert loguniform(low, math.nextafter(low, 1)).sample(Lowest()) <= math.nextafter(low, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, math.inf), (math.nan, 1)])
def test_empty_or_infinite_ranges_are_refused(low: float, high: float) -> None:
    for kind in (uniform, integer):
        with pytest.raises(SearchSpaceError, match="finite low < high"):
            kind(low, high)  # type: ignore[operator]


def test_other_impossible_domains() -> None:
    with pytest.raises(SearchSpaceError, match="low > 0"):
        loguniform(0, 1)
    with pytest.raises(SearchSpaceError, match="low > 0"):
        integer(0, 8, log=True)
    with pytest.raises(SearchSpaceError, match="at least one option"):
        choice([])
    with pytest.raises(SearchSpaceError, match="whole ends"):
        integer(1.5, 8)  # type: ignore[arg-type]
    with pytest.raises(SearchSpaceError, match="two numbers"):
        uniform("1", 8)  # type: ignore[arg-type]
    with pytest.raises(SearchSpaceError, match="two numbers"):
        uniform(False, True)
    with pytest.raises(SearchSpaceError, match="finite low < high"):
        uniform(-1.7e308, 1.7e308)
    with pytest.raises(SearchSpaceError, match="'a' twice"):
        choice(["a", "b", "a"])
    with pytest.raises(SearchSpaceError, match="bools, ints, floats and strings"):
        choice([None])  # type: ignore[list-item]
    with pytest.raises(SearchSpaceError, match="finite numbers"):
        choice([1.0, math.nan])
    assert choice([True, 1, 1.0]).index(1.0) == 2


def test_a_parameter_that_depends_on_others() -> None:
    space = {**GIVEN, "momentum": when(uniform(0.5, 0.99), optimizer=("sgd", "rmsprop"), nesterov=True)}
    check_space(space, space)
    found = {(p["optimizer"], p["nesterov"], "momentum" in p) for p in map(partial(drawn_from, space), range(60))}
    assert found == {(o, n, n and o != "adam") for o in GIVEN["optimizer"].options for n in (False, True)}


def drawn_from(space: Space, seed: int) -> dict[str, Any]:
    return sample_space(space, generator(seed))


def test_conditions_are_chained_and_compare_types() -> None:
    space = {
        **GIVEN,
        "a": when(choice([1, 2]), nesterov=True),
        "b": when(uniform(0, 1), a=2, optimizer="sgd"),
        "c": when(uniform(0, 1), a=1),
    }
    values: dict[str, Any] = {"optimizer": "sgd", "nesterov": True, "lr": 0.5, "a": 2, "b": 0.1, "c": 0.2}
    assert list(active_part(space, values)) == ["optimizer", "nesterov", "lr", "a", "b"]
    assert list(active_part(space, {**values, "nesterov": False})) == ["optimizer", "nesterov", "lr"]
    assert list(active_part(space, {**values, "nesterov": 1})) == ["optimizer", "nesterov", "lr"]
    assert not in_space(space, {**values, "nesterov": 1})


def test_a_draw_does_not_depend_on_what_is_active() -> None:
    """Random numbers are common: the same stream gives the same rate with either optimiser."""
    plain = {"optimizer": choice(["sgd", "adam"]), "momentum": uniform(0, 1), "lr": uniform(0, 1)}
    conditional = {**plain, "momentum": when(uniform(0, 1), optimizer="adam")}
    for seed in range(20):
        assert sample_space(plain, generator(seed))["lr"] == sample_space(conditional, generator(seed))["lr"]


def test_conditions_that_are_none() -> None:
    with pytest.raises(SearchSpaceError, match="needs a condition"):
        when(uniform(0, 1))
    with pytest.raises(SearchSpaceError, match="'a' has no value"):
        when(uniform(0, 1), a=[])
    with pytest.raises(SearchSpaceError, match="'a' is given twice"):
        when(when(uniform(0, 1), a=1), a=2)
    assert when(when(uniform(0, 1), a=1), b=[2, 3]) == when(uniform(0, 1), a=1, b=(2, 3))
    assert when(uniform(0, 1), a=np.str_("x")) == when(uniform(0, 1), a=["x"])


def test_all_faults_of_a_space_come_in_one_message() -> None:
    space = {"lr": uniform(0, 1), "lrr": uniform(0, 1), "momentum": 0.9}
    with pytest.raises(SearchSpaceError) as caught:
        check_space(space, ["lr", "momentum"])
    assert "unknown key 'lrr'" in str(caught.value)
    assert "momentum=0.9 is no domain" in str(caught.value)
    assert "Known keys: lr, momentum." in str(caught.value)
    with pytest.raises(SearchSpaceError, match="nothing to search"):
        check_space({}, ["lr"])
    check_space({"lr": uniform(0, 1)}, ["lr", "momentum"])


def test_a_space_in_which_nothing_varies() -> None:
    with pytest.raises(SearchSpaceError, match="nothing varies"):
        check_space({"lr": choice([0.1]), "momentum": when(choice([0.9]), lr=0.1)}, ["lr", "momentum"])
    check_space({"lr": choice([0.1]), "momentum": uniform(0, 1)}, ["lr", "momentum"])


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"a": when(uniform(0, 1), optimiser="sgd")}, "a depends on 'optimiser', which is not in the space"),
        ({"a": when(uniform(0, 1), lr=0.5)}, "a depends on 'lr', which is no choice"),
        ({"a": when(uniform(0, 1), nesterov=1)}, "a depends on 'nesterov', which has no 1, only False, True"),
        ({"a": when(choice([1, 2]), b=1), "b": when(choice([1, 2]), a=1)}, "a depends on b depends on a: a cycle"),
        ({"a": when(choice([1, 2]), a=1)}, "a depends on a: a cycle"),
        (
            {"a": when(choice([1, 2]), optimizer="sgd"), "b": when(uniform(0, 1), a=1, optimizer="adam")},
            "b is never active: no value of 'optimizer' meets all its conditions",
        ),
    ],
)
def test_conditions_that_cannot_hold_are_named(more: dict[str, Domain], fault: str) -> None:
    with pytest.raises(SearchSpaceError) as caught:
        check_space({**GIVEN, **more, "odd": uniform(0, 1)}, [*GIVEN, *more])
    assert fault in str(caught.value)
    assert "unknown key 'odd'" in str(caught.value)


def test_conditions_read_as_one_writes_them() -> None:
    text = """
    optimizer = {choice = ["sgd", "adam", "rmsprop"]}
    momentum = {uniform = [0.5, 0.99], when = {optimizer = ["sgd", "rmsprop"]}}
    layers = {loginteger = [1, 64], when = {optimizer = "sgd"}}
    """
    space = space_from_plain(tomllib.loads(text))
    assert space == {
        "optimizer": GIVEN["optimizer"],
        "momentum": when(uniform(0.5, 0.99), optimizer=("sgd", "rmsprop")),
        "layers": when(integer(1, 64, log=True), optimizer="sgd"),
    }
    for bad in ({"uniform": [0, 1], "when": ["sgd"]}, {"uniform": [0, 1], "when": 3}, {"when": {"a": [1]}}):
        with pytest.raises(SearchSpaceError, match="Search space: lr"):
            space_from_plain({"lr": bad})


@pytest.mark.parametrize(
    "entry",
    [
        0.1,
        "uniform",
        {},
        {"normal": [0, 1]},
        {"uniform": [0]},
        {"uniform": 3},
        {"uniform": "ab"},
        {"choice": "sgd"},
        {"choice": 3},
        {"choice": [1], "uniform": [0, 1]},
    ],
)
def test_entries_that_are_no_domain_are_named(entry: Any) -> None:
    with pytest.raises(SearchSpaceError, match="Search space: lr = "):
        space_from_plain({"lr": entry})


def test_domains_are_plain_values() -> None:
    assert uniform(0, 1) == Uniform(0, 1)
    assert loguniform(1, 2) == Uniform(1, 2, log=True) != uniform(1, 2)
    assert choice(range(3)) == Choice((0, 1, 2))
    assert isinstance(integer(np.int64(1), np.int64(5)).sample(generator(0)), int)  # type: ignore[arg-type]
