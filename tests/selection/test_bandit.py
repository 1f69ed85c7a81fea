"""The bandit over metrics: its filter against dense conditioning, its draws, what it finds in made-up worlds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import SelectorError
from raysubset.seeds import generator
from raysubset.selection.bandit import COMMON, FADE, JITTER, OWN, WALK, MetricBandit
from raysubset.selection.mixture import METRICS

ARMS = len(METRICS)


def dense_posterior(told: list[dict[str, tuple[float, float]]], epochs: int):
    """Condition the joint Gaussian of all rates at all times on all measurements, at once."""
    times, mean_part = len(told) + 1, np.full((ARMS, ARMS), 1 / ARMS)
    keep = np.exp(-FADE / epochs)
    step = mean_part + keep * (np.eye(ARMS) - mean_part)
    noise = WALK**2 / epochs * np.ones((ARMS, ARMS)) + OWN**2 * (1 - keep**2) * (np.eye(ARMS) - mean_part)
    within = [COMMON**2 * np.ones((ARMS, ARMS)) + OWN**2 * np.eye(ARMS)]
    for _ in told:
        within.append(step @ within[-1] @ step.T + noise)
    joint = np.zeros((times * ARMS, times * ARMS))
    for early in range(times):
        block = within[early]
        for late in range(early, times):
            rows, columns = slice(late * ARMS, (late + 1) * ARMS), slice(early * ARMS, (early + 1) * ARMS)
            joint[rows, columns], joint[columns, rows] = block, block.T
            block = step @ block
    places, values, variances = [], [], []
    for time, rates in enumerate(told, 1):
        for metric, (rate, variance) in rates.items():
            places.append(time * ARMS + METRICS.index(metric))
            values.append(rate)
            variances.append(variance + JITTER**2)
    last = slice((times - 1) * ARMS, times * ARMS)
    gain = joint[last][:, places] @ np.linalg.inv(joint[np.ix_(places, places)] + np.diag(variances))
    return gain @ np.array(values), joint[last, last] - gain @ joint[places][:, last]


measured = st.dictionaries(
    st.sampled_from(METRICS), st.tuples(st.floats(-3, 3), st.floats(0, 1)), min_size=1, max_size=ARMS
)


@PROPERTY
@given(st.lists(measured, min_size=1, max_size=5), st.integers(1, 50))
def test_the_posterior_is_that_of_conditioning_everything_at_once(told, epochs: int) -> None:
    bandit = MetricBandit(epochs)
    for rates in told:
        bandit.learn(rates)
    mean, covariance = dense_posterior(told, epochs)
    np.testing.assert_allclose(bandit.rates[0], mean, atol=FLOAT64)
    np.testing.assert_allclose(bandit.rates[1], covariance, atol=FLOAT64)


def picks(bandit: MetricBandit, metrics: tuple[str, ...] = METRICS, draws: int = 2000) -> Counter[str]:
    return Counter(bandit.choose(generator(0, draw, "bandit"), metrics) for draw in range(draws))


def test_nothing_known_is_drawn_uniformly() -> None:
    counts = picks(MetricBandit(40))
    for metric in METRICS:
        assert abs(counts[metric] - 400) < 5 * np.sqrt(2000 * 0.2 * 0.8)


def test_only_the_metrics_asked_for_are_drawn() -> None:
    assert set(picks(MetricBandit(40), ("loss", "random"))) == {"loss", "random"}


def test_what_all_metrics_gain_alike_prefers_none() -> None:
    bandit = MetricBandit(40)
    for epoch in range(40):
        bandit.learn(dict.fromkeys(METRICS, (3 / (1 + epoch), 0.01)))
    assert max(picks(bandit).values()) < 2000 * 0.3


def test_the_best_is_found_though_gains_fall_and_only_the_chosen_are_seen() -> None:
    bandit, chosen = MetricBandit(40), []
    for epoch in range(40):
        chosen.append(bandit.choose(generator(1, epoch, "bandit")))
        rng = generator(2, epoch)
        seen = sorted({chosen[-1], "random"})
        noise = 0.1 * rng.standard_normal(len(seen))
        gains = [
            2 / (1 + epoch) + (metric == "entropy") + extra for metric, extra in zip(seen, noise, strict=True)
        ]
        bandit.learn({metric: (gain, 0.01) for metric, gain in zip(seen, gains, strict=True)})
    assert Counter(chosen[20:])["entropy"] > 12  # by chance 4


def test_a_best_that_changes_is_followed() -> None:
    bandit = MetricBandit(40)
    for epoch in range(40):
        good = "gradient" if epoch < 20 else "loss"
        bandit.learn({metric: (float(metric == good), 0.01) for metric in METRICS})
    assert picks(bandit)["loss"] > 1900


def test_a_restored_bandit_goes_on_as_the_other() -> None:
    one, other = MetricBandit(10), MetricBandit(10)
    one.learn({"loss": (0.5, 0.1)})
    other.restore(one.state())
    kept = other.state()
    for bandit in (one, other):
        bandit.learn({"random": (0.2, 0.1), "loss": (0.1, 0.0)})
    np.testing.assert_array_equal(one.rates[0], other.rates[0])
    np.testing.assert_array_equal(one.rates[1], other.rates[1])
    assert not np.array_equal(kept["mean"], other.rates[0])  # a state is a copy


def test_a_state_of_other_metrics_is_refused() -> None:
    state = MetricBandit(10).state()
    with pytest.raises(SelectorError, match="4 metrics, need 5"):
        MetricBandit(10).restore({**state, "mean": state["mean"][:4]})
