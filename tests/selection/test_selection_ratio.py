"""The ratio scheduler: golden sizes, and what must hold for every budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden_values import golden
from hypothesis import assume, given
from hypothesis import strategies as st
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import BudgetError
from raysubset.selection.ratio import BUDGETS, FIRST_EPOCHS, SCHEDULES, epoch_ratios, subset_sizes

CASES = golden("asp_ratio")["cases"]

pools = st.integers(1, 2000)
epoch_counts = st.integers(1, 60)
ratios = st.floats(0.001, 1.0)


def name(case: dict[str, Any]) -> str:
    return f"r{case['r']}-N{case['N']}-n{case['n']}"


@pytest.mark.parametrize("case", CASES, ids=name)
def test_golden_ratios(case: dict[str, Any]) -> None:
    got = epoch_ratios(case["N"], case["r"])
    assert got.mean() == pytest.approx(case["raw_mean"], abs=FLOAT64)
    assert got[0] == pytest.approx(case["raw_first"], abs=FLOAT64)
    assert got[-1] == pytest.approx(case["raw_last"], abs=FLOAT64)
    if "ratios" in case:
        np.testing.assert_allclose(got, case["ratios"], rtol=0, atol=FLOAT64)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_golden_paper_sizes(case: dict[str, Any]) -> None:
    n, epochs, r = case["n"], case["N"], case["r"]
    full = subset_sizes(n, epochs, r, "dynamic", "paper", "full")
    scheduled = subset_sizes(n, epochs, r, "dynamic", "paper", "scheduled")
    assert scheduled.sum() == case["paper_total_no_first_full"]
    assert full.sum() == case["paper_total"]
    assert full[:3].tolist() == case["paper_first3"]
    assert full[-3:].tolist() == case["paper_last3"]
    assert full.sum() / (epochs * n) == pytest.approx(case["paper_mean"], abs=FLOAT64)
    assert full.sum() / (r * epochs * n) - 1 == pytest.approx(case["overshoot_vs_rNn"], abs=FLOAT64)
    if "paper_m" in case:
        assert full.tolist() == case["paper_m"]
        assert scheduled.tolist() == case["alg2_m_no_first_full"]


@pytest.mark.parametrize("case", CASES, ids=name)
def test_golden_exact_sizes(case: dict[str, Any]) -> None:
    expected = case["exact"]
    if "error" in expected:
        assert case["exact_m"] is None
        assert expected["error"].startswith("budget too small for a full first epoch")
        with pytest.raises(BudgetError, match="[Bb]udget too small for a full first epoch"):
            subset_sizes(case["n"], case["N"], case["r"], budget="exact")
        return
    sizes = subset_sizes(case["n"], case["N"], case["r"], budget="exact")
    assert sizes.sum() == expected["total"]
    assert sizes[:3].tolist() == expected["first3"]
    assert sizes[-3:].tolist() == expected["last3"]
    assert (sizes.min(), sizes.max()) == (expected["min"], expected["max"])
    if "exact_m" in case:
        assert sizes.tolist() == case["exact_m"]


def test_every_field_of_the_golden_cases_is_read() -> None:
    always = {"r", "N", "n", "raw_mean", "raw_first", "raw_last", "paper_total_no_first_full", "paper_total"}
    always |= {"paper_mean", "overshoot_vs_rNn", "paper_first3", "paper_last3", "exact"}
    lists = {"paper_m", "alg2_m_no_first_full", "ratios", "exact_m"}
    assert len(CASES) == 28
    assert all(set(case) in (always, always | lists) for case in CASES)


@PROPERTY
@given(
    pools,
    epoch_counts,
    ratios,
    st.sampled_from(SCHEDULES),
    st.sampled_from(BUDGETS),
    st.sampled_from(FIRST_EPOCHS),
)
def test_sizes_are_within_the_pool(
    n: int, epochs: int, ratio: float, schedule: Any, budget: Any, first: Any
) -> None:
    total = np.floor(ratio * epochs * n + 0.5)
    needed = n + epochs - 1 if first == "full" else epochs
    assume(budget == "paper" or abs(total - needed) > 1)  # the very edge is a matter of rounding
    if budget == "exact" and total < needed:
        with pytest.raises(BudgetError, match="too small"):
            subset_sizes(n, epochs, ratio, schedule, budget, first)
        return
    sizes = subset_sizes(n, epochs, ratio, schedule, budget, first)
    assert sizes.shape == (epochs,)
    assert sizes.dtype == np.int64
    assert sizes.min() >= 1
    assert sizes.max() <= n
    if first == "full":
        assert sizes[0] == n
    if budget == "exact":
        assert abs(int(sizes.sum()) - ratio * epochs * n) <= 0.5 + 1e-6


@PROPERTY
@given(pools, epoch_counts, ratios, st.sampled_from(FIRST_EPOCHS))
def test_dynamic_sizes_never_grow(n: int, epochs: int, ratio: float, first: Any) -> None:
    assert (np.diff(subset_sizes(n, epochs, ratio, "dynamic", "paper", first)) <= 0).all()


@PROPERTY
@given(pools, epoch_counts, ratios, st.sampled_from(SCHEDULES), st.sampled_from(FIRST_EPOCHS))
def test_exact_sizes_grow_by_no_more_than_rounding(
    n: int, epochs: int, ratio: float, schedule: Any, first: Any
) -> None:
    assume(ratio * epochs * n > n + epochs)
    sizes = subset_sizes(n, epochs, ratio, schedule, "exact", first)
    assert np.diff(sizes).max(initial=0) <= 1  # cumulative rounding keeps the sum, at the price of one row


@PROPERTY
@given(pools, epoch_counts, ratios)
def test_static_sizes_are_equal(n: int, epochs: int, ratio: float) -> None:
    sizes = subset_sizes(n, epochs, ratio, "static", "paper", "scheduled")
    assert len(set(sizes.tolist())) == 1
    assert abs(sizes[0] - max(1, ratio * n)) <= 0.5 + 1e-6


@PROPERTY
@given(st.integers(2, 200), ratios)
def test_mean_ratio_is_the_one_stated(epochs: int, ratio: float) -> None:
    mean = 1.01 * ratio if ratio <= 0.5 else ratio
    assert epoch_ratios(epochs, ratio).mean() == pytest.approx(mean, rel=FLOAT64)
    assert epoch_ratios(epochs, ratio, "static").mean() == pytest.approx(ratio, rel=FLOAT64)


def test_a_single_epoch_follows_the_ratio() -> None:
    assert epoch_ratios(1, 0.2).tolist() == [0.2]
    assert subset_sizes(100, 1, 0.2, first_epoch="scheduled").tolist() == [20]
    assert subset_sizes(100, 1, 0.2, budget="exact", first_epoch="scheduled").tolist() == [20]
    assert subset_sizes(100, 1, 1.0, budget="exact").tolist() == [100]


def test_binary_fractions_round_as_written() -> None:
    """0.29 * 100 is 28.999... in binary."""
    assert subset_sizes(100, 3, 0.29, "static", first_epoch="scheduled").tolist() == [29, 29, 29]


@pytest.mark.parametrize(("n", "ratio"), [(10, 0.1), (3, 0.35), (5, 0.21)])
def test_tiny_exact_budgets_leave_no_epoch_empty(n: int, ratio: float) -> None:
    """Cumulative rounding alone would give the last epochs no row; the largest epochs pay, and order is kept."""
    sizes = subset_sizes(n, 12, ratio, budget="exact", first_epoch="scheduled")
    assert sizes.sum() == np.floor(ratio * 12 * n + 0.5)
    assert sizes.min() == 1
    assert np.diff(sizes).max() <= 1


def test_rows_for_empty_epochs_come_from_the_last_of_the_largest() -> None:
    from raysubset.selection.ratio import _raise_to

    assert _raise_to(1, np.array([3, 3, 0])).tolist() == [3, 2, 1]
    assert _raise_to(1, np.array([4, 1, 0, 0])).tolist() == [2, 1, 1, 1]
    assert _raise_to(2, np.array([5, 3, 1])).tolist() == [4, 3, 2]


@pytest.mark.parametrize("budget", ["paper", "exact"])
def test_a_minimum_holds_and_an_exact_budget_stays_exact(budget: str) -> None:
    sizes = subset_sizes(1000, 50, 0.1, budget=budget, minimum=7)  # type: ignore[arg-type]
    assert sizes.min() == 7
    if budget == "exact":
        assert sizes.sum() == 5000
    with pytest.raises(BudgetError, match="minimum=11"):
        subset_sizes(10, 5, 0.5, minimum=11)


def test_all_faults_come_in_one_message() -> None:
    with pytest.raises(BudgetError) as caught:
        subset_sizes(0, 0, 1.5, "linear", "free", "none")  # type: ignore[arg-type]
    for part in ("n=0", "epochs=0", "ratio=1.5", "schedule='linear'", "budget='free'", "first_epoch='none'"):
        assert part in str(caught.value)


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.0001, float("nan"), float("inf")])
def test_ratio_out_of_range(ratio: float) -> None:
    with pytest.raises(BudgetError, match="ratio="):
        subset_sizes(10, 10, ratio)


def test_an_exact_budget_below_one_row_an_epoch_is_refused() -> None:
    with pytest.raises(BudgetError, match=r"1 row\(s\) an epoch"):
        subset_sizes(10, 50, 0.01, budget="exact", first_epoch="scheduled")
