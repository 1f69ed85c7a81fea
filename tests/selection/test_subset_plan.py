"""SubsetPlan: what it accepts, and the calendar it keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import BudgetError, OptionsError, UnknownNameError
from raysubset.selection.asp import ProxySampling
from raysubset.selection.mixture import METRICS
from raysubset.selection.plan import METRIC_CHOICES, SELECTORS, SubsetPlan
from raysubset.selection.ratio import subset_sizes
from raysubset.selection.uniform import Full, UniformRandom
from raysubset.selection.wrappers import PerClass


def test_an_exact_budget_needs_a_selection_every_epoch() -> None:
    with pytest.raises(OptionsError, match="needs select_every=1"):
        SubsetPlan(budget="exact", select_every=2)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(
        UnknownNameError, match="selector 'aps'.*Did you mean 'asp'.*adaptive-random, asp, full, random"
    ):
        SubsetPlan(selector="aps")
    with pytest.raises(UnknownNameError, match="metric 'losses'.*Did you mean 'loss'"):
        SubsetPlan(metric="losses")


@pytest.mark.parametrize("ratio", [0, -1, 1.01, float("nan")])
def test_ratio_out_of_range(ratio: float) -> None:
    with pytest.raises(BudgetError, match="need 0 < ratio <= 1"):
        SubsetPlan(ratio=ratio)


FAULTS: dict[str, Any] = {
    "schedule": "linear",
    "budget": "free",
    "first_epoch": "half",
    "scale": "minmax",
    "order": "011",
    "select_every": 0,
    "temperature": 0.0,
    "sigma": float("inf"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_option_is_checked(name: str) -> None:
    with pytest.raises(OptionsError, match=f"SubsetPlan: {name}="):
        SubsetPlan(**{name: FAULTS[name]})


def test_all_faults_come_in_one_message() -> None:
    with pytest.raises(OptionsError) as caught:
        SubsetPlan(**FAULTS)
    assert all(f"{name}=" in str(caught.value) for name in FAULTS)


def test_full_needs_ratio_one() -> None:
    with pytest.raises(OptionsError, match="ratio must be 1, got 0.1"):
        SubsetPlan(selector="full")
    plan = SubsetPlan.full()
    assert plan.sizes(50, 3).tolist() == [50, 50, 50]
    assert not plan.is_adaptive


def test_auto_is_full_for_a_single_run_and_may_be_resolved_once() -> None:
    plan = SubsetPlan(ratio=0.1, schedule="static")
    assert plan.sizes(100, 3).tolist() == [100, 10, 10]
    assert plan.resolved("scheduled").sizes(100, 3).tolist() == [10, 10, 10]
    assert plan.resolved("full").resolved("scheduled").first_epoch == "full"


@pytest.mark.parametrize(
    ("plan", "adaptive"),
    [
        (SubsetPlan(), True),
        (SubsetPlan(metric="loss"), True),
        (SubsetPlan(metric="random"), False),
        (SubsetPlan(ratio=1.0), False),
        (SubsetPlan(selector="adaptive-random"), False),
        (SubsetPlan(selector="random"), False),
    ],
)
def test_signals_are_needed_only_where_they_choose(plan: SubsetPlan, adaptive: bool) -> None:
    assert plan.is_adaptive is adaptive


def test_epoch_zero_stands_alone_then_every_so_many() -> None:
    assert [SubsetPlan(select_every=3).chosen_at(e) for e in range(8)] == [0, 1, 1, 1, 4, 4, 4, 7]
    assert [SubsetPlan().chosen_at(e) for e in range(5)] == [0, 1, 2, 3, 4]


@PROPERTY
@given(st.integers(1, 500), st.integers(1, 30), st.floats(0.01, 1), st.integers(1, 6))
def test_sizes_are_those_of_the_refresh_and_at_least_two(n: int, epochs: int, ratio: float, every: int) -> None:
    plan = SubsetPlan(ratio=ratio, select_every=every)
    scheduled = subset_sizes(n, epochs, ratio)
    sizes = plan.sizes(n, epochs)
    assert sizes.dtype == np.int64
    for epoch in range(epochs):
        assert sizes[epoch] == max(scheduled[plan.chosen_at(epoch)], min(2, n))


@PROPERTY
@given(st.integers(0, 40), st.integers(1, 5), st.integers(0, 2**32), st.sampled_from(METRIC_CHOICES))
def test_the_metric_of_an_epoch_is_that_of_its_refresh(epoch: int, every: int, seed: int, metric: str) -> None:
    plan = SubsetPlan(metric=metric, select_every=every)
    drawn = plan.metric_at(epoch, 41, seed)
    assert drawn == plan.metric_at(epoch, 41, seed) == plan.metric_at(plan.chosen_at(epoch), 41, seed)
    assert drawn in METRICS
    if metric != "mixture":
        assert drawn == metric


def test_the_mixture_draws_once_a_refresh() -> None:
    plan = SubsetPlan(select_every=3, sigma=5.0)  # wide: all groups are likely at every epoch
    metrics = [plan.metric_at(epoch, 61, 0) for epoch in range(61)]
    groups = [set(metrics[start : start + 3]) for start in range(1, 61, 3)]
    assert all(len(group) == 1 for group in groups)
    assert len(set.union(*groups)) > 2


def test_the_mixture_changes_with_time_and_seed() -> None:
    plan = SubsetPlan()
    metrics = [plan.metric_at(epoch, 60, 0) for epoch in range(60)]
    assert set(metrics[:8]) == {"random"}
    assert set(metrics[-8:]) <= {"loss", "entropy"}
    assert len(set(metrics)) == 5
    assert metrics != [plan.metric_at(epoch, 60, 1) for epoch in range(60)]


@pytest.mark.parametrize(
    ("selector", "metric"), [("full", "full"), ("random", "random"), ("adaptive-random", "random")]
)
def test_controls_use_no_metric(selector: str, metric: str) -> None:
    plan = SubsetPlan(selector=selector, ratio=1.0)
    assert {plan.metric_at(epoch, 10, 0) for epoch in range(10)} == {metric}


def test_selectors_are_composed_of_the_options() -> None:
    plan = SubsetPlan(temperature=0.5, scale="rank", deterministic=True)
    asp = ProxySampling("loss", 0.5, "rank", True)
    assert plan.selector_for("loss") == asp
    assert SubsetPlan(temperature=0.5, scale="rank", deterministic=True, per_class=True).selector_for(
        "loss"
    ) == PerClass(asp)
    assert SubsetPlan(selector="random").selector_for("random") == UniformRandom()
    assert SubsetPlan(selector="adaptive-random", per_class=True).selector_for("random") == PerClass(
        UniformRandom()
    )
    assert SubsetPlan.full().selector_for("full") == Full()
    assert set(SELECTORS) == {"asp", "adaptive-random", "random", "full"}


def test_streams_are_keyed_by_seed_and_refresh() -> None:
    plan = SubsetPlan(select_every=2)
    draw = [plan.stream(epoch, 0).random() for epoch in range(5)]
    assert draw[1] == draw[2]
    assert draw[3] == draw[4]
    assert len(set(draw)) == 3
    assert plan.stream(1, 1).random() != draw[1]
    fixed = SubsetPlan(selector="random")
    assert len({fixed.stream(epoch, 0).random() for epoch in range(5)}) == 1
