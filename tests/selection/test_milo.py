from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import dense_oracle as dense
import numpy as np
import pytest
from tolerances import DRAWS, FLOAT64, of_share

from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.milo import Milo, PreparedMilo, taylor_softmax
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.sampling import class_quotas
from raysubset.testing.selectors import POOLS, SelectorContract, make_context


@pytest.mark.slow
class TestMilo(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return Milo()

    @pytest.fixture(params=POOLS)
    def context(self, request: pytest.FixtureRequest) -> Context:
        return make_context(request.param, n=11)  # every selection prepares


@pytest.mark.slow
class TestPreparedMilo(SelectorContract):
    @pytest.fixture(params=[{"exploration": 0.0}, {"exploration": 1.0, "kernel": "rbf"}])
    def selector(self, request: pytest.FixtureRequest, context: Context) -> Selector:
        return Milo(**request.param).prepare(context)

    @pytest.fixture(params=POOLS)
    def context(self, request: pytest.FixtureRequest) -> Context:
        return make_context(request.param, n=17)


def pool(n: int = 60) -> Context:
    rng = generator(8, "milo")
    labels = np.sort(rng.choice([0, 2, 5], n, p=[0.6, 0.3, 0.1]))  # classes with gaps
    return Context(n, labels, features=rng.normal(size=(n, 4)))


def expected_probabilities(x: np.ndarray) -> np.ndarray:
    apart = 1 - dense.cosine_matrix(x)
    order, gains = [0], np.zeros(len(x))
    while len(order) < len(x):
        nearest = apart[:, order].min(axis=1)
        nearest[order] = -1
        order.append(int(nearest.argmax()))
        gains[order[-1]] = nearest.max()
    gains[0] = gains[order[1]]
    g = gains / gains.max()
    return (1 + g + g**2 / 2) / (1 + g + g**2 / 2).sum()


def test_probabilities_are_the_taylor_softmax_of_disparity_gains() -> None:
    context = pool()
    assert context.features is not None
    assert context.labels is not None
    prepared = Milo().prepare(context)
    assert [len(part.members) for part in prepared.classes] == np.unique(context.labels, return_counts=True)[
        1
    ].tolist()
    for part in prepared.classes:
        expected = expected_probabilities(context.features[part.members])
        np.testing.assert_allclose(np.exp(part.log_p), expected, rtol=1e-7)
        assert expected.max() <= 2.5 * expected.min()


@pytest.mark.slow
def test_rows_are_drawn_with_these_probabilities() -> None:
    rng = generator(1)
    features = rng.normal(size=(8, 2))
    features[:4] = features[0]  # four alike: rows of few chances
    context = Context(8, np.zeros(8, dtype=np.int64), features=features, progress=0.9)
    prepared = Milo().prepare(context)
    draws = DRAWS // 5
    first = [int(prepared.select(context, 1, rng).indices[0]) for _ in range(draws)]
    shares, p = np.bincount(first, minlength=8) / draws, expected_probabilities(features)
    assert (abs(shares - p) < of_share(p, draws)).all()


@pytest.mark.parametrize(("progress", "early"), [(0.0, True), (0.16, True), (1 / 6, False), (0.5, False)])
def test_the_first_sixth_is_graph_cut(progress: float, early: bool) -> None:
    context = replace(pool(), progress=progress)
    assert context.features is not None
    prepared = Milo(epsilon=1e-9).prepare(context)  # samples of nearly everything: nearly naive greedy
    chosen = [prepared.select(context, 20, generator(seed)).indices.tolist() for seed in range(12)]
    members = prepared.classes[0].members
    value = dense.graph_cut(dense.cosine_matrix(context.features[members]), 0.4)
    taken = [[place for place, row in enumerate(members.tolist()) if row in rows] for rows in chosen]
    quota = len(taken[0])
    random = [value(generator(s).choice(len(members), quota, replace=False).tolist()) for s in range(40)]
    reached = [value(rows) for rows in taken]
    assert (min(reached) > max(random)) == early


def test_graph_cut_draws_new_samples_at_every_selection() -> None:
    context = replace(pool(), progress=0.0)
    prepared = Milo().prepare(context)
    assert len({tuple(prepared.select(context, 20, generator(seed)).indices.tolist()) for seed in range(5)}) > 1


@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_classes_get_their_quotas(progress: float) -> None:
    context = replace(pool(), progress=progress)
    assert context.labels is not None
    for k in (1, 2, 7, 31, 59, 60):
        rows = Milo().select(context, k, generator(0)).indices
        taken = np.bincount(context.labels[rows], minlength=6)
        np.testing.assert_array_equal(taken, class_quotas(context.labels, k))


@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_prepared_once_selects_what_a_fresh_one_selects(progress: float) -> None:
    context = replace(pool(), progress=progress)
    prepared: Any = pickle.loads(
        pickle.dumps(Milo().prepare(replace(context, progress=0.3)))
    )  # as an actor gets it
    assert isinstance(prepared, PreparedMilo)
    bare = Context(60, progress=progress)  # all else was prepared
    for seed in range(3):
        np.testing.assert_array_equal(
            prepared.select(bare, 20, generator(seed)).indices, Milo().select(context, 20, generator(seed)).indices
        )


def test_taylor_softmax_by_hand() -> None:
    np.testing.assert_allclose(taylor_softmax(np.array([0.0, 1.0, -1.0])), [0.25, 0.625, 0.125], rtol=FLOAT64)


def test_scale_of_the_features_does_not_matter() -> None:
    context = pool()
    assert context.features is not None
    for kernel in ("cosine", "rbf"):
        small = Milo(kernel=kernel).prepare(context)
        large = Milo(kernel=kernel).prepare(replace(context, features=context.features * 2.0**20))
        for one, other in zip(small.classes, large.classes, strict=True):
            np.testing.assert_allclose(one.log_p, other.log_p, rtol=FLOAT64)


def test_another_pool_is_refused() -> None:
    prepared = Milo().prepare(pool())
    with pytest.raises(SelectionError, match="pool of 60 rows and got one of 47"):
        prepared.select(make_context("mixed"), 5, generator(0))


def test_bad_pools_are_refused() -> None:
    labels, features = np.zeros(3, dtype=np.int64), np.eye(3)
    with pytest.raises(SelectionError, match="Milo needs labels"):
        Milo().select(Context(3, features=features), 1, generator(0))
    with pytest.raises(SelectionError, match="has none"):
        Milo().select(Context(3, labels), 1, generator(0))
    with pytest.raises(SelectionError, match="row 2"):
        Milo().select(Context(3, labels, features=np.diag([1.0, 1.0, np.nan])), 1, generator(0))
    with pytest.raises(SelectionError, match="float16"):
        Milo().select(Context(3, labels, features=features.astype(np.float16)), 1, generator(0))


def test_bad_options_are_refused_together() -> None:
    with pytest.raises(OptionsError, match=r"kernel='dot'.*exploration=2.*lam=-1.*epsilon=1"):
        Milo(kernel="dot", exploration=2, lam=-1, epsilon=1)  # type: ignore[arg-type]


def test_a_selection_is_far_cheaper_than_its_preparation() -> None:
    sizes = (50_000, 5_000, 10, 64)
    assert Milo().prepare(pool()).flops(*sizes) < Milo().flops(*sizes) / 100
    rbf = Milo(kernel="rbf")
    assert rbf.flops(*sizes) > Milo().flops(*sizes)
    assert rbf.prepare(pool()).flops(*sizes) > Milo().prepare(pool()).flops(*sizes)
