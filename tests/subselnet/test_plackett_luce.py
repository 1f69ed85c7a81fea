"""The Plackett-Luce objective against enumeration of every ordered draw, autograd, and the reference values."""

from __future__ import annotations

import math
from itertools import permutations, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import SelectionError
from raysubset.seeds import generator
from raysubset.selection.sampling import gumbel_top_m
from raysubset.subselnet.plackett_luce import Picks, full_estimate, log_probability, prefix_estimate

# From direct enumeration in float64 (four rows, two picks, lambda 0.1).
LOGITS = np.array([0.5, -0.2, 1.0, 0.0])
LOSSES = np.array([0.3, 1.2, 0.1, 0.7])
PICKS, LAMBDA = 2, 0.1
LOG_PROBABILITY_20 = -1.5656656862696545
FIRST_ENTROPY = 1.2760054787760957
ENTROPY, EXPECTED_LOSS, OBJECTIVE = 2.287476155307494, 0.8773056923393111, 0.6485580768085617
GRADIENT = [-0.1029336024, 0.1773725408, -0.1198776176, 0.0454386393]
INCLUSION = [0.5675427070, 0.3097403195, 0.7509123077, 0.3718046658]
DIGITS = 1e-9  # the reference values are printed to ten
DIFFERENCES = 1e-7  # their gradient is one of finite differences

SMALL = st.integers(2, 4).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(-3, 3), min_size=n, max_size=n),
        st.lists(st.floats(0, 3), min_size=n, max_size=n),
        st.integers(1, min(n, 2)),
        st.floats(0, 2),
    )
)


def enumerated(logits: np.ndarray, losses: np.ndarray, b: int) -> dict[tuple[int, ...], float]:
    """Return the probability of each ordered draw, pick by pick."""
    found = {}
    for order in permutations(range(len(logits)), b):
        left, probability = set(range(len(logits))), 1.0
        for row in order:
            probability *= math.exp(logits[row]) / sum(math.exp(logits[j]) for j in left)
            left.remove(row)
        found[order] = probability
    return found


def exact_objective(logits: torch.Tensor, losses: torch.Tensor, b: int, weight: float) -> torch.Tensor:
    """Return E[sum l] - weight * entropy over all draws, with a graph."""
    total = torch.zeros((), dtype=torch.float64)
    for order in permutations(range(len(logits)), b):
        left = torch.ones(len(logits), dtype=torch.bool)
        log_p = torch.zeros((), dtype=torch.float64)
        for row in order:
            log_p = log_p + logits[row] - torch.logsumexp(logits[left], dim=0)
            left = left.clone()
            left[row] = False
        total = total + log_p.exp() * (losses[list(order)].sum() + weight * log_p)
    return total


def test_reference_values() -> None:
    draw = Picks.of(LOGITS, LOSSES, np.array([2, 0]))
    assert draw.log_probabilities.sum() == pytest.approx(LOG_PROBABILITY_20, abs=FLOAT64)
    assert log_probability(LOGITS, np.array([2, 0])) == pytest.approx(LOG_PROBABILITY_20, abs=FLOAT64)
    assert draw.entropies[0] == pytest.approx(FIRST_ENTROPY, abs=FLOAT64)
    chances = enumerated(LOGITS, LOSSES, PICKS)
    value = entropy = loss = 0.0
    for order, p in chances.items():
        picks = Picks.of(LOGITS, LOSSES, np.array(order))
        entropy += p * picks.entropies.sum()
        loss += p * picks.losses.sum()
        value += p * prefix_estimate(LOGITS, LOSSES, np.array(order), LAMBDA).value
    assert entropy == pytest.approx(ENTROPY, abs=FLOAT64)
    assert loss == pytest.approx(EXPECTED_LOSS, abs=FLOAT64)
    assert value == pytest.approx(OBJECTIVE, abs=FLOAT64)
    inclusion = [sum(p for order, p in chances.items() if row in order) for row in range(4)]
    np.testing.assert_allclose(inclusion, INCLUSION, atol=DIGITS)
    assert sum(inclusion) == pytest.approx(PICKS)


def test_the_full_gradient_is_unbiased() -> None:
    """Mean over every pair of draws, weighted by their chances: exact, no Monte Carlo."""
    chances = enumerated(LOGITS, LOSSES, PICKS)
    gradient = np.zeros(4)
    for first, p in chances.items():
        for second, q in chances.items():
            orders = [np.array(first), np.array(second)]
            gradient += p * q * full_estimate(LOGITS, LOSSES, orders, LAMBDA).gradient
    np.testing.assert_allclose(gradient, GRADIENT, atol=DIFFERENCES)


@PROPERTY
@given(SMALL)
def test_the_full_gradient_is_that_of_enumeration(case: tuple[list[float], list[float], int, float]) -> None:
    plain, costs, b, weight = case
    logits, losses = np.array(plain), np.array(costs)
    free = torch.tensor(logits, requires_grad=True)
    exact_objective(free, torch.tensor(losses), b, weight).backward()  # type: ignore[no-untyped-call]
    assert free.grad is not None
    chances = enumerated(logits, losses, b).items()
    gradient = np.zeros(len(logits))
    for (first, p), (second, q) in product(chances, chances):
        orders = [np.array(first), np.array(second)]
        gradient += p * q * full_estimate(logits, losses, orders, weight).gradient
    np.testing.assert_allclose(gradient, free.grad.numpy(), atol=1e-8)


@PROPERTY
@given(st.integers(2, 40), st.integers(0, 2**32), st.floats(0, 3))
def test_the_prefix_gradient_is_that_of_autograd(n: int, seed: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    b = int(rng.integers(1, n + 1))
    logits, losses = rng.normal(0, 2, n), rng.exponential(1, n)
    order = gumbel_top_m(logits, b, rng)
    free = torch.tensor(logits, requires_grad=True)
    value, left = torch.zeros((), dtype=torch.float64), torch.ones(n, dtype=torch.bool)
    for row in order:
        p = torch.softmax(free[left], dim=0)
        value = value + (p * torch.tensor(losses)[left]).sum() + weight * (p * torch.log(p)).sum()
        left = left.clone()
        left[row] = False
    value.backward()  # type: ignore[no-untyped-call]
    assert free.grad is not None
    ours = prefix_estimate(logits, losses, order, weight)
    assert ours.value == pytest.approx(value.item(), abs=1e-8)
    np.testing.assert_allclose(ours.gradient, free.grad.numpy(), atol=1e-8)


def test_monte_carlo_agrees_with_enumeration() -> None:
    """4 standard errors of 4,000 pairs of draws."""
    rng = generator(0, "monte-carlo")
    found = []
    for _ in range(4_000):
        orders = [gumbel_top_m(LOGITS, PICKS, rng) for _ in range(2)]
        found.append(full_estimate(LOGITS, LOSSES, orders, LAMBDA))
    gradients = np.stack([one.gradient for one in found])
    errors = gradients.std(axis=0) / math.sqrt(len(found))
    assert (np.abs(gradients.mean(axis=0) - GRADIENT) < 4 * errors).all()
    values = np.array([one.value for one in found])
    assert abs(values.mean() - OBJECTIVE) < 4 * values.std() / math.sqrt(len(values))


@PROPERTY
@given(st.integers(2, 60), st.integers(0, 2**32), st.floats(-500, 500))
def test_a_shift_of_all_logits_changes_nothing(n: int, seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    logits, losses = rng.normal(0, 3, n), rng.exponential(1, n)
    order = gumbel_top_m(logits, int(rng.integers(1, n + 1)), rng)
    plain, shifted = (prefix_estimate(pi, losses, order, 0.3) for pi in (logits, logits + shift))
    assert shifted.value == pytest.approx(plain.value, rel=1e-7, abs=1e-7)
    np.testing.assert_allclose(shifted.gradient, plain.gradient, atol=1e-7)
    assert abs(plain.gradient.sum()) < 1e-8 * n  # along the shift the objective is flat


def test_peaked_logits_stay_finite() -> None:
    """All rows are drawn, the last of them with weights of e^-600."""
    logits = np.array([0.0, -290.0, 300.0, -300.0])
    estimate = prefix_estimate(logits, np.ones(4), np.array([2, 0, 1, 3]), 1.0)
    assert estimate.value == pytest.approx(4.0, rel=1e-3)  # less the last choices' entropy
    np.testing.assert_allclose(estimate.gradient, 0, atol=1e-3)


def test_logits_too_far_apart_are_refused() -> None:
    with pytest.raises(SelectionError, match="601.*at most 600"):
        Picks.of(np.array([0.0, 601.0]), np.zeros(2), np.array([1]))


def test_a_draw_of_everything_has_no_choice_left_at_the_end() -> None:
    picks = Picks.of(LOGITS, LOSSES, np.array([3, 1, 0, 2]))
    assert picks.entropies[-1] == pytest.approx(0.0, abs=FLOAT64)
    assert picks.losses[-1] == pytest.approx(LOSSES[2])
    assert picks.log_probabilities[-1] == pytest.approx(0.0, abs=FLOAT64)
