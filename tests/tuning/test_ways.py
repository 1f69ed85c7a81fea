"""The grids of studies of trainings: equal samples, baselines, names, options that survive the file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysubset.errors import OptionsError, UnknownNameError
from raysubset.selection.mixture import ORDERS
from raysubset.selection.plan import SubsetPlan
from raysubset.tuning.ways import ablation, grid, plan_of, said
from tests.tolerances import PROPERTY

WORDS = ("full", "infobatch", "random", "asp-gradient", "asp-loss", "asp-entropy", "asp-prediction", "asp-mixture")
EXACT = {"first_epoch": "scheduled", "budget": "exact"}


@PROPERTY
@given(
    ratios=st.lists(st.sampled_from([0.05, 0.1, 0.3, 0.5, 0.7]), min_size=1, max_size=3, unique=True),
    schedules=st.lists(st.sampled_from(["static", "dynamic"]), min_size=1, max_size=2, unique=True),
    n=st.integers(200, 5000),
    epochs=st.integers(2, 30),
)
def test_every_way_consumes_what_its_baseline_does(
    ratios: list[float], schedules: list[str], n: int, epochs: int
) -> None:
    entrants = grid(WORDS, ratios, schedules, EXACT)
    known = {entrant.way.name: entrant for entrant in entrants}
    assert len(known) == len(entrants)
    for entrant in entrants:
        way, sizes = entrant.way, entrant.plan.timetable(n, epochs).costs
        if way.method in ("full", "infobatch"):
            assert (way.ratio, way.against, entrant.plan.ratio) == (1.0, "", 1.0)
            continue
        assert abs(int(sizes.sum()) - way.ratio * epochs * n) <= 0.5 + 1e-6
        assert entrant.plan.schedule == way.schedule
        if way.method != "adaptive-random":
            baseline = known[way.against]
            assert (baseline.way.method, baseline.way.ratio) == ("adaptive-random", way.ratio)
            assert (baseline.plan.timetable(n, epochs).costs == sizes).all()
    fixed = 1 + ("static" not in schedules)  # a fixed draw has no schedule; its baseline is there all the same
    assert len(entrants) == 2 + len(ratios) * (len(schedules) * 6 + fixed)


def test_sizes_that_follow_a_memory_are_held_against_dynamic_ones() -> None:
    entrants = grid(("asp-adaptive", "asp-mixture"), (0.3,), ("adaptive", "dynamic"), EXACT)
    named = {entrant.way.name: entrant for entrant in entrants}
    assert [name for name in named if name.startswith("adaptive-random")] == ["adaptive-random-dynamic-r0.3"]
    assert named["asp-adaptive-adaptive-r0.3"].plan.metric == "adaptive"
    assert named["asp-mixture-adaptive-r0.3"].plan.schedule == "adaptive"
    for entrant in entrants[1:]:
        assert entrant.way.against == "adaptive-random-dynamic-r0.3"
        baseline = named[entrant.way.against].plan
        assert entrant.plan.timetable(1000, 12).costs.sum() == baseline.timetable(1000, 12).costs.sum()
    with pytest.raises(OptionsError, match="schedule='adaptive' with selector='el2n'"):
        grid(("el2n",), (0.3,), ("adaptive",), {**EXACT, "select_every": 1})


def test_plans_survive_the_file() -> None:
    for entrant in (*grid(WORDS, (0.1, 0.5), ("static", "dynamic"), EXACT),
                    *ablation(ORDERS, (1 / 16, 1 / 4), (0.5, 2.0), (0.3,), "dynamic", EXACT)):  # fmt: skip
        assert SubsetPlan(**json.loads(json.dumps(said(entrant.plan)))) == entrant.plan


def test_an_ablation_changes_one_thing_at_a_time() -> None:
    entrants = {e.way.details: e for e in ablation(ORDERS, (1 / 16, 1 / 8), (2.0, 1.0), (0.3,), "dynamic", EXACT)}
    assert set(entrants) == {"", *(f"g{order}" for order in ORDERS), "sigma 0.0625", "T 2"}
    base = entrants["g012"]
    assert (base.plan.order, base.plan.sigma, base.plan.temperature, base.plan.metric) == (
        "012",
        1 / 8,
        1.0,
        "mixture",
    )
    assert base.way.against == entrants[""].way.name
    assert entrants[""].plan.selector == "adaptive-random"
    default = said(base.plan)
    for details, entrant in entrants.items():
        if details in ("", "g012"):
            continue
        changed = {k: v for k, v in said(entrant.plan).items() if default.get(k) != v}
        assert len(changed) == 1, details
        assert entrant.way.against == base.way.name
    assert entrants["g201"].plan.order == "201"
    two = ablation(("021",), (), (), (0.1, 0.3), "static", EXACT)
    known = {e.way.name: e.way for e in two}
    for way in known.values():
        assert not way.against or known[way.against].ratio == way.ratio


def test_words_and_refusals() -> None:
    assert plan_of("asp-loss", 0.1, "static", {}).metric == "loss"
    assert (
        plan_of("entropy", 0.1, "static", {}).selector == "entropy"
    )  # the selector of that name, not ASP's metric
    assert plan_of("craig", 0.1, "static", {"budget": "exact"}).budget == "paper"  # it is charged for looking
    with pytest.raises(UnknownNameError, match="asp-losss"):
        plan_of("asp-losss", 0.1, "static", {})
    with pytest.raises(OptionsError, match="ratios=0.1, 0.1"):
        grid(("asp-loss",), (0.1, 0.1), ("static",), {})
    with pytest.raises(OptionsError, match="ways=none"):
        grid((), (0.1,), ("static",), {})
