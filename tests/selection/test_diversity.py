from __future__ import annotations

from dataclasses import replace
from typing import Any

import dense_oracle as dense
import numpy as np
import pytest

from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.diversity import DisparityMin, DisparitySum, GraphCut, LogDeterminant
from raysubset.selection.k_center import KCenter
from raysubset.selection.protocol import Context, Selector
from raysubset.testing.selectors import POOLS, SelectorContract, make_context

KINDS: list[Any] = [GraphCut, LogDeterminant, DisparityMin, DisparitySum]


class Contract(SelectorContract):
    """On smaller pools: the options make many selectors."""

    __test__ = False

    @pytest.fixture(params=POOLS)
    def context(self, request: pytest.FixtureRequest) -> Context:
        return make_context(request.param, n=17)


@pytest.mark.slow
class TestGraphCut(Contract):
    __test__ = True

    @pytest.fixture(params=[{}, {"kernel": "rbf", "greedy": "lazier"}])
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return GraphCut(**request.param)


@pytest.mark.slow
class TestLogDeterminant(Contract):
    __test__ = True

    @pytest.fixture(params=[{}, {"kernel": "rbf", "greedy": "lazy"}])
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return LogDeterminant(**request.param)


@pytest.mark.slow
class TestDisparityMin(Contract):
    __test__ = True

    @pytest.fixture
    def selector(self) -> Selector:
        return DisparityMin()


@pytest.mark.slow
class TestDisparitySum(Contract):
    __test__ = True

    @pytest.fixture
    def selector(self) -> Selector:
        return DisparitySum(kernel="rbf", greedy="stochastic")


def pool(n: int = 60, d: int = 4) -> Context:
    features = generator(3, "diversity").normal(size=(n, d)).astype(np.float32)
    return Context(n, features=features)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["cosine", "rbf"])
@pytest.mark.parametrize("kind", KINDS)
def test_picks_maximise_each_step_by_the_definition(kernel: str, kind: Any) -> None:
    context = pool()
    assert context.features is not None
    picks = kind(kernel=kernel).select(context, 12, generator(0)).indices.tolist()
    s = dense.cosine_matrix(context.features) if kernel == "cosine" else dense.rbf_matrix(context.features, None)
    values = {
        GraphCut: dense.graph_cut(s, 0.4),
        LogDeterminant: dense.log_determinant(s, 1.0),
        DisparityMin: dense.disparity_min(s),
        DisparitySum: dense.disparity_sum(s),
    }
    assert max(dense.regrets(values[kind], picks, 60)) < 1e-5  # float32 similarities


def test_options_reach_the_function() -> None:
    context = pool()
    central = GraphCut(lam=0.0).select(context, 5, generator(0)).indices
    assert context.features is not None
    totals = dense.cosine_matrix(context.features).sum(axis=0)
    np.testing.assert_array_equal(central, np.argsort(-totals)[:5])
    wide, narrow = (GraphCut(kernel="rbf", bandwidth=b).select(context, 20, generator(0)) for b in (10.0, 0.3))
    assert wide.indices.tolist() != narrow.indices.tolist()
    assert (
        narrow.indices.tolist()
        != GraphCut(kernel="rbf", lam=0.9, bandwidth=0.3).select(context, 20, generator(0)).indices.tolist()
    )
    few, many = (GraphCut(greedy="stochastic", epsilon=e).select(context, 20, generator(1)) for e in (0.9, 0.01))
    assert few.indices.tolist() != many.indices.tolist()
    one, other = (GraphCut(greedy="stochastic", epsilon=0.5).select(context, 20, generator(s)) for s in (1, 2))
    assert one.indices.tolist() != other.indices.tolist()


def test_disparity_min_is_farthest_first() -> None:
    context = pool()
    assert context.features is not None
    expected = dense.farthest_first(context.features, 25, start=0)
    assert KCenter(start=0).select(context, 25, generator(0)).indices.tolist() == expected
    for greedy in ("naive", "lazy"):
        assert (
            DisparityMin(kernel="rbf", greedy=greedy).select(context, 25, generator(0)).indices.tolist()
            == expected
        )


@pytest.mark.parametrize("kernel", ["cosine", "rbf"])
def test_disparity_min_keeps_a_quarter_of_the_best(kernel: str) -> None:
    for seed in range(20):
        features = np.random.default_rng(seed).normal(size=(9, 2))
        s = dense.cosine_matrix(features) if kernel == "cosine" else dense.rbf_matrix(features, None)
        value = dense.disparity_min(s)
        for k in (2, 3, 5):
            picks = DisparityMin(kernel=kernel).select(Context(9, features=features), k, generator(0))
            assert value(picks.indices.tolist()) >= dense.best_value(value, 9, k) / 4 - 1e-12


def test_log_determinant_takes_duplicates_last() -> None:
    rows = generator(4).normal(size=(10, 16)).astype(np.float32)
    context = Context(30, features=np.concatenate([rows, rows, rows + 1e-3 * rows[::-1]]))
    for kernel in ("cosine", "rbf"):
        for greedy in ("naive", "lazy"):
            picks = LogDeterminant(kernel=kernel, greedy=greedy).select(context, 10, generator(0)).indices
            assert sorted(picks % 10) == list(range(10)), "one of each three"


def test_scale_of_the_features_does_not_matter() -> None:
    context = pool()
    assert context.features is not None
    for kind, kernel in ((kind, kernel) for kind in KINDS for kernel in ("cosine", "rbf")):
        rows = kind(kernel=kernel).select(context, 10, generator(0)).indices
        for scale in (2.0**-30, 2.0**30):
            scaled = replace(context, features=context.features * np.float32(scale))
            np.testing.assert_array_equal(kind(kernel=kernel).select(scaled, 10, generator(0)).indices, rows)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_pools_are_refused(kind: Any) -> None:
    features = np.ones((5, 2), dtype=np.float32)
    with pytest.raises(SelectionError, match=f"{kind.__name__} .* has none"):
        kind().select(Context(5), 2, generator(0))
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = features.copy()
        spoilt[3, 1] = bad
        with pytest.raises(SelectionError, match="row 3"):
            kind().select(Context(5, features=spoilt), 2, generator(0))
    with pytest.raises(SelectionError, match="float16"):
        kind().select(Context(5, features=features.astype(np.float16)), 2, generator(0))
    with pytest.raises(SelectionError, match="5 feature rows for a pool of 6"):
        kind().select(Context(6, features=features), 2, generator(0))


@pytest.mark.parametrize("kind", KINDS)
def test_bad_options_are_refused_together(kind: Any) -> None:
    with pytest.raises(
        OptionsError, match=rf"{kind.__name__}: kernel='linear'.*bandwidth=-1.*greedy='hasty'.*epsilon=0"
    ):
        kind(kernel="linear", bandwidth=-1.0, greedy="hasty", epsilon=0.0)
    with pytest.raises(OptionsError, match="kernel='cosine' has none"):
        kind(bandwidth=1.0)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (GraphCut, {"lam": -0.1}),
        (GraphCut, {"lam": np.inf}),
        (GraphCut, {"lam": np.nan}),
        (LogDeterminant, {"ridge": 0.0}),
        (LogDeterminant, {"ridge": np.nan}),
    ],
)
def test_weights_out_of_range_are_refused(kind: Any, options: dict[str, float]) -> None:
    with pytest.raises(OptionsError, match=next(iter(options))):
        kind(**options)


@pytest.mark.parametrize("greedy", ["lazy", "lazier"])
def test_disparity_sum_refuses_laziness(greedy: Any) -> None:
    with pytest.raises(OptionsError, match="grow with every pick"):
        DisparitySum(greedy=greedy)


@pytest.mark.parametrize("kind", [*KINDS, KCenter])
def test_predicted_cost_grows_with_every_size(kind: Any) -> None:
    base = (1000, 100, 10, 64)
    cost = kind().flops(*base)
    assert cost >= 2 * 1000 * 100 * 64, "at least the inner products of picks and rows"
    for at in (0, 1, 3):
        assert kind().flops(*[size * (2 if i == at else 1) for i, size in enumerate(base)]) > cost


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_all_one(kind: Any) -> None:
    assert (kind().select(make_context("mixed"), 7, generator(0)).weights == 1).all()
