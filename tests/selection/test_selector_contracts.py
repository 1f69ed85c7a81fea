"""Every selector keeps the contract, alone and composed."""

from __future__ import annotations

import numpy as np
import pytest

from raysubset.errors import BudgetError, NothingToMatchError, OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.asp import ProxySampling
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.uniform import Full, UniformRandom
from raysubset.selection.wrappers import PerClass
from raysubset.testing.selectors import SelectorContract, make_context
from raysubset.types import Selection

PROXY = {
    "random": ProxySampling("random"),
    "loss": ProxySampling("loss"),
    "entropy, greedy": ProxySampling("entropy", temperature=1e-4),
    "gradient, z-scored": ProxySampling("gradient", scale="zscore"),
    "prediction, ranked": ProxySampling("prediction", scale="rank", temperature=0.1),
    "prediction, largest": ProxySampling("prediction", deterministic=True),
}


class TestProxySampling(SelectorContract):
    @pytest.fixture(params=PROXY)
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return PROXY[request.param]


class TestUniformRandom(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return UniformRandom()


class TestPerClass(SelectorContract):
    @pytest.fixture(params=["uniform", "loss", "prediction, largest"])
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return PerClass(PROXY.get(request.param, UniformRandom()))


class Represents:
    """At most three rows, as a matching pursuit may give, that stand for all of the pool."""

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        rows = np.arange(min(k, 3))
        return Selection.weighted(rows, np.full(len(rows), context.pool_size / len(rows)), context.pool_size)


def test_per_class_keeps_the_class_shares() -> None:
    context = Context(100, np.repeat([0, 1, 2], [70, 20, 10]))
    rows = PerClass(UniformRandom()).select(context, 20, generator(0)).indices
    assert context.labels is not None
    assert np.bincount(context.labels[rows]).tolist() == [14, 4, 2]


def test_per_class_puts_classes_together_by_their_raw_weights() -> None:
    context = Context(100, np.repeat([0, 1], [60, 40]))
    chosen = PerClass(Represents()).select(context, 10, generator(0))
    assert context.labels is not None
    mass = np.bincount(context.labels[chosen.indices], weights=chosen.weights)
    assert len(chosen) == 6
    np.testing.assert_allclose(mass / mass.sum(), [0.6, 0.4], rtol=1e-6)
    np.testing.assert_allclose(chosen.weights * chosen.scale, [20] * 3 + [40 / 3] * 3, rtol=1e-6)


def test_per_class_skips_a_class_without_rows_and_one_without_quota() -> None:
    context = Context(11, np.repeat([0, 3], [10, 1]))
    assert set(PerClass(UniformRandom()).select(context, 3, generator(0)).indices.tolist()) <= set(range(10))


def test_per_class_needs_labels() -> None:
    with pytest.raises(SelectionError, match="labels"):
        PerClass(UniformRandom()).select(Context(5), 2, generator(0))


def test_largest_takes_ties_from_every_class() -> None:
    """On data sorted by class, ties in row order would train one class only."""
    labels = np.repeat(np.arange(4), 25)
    context = Context(100, labels, {"prediction": np.zeros(100, np.float32)})
    rows = ProxySampling("prediction", deterministic=True).select(context, 25, generator(0)).indices
    assert (np.bincount(labels[rows], minlength=4) >= 2).all()


def test_proxy_sampling_follows_its_metric() -> None:
    context = Context(50, None, {"loss": np.linspace(0, 1, 50, dtype=np.float32)})
    rows = ProxySampling("loss", deterministic=True).select(context, 5, generator(0)).indices
    assert rows.tolist() == [49, 48, 47, 46, 45]
    greedy = ProxySampling("loss", temperature=1e-5).select(context, 5, generator(0)).indices
    assert greedy.tolist() == rows.tolist()


def test_random_metric_is_the_uniform_draw_of_the_same_stream() -> None:
    context = make_context("mixed")
    asp = ProxySampling("random").select(context, 9, generator(0))
    uniform = UniformRandom().select(context, 9, generator(0))
    assert asp.indices.tolist() == uniform.indices.tolist()


def test_full_takes_every_row_in_order_and_nothing_less() -> None:
    context = make_context("mixed", n=10)
    assert Full().select(context, 10, generator(0)).indices.tolist() == list(range(10))
    with pytest.raises(SelectionError, match="k=9 of n=10"):
        Full().select(context, 9, generator(0))
    for k in (0, -1, 11):
        with pytest.raises(BudgetError, match=f"k={k} of n=10"):
            Full().select(context, k, generator(0))


def test_a_metric_nobody_measured_is_named_with_the_known_ones() -> None:
    context = Context(3, None, {"loss": np.ones(3, np.float32), "entropy": np.ones(3, np.float32)})
    with pytest.raises(SelectionError, match="'gradient'.*Measured: entropy, loss"):
        ProxySampling("gradient").select(context, 1, generator(0))


def test_restrict_maps_rows() -> None:
    context = make_context("mixed", n=10)
    rows = np.array([7, 2, 5])
    part = context.restrict(rows)
    assert context.labels is not None
    assert part.labels is not None
    assert part.pool_size == 3
    assert part.labels.tolist() == context.labels[rows].tolist()
    assert part.signal("loss").tolist() == context.signal("loss")[rows].tolist()
    assert Context(10).restrict(rows).labels is None


def test_per_class_gives_the_same_rows_on_any_number_of_threads() -> None:
    context = Context(300, np.arange(300) % 7)
    alone = PerClass(UniformRandom()).select(context, 60, generator(0))
    for threads in (2, 4):
        together = PerClass(UniformRandom(), threads).select(context, 60, generator(0))
        np.testing.assert_array_equal(alone.indices, together.indices)


class NothingIn:
    """Finds nothing to match where all labels are of one class."""

    def __init__(self, classes: set[int]) -> None:
        self.classes = classes

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        assert context.labels is not None
        if set(context.labels.tolist()) <= self.classes:
            raise NothingToMatchError("fits perfectly")
        return Selection.uniform(np.arange(k), context.pool_size)


def test_per_class_leaves_out_a_class_with_nothing_to_match_unless_all_are() -> None:
    context = Context(30, np.arange(30) % 3)
    chosen = PerClass(NothingIn({1})).select(context, 9, generator(0))
    assert np.bincount(np.arange(30)[chosen.indices] % 3, minlength=3).tolist() == [3, 0, 3]
    with pytest.raises(NothingToMatchError, match="fits perfectly"):
        PerClass(NothingIn({0, 1, 2})).select(context, 9, generator(0))


def test_per_class_refuses_no_thread() -> None:
    with pytest.raises(OptionsError, match="threads=0"):
        PerClass(UniformRandom(), threads=0)
