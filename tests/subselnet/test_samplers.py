"""Samplers of predicted losses: the closed form by enumeration, the optimum beside it, the released code's law."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import plackett_oracle as oracle
import pytest
from numpy.typing import NDArray
from tolerances import FLOAT64, of_share

from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.protocol import Context, Selector
from raysubset.subselnet import samplers
from raysubset.subselnet.plackett_luce import Estimate
from raysubset.subselnet.samplers import LIMIT, Gibbs, Released, Transductive, bounded
from raysubset.testing.selectors import SelectorContract

FEW = np.array([0.3, 1.2, 0.1, 0.7], dtype=np.float32)

# n = 4, b = 2, lambda = 0.5, by enumeration over all distributions of ordered pairs and over all logits.
LAMBDA, PICKS = 0.5, 2
BEST_LOGITS, CLOSED_FORM, UNIFORM = -0.30711, -0.30107, -0.09245
DIGITS = 1e-5  # they are printed to five

SAMPLERS: dict[str, Selector] = {
    "gibbs": Gibbs(),
    "prefix": Transductive(steps=12),
    "full": Transductive(steps=4, gradient="full", draws=2),
    "from gibbs": Transductive(steps=3, start="gibbs"),
    "released": Released(steps=20),
}


def pool(losses: NDArray[np.floating]) -> Context:
    return Context(len(losses), signals={"loss": losses.astype(np.float32)})


def lightly_trained(n: int) -> NDArray[np.float32]:
    """Losses of about 1.5 nats, with a tail; multiples of 1/1024, so that shifts by whole numbers are exact."""
    losses = generator(0, "losses").gamma(2.0, 0.75, n)
    return (np.round(losses * 1024) / 1024).astype(np.float32)


@pytest.fixture(params=SAMPLERS)
def sampler(request: pytest.FixtureRequest) -> Selector:
    return SAMPLERS[request.param]


class TestContract(SelectorContract):
    @pytest.fixture(params=SAMPLERS)
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return SAMPLERS[request.param]


# ------------------------------------------------------------------ gibbs


@pytest.mark.parametrize("b", [1, 2])
def test_gibbs_draws_by_the_exponential_of_the_losses(b: int) -> None:
    draws, rng = 3_000, generator(1, "gibbs", b)
    found = Counter(tuple(Gibbs(LAMBDA).select(pool(FEW), b, rng).indices.tolist()) for _ in range(draws))
    for order, p in oracle.chances(-FEW.astype(np.float64) / LAMBDA, b).items():
        assert abs(found[order] / draws - p) < of_share(p, draws)


def test_gibbs_of_one_row_is_the_optimum_of_all_distributions() -> None:
    """Pr*(i) = exp(-l_i / lambda) / Z reaches -lambda log Z; nothing can be less."""
    losses = FEW.astype(np.float64)
    logits = Gibbs(LAMBDA).logits(pool(FEW), 1, generator(0))
    best = -LAMBDA * np.log(np.exp(-losses / LAMBDA).sum())
    assert oracle.exact(logits, losses, 1, LAMBDA) == pytest.approx(best, abs=FLOAT64)


def test_reference_values_of_two_rows() -> None:
    losses = FEW.astype(np.float64)
    gibbs = Gibbs(LAMBDA).logits(pool(FEW), PICKS, generator(0))
    assert oracle.exact(gibbs, losses, PICKS, LAMBDA) == pytest.approx(CLOSED_FORM, abs=DIGITS)
    assert oracle.exact(np.zeros(4), losses, PICKS, LAMBDA) == pytest.approx(UNIFORM, abs=DIGITS)


@pytest.mark.parametrize("entropy", [1e-2, 1e-4, 1e-9])
def test_without_entropy_gibbs_takes_the_rows_of_least_loss(entropy: float) -> None:
    """The losses lie 1/100 apart or more: at 1/100 of that, noise turns none of them round."""
    losses = generator(0, "apart").permutation(400) * 100 * max(entropy, 1e-4) + 0.5
    chosen = Gibbs(entropy).select(pool(losses), 40, generator(3))
    assert chosen.indices.tolist() == sorted(range(400), key=lambda row: losses[row])[:40]


def test_with_all_entropy_draws_are_uniform() -> None:
    """Equal logits draw the b largest of the noise."""
    losses = lightly_trained(500)
    rows = Gibbs(1e9).select(pool(losses), 50, generator(4)).indices
    noise = -np.log(-np.log(generator(4).random(500)))
    assert rows.tolist() == np.argsort(-noise)[:50].tolist()
    found = Transductive(1e6).logits(pool(losses), 50, generator(4))
    assert found.max() - found.min() < 0.1


# ------------------------------------------------------------------ transductive


@pytest.mark.parametrize("entropy", [0.3, 1.0])
def test_gate_the_optimised_objective_is_that_of_the_closed_form_or_less(entropy: float) -> None:
    n, b = 2000, 200
    losses = lightly_trained(n)
    gibbs, uniform = -losses.astype(np.float64) / entropy, np.zeros(n)
    for draw in range(8):
        found = Transductive(entropy).logits(pool(losses), b, generator(draw, "optimise"))
        ours, closed, blind = (
            oracle.objective(logits, losses.astype(np.float64), b, entropy, generator(draw, "judge"))
            for logits in (found, gibbs, uniform)
        )
        assert ours < blind
        assert ours <= closed + 0.02 * abs(closed)
        assert blind - closed > 0.05 * abs(closed), "the gate would tell nothing"


def test_the_full_gradient_reaches_the_best_logits_of_two_rows() -> None:
    losses = FEW.astype(np.float64)
    options = Transductive(LAMBDA, steps=400, lr=0.03, gradient="full", draws=32)
    found = [options.logits(pool(FEW), PICKS, generator(seed, "full")) for seed in range(2)]
    value = np.mean([oracle.exact(logits, losses, PICKS, LAMBDA) for logits in found])
    assert BEST_LOGITS - DIGITS <= value < (BEST_LOGITS + CLOSED_FORM) / 2


def test_each_gradient_draws_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []

    def spy(name: str, count: Callable[[Any], int]) -> None:
        plain = getattr(samplers, name)

        def spied(logits: Any, losses: Any, drawn: Any, entropy: float) -> Estimate:
            seen.append((name, count(drawn)))
            estimate: Estimate = plain(logits, losses, drawn, entropy)
            return estimate

        monkeypatch.setattr(samplers, name, spied)

    spy("prefix_estimate", lambda _: 1)
    spy("full_estimate", len)
    Transductive(steps=3).logits(pool(FEW), 2, generator(0))
    Transductive(steps=2, gradient="full", draws=5).logits(pool(FEW), 2, generator(0))
    assert seen == [("prefix_estimate", 1)] * 3 + [("full_estimate", 5)] * 2


def test_it_begins_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def still(logits: Any, losses: Any, order: Any, entropy: float) -> Estimate:
        begun.append(logits.copy())
        return Estimate(0.0, np.zeros_like(logits))

    monkeypatch.setattr(samplers, "prefix_estimate", still)
    for start in ("zeros", "gibbs"):
        Transductive(0.5, steps=1, start=start).logits(pool(FEW), 2, generator(0))  # type: ignore[arg-type]
    np.testing.assert_array_equal(begun[0], 0.0)
    np.testing.assert_allclose(begun[1], -(FEW.astype(np.float64) - FEW.min()) / 0.5, atol=FLOAT64)


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ([5.0] * 60, 20),  # nothing moves: the second ten are no better than the first
        ([-1.0 - 0.01 * step for step in range(60)], 60),
        ([-1000.0 - 0.001 * step for step in range(60)], 20),  # 0.01 in ten steps, of 1000
        ([-1.0 - 0.01 * min(step, 25) for step in range(60)], 45),  # the last twenty are on the floor
        ([5.0] * 19, 19),
    ],
)
def test_it_ends_when_ten_steps_bring_nothing(
    values: list[float], steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter(values)
    monkeypatch.setattr(
        samplers, "prefix_estimate", lambda logits, *_: Estimate(next(told), np.zeros_like(logits))
    )
    Transductive(steps=len(values)).logits(pool(FEW), 2, generator(0))
    assert len(values) - len(list(told)) == steps


def test_logits_are_held_where_the_objective_is_defined() -> None:
    np.testing.assert_array_equal(bounded(np.array([3.0, 1.0, -9000.0])), [0.0, -2.0, -LIMIT])
    found = Transductive(1e-3, steps=3, start="gibbs").logits(pool(lightly_trained(300)), 300, generator(0))
    assert np.isfinite(found).all()
    assert found.max() - found.min() <= LIMIT


# ------------------------------------------------------------------ all of them


@pytest.mark.parametrize("name", ["gibbs", "prefix", "full", "from gibbs"])
def test_a_shift_of_all_losses_changes_nothing(name: str) -> None:
    losses = lightly_trained(200)
    plain, shifted = (SAMPLERS[name].select(pool(some), 30, generator(5)) for some in (losses, losses + 4))
    assert plain.indices.tolist() == shifted.indices.tolist()


@pytest.mark.parametrize(
    "chooses",
    [Gibbs(), Transductive(), Transductive(gradient="full"), Transductive(start="gibbs"), Released(lr=0.005)],
    ids=str,
)
def test_small_losses_are_preferred(chooses: Selector) -> None:
    losses = lightly_trained(400)
    rows = chooses.select(pool(losses), 40, generator(6)).indices
    assert losses[rows].mean() < 0.7 * losses.mean()


def test_losses_that_are_missing_or_not_finite_are_refused(sampler: Selector) -> None:
    with pytest.raises(SelectionError, match="'loss' was not measured"):
        sampler.select(Context(4), 2, generator(0))
    with pytest.raises(SelectionError, match="'loss' has 4 values for a pool of 5"):
        sampler.select(Context(5, signals={"loss": FEW}), 2, generator(0))
    for bad in (np.nan, np.inf, -np.inf):
        losses = np.array([0.3, 1.2, bad, 0.7])
        with pytest.raises(SelectionError, match=f"loss of row 2 is {bad}"):
            sampler.select(pool(losses), 2, generator(0))


@pytest.mark.parametrize(
    ("kind", "wrong", "phrase"),
    [
        (Gibbs, {"entropy": 0.0}, "Gibbs: entropy=0.0"),
        (Gibbs, {"entropy": float("inf")}, "entropy=inf"),
        (Gibbs, {"entropy": float("nan")}, "entropy=nan"),
        (Transductive, {"entropy": -1.0}, "Transductive: entropy=-1.0"),
        (Transductive, {"steps": 0, "lr": 0.0, "draws": 1}, "steps=0.*draws=1.*lr=0.0"),
        (Transductive, {"lr": float("inf")}, "lr=inf"),
        (
            Transductive,
            {"gradient": "half", "start": "ones"},
            "gradient='half'.*prefix, full.*start='ones'.*gibbs",
        ),
        (Released, {"lr": 0.0, "steps": 0}, "lr=0.0.*steps=0"),
        (Released, {"lr": float("inf"), "count_weight": float("nan")}, "lr=inf.*count_weight=nan"),
    ],
)
def test_options_say_what_is_wrong(kind: Callable[..., Any], wrong: dict[str, Any], phrase: str) -> None:
    with pytest.raises(OptionsError, match=phrase):
        kind(**wrong)


# ------------------------------------------------------------------ what was released


def first_of_blurred(losses: NDArray[np.float32], reach: float, b: int, seed: int) -> set[int]:
    start = generator(seed, "released").random(len(losses)).tolist()
    score = [u - reach * float(loss) for u, loss in zip(start, losses, strict=True)]
    return set(sorted(range(len(losses)), key=lambda row: -score[row])[:b])


@pytest.mark.parametrize(("lr", "steps"), [(0.01, 5), (0.05, 20), (0.05, 100)])
@pytest.mark.parametrize("entropy_weight", [1.0, 0.0, -1.0])
def test_released_takes_the_least_losses_blurred_by_its_start(
    lr: float, steps: int, entropy_weight: float
) -> None:
    """Entropy has no say: with it, without it and with its sign turned the rows are the same."""
    n, b = 3000, 300
    losses = generator(0, "well trained").exponential(0.4, n).astype(np.float32)
    chosen = Released(lr, steps, entropy_weight).select(pool(losses), b, generator(1, "released"))
    assert set(chosen.indices.tolist()) == first_of_blurred(losses, lr * steps, b, 1)


def test_released_follows_the_gradient_of_its_objective() -> None:
    """One step, against differences of sum(scores losses) + a entropy(softmax) + c |sum - k|."""
    losses, lr, a, c = FEW.astype(np.float64), 1e-3, 3.0, 0.2
    start = generator(7).random(4)

    def value(scores: NDArray[np.float64], k: int) -> float:
        p = np.exp(scores) / np.exp(scores).sum()
        return float(scores @ losses - a * (p @ np.log(p)) + c * abs(scores.sum() - k))

    for k in (1, 4):
        slope = [(value(start + h, k) - value(start - h, k)) / 2e-6 for h in 1e-6 * np.eye(4)]
        found = Released(lr, 1, a, c).scores(losses, k, generator(7))
        np.testing.assert_allclose((start - found) / lr, slope, atol=1e-6)


def test_released_scores_are_held_at_zero() -> None:
    scores = Released(lr=0.1, steps=200).scores(np.linspace(0.5, 3.0, 50), 5, generator(0))
    assert scores.min() == 0.0
    assert np.isfinite(scores).all()


def test_released_breaks_the_ties_at_zero_at_random() -> None:
    """Of lightly trained networks every score ends at 0: by row number the first rows would always be taken."""
    losses = lightly_trained(400) + 1
    rows = Released().select(pool(losses), 40, generator(0)).indices
    assert Released().scores(losses.astype(np.float64), 40, generator(0)).max() == 0
    assert 120 < rows.mean() < 280  # 200, of standard deviation 18
