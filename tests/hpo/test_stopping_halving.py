"""StoppingHalving: by hand, after a JSON round trip, and against Ray's own asynchronous halving."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.hpo.halving import StoppingHalving, expected_samples
from raysubset.hpo.rungs import Rungs, place_rungs

RUNGS = Rungs((10.0, 30.0, 90.0), (1, 3, 9))

losses = st.one_of(st.floats(0, 10), st.just(math.nan), st.just(math.inf))
reports = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 95), losses), max_size=60)


def test_decisions_by_hand() -> None:
    """eta 3: linear quantile at 1/3 of the losses before."""
    core = StoppingHalving(RUNGS, eta=3)
    assert core.keep("a", 10, 0.9)  # first of all
    assert core.keep("b", 10, 0.9)  # not worse
    assert not core.keep("c", 12, 0.91)
    assert core.keep("d", 10, 0.3)  # [.9 .9 .91] at 2/3 of a place: .9
    assert core.keep("e", 10, 0.85)  # [.3 .9 .9 .91] at place 1: .9
    assert not core.keep("f", 10, 0.9)  # [.3 .85 .9 .9 .91] at place 4/3: .8667
    assert core.keep("a", 30, 0.8)  # first at its rung
    assert not core.keep("d", 30, 0.81)


def test_reports_between_rungs_and_repeated_ones_go_on() -> None:
    core = StoppingHalving(RUNGS)
    assert core.keep("a", 9, math.inf)
    assert core.losses == [{}, {}, {}]
    core.keep("a", 10, 0.1)
    assert core.keep("a", 20, 99.0)
    assert not core.keep("b", 10, 0.2)
    assert core.keep("b", 10, 0.2), "judged once"
    assert core.losses[0] == {"a": 0.1, "b": 0.2}


def test_a_report_past_two_rungs_is_judged_at_the_higher_one_only() -> None:
    core = StoppingHalving(RUNGS)
    core.keep("a", 30, 0.5)
    assert core.losses == [{}, {"a": 0.5}, {}]
    assert core.keep("a", 30, 0.7)
    assert core.keep("a", 12, 0.7), "a late report of a lower rung changes nothing"
    assert core.losses == [{}, {"a": 0.5}, {}]


def test_failed_trials_are_infinitely_bad_and_survive_json() -> None:
    core = StoppingHalving(RUNGS, eta=2)
    assert core.keep("a", 10, math.nan)  # first
    assert core.keep("b", 10, math.inf)  # as bad as the only other
    assert core.keep("c", 10, 1.0)
    assert core.keep("d", 10, 2.0)  # [1 inf inf]: inf
    assert core.keep("e", 10, 1.5)
    assert not core.keep("f", 10, math.inf)  # [1 1.5 2 inf inf]: 2
    text = json.dumps(core.to_json(), allow_nan=False)
    assert StoppingHalving.from_json(json.loads(text)) == core


@PROPERTY
@given(reports, st.integers(0, 60), st.integers(2, 5))
def test_a_json_round_trip_at_any_point_changes_no_later_decision(
    story: list[tuple[int, int, float]], pause: int, eta: int
) -> None:
    core = StoppingHalving(RUNGS, eta)
    for trial, samples, loss in story[:pause]:
        core.keep(str(trial), samples, loss)
    twin = StoppingHalving.from_json(json.loads(json.dumps(core.to_json(), allow_nan=False)))
    for trial, samples, loss in story[pause:]:
        assert core.keep(str(trial), samples, loss) == twin.keep(str(trial), samples, loss)
    assert core == twin


@PROPERTY
@given(reports, st.integers(2, 5))
def test_the_best_so_far_always_goes_on(story: list[tuple[int, int, float]], eta: int) -> None:
    core = StoppingHalving(RUNGS, eta)
    for trial, samples, loss in story:
        rung = RUNGS.reached(samples)
        before = [x for judged in core.losses[max(rung, 0) : rung + 1] for x in judged.values()]
        kept = core.keep(str(trial), samples, loss)
        if not math.isnan(loss) and all(loss <= x for x in before):
            assert kept


@pytest.mark.slow
@pytest.mark.parametrize("eta", [2, 3, 4])
def test_about_one_in_eta_goes_on(eta: int) -> None:
    rng = np.random.default_rng(0)
    core = StoppingHalving(Rungs((1.0, 2.0), (1, 2)), eta)
    kept = sum(core.keep(str(trial), 1, rng.random()) for trial in range(2000))
    assert 1 / eta <= kept / 2000 < 1 / eta + 0.05  # early ones meet few others, so a little more


@pytest.mark.ray
@pytest.mark.parametrize("eta", [2, 3, 4])
def test_decisions_are_those_of_rays_bracket(eta: int) -> None:
    """One report a rung, rungs where Ray can place them (powers of eta), losses without ties."""
    from ray.tune.schedulers.async_hyperband import _Bracket

    rng = np.random.default_rng(eta)
    total = eta**3
    rungs = place_rungs(np.ones(total, dtype=np.int64), eta)
    assert rungs.levels == tuple(float(eta**k) for k in range(4))
    core, oracle = StoppingHalving(rungs, eta), _Bracket(1, total, eta, 0)
    queue, compared = [(trial, 0) for trial in range(300)], 0
    while queue:
        trial, rung = queue.pop(int(rng.integers(len(queue))))  # trials reach rungs in any order
        loss = float(rng.random())
        kept = core.keep(str(trial), eta**rung, loss)
        told = oracle.on_result(SimpleNamespace(trial_id=str(trial)), eta**rung, -loss)  # type: ignore[arg-type]
        assert kept == (told == "CONTINUE")
        compared += 1
        if kept and rung < 3:
            queue.append((trial, rung + 1))
    assert compared > 350


def test_a_trial_that_trains_again_is_judged_again() -> None:
    core = StoppingHalving(RUNGS, eta=3)
    for trial, loss in (("a", 0.5), ("b", 0.4)):
        assert core.keep(trial, 10, loss)
        core.keep(trial, 30, loss)
    core.forget("b", beyond=10)
    assert [sorted(judged) for judged in core.losses] == [["a", "b"], ["a"], []]
    assert core.keep("b", 10, 9.0)  # its place at the first rung stands
    core.forget("b")
    assert not core.keep("b", 10, 9.0)  # another trial under the same name
    assert core.losses[0] == {"a": 0.5, "b": 9.0}


@pytest.mark.slow
@pytest.mark.parametrize("trials", [4, 16, 60])
@pytest.mark.parametrize("eta", [2, 3])
def test_the_expected_cost_is_that_of_random_losses(trials: int, eta: int) -> None:
    """Independent uniform losses at every rung, 200 searches; the mean must lie within 4 standard errors."""
    rungs = Rungs((100.0, 300.0, 900.0), (1, 3, 9))
    rng = np.random.default_rng(trials)
    costs = []
    for _ in range(200):
        core, cost = StoppingHalving(rungs, eta), 0.0
        for trial in range(trials):
            for level in rungs.levels:
                reached = level
                if not core.keep(str(trial), int(level), float(rng.random())):
                    break
            cost += reached
        costs.append(cost)
    error = np.std(costs) / np.sqrt(len(costs))
    # the recursion takes the expectation inside a concave function: up to 2 % above the mean of small searches
    assert abs(np.mean(costs) - expected_samples(rungs, trials, eta)) < 4 * error + 0.03 * np.mean(costs)
