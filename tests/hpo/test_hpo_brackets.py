"""HyperBand's brackets: golden sizes, and the places where floats go wrong."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import OptionsError
from raysubset.hpo.brackets import Bracket, hyperband_brackets
from raysubset.hpo.rungs import max_halvings

GOLDEN: dict[str, Any] = golden("hyperband")


@pytest.mark.parametrize("resource", GOLDEN["brackets"])
def test_golden_brackets(resource: str) -> None:
    total, expected = int(resource), GOLDEN["brackets"][resource]
    brackets = hyperband_brackets(max_halvings(total, 3), 3)
    assert len(brackets) == len(expected)
    for bracket, case in zip(brackets, expected, strict=True):
        assert bracket.start == len(expected) - 1 - case["s"]
        assert bracket.sizes[0] == case["n0"]
        resources = [case["r0"] * 3**i for i in range(len(bracket.sizes))]
        assert [[n, r] for n, r in zip(bracket.sizes, resources, strict=True)] == case["rungs"]
        assert case["r0"] == 3**bracket.start * total / 3 ** (len(expected) - 1)
        cost = sum(n * r for n, r in zip(bracket.sizes, resources, strict=True))
        assert cost == pytest.approx(case["cost"], rel=FLOAT64)


@pytest.mark.parametrize("resource", GOLDEN["smax_hazard"])
def test_halvings_are_not_counted_by_logarithms(resource: str) -> None:
    case = GOLDEN["smax_hazard"][resource]
    assert max_halvings(int(resource), 3) == case["safe"]
    assert int(math.log(int(resource)) / math.log(3)) == case["naive"]


def test_every_field_of_the_golden_file_is_read() -> None:
    assert set(GOLDEN) == {"note", "smax_hazard", "brackets"}
    fields = {"s", "n0", "r0", "rungs", "cost"}
    assert all(set(case) == fields for cases in GOLDEN["brackets"].values() for case in cases)


@PROPERTY
@given(st.integers(0, 12), st.integers(2, 10))
def test_sizes_are_exact(halvings: int, eta: int) -> None:
    brackets = hyperband_brackets(halvings, eta)
    assert [bracket.start for bracket in brackets] == list(range(halvings + 1))
    for bracket in brackets:
        s = halvings - bracket.start
        opening = math.ceil(Fraction(halvings + 1, s + 1) * eta**s)
        assert bracket.sizes == tuple(math.floor(Fraction(opening, eta**i)) for i in range(s + 1))
    assert brackets[0].sizes == tuple(eta ** (halvings - i) for i in range(halvings + 1))
    assert brackets[-1].sizes == (halvings + 1,)


def test_ceiling_in_floats_opens_a_trial_too_many_somewhere() -> None:
    """The reason for integers: the paper's formula as it is usually typed."""
    wrong = [
        (halvings, s)
        for halvings in range(24)
        for s in range(halvings + 1)
        if math.ceil((halvings + 1) / (s + 1) * 3**s) != hyperband_brackets(halvings, 3)[halvings - s].sizes[0]
    ]
    assert wrong


def test_hpbandster_opens_fewer() -> None:
    """floor((smax + 1) / (s + 1)) eta^s, as the module says."""
    theirs = [4 // (s + 1) * 3**s for s in (3, 2, 1, 0)]
    assert theirs == [27, 9, 6, 4]
    assert [bracket.sizes[0] for bracket in hyperband_brackets(3, 3)] == [27, 12, 6, 4]


@pytest.mark.parametrize(("start", "sizes"), [(-1, (3, 1)), (0, ()), (0, (3, 0)), (0, (1, 3)), (0, (3, -1))])
def test_impossible_brackets(start: int, sizes: tuple[int, ...]) -> None:
    with pytest.raises(OptionsError, match=f"start={start}"):
        Bracket(start, sizes)


def test_options_out_of_range() -> None:
    with pytest.raises(OptionsError, match="eta=1"):
        hyperband_brackets(3, 1)
    with pytest.raises(OptionsError, match="halvings=-1"):
        hyperband_brackets(-1, 3)
