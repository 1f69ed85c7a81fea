"""Search spaces: sampling, refusing, and the trip through TOML."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tolerances import KS_P_VALUE, PROPERTY

from raysubset.errors import SearchSpaceError
from raysubset.hpo.space import (
    Choice,
    Domain,
    Integer,
    Uniform,
    check_space,
    choice,
    integer,
    loguniform,
    sample_space,
    space_from_plain,
    space_to_plain,
    uniform,
)
from raysubset.seeds import generator

finite = st.floats(-1e9, 1e9)
ranges = st.tuples(finite, finite).filter(lambda r: r[0] < r[1])
log_ranges = st.tuples(st.floats(1e-12, 1e9), st.floats(1e-12, 1e9)).filter(lambda r: r[0] < r[1])
integers = st.tuples(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40)).filter(lambda r: r[0] < r[1])
values = st.one_of(st.booleans(), st.integers(-(2**40), 2**40), finite, st.text(max_size=8))
domains = st.one_of(
    ranges.map(lambda r: uniform(*r)),
    log_ranges.map(lambda r: loguniform(*r)),
    integers.map(lambda r: integer(*r)),
    st.lists(values, min_size=1, max_size=4).map(choice),
)
spaces = st.dictionaries(st.text("abc_", min_size=1, max_size=6), domains, max_size=5)


def holds(domain: Domain, value: Any) -> bool:
    if isinstance(domain, Choice):
        return value in domain.options
    kind = int if isinstance(domain, Integer) else float
    return type(value) is kind and domain.low <= value <= domain.high


@PROPERTY
@given(spaces)
def test_round_trip_through_toml(space: dict[str, Domain]) -> None:
    text = tomli_w.dumps(space_to_plain(space))
    back = space_from_plain(tomllib.loads(text))
    assert back == space
    assert list(back) == list(space)
    for name, domain in space.items():
        if isinstance(domain, Choice):
            kinds = [type(option) for option in domain.options]
            assert [type(option) for option in back[name].options] == kinds  # type: ignore[union-attr]


@PROPERTY
@given(spaces, st.integers(0, 2**32))
def test_samples_lie_in_their_domains_and_follow_the_stream(space: dict[str, Domain], seed: int) -> None:
    config = sample_space(space, generator(seed))
    assert list(config) == list(space)
    assert all(holds(space[name], value) for name, value in config.items())
    assert config == sample_space(space, generator(seed))


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
    with pytest.raises(SearchSpaceError, match="at least one option"):
        choice([])


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
