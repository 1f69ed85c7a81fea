"""GLISTER: golden values, autograd as oracle for the state, and what peers get wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.glister import Glister
from raysubset.selection.gradients import Gradients
from raysubset.selection.kernels.one_step import OneStep
from raysubset.selection.protocol import Context, Selector, Target
from raysubset.selection.wrappers import PerClass
from raysubset.testing.selectors import SelectorContract, make_context
from raysubset.types import Selection

GOLDEN = golden("glister")
RELATIVE = 1e-4  # gains from float32 features and residuals: 6e-8 each, sums that cancel to a hundredth

VARIANTS: dict[str, Selector] = {
    "stochastic": Glister(),
    "exact": Glister("exact"),
    "rounds": Glister("rounds", rounds=4),
    "one ranking": Glister("rounds", rounds=1),
    "train, bias": Glister(target="train", gradients="bias"),
    "per class": PerClass(Glister(eta=0.1)),
}


@pytest.mark.slow
class TestGlister(SelectorContract):
    @pytest.fixture(params=VARIANTS)
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return VARIANTS[request.param]


def choose(selector: Selector, context: Context, k: int, seed: int = 0) -> Selection:
    return selector.select(context, k, generator(seed))


class Layer:
    """The oracle: explicit last-layer weights, moved by explicit gradients, and autograd."""

    def __init__(self, context: Context, whole: bool = True) -> None:
        target, labels = context.target, context.labels
        assert target is not None
        assert labels is not None
        assert context.logits is not None
        assert context.features is not None
        self.pool = (self._inputs(context.features, whole), torch.tensor(context.logits).double(), labels)
        self.target = (self._inputs(target.features, whole), torch.tensor(target.logits).double(), target.labels)
        self.moved = torch.zeros(3, self.pool[0].shape[1], dtype=torch.float64)  # theta_A - theta

    @staticmethod
    def _inputs(features: NDArray[np.float32], whole: bool) -> torch.Tensor:
        inputs = torch.ones(len(features), 1, dtype=torch.float64)
        return torch.hstack([torch.tensor(features).double(), inputs]) if whole else inputs

    def _slope(self, moved: torch.Tensor, rows: tuple, pick: object) -> torch.Tensor:
        inputs, logits, labels = rows
        moved = moved.clone().requires_grad_()
        out = logits[pick] + inputs[pick] @ moved.T
        torch.nn.functional.cross_entropy(out, torch.tensor(labels)[pick]).backward()
        assert moved.grad is not None
        return moved.grad

    def gains(self, eta: float) -> NDArray[np.float64]:
        slope = self._slope(self.moved, self.target, slice(None))
        zero = torch.zeros_like(self.moved)
        n = len(self.pool[0])
        return np.array([eta * float((self._slope(zero, self.pool, [i]) * slope).sum()) for i in range(n)])

    def choose(self, row: int, eta: float) -> None:
        self.moved -= eta * self._slope(torch.zeros_like(self.moved), self.pool, [row])

    def loss(self) -> float:
        inputs, logits, labels = self.target
        return float(torch.nn.functional.cross_entropy(logits + inputs @ self.moved.T, torch.tensor(labels)))


def golden_state() -> OneStep:
    inputs = GOLDEN["inputs"]
    gradients = np.array(GOLDEN["expected"]["train_grads"])
    logits, labels = np.array(inputs["val_logits"]), np.array(inputs["val_labels"])
    return OneStep(gradients, None, logits, labels, np.empty((3, 0)), inputs["eta"])


def golden_context() -> Context:
    inputs = GOLDEN["inputs"]
    target = Target(np.array(inputs["val_logits"]), np.array(inputs["val_labels"]), np.empty((3, 0)))
    return Context(5, gradients=Gradients(np.array(GOLDEN["expected"]["train_grads"])), target=target)


def test_golden_choices() -> None:
    expected, eta = GOLDEN["expected"], GOLDEN["inputs"]["eta"]
    for selector in (Glister("exact", eta), Glister("rounds", eta, rounds=3), Glister("stochastic", eta)):
        chosen = choose(selector, golden_context(), 3)
        if selector.greedy != "stochastic":
            assert chosen.indices.tolist() == expected["naive_greedy"]
        assert chosen.weights.tolist() == [1.0] * 3
    once = choose(Glister("rounds", eta, rounds=1), golden_context(), 3)
    assert once.indices.tolist() == expected["taylor_once_top3"]


def test_golden_trace_of_gains_and_losses() -> None:
    state, picked = golden_state(), []
    assert state.loss() == pytest.approx(GOLDEN["expected"]["val_loss0"], abs=FLOAT64)
    np.testing.assert_allclose(state.gradient()[:, 0], GOLDEN["expected"]["val_grad0"], atol=FLOAT64)
    for step in GOLDEN["expected"]["trace"]:
        gains = state.gains()
        given_gains = [np.nan if gain is None else gain for gain in step["gains"]]
        compared = ~np.isnan(given_gains)
        np.testing.assert_allclose(gains[compared], np.array(given_gains)[compared], atol=1e-9)  # ten digits given
        gains[picked] = -np.inf
        assert int(gains.argmax()) == step["pick"]
        picked.append(step["pick"])
        state.choose(np.array(picked[-1:]))
        assert state.loss() == pytest.approx(step["val_loss"], abs=FLOAT64)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["last-layer", "bias"])
def test_every_exact_pick_has_the_largest_gain_at_the_moved_layer(part: str) -> None:
    """A peer never moves: its picks are one ranking."""
    context = make_context("mixed")
    eta, layer = 0.3, Layer(context, whole=part == "last-layer")
    chosen = choose(Glister("exact", eta, gradients=part), context, 12).indices  # type: ignore[arg-type]
    for done, row in enumerate(chosen):
        gains = layer.gains(eta)
        gains[chosen[:done]] = -np.inf
        assert gains[row] >= gains.max() - RELATIVE * np.abs(gains[np.isfinite(gains)]).max()
        layer.choose(int(row), eta)
    once = choose(Glister("rounds", eta, gradients=part, rounds=1), context, 12).indices  # type: ignore[arg-type]
    assert set(once.tolist()) != set(chosen.tolist())


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("form", ["factored", "expanded", "bias"])
def test_the_state_is_that_of_explicit_weights(form: str, at_once: int) -> None:
    context = make_context("mixed")
    target, gradients = context.target, context.gradients
    assert target is not None
    assert gradients is not None
    residuals, features, inputs = gradients.residuals, gradients.features, target.features
    if form == "expanded":
        residuals, features = gradients.expanded(), None
    if form == "bias":
        features, inputs = None, target.features[:, :0]
    eta, layer = 0.2, Layer(context, whole=form != "bias")
    state = OneStep(residuals, features, target.logits, target.labels, inputs, eta)
    for start in range(0, 40, at_once):
        rows = np.arange(start, start + at_once)
        state.choose(rows)
        for row in rows:
            layer.choose(int(row), eta)
    exact = layer.gains(eta)
    np.testing.assert_allclose(state.gains(), exact, atol=RELATIVE * np.abs(exact).max())
    np.testing.assert_allclose(
        state.gains(np.array([3, 1, 3])), exact[[3, 1, 3]], atol=RELATIVE * np.abs(exact).max()
    )
    assert state.loss() == pytest.approx(layer.loss(), rel=1e-5)


def test_long_targets_are_summed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from raysubset.selection.kernels import one_step

    context = make_context("mixed")
    whole = choose(Glister("rounds", 0.3, rounds=3), context, 20)
    monkeypatch.setattr(one_step, "BLOCK", 4)
    assert choose(Glister("rounds", 0.3, rounds=3), context, 20).indices.tolist() == whole.indices.tolist()


def test_the_mean_step_lowers_the_validation_loss_and_the_default_sum_overshoots() -> None:
    """rate / k is SGD on the mean gradient; the paper's sum is k times as far, and raises the loss."""
    rng = np.random.default_rng(0)
    n, k, rate = 400, 80, 0.1
    centres = rng.normal(size=(3, 5)) * 2
    labels = rng.integers(0, 3, n + 100)
    features = (centres[labels] + rng.normal(size=(n + 100, 5)) * 2).astype(np.float32)
    logits = (features @ rng.normal(size=(5, 3)) * 0.1).astype(np.float32)
    residuals = torch.softmax(torch.from_numpy(logits), 1).numpy()
    residuals[np.arange(n + 100), labels] -= 1
    target = Target(logits[n:], labels[n:], features[n:])
    gradients = Gradients(residuals[:n], features[:n])
    context = Context(n, labels[:n], {}, features[:n], gradients, logits[:n], target, learning_rate=rate)
    losses = {}
    for eta in (rate / k, rate):
        layer = Layer(context)
        start = layer.loss()
        for row in choose(Glister("exact", eta if eta < rate else None), context, k).indices:
            layer.choose(int(row), eta)
        losses[eta] = layer.loss() - start
    by_chance = Layer(context)
    for row in range(k):
        by_chance.choose(row, rate / k)
    assert losses[rate / k] < min(0.0, by_chance.loss() - start)
    assert losses[rate] > losses[rate / k]


@given(k=st.integers(1, 47), rounds=st.integers(1, 60), seed=st.integers(0, 9))
@pytest.mark.slow
@PROPERTY
def test_rounds_neither_overshoot_nor_hang(k: int, rounds: int, seed: int) -> None:
    """A peer loops for ever where k < rounds, and overshoots where rounds does not divide k."""
    assert len(choose(Glister("rounds", 0.1, rounds=rounds), make_context("mixed"), k, seed)) == k


def test_rounds_as_many_as_picks_are_exact() -> None:
    context = make_context("mixed")
    exact = choose(Glister("exact", 0.3), context, 10).indices.tolist()
    assert choose(Glister("rounds", 0.3, rounds=10), context, 10).indices.tolist() == exact
    assert choose(Glister("rounds", 0.3, rounds=99), context, 10).indices.tolist() == exact


def test_stochastic_looks_at_few_rows_and_at_all_of_them_if_need_be() -> None:
    context = make_context("mixed")
    exact = choose(Glister("exact", 0.3), context, 3).indices.tolist()
    assert choose(Glister(eta=0.3, epsilon=1e-30), context, 3).indices.tolist() == exact
    draws = {tuple(choose(Glister(eta=0.3, epsilon=0.5), context, 10, seed).indices) for seed in range(5)}
    assert len(draws) == 5
    assert len(choose(Glister(), context, context.pool_size)) == context.pool_size  # a peer crashes here


def test_stochastic_picks_are_near_the_exact_ones_in_value() -> None:
    context = make_context("mixed")
    reached = {}
    for name, selector in (("exact", Glister("exact")), ("stochastic", Glister())):
        layer = Layer(context)
        for row in choose(selector, context, 8).indices:
            layer.choose(int(row), 0.05 / 8)
        reached[name] = layer.loss()
    start = Layer(context).loss()
    assert start - reached["stochastic"] >= (1 - 1 / np.e - 0.01) * (start - reached["exact"])


def test_negative_gains_fill_the_budget() -> None:
    chosen = choose(Glister("exact", 0.5), golden_context(), 5)
    assert sorted(chosen.indices.tolist()) == [0, 1, 2, 3, 4]


def test_ties_go_to_the_lowest_row() -> None:
    context = make_context("mixed").restrict(np.full(20, 7))
    for selector in (Glister("exact"), Glister("rounds"), Glister(epsilon=1e-30)):
        assert choose(selector, context, 6).indices.tolist() == list(range(6))


def test_rows_follow_their_place_when_the_pool_is_shuffled() -> None:
    context = make_context("mixed")
    order = generator(1).permutation(context.pool_size)
    for selector in (Glister("exact"), Glister("rounds", rounds=3)):
        plain = choose(selector, context, 12)
        shuffled = choose(selector, context.restrict(order), 12)
        assert order[shuffled.indices].tolist() == plain.indices.tolist()


def test_train_target_is_the_pool_itself() -> None:
    context = make_context("mixed")
    assert context.logits is not None
    assert context.labels is not None
    assert context.features is not None
    as_target = replace(context, target=Target(context.logits, context.labels, context.features))
    by_pool = choose(Glister("exact", target="train"), replace(context, target=None), 9)
    assert by_pool.indices.tolist() == choose(Glister("exact"), as_target, 9).indices.tolist()


@pytest.mark.parametrize(
    ("changes", "selector", "message"),
    [
        ({"gradients": None}, Glister(), "needs last-layer gradients"),
        ({"target": None}, Glister(), r"needs validation rows.*Glister\(target=\"train\"\)"),
        ({"learning_rate": None}, Glister(), "needs the learning rate.*or eta"),
        ({"learning_rate": 0.0}, Glister(), "learning rate 0.0"),
        ({"labels": None}, Glister(target="train"), "needs labels"),
        ({"logits": None}, Glister(target="train"), "needs the logits"),
        ({"gradients": Gradients(np.ones((47, 7), np.float32))}, Glister(), "7 wide.*3 logits and 5 features"),
        ({"gradients": Gradients(np.ones((9, 3), np.float32))}, Glister(), "9 gradients for a pool of 47"),
    ],
)
def test_what_is_missing_is_said(changes: dict, selector: Glister, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        choose(selector, replace(make_context("mixed"), **changes), 5)


def test_a_given_eta_needs_no_learning_rate() -> None:
    assert len(choose(Glister(eta=0.1), replace(make_context("mixed"), learning_rate=None), 5)) == 5


def test_all_bad_options_are_reported_together() -> None:
    with pytest.raises(
        OptionsError, match=r"greedy='lazy'.*target='test'.*gradients='all'.*eta=0.*epsilon=1.*rounds=0"
    ):
        Glister("lazy", 0, "test", "all", 1, 0)  # type: ignore[arg-type]


def test_threads_do_not_disturb_each_other() -> None:
    pools = [make_context(pool) for pool in ("mixed", "ties", "sorted by class")]
    alone = [choose(Glister(), pool, 12) for pool in pools]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda pool: choose(Glister(), pool, 12), pools))
    assert [one.indices.tolist() for one in alone] == [other.indices.tolist() for other in together]


def test_price_grows_with_what_is_looked_at() -> None:
    price = [Glister(greedy).flops(50_000, 1000, 10, 64) for greedy in ("rounds", "stochastic", "exact")]  # type: ignore[arg-type]
    assert price == sorted(price)
    assert price[2] >= 1000 * 2 * 50_000 * 650
    assert Glister(gradients="bias").flops(1000, 10, 10, 64) == Glister().flops(1000, 10, 10, 0)
