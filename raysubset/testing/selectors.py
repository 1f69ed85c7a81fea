"""What every selector must do, as a pytest class to inherit.

    class TestMine(SelectorContract):
        @pytest.fixture
        def selector(self) -> Selector:
            return Mine()

Set ``exact = False`` where the selector may give fewer than k rows. A selector that refuses some k inside [1, n]
("full", "infobatch") is none by this contract.
"""

# ruff: noqa: D102  # a test says by its name what it tests

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from raysubset.errors import BudgetError
from raysubset.proxy.memory import REMEMBERED
from raysubset.seeds import generator
from raysubset.selection.gradients import Gradients
from raysubset.selection.protocol import Context, Selector, Target
from raysubset.types import Selection

POOLS: tuple[str, ...] = ("mixed", "equal", "ties", "sorted by class", "one row")
CLASSES = 3
WIDTH = 5  # of the features


def make_context(pool: str, n: int = 47) -> Context:
    """Return a pool with everything a selector may ask for; its arrays refuse to be written.

    Labels, every remembered metric, features, the logits and gradients of a made-up last layer, and 13 validation
    rows of the same layer.

    Args:
        pool: One of `POOLS`: "mixed" (distinct values, mixed labels), "equal" (one value everywhere), "ties"
            (small integers), "sorted by class" or "one row".
        n: Rows, at least one a class.
    """
    rng = generator(0, "selector contract", pool)
    n = 1 if pool == "one row" else n
    labels = np.arange(n) % CLASSES
    signals = {name: rng.normal(size=n).astype(np.float32) for name in REMEMBERED}
    features = rng.normal(size=(n, WIDTH)).astype(np.float32)
    if pool == "equal":
        signals = {name: np.full(n, 2.5, dtype=np.float32) for name in REMEMBERED}
        features = np.full((n, WIDTH), 0.5, dtype=np.float32)
    if pool == "ties":
        signals = {name: rng.integers(-1, 2, n).astype(np.float32) for name in REMEMBERED}
        features = rng.integers(0, 2, (n, WIDTH)).astype(np.float32)
    labels = np.sort(labels) if pool == "sorted by class" else rng.permutation(labels)
    layer = rng.normal(size=(WIDTH, CLASSES)).astype(np.float32)
    logits = features @ layer
    residuals = _softmax(logits)
    residuals[np.arange(n), labels] -= 1
    seen = rng.normal(size=(13, WIDTH)).astype(np.float32)
    target = Target(seen @ layer, rng.integers(0, CLASSES, 13), seen)
    arrays: list[NDArray[np.generic]] = [labels, features, logits, residuals, *signals.values()]
    for values in arrays:
        values.flags.writeable = False
    gradients = Gradients(residuals, features)
    return Context(n, labels, signals, features, gradients, logits, target, progress=0.5, learning_rate=0.05)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float32)


def budgets(n: int) -> list[int]:
    """Return ks worth a test: both ends, and three between."""
    return sorted({1, max(1, n // 5), max(1, n // 2), max(1, n - 1), n})


class SelectorContract:
    """Inherit, and give a ``selector`` fixture."""

    exact = True  # gives k rows whenever the pool has them

    @pytest.fixture
    def selector(self) -> Selector:
        """Return the selector under test."""
        raise NotImplementedError("give a fixture named 'selector'")

    @pytest.fixture(params=POOLS)
    def context(self, request: pytest.FixtureRequest) -> Context:
        """Return a pool; the suite runs once for each of `POOLS`."""
        return make_context(str(request.param))

    def test_selects_k_distinct_rows_of_the_pool(self, selector: Selector, context: Context) -> None:
        for k in budgets(context.pool_size):
            chosen = selector.select(context, k, generator(1, k))
            assert isinstance(chosen, Selection)
            assert chosen.pool_size == context.pool_size
            assert chosen.indices.dtype == np.int64
            assert len(chosen) == len(np.unique(chosen.indices)) <= k
            assert len(chosen) == k or not self.exact
            assert chosen.indices.min() >= 0
            assert chosen.indices.max() < context.pool_size

    def test_weights_are_float32_of_mean_one(self, selector: Selector, context: Context) -> None:
        for k in budgets(context.pool_size):
            chosen = selector.select(context, k, generator(2, k))
            weights = chosen.weights
            assert weights.dtype == np.float32
            assert weights.shape == (len(chosen),)
            assert (weights >= 0).all()
            assert weights.mean(dtype=np.float64) == pytest.approx(1.0, abs=1e-5)  # k roundings of 6e-8

    def test_equal_streams_give_equal_rows_in_any_order_of_calls(
        self, selector: Selector, context: Context
    ) -> None:
        ks = budgets(context.pool_size)
        forward = {k: selector.select(context, k, generator(3, k)) for k in ks}
        backward = {k: selector.select(context, k, generator(3, k)) for k in reversed(ks)}
        for k in ks:
            np.testing.assert_array_equal(forward[k].indices, backward[k].indices)
            np.testing.assert_array_equal(forward[k].weights, backward[k].weights)

    def test_leaves_what_it_was_given_as_it_was(self, selector: Selector, context: Context) -> None:
        before = _arrays(context)
        for k in budgets(context.pool_size):
            selector.select(context, k, generator(4, k))  # the arrays refuse writing, too
        for old, new in zip(before, _arrays(context), strict=True):
            np.testing.assert_array_equal(old, new)

    def test_keeps_its_selection_apart_from_the_next(self, selector: Selector, context: Context) -> None:
        k = budgets(context.pool_size)[-1]
        first = selector.select(context, k, generator(5))
        rows, weights = first.indices.copy(), first.weights.copy()
        selector.select(context, k, generator(6))
        np.testing.assert_array_equal(first.indices, rows)
        np.testing.assert_array_equal(first.weights, weights)

    def test_refuses_a_budget_the_pool_cannot_serve(self, selector: Selector, context: Context) -> None:
        n = context.pool_size
        for k in (0, -1, n + 1):
            with pytest.raises(BudgetError) as caught:
                selector.select(context, k, generator(7))
            assert str(k) in str(caught.value), "the message must name k"
            assert str(n) in str(caught.value), "the message must name n"

    def test_uses_no_global_random_numbers(self, selector: Selector, context: Context) -> None:
        before = _global_streams()
        for k in budgets(context.pool_size):
            selector.select(context, k, generator(8, k))
        assert _global_streams() == before


def _arrays(context: Context) -> list[NDArray[np.generic]]:
    given = [context.labels, context.features, context.logits, *context.signals.values()]
    if context.gradients is not None:
        given += [context.gradients.residuals, context.gradients.features]
    if context.target is not None:
        given += [context.target.logits, context.target.labels, context.target.features]
    return [array.copy() for array in given if array is not None]


def _global_streams() -> tuple[bytes, int, bytes]:
    """Where numpy's and torch's global generators stand."""
    _, key, position, *_ = np.random.get_state(legacy=True)  # noqa: NPY002  # read to see it was left alone
    return np.asarray(key).tobytes(), int(position), torch.get_rng_state().numpy().tobytes()
