"""Gumbel-top-m: the Plackett-Luce law, its limits, and its prefixes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import DRAWS, FLOAT64, GUMBEL_KEY, PROPERTY, of_share

from raysubset.errors import BudgetError, OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.sampling import (
    SCALES,
    class_quotas,
    effective_support,
    gumbel_keys,
    gumbel_top_m,
    rescale,
    top_m,
)

GOLDEN = golden("asp_sampling")
EXPECTED = GOLDEN["expected"]
V = np.array(GOLDEN["inputs"]["V"])
UNIFORMS = np.array(GOLDEN["inputs"]["uniforms"])

values = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=60).map(np.array)
seeds = st.integers(0, 2**32)


class Dealt:
    """A generator that deals given numbers."""

    def __init__(self, uniforms: NDArray[np.float64]) -> None:
        self.uniforms = uniforms

    def random(self, size: int) -> NDArray[np.float64]:
        assert size == len(self.uniforms)
        return self.uniforms


def test_golden_gumbels() -> None:
    np.testing.assert_allclose(gumbel_keys(np.zeros(5), UNIFORMS), EXPECTED["gumbel"], rtol=0, atol=GUMBEL_KEY)


@pytest.mark.parametrize("temperature", EXPECTED["by_temperature"])
def test_golden_keys_and_orders(temperature: str) -> None:
    expected, t = EXPECTED["by_temperature"][temperature], float(temperature)
    np.testing.assert_allclose(gumbel_keys(V / t, UNIFORMS), expected["keys"], rtol=0, atol=GUMBEL_KEY)
    for m in range(1, 6):
        got = gumbel_top_m(V, m, Dealt(UNIFORMS), t)  # type: ignore[arg-type]
        assert got.tolist() == expected["order"][:m]


def test_golden_deterministic_top_m() -> None:
    for m, expected in enumerate(EXPECTED["deterministic_top_m"], start=1):
        assert top_m(V, m).tolist() == expected


@pytest.fixture(scope="module")
def pairs() -> NDArray[np.int64]:
    rng = generator(0, "pairs")
    return np.array([gumbel_top_m(V, 2, rng) for _ in range(DRAWS)])


@pytest.mark.slow
def test_first_rows_follow_the_golden_softmax(pairs: NDArray[np.int64]) -> None:
    share = np.bincount(pairs[:, 0], minlength=5) / DRAWS
    assert (np.abs(share - EXPECTED["softmax"]) <= of_share(EXPECTED["softmax"], DRAWS)).all()


@pytest.mark.slow
def test_pairs_include_each_row_as_often_as_the_golden_law_says(pairs: NDArray[np.int64]) -> None:
    share, law = np.bincount(pairs.ravel(), minlength=5) / DRAWS, EXPECTED["inclusion_prob_m2"]
    assert (np.abs(share - law) <= of_share(law, DRAWS)).all()


def test_ordered_pairs_follow_plackett_luce(pairs: NDArray[np.int64]) -> None:
    """P(i, then j) = p_i p_j / (1 - p_i), written out."""
    p = np.array(EXPECTED["softmax"])
    law = np.outer(p / (1 - p), p) * (1 - np.eye(5))
    share = np.zeros((5, 5))
    np.add.at(share, (pairs[:, 0], pairs[:, 1]), 1 / DRAWS)
    assert (np.abs(share - law) <= of_share(law, DRAWS)).all()


def test_golden_underflow_trap() -> None:
    trap = GOLDEN["underflow_trap"]
    v = np.array(trap["V"])
    softmax = np.exp(v - v.max()) / np.exp(v - v.max()).sum()
    assert softmax.tolist() == trap["softmax"]
    with pytest.raises(ValueError, match=trap["numpy_choice_error"]):
        np.random.default_rng(0).choice(4, 3, replace=False, p=softmax)
    rows = gumbel_top_m(v, 3, generator(0))
    assert (len(set(rows.tolist())) == 3) is trap["gumbel_top3_is_valid"]
    assert rows[0] == 0


def test_every_part_of_the_golden_file_is_read() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    keys = {*EXPECTED, *GOLDEN["underflow_trap"]}
    assert all(json.dumps(key) in text for key in keys)


@PROPERTY
@given(values, seeds, st.floats(0.01, 100), st.sampled_from(SCALES), st.data())
def test_rows_are_unique_and_of_the_pool(
    v: NDArray[np.float64], seed: int, temperature: float, scale: Any, data: st.DataObject
) -> None:
    m = data.draw(st.integers(1, len(v)))
    rows = gumbel_top_m(v, m, generator(seed), temperature, scale)
    assert rows.dtype == np.int64
    assert len(set(rows.tolist())) == m
    assert rows.min() >= 0
    assert rows.max() < len(v)


@PROPERTY
@given(values, seeds, st.floats(0.01, 100), st.sampled_from(SCALES))
def test_the_draw_for_m_is_a_prefix_of_the_draw_for_more(
    v: NDArray[np.float64], seed: int, temperature: float, scale: Any
) -> None:
    whole = gumbel_top_m(v, len(v), generator(seed), temperature, scale).tolist()
    for m in range(1, len(v)):
        assert gumbel_top_m(v, m, generator(seed), temperature, scale).tolist() == whole[:m]


@PROPERTY
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=40, unique=True), seeds, st.data())
def test_a_low_temperature_is_greedy(v: list[int], seed: int, data: st.DataObject) -> None:
    m = data.draw(st.integers(1, len(v)))
    greedy = sorted(range(len(v)), key=lambda row: -v[row])[:m]
    assert gumbel_top_m(v, m, generator(seed), temperature=1e-6).tolist() == greedy


@PROPERTY
@given(values, seeds)
def test_a_high_temperature_forgets_the_values(v: NDArray[np.float64], seed: int) -> None:
    hot = gumbel_top_m(v, len(v), generator(seed), temperature=1e300)
    assert hot.tolist() == gumbel_top_m(np.zeros(len(v)), len(v), generator(seed)).tolist()


@PROPERTY
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=40), seeds, st.integers(-50, 50))
def test_a_shift_of_all_values_changes_nothing(v: list[int], seed: int, shift: int) -> None:
    rows = gumbel_top_m(v, len(v), generator(seed))
    assert rows.tolist() == gumbel_top_m([x + shift for x in v], len(v), generator(seed)).tolist()


@PROPERTY
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), seeds, st.data())
def test_top_m_takes_the_largest_and_ties_to_the_lowest_row_or_at_random(
    v: list[int], seed: int, data: st.DataObject
) -> None:
    m = data.draw(st.integers(1, len(v)))
    plain = sorted(range(len(v)), key=lambda row: (-v[row], row))[:m]
    assert top_m(v, m).tolist() == plain
    drawn = top_m(v, m, generator(seed))
    assert len(set(drawn.tolist())) == m
    assert [v[row] for row in drawn] == [v[row] for row in plain]


def test_random_ties_are_fair() -> None:
    rng = generator(0, "ties")
    share = np.bincount([top_m([1, 1, 0, 1, 1], 1, rng)[0] for _ in range(3000)], minlength=5) / 3000
    law = np.array([0.25, 0.25, 0, 0.25, 0.25])
    assert (np.abs(share - law) <= of_share(law, 3000)).all()


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float32, np.bool_])
def test_any_kind_of_number_is_ordered(kind: type) -> None:
    v = np.array([0, 1, 0, 1], dtype=kind)
    assert top_m(v, 4).tolist() == [1, 3, 0, 2]
    assert sorted(gumbel_top_m(v, 4, generator(0)).tolist()) == [0, 1, 2, 3]


def test_a_uniform_of_zero_gives_a_finite_key() -> None:
    assert np.isfinite(gumbel_keys(np.zeros(2), np.array([0.0, 1 - 2.0**-53]))).all()


@pytest.mark.parametrize("m", [0, -1, 4])
def test_budget_out_of_range(m: int) -> None:
    for draw in (lambda: gumbel_top_m([1.0, 2.0, 3.0], m, generator(0)), lambda: top_m([1.0, 2.0, 3.0], m)):
        with pytest.raises(BudgetError, match=f"m={m} of n=3"):
            draw()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_named(bad: float) -> None:
    for draw in (lambda: gumbel_top_m([1.0, bad], 1, generator(0)), lambda: top_m([1.0, bad], 1)):
        with pytest.raises(SelectionError, match="row 1"):
            draw()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperature_out_of_range(temperature: float) -> None:
    with pytest.raises(OptionsError, match="temperature="):
        gumbel_top_m([1.0, 2.0], 1, generator(0), temperature)


def test_unknown_scale() -> None:
    with pytest.raises(OptionsError, match="scale='minmax', need one of none, zscore, rank"):
        gumbel_top_m([1.0, 2.0], 1, generator(0), scale="minmax")  # type: ignore[arg-type]


def test_zscore_and_ranks_by_hand() -> None:
    v = np.array([1.0, 5.0, 1.0, 3.0], dtype=np.float32)
    np.testing.assert_allclose(rescale(v, "rank"), [1 / 6, 1, 1 / 6, 2 / 3], rtol=FLOAT64)
    np.testing.assert_allclose(rescale(v, "zscore"), (v - 2.5) / np.sqrt(2.75), rtol=FLOAT64)
    assert rescale(v, "none").tolist() == v.tolist()
    assert rescale(np.full(3, 7.0), "zscore").tolist() == [0, 0, 0]
    assert rescale(np.full(3, 7.0), "rank").tolist() == [0.5, 0.5, 0.5]
    assert rescale(np.array([7.0]), "rank").tolist() == [0.0]


def test_effective_support_by_hand() -> None:
    assert effective_support([3.0] * 10) == pytest.approx(1.0, rel=FLOAT64)
    assert effective_support([1e4, 0, 0, 0]) == pytest.approx(0.25, rel=FLOAT64)
    p = np.array(EXPECTED["softmax"])
    assert effective_support(V) == pytest.approx(np.exp(-(p * np.log(p)).sum()) / 5, rel=1e-6)
    assert effective_support(V, temperature=1e6) == pytest.approx(1.0, rel=1e-6)


class_counts = st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(lambda counts: sum(counts) > 0)


@PROPERTY
@given(class_counts, st.data())
def test_quotas_are_proportional_and_sum_to_m(counts: list[int], data: st.DataObject) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    m = data.draw(st.integers(0, len(labels)))
    quotas = class_quotas(labels, m)
    present = np.array(counts[: len(quotas)])
    assert quotas.sum() == m
    assert (quotas <= present).all()
    assert (np.abs(quotas - m * present / len(labels)) < 1).all()


def test_equal_remainders_go_to_the_lowest_class() -> None:
    """Shares 8/3, 5/3, 2/3, 4/3, 2/3: four remainders of 2/3 for three rows, equal but not in binary."""
    labels = np.repeat(np.arange(5), [8, 5, 2, 4, 2])
    assert class_quotas(labels, 7).tolist() == [3, 2, 1, 1, 0]
