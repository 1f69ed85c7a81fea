"""The mixture of metrics.

The golden cases per_metric_N8 and per_metric_N200 give every metric a Gaussian of its own; the project does not
offer that option (groups of unequal size would get unequal mass), so they are not compared.
"""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import FLOAT64, PROPERTY, of_share

from raysubset.errors import OptionsError
from raysubset.seeds import generator
from raysubset.selection.mixture import GROUPS, METRICS, ORDERS, draw_metric, metric_probabilities

GOLDEN = golden("asp_mixture")
AT_N200 = [0, 49, 74, 99, 149, 199]  # the golden epochs: the ends, and just before 1/4, 3/8, 1/2 and 3/4
STUDY_EPOCHS = 20_000
SIGMAS = {"0.0625": 1 / 16, "0.0833": 1 / 12, "0.1250": 1 / 8, "0.1667": 1 / 6, "0.2500": 1 / 4}

widths = st.floats(0.01, 10)


class Dealt:
    """A generator that deals one given number."""

    def __init__(self, uniform: float) -> None:
        self.uniform = uniform

    def random(self) -> float:
        return self.uniform


def test_golden_probabilities_over_8_epochs() -> None:
    expected = GOLDEN["cases"]["group_N8"]
    got = metric_probabilities(8)
    assert set(got) == set(expected) == set(METRICS)
    for metric, values in expected.items():
        np.testing.assert_allclose(got[metric], values, rtol=0, atol=FLOAT64)


def test_golden_probabilities_over_200_epochs() -> None:
    expected = GOLDEN["cases"]["group_N200"]
    got = metric_probabilities(200)
    assert set(got) == set(expected)
    for metric, values in expected.items():
        assert got[metric].mean() == pytest.approx(values["mean_share"], abs=FLOAT64)
        np.testing.assert_allclose(got[metric][AT_N200], values["at"], rtol=0, atol=FLOAT64)


@pytest.mark.parametrize("order", ORDERS)
def test_golden_permutations(order: str) -> None:
    assert set(GOLDEN["permutations_N8"]) == set(ORDERS) == {"".join(p) for p in permutations("012")}
    got = metric_probabilities(8, order)
    for metric, values in GOLDEN["permutations_N8"][order].items():
        np.testing.assert_allclose(got[metric], values, rtol=0, atol=FLOAT64)


def test_golden_draws() -> None:
    case = GOLDEN["inverse_cdf"]
    probabilities = metric_probabilities(case["N"])
    got = [
        [draw_metric(probabilities, epoch, Dealt(uniform)) for uniform in case["uniforms"]]  # type: ignore[arg-type]
        for epoch in range(case["N"])
    ]
    assert got == case["choice"]


@pytest.mark.parametrize("key", SIGMAS)
def test_golden_sigma_study(key: str) -> None:
    assert set(GOLDEN["sigma_study"]) == set(SIGMAS)
    expected = GOLDEN["sigma_study"][key]
    groups = group_shares(metric_probabilities(STUDY_EPOCHS, sigma=SIGMAS[key]))
    for group in range(3):
        at_mean = groups[group, STUDY_EPOCHS * (group + 1) // 4]
        assert at_mean == pytest.approx(expected[f"own_at_mu{group}"], abs=FLOAT64)
    np.testing.assert_allclose(groups.mean(axis=1), expected["share"], rtol=0, atol=FLOAT64)
    log = np.log(groups, out=np.zeros_like(groups), where=groups > 0)
    assert -(groups * log).sum(axis=0).mean() == pytest.approx(expected["mean_entropy_nats"], abs=FLOAT64)


def group_shares(probabilities: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.stack([sum(probabilities[metric] for metric in group) for group in GROUPS])  # type: ignore[arg-type]


@PROPERTY
@given(st.integers(1, 300), st.sampled_from(ORDERS), widths)
def test_probabilities_sum_to_one(epochs: int, order: str, sigma: float) -> None:
    probabilities = metric_probabilities(epochs, order, sigma)
    total = sum(probabilities.values())
    np.testing.assert_allclose(total, np.ones(epochs), rtol=0, atol=FLOAT64)
    assert all((values >= 0).all() for values in probabilities.values())


@PROPERTY
@given(st.integers(1, 300), st.sampled_from(ORDERS), widths)
def test_reversing_the_order_mirrors_time(epochs: int, order: str, sigma: float) -> None:
    forward = metric_probabilities(epochs, order, sigma)
    backward = metric_probabilities(epochs, order[::-1], sigma)
    for metric in METRICS:
        np.testing.assert_allclose(forward[metric], backward[metric][::-1], rtol=0, atol=FLOAT64)


def test_a_narrow_sigma_does_not_underflow() -> None:
    groups = group_shares(metric_probabilities(12, sigma=1e-4))
    assert set(np.unique(groups)) <= {0.0, 0.5, 1.0}
    assert groups[:, [0, 6, 11]].argmax(axis=0).tolist() == [0, 1, 2]


def test_draws_follow_the_probabilities() -> None:
    probabilities = metric_probabilities(4)
    rng = generator(0, "draws")
    counts = Counter(draw_metric(probabilities, 1, rng) for _ in range(5000))
    for metric in METRICS:
        law = probabilities[metric][1]
        assert counts[metric] / 5000 == pytest.approx(law, abs=float(of_share(law, 5000)))


@pytest.mark.parametrize("uniform", [0.0, 1 - 2.0**-53])
def test_the_ends_of_the_unit_interval_are_drawn_too(uniform: float) -> None:
    metric = draw_metric(metric_probabilities(8), 3, Dealt(uniform))  # type: ignore[arg-type]
    assert metric == ("random" if uniform == 0 else "entropy")


def test_all_faults_come_in_one_message() -> None:
    with pytest.raises(OptionsError) as caught:
        metric_probabilities(0, "011", float("inf"))
    for part in ("epochs=0", "order='011'", "sigma=inf"):
        assert part in str(caught.value)
