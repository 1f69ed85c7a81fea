"""HyperTune's choice of brackets: in turn first, then by theta and cost."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from golden_values import golden
from numpy.typing import NDArray
from tolerances import FLOAT64, of_share

from raysubset.errors import OptionsError, SchedulerError
from raysubset.hpo.history import History
from raysubset.hpo.hyper_tune import HyperTune, bracket_shares

VALUES = golden("hypertune_theta")
LEVELS = (1.0, 3.0, 9.0)
PASS = [0] * 9 + [1] * 5 + [2] * 3  # HyperBand's first rungs, each as often as it starts trials
EMPTY = History(3)


def tuner(theta: NDArray[np.float64] | None, seed: int = 0) -> HyperTune:
    return HyperTune(3, LEVELS, 3, seed, lambda history: theta)


def brackets(core: HyperTune, trials: int) -> list[int]:
    chosen = []
    for number in range(trials):
        chosen.append(core.opening(EMPTY))
        assert core.start(str(number), chosen[-1]) == chosen[-1]
    return chosen


def test_golden_shares() -> None:
    theta = np.array(VALUES["expected"]["theta_tie_shared"])
    shares = bracket_shares(theta, VALUES["inputs"]["rungs"])
    np.testing.assert_allclose(shares, VALUES["expected"]["bracket_prob"], rtol=FLOAT64)


def test_three_passes_in_turn_then_draws_in_proportion_to_theta_over_cost() -> None:
    theta = np.array([0.25, 0.5, 0.25])
    draws = 1500
    chosen = brackets(tuner(theta), 3 * len(PASS) + draws)
    assert chosen[: 3 * len(PASS)] == PASS * 3
    counts = Counter(chosen[3 * len(PASS) :])
    shares = np.array([counts[bracket] / draws for bracket in range(3)])
    expected = np.array([0.5625, 0.375, 0.0625])
    assert (np.abs(shares - expected) < of_share(expected, draws)).all()


def test_a_level_without_weight_starts_no_trial() -> None:
    assert set(brackets(tuner(np.array([0.0, 1.0, 0.0])), 3 * len(PASS) + 50)[3 * len(PASS) :]) == {1}


def test_while_too_little_is_known_the_turns_go_on() -> None:
    assert brackets(tuner(None), 5 * len(PASS)) == PASS * 5


def test_weights_are_not_asked_before_the_passes_are_through() -> None:
    def never(history: History) -> NDArray[np.float64]:
        raise AssertionError

    core = HyperTune(3, LEVELS, 3, 0, never)
    brackets(core, 3 * len(PASS))
    with pytest.raises(AssertionError):
        core.opening(EMPTY)


def test_draws_hang_on_seed_and_trial_alone() -> None:
    theta = np.array([0.2, 0.3, 0.5])
    whole = brackets(tuner(theta), 100)
    assert brackets(tuner(theta), 100) == whole
    assert brackets(tuner(theta, seed=1), 100) != whole
    late = tuner(theta)
    for number, bracket in enumerate(whole[:80]):
        late.start(str(number), bracket)  # as a journal read back: nobody asked
    assert [late.opening(EMPTY) for _ in range(3)] == [whole[80]] * 3


@pytest.mark.parametrize(
    "theta",
    [[0.5, 0.5], [0.0, 0.0, 0.0], [-0.1, 0.5, 0.6], [np.nan, 0.5, 0.5], [np.inf, 0.5, 0.5], [[1.0, 1.0, 1.0]]],
)
def test_what_is_no_weighting_is_refused(theta: list[float]) -> None:
    with pytest.raises(SchedulerError, match="need 3 finite weights"):
        bracket_shares(np.array(theta), LEVELS)


def test_options_out_of_range() -> None:
    with pytest.raises(OptionsError, match="one level a rung"):
        HyperTune(2, LEVELS, 3, 0, lambda history: None)
    with pytest.raises(OptionsError, match="eta=1"):
        HyperTune(3, LEVELS, 1, 0, lambda history: None)
