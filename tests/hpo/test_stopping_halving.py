"""StoppingHalving: by hand, by numpy's quantile, and against Ray's own asynchronous halving."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import OptionsError
from raysubset.hpo.halving import StoppingHalving, expected_samples
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.scheduler import Verdict

losses = st.one_of(st.floats(0, 10), st.just(math.nan), st.just(math.inf))
# (trial, rung, loss): every trial at any rung, at most once each, in any order
reports = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 2), losses), max_size=40, unique_by=lambda report: report[:2]
)


def core_of(trials: int, eta: int = 3, rungs: int = 3) -> StoppingHalving:
    """A core that knows trials "0", "1", ..."""
    core = StoppingHalving(rungs, eta)
    for trial in range(trials):
        assert core.start(str(trial), 0) == 0
    return core


def keeps(core: StoppingHalving, trial: object, rung: int, loss: float) -> bool:
    return core.judge(str(trial), rung, loss) is Verdict.CONTINUE


def test_decisions_by_hand() -> None:
    """eta 3: linear quantile at 1/3 of the losses before."""
    core = core_of(6)
    assert keeps(core, 0, 0, 0.9)  # first of all
    assert keeps(core, 1, 0, 0.9)  # not worse
    assert not keeps(core, 2, 0, 0.91)
    assert keeps(core, 3, 0, 0.3)  # [.9 .9 .91] at 2/3 of a place: .9
    assert keeps(core, 4, 0, 0.85)  # [.3 .9 .9 .91] at place 1: .9
    assert not keeps(core, 5, 0, 0.9)  # [.3 .85 .9 .9 .91] at place 4/3: .8667
    assert keeps(core, 0, 1, 0.8)  # first at its rung
    assert not keeps(core, 3, 1, 0.81)
    assert not keeps(core, 0, 2, 0.0), "the end"


def test_a_trial_is_judged_once_at_a_rung() -> None:
    core = core_of(2)
    keeps(core, 0, 0, 0.1)
    assert not keeps(core, 1, 0, 0.2)
    assert keeps(core, 1, 0, 0.2), "judged once"
    assert core.losses[0] == {"0": 0.1, "1": 0.2}


def test_a_report_past_two_rungs_is_judged_at_the_higher_one_only() -> None:
    core = core_of(1)
    assert keeps(core, 0, 1, 0.5)
    assert core.losses == [{}, {"0": 0.5}, {}]
    assert keeps(core, 0, 1, 0.7)
    assert keeps(core, 0, 0, 0.7), "a late report of a lower rung changes nothing"
    assert core.losses == [{}, {"0": 0.5}, {}]


def test_what_is_not_finite_is_infinitely_bad() -> None:
    core = core_of(6, eta=2)
    assert keeps(core, 0, 0, math.nan)  # first
    assert keeps(core, 1, 0, math.inf)  # as bad as the only other
    assert keeps(core, 2, 0, 1.0)
    assert keeps(core, 3, 0, 2.0)  # [1 inf inf]: inf
    assert keeps(core, 4, 0, 1.5)
    assert not keeps(core, 5, 0, -math.inf)  # [1 1.5 2 inf inf]: 2
    assert list(core.losses[0].values()) == [math.inf, math.inf, 1.0, 2.0, 1.5, math.inf]


@PROPERTY
@given(reports, st.integers(2, 5))
def test_decisions_are_those_of_numpys_quantile(story: list[tuple[int, int, float]], eta: int) -> None:
    """Finite losses only, each trial judged from below; a margin of a rounding around the quantile."""
    core = core_of(9, eta)
    before: list[list[float]] = [[], [], []]
    for trial, rung, loss in sorted(story, key=lambda report: report[1]):
        if not math.isfinite(loss):
            continue
        kept, earlier = keeps(core, trial, rung, loss), before[rung]
        bound = np.quantile(earlier, 1 / eta) if earlier else math.inf
        if rung == 2:
            assert not kept
        elif not math.isclose(loss, bound, rel_tol=1e-12):
            assert kept == (loss < bound)
        earlier.append(loss)


@PROPERTY
@given(reports, st.integers(2, 5))
def test_the_best_so_far_always_goes_on(story: list[tuple[int, int, float]], eta: int) -> None:
    core = core_of(9, eta, rungs=4)
    for trial, rung, loss in story:
        before = list(core.losses[rung].values())
        kept = keeps(core, trial, rung, loss)
        if not math.isnan(loss) and all(loss <= x for x in before):
            assert kept


@pytest.mark.parametrize("eta", [2, 3, 4])
def test_about_one_in_eta_goes_on(eta: int) -> None:
    rng = np.random.default_rng(0)
    core = core_of(2000, eta, rungs=2)
    kept = sum(keeps(core, trial, 0, rng.random()) for trial in range(2000))
    assert 1 / eta <= kept / 2000 < 1 / eta + 0.05  # early ones meet few others, so a little more


@pytest.mark.ray
@pytest.mark.parametrize("eta", [2, 3, 4])
def test_decisions_are_those_of_rays_bracket(eta: int) -> None:
    """One report a rung, rungs where Ray can place them (powers of eta), losses without ties."""
    from ray.tune.schedulers.async_hyperband import _Bracket

    rng = np.random.default_rng(eta)
    core, oracle = core_of(300, eta, rungs=5), _Bracket(1, eta**3, eta, 0)  # Ray knows no end: it is our fifth
    queue, compared = [(trial, 0) for trial in range(300)], 0
    while queue:
        trial, rung = queue.pop(int(rng.integers(len(queue))))  # trials reach rungs in any order
        loss = float(rng.random())
        kept = keeps(core, trial, rung, loss)
        told = oracle.on_result(SimpleNamespace(trial_id=str(trial)), eta**rung, -loss)  # type: ignore[arg-type]
        assert kept == (told == "CONTINUE")
        compared += 1
        if kept and rung < 3:
            queue.append((trial, rung + 1))
    assert compared > 350


def test_a_trial_that_trains_again_is_judged_again() -> None:
    core = core_of(2)
    for trial, loss in ((0, 0.5), (1, 0.4)):
        assert keeps(core, trial, 0, loss)
        keeps(core, trial, 1, loss)
    core.rewind("1", 1)
    assert [sorted(judged) for judged in core.losses] == [["0", "1"], ["0"], []]
    assert keeps(core, 1, 0, 9.0)  # its place at the first rung stands
    core.rewind("1", 0)
    assert not keeps(core, 1, 0, 9.0)  # against 0.5 alone
    assert core.losses[0] == {"0": 0.5, "1": 9.0}


def test_a_trial_that_comes_again_is_judged_as_it_was() -> None:
    core = core_of(3, eta=2)
    assert keeps(core, 0, 0, 0.5)
    assert keeps(core, 1, 0, 0.1)
    assert keeps(core, 2, 0, 0.05)
    core.rewind("1", 0)
    core.rewind("0", 0)
    assert keeps(core, 0, 0, 0.5), "nobody was before it"
    assert not keeps(core, 1, 0, 0.6), "the first was"


def test_eta_out_of_range() -> None:
    with pytest.raises(OptionsError, match="eta=1"):
        StoppingHalving(3, 1)


@pytest.mark.slow
@pytest.mark.parametrize("trials", [4, 16, 60])
@pytest.mark.parametrize("eta", [2, 3])
def test_the_expected_cost_is_that_of_random_losses(trials: int, eta: int) -> None:
    """Independent uniform losses at every rung, 200 searches; the mean must lie within 4 standard errors."""
    rungs = Rungs((100.0, 300.0, 900.0), (1, 3, 9))
    rng = np.random.default_rng(trials)
    costs = []
    for _ in range(200):
        core, cost = core_of(trials, eta), 0.0
        for trial in range(trials):
            for rung, level in enumerate(rungs.levels):
                reached = level
                if not keeps(core, trial, rung, float(rng.random())):
                    break
            cost += reached
        costs.append(cost)
    error = np.std(costs) / np.sqrt(len(costs))
    # the recursion takes the expectation inside a concave function: up to 2 % above the mean of small searches
    assert abs(np.mean(costs) - expected_samples(rungs, trials, eta)) < 4 * error + 0.03 * np.mean(costs)
