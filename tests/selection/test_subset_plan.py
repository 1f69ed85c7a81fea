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
from raysubset.selection.entries import ENTRIES
from raysubset.selection.mixture import METRICS
from raysubset.selection.plan import SubsetPlan, steering_size
from raysubset.selection.ratio import subset_sizes
from raysubset.selection.timing import Every, Habits, Static, WarmStart
from raysubset.selection.uniform import Full, UniformRandom
from raysubset.selection.wrappers import PerClass


@pytest.mark.parametrize(
    "options",
    [
        {"select_every": 2},
        {"select_every": 0},
        {"selector": "craig"},
        {"selector": "el2n"},
        {"selector": Static(UniformRandom())},
    ],
    ids=str,
)
def test_an_exact_budget_needs_a_selection_every_epoch(options: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match="needs select_every=1"):
        SubsetPlan(budget="exact", **options)
    chosen = SubsetPlan(budget="exact", **{**options, "select_every": 1}, first_epoch="scheduled")
    assert chosen.timetable(333, 7).sizes.sum() == round(0.1 * 7 * 333)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(
        UnknownNameError, match="selector 'aps'.*Did you mean 'asp'.*adaptive-random, asp.*craig.*full.*random"
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
    "evidence": "guess",
    "embedding": "vgg",
    "select_every": -1,
    "warm_start": 1.0,
    "scout_epochs": 0,
    "scout_models": 0,
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
    with pytest.raises(OptionsError, match="decides itself how much to leave out, so ratio must be 1"):
        SubsetPlan(selector="infobatch")
    plan = SubsetPlan.full()
    assert plan.timetable(50, 3).sizes.tolist() == [50, 50, 50]
    assert not plan.is_adaptive


def test_auto_is_full_for_a_single_run_and_may_be_resolved_once() -> None:
    plan = SubsetPlan(ratio=0.1, schedule="static")
    assert plan.timetable(100, 3).sizes.tolist() == [100, 10, 10]
    assert plan.resolved("scheduled").timetable(100, 3).sizes.tolist() == [10, 10, 10]
    assert plan.resolved("full").resolved("scheduled").first_epoch == "full"


@pytest.mark.parametrize("options", [{"selector": "el2n"}, {"selector": "milo"}, {"warm_start": 0.5}], ids=str)
def test_auto_is_no_full_epoch_where_rows_are_known_at_once_or_everything_comes_first(
    options: dict[str, Any],
) -> None:
    plan = SubsetPlan(**options, schedule="static")
    assert plan.resolved("full").first_epoch == "scheduled"
    assert plan.timetable(100, 4).sizes.tolist() == plan.resolved("full").timetable(100, 4).sizes.tolist()
    assert plan.timetable(100, 4).sizes[2:].tolist() == [10, 10]
    assert SubsetPlan(**options, first_epoch="full").resolved("scheduled").first_epoch == "full"


@pytest.mark.parametrize(
    ("plan", "adaptive"),
    [
        (SubsetPlan(), True),
        (SubsetPlan(metric="loss"), True),
        (SubsetPlan(metric="random"), False),
        (SubsetPlan(ratio=1.0), False),
        (SubsetPlan(selector="adaptive-random"), False),
        (SubsetPlan(selector="random"), False),
        (SubsetPlan(selector="infobatch", ratio=1.0), True),
        (SubsetPlan(selector="craig"), False),
        (SubsetPlan(selector="el2n"), False),
        (SubsetPlan(selector="rho-loss"), False),
    ],
)
def test_signals_are_needed_only_where_they_choose(plan: SubsetPlan, adaptive: bool) -> None:
    assert plan.is_adaptive is adaptive


def test_epoch_zero_stands_alone_then_every_so_many() -> None:
    assert SubsetPlan(select_every=3).timetable(100, 8).chosen_at.tolist() == [0, 1, 1, 1, 4, 4, 4, 7]
    assert SubsetPlan().timetable(100, 5).chosen_at.tolist() == [0, 1, 2, 3, 4]
    assert SubsetPlan(select_every=0).timetable(100, 5).chosen_at.tolist() == [0, 1, 1, 1, 1]


@PROPERTY
@given(st.integers(1, 500), st.integers(1, 30), st.floats(0.01, 1), st.integers(1, 6))
def test_sizes_are_the_means_of_their_slots_and_at_least_two(
    n: int, epochs: int, ratio: float, every: int
) -> None:
    plan = SubsetPlan(ratio=ratio, select_every=every)
    scheduled = subset_sizes(n, epochs, ratio, minimum=min(2, n))
    table = plan.timetable(n, epochs)
    assert table.sizes.dtype == np.int64
    assert table.sizes[0] == n
    assert not table.forward.any()
    for first in range(1, epochs, every):
        block = slice(first, first + every)
        kept = min(every, epochs - first)
        assert table.chosen_at[block].tolist() == [first] * kept
        assert table.sizes[block].tolist() == [int(sum(scheduled[block].tolist()) / kept + 0.5)] * kept


@PROPERTY
@given(st.integers(0, 40), st.integers(0, 2**32), st.sampled_from(("mixture", *METRICS)))
def test_the_metric_of_an_epoch_is_drawn_once(epoch: int, seed: int, metric: str) -> None:
    plan = SubsetPlan(metric=metric)
    drawn = plan.metric_at(epoch, 41, seed)
    assert drawn == plan.metric_at(epoch, 41, seed)
    assert drawn in METRICS
    if metric != "mixture":
        assert drawn == metric


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


@pytest.mark.parametrize("name", ["craig", "el2n", "infobatch"])
def test_other_selectors_are_their_own_metric(name: str) -> None:
    assert SubsetPlan(selector=name, ratio=1.0).metric_at(3, 10, 0) == name


def test_selectors_are_composed_of_the_options() -> None:
    plan = SubsetPlan(temperature=0.5, scale="rank", deterministic=True)
    asp = ProxySampling("loss", 0.5, "rank", True)
    assert plan.compose("loss") == asp
    assert SubsetPlan(temperature=0.5, scale="rank", deterministic=True, per_class=True).compose(
        "loss"
    ) == PerClass(asp)
    assert SubsetPlan(selector="random").compose() == UniformRandom()
    assert SubsetPlan(selector="adaptive-random", per_class=True).compose() == PerClass(UniformRandom())
    assert SubsetPlan.full().compose("full") == Full()


def test_a_blind_epoch_is_a_uniform_draw() -> None:
    assert SubsetPlan().blind() == UniformRandom()
    assert SubsetPlan(selector="el2n", per_class=True).blind() == PerClass(UniformRandom())


def test_a_selector_that_goes_by_class_is_wrapped_once() -> None:
    composed = SubsetPlan(selector="herding", per_class=True).compose()
    assert isinstance(composed, PerClass)
    assert not isinstance(composed.inner, PerClass)
    assert composed == SubsetPlan(selector="herding").compose()


def test_options_reach_the_selector() -> None:
    from raysubset.selection.top import TopScore

    plan = SubsetPlan(selector="el2n", options={"lowest": True})
    assert plan.compose() == TopScore("el2n", lowest=True)
    with pytest.raises(OptionsError, match="'heat'.*Its options: signal, lowest"):
        SubsetPlan(selector="el2n", options={"heat": 1})
    with pytest.raises(OptionsError, match="asp has none"):
        SubsetPlan(options={"temperature": 2.0})
    with pytest.raises(OptionsError, match="beside a selector object"):
        SubsetPlan(selector=UniformRandom(), options={"heat": 1})


@pytest.mark.parametrize("selector", [UniformRandom, 3, None, object()])
def test_what_cannot_select_is_refused(selector: Any) -> None:
    with pytest.raises(OptionsError, match=r"need a name or an object with select\("):
        SubsetPlan(selector=selector)


def test_an_object_is_taken_as_it_is() -> None:
    selector = WarmStart(0.5, Every(2, ProxySampling("loss")))
    plan = SubsetPlan(selector=selector, schedule="static")
    assert plan.compose() is selector
    assert plan.name == plan.metric_at(3, 8, 0) == "WarmStart"
    assert plan.timetable(100, 8).sizes.tolist() == [100, 0, 0, 0, 10, 10, 10, 10]
    assert plan.timetable(100, 8).chosen_at.tolist() == [0, 1, 2, 3, 4, 4, 6, 6]


def test_the_plan_changes_the_habits_of_its_selector() -> None:
    assert SubsetPlan(selector="craig").habits == ENTRIES["craig"].habits
    plan = SubsetPlan(selector="facility-location", evidence="model", select_every=5, warm_start=0.25)
    assert plan.habits == Habits("model", every=5, warm_start=0.25)
    assert SubsetPlan(selector="automata").habits.warm_start == 0.35
    assert SubsetPlan(selector="automata", warm_start=0.0).habits.warm_start == 0


def test_steering_rows_are_never_trained_on() -> None:
    plan = SubsetPlan(selector="glister", ratio=1.0, first_epoch="scheduled")
    assert plan.timetable(1000, 3).sizes.tolist() == [900] * 3
    assert [steering_size(0.1, n) for n in (1, 2, 5, 15, 1000)] == [0, 1, 1, 2, 100]
    assert steering_size(0.0, 1000) == 0
    assert steering_size(0.99, 10) == 9


def test_scouting_is_charged_once() -> None:
    """E epochs on everything and one pass forward, at a third of a training step, for each scout."""
    assert SubsetPlan(selector="el2n", scout_epochs=5).scouting_samples(900) == 5 * 900 + 300
    assert SubsetPlan(selector="el2n", scout_epochs=2, scout_models=3).scouting_samples(900) == 3 * (2 * 900 + 300)
    assert SubsetPlan(selector="rho-loss", scout_epochs=5).scouting_samples(900) == 5 * 90 + 300  # held-out rows
    for name in ("asp", "craig", "facility-location", "selective-backprop"):
        assert SubsetPlan(selector=name).scouting_samples(900) == 0


@pytest.mark.parametrize("name", ENTRIES)
def test_every_name_makes_a_plan_with_a_timetable(name: str) -> None:
    options = {"fitted": "runs/fit", "cell": "conv3x3-bn-relu~0+output~1"} if name == "subselnet" else {}
    plan = SubsetPlan(selector=name, options=options, ratio=1.0 if name in ("full", "infobatch") else 0.1)
    table = plan.timetable(500, 30)
    assert len(table.sizes) == len(table.forward) == len(table.chosen_at) == 30
    if plan.ratio < 1:
        assert 0.08 * 30 * 500 <= table.sizes.sum() <= 0.15 * 30 * 500


def test_streams_are_keyed_by_seed_and_choice() -> None:
    plan = SubsetPlan()
    draw = [plan.stream(epoch, 0).random() for epoch in range(5)]
    assert len(set(draw)) == 5
    assert draw == [plan.stream(epoch, 0).random() for epoch in range(5)]
    assert plan.stream(1, 1).random() != draw[1]
    fixed = SubsetPlan(selector="random")
    assert len({fixed.stream(epoch, 0).random() for epoch in range(5)}) == 1
