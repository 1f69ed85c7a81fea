from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import dense_oracle as dense
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY
from torch import Tensor

from raysubset.errors import BudgetError, OptionsError
from raysubset.selection.greedy import STRATEGIES, Greedy, maximise, sample_size
from raysubset.selection.pick_folds import ALL, Rows
from raysubset.selection.set_functions import (
    Coverage,
    DisparityMin,
    DisparitySum,
    GraphCut,
    LogDeterminant,
    SetFunction,
)
from raysubset.selection.similarity import Cosine, Kernel, Rbf

GUARANTEE = 1 - 1 / np.e
ROUNDING = 1e-9

MONOTONE: dict[str, tuple[Callable[[Kernel, int], SetFunction], Callable[..., dense.Value]]] = {
    "coverage": (lambda kernel, k: Coverage(kernel), dense.coverage),
    "graph cut": (lambda kernel, k: GraphCut(kernel, 0.5), lambda s: dense.graph_cut(s, 0.5)),
    "log-determinant": (lambda kernel, k: LogDeterminant(kernel, 1.0, k), lambda s: dense.log_determinant(s, 1.0)),
}
KERNELS: dict[str, tuple[Callable[..., Kernel], Callable[..., np.ndarray]]] = {
    "cosine": (Cosine, dense.cosine_matrix),
    "rbf": (lambda x: Rbf(x, 1.0), lambda x: dense.rbf_matrix(x, 1.0)),
}


class Recorder:
    """A modular function (gains = values) that writes down what it is asked."""

    diminishing: ClassVar[bool] = True

    def __init__(self, values: list[float]) -> None:
        self.values, self.size, self.device = (
            torch.tensor(values, dtype=torch.float64),
            len(values),
            torch.device("cpu"),
        )
        self.asked: list[list[int]] = []
        self.picks: list[int] = []

    def gains(self, rows: Rows) -> Tensor:
        self.asked.append(torch.arange(self.size)[rows].tolist())
        return self.values[rows].clone()

    def add(self, row: int) -> None:
        self.picks.append(row)


@given(
    kernel=st.sampled_from(sorted(KERNELS)),
    function=st.sampled_from(sorted(MONOTONE)),
    how=st.sampled_from(["naive", "lazy"]),
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 9),
    k=st.integers(1, 9),
)
@PROPERTY
def test_greedy_keeps_its_guarantee_against_brute_force(
    kernel: str, function: str, how: Greedy, seed: int, n: int, k: int
) -> None:
    k = min(k, n)
    x = np.random.default_rng(seed).normal(size=(n, 2))
    make, define = MONOTONE[function]
    value = define(KERNELS[kernel][1](x))
    rows = maximise(make(KERNELS[kernel][0](x), k), k, how, np.random.default_rng(0)).rows.tolist()
    best = dense.best_value(value, n, k)
    assert GUARANTEE * best - ROUNDING <= value(rows) <= best + ROUNDING


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("function", [*MONOTONE, "graph cut, not monotone", "small ridge"])
@pytest.mark.parametrize("how", ["naive", "lazy"])
def test_each_pick_maximises_its_own_step(kernel: str, function: str, how: Greedy) -> None:
    makers = {
        **MONOTONE,
        "graph cut, not monotone": (lambda kernel, k: GraphCut(kernel, 1.0), lambda s: dense.graph_cut(s, 1.0)),
        "small ridge": (
            lambda kernel, k: LogDeterminant(kernel, 0.01, k),
            lambda s: dense.log_determinant(s, 0.01),
        ),
    }
    x = np.random.default_rng(4).normal(size=(70, 3))
    make, define = makers[function]
    picks = maximise(make(KERNELS[kernel][0](x), 15), 15, how, np.random.default_rng(0))
    value = define(KERNELS[kernel][1](x))
    assert max(dense.regrets(value, picks.rows.tolist(), 70)) < ROUNDING
    assert sum(picks.gains) == pytest.approx(value(picks.rows.tolist()), rel=1e-8)


@pytest.mark.parametrize("how", ["naive", "lazy"])
def test_ties_go_to_the_lowest_row(how: Greedy) -> None:
    values = [1.0, 3.0, 2.0, 3.0, 3.0] + 100 * [2.0]
    picks = maximise(Recorder(values), 6, how, np.random.default_rng(0))
    assert picks.rows.tolist() == [1, 3, 4, 2, 5, 6]
    assert picks.gains.tolist() == [3, 3, 3, 2, 2, 2]


def test_lazy_asks_only_rows_that_could_win() -> None:
    function = Recorder([float(v) for v in np.random.default_rng(0).permutation(1000)])
    picks = maximise(function, 5, "lazy", np.random.default_rng(0))
    assert picks.gains.tolist() == [999, 998, 997, 996, 995]
    assert sum(len(rows) for rows in function.asked) == 1000 + 4 * 64, "every row once, then one look a step"
    assert all(not set(rows) & {int(picks.rows[0])} for rows in function.asked[-4:]), "no pick is asked again"


@pytest.mark.parametrize("how", ["stochastic", "lazier"])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60), share=st.floats(0.01, 1))
@pytest.mark.slow
@PROPERTY
def test_sampled_picks_maximise_over_their_sample(how: Greedy, seed: int, n: int, share: float) -> None:
    k = max(1, round(share * n))
    values = np.random.default_rng(seed).normal(size=n).tolist()
    function = Recorder(values)
    picks = maximise(function, k, how, np.random.default_rng(seed))
    assert function.picks == picks.rows.tolist()
    assert len(set(function.picks)) == k
    if how == "stochastic":
        assert len(function.asked) == k
        for step, asked in enumerate(function.asked):
            assert len(set(asked)) == len(asked) == min(sample_size(n, k), n - step)
            assert not set(asked) & set(function.picks[:step])
            assert values[function.picks[step]] == max(values[row] for row in asked)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("function", MONOTONE)
def test_lazier_picks_what_stochastic_picks_from_equal_streams(kernel: str, function: str) -> None:
    x = np.random.default_rng(5).normal(size=(120, 4))
    make, _ = MONOTONE[function]
    for seed in range(2):
        sampled = [
            maximise(make(KERNELS[kernel][0](x), 40), 40, how, np.random.default_rng(seed))
            for how in ("stochastic", "lazier")
        ]
        np.testing.assert_array_equal(sampled[0].rows, sampled[1].rows)
        np.testing.assert_allclose(sampled[0].gains, sampled[1].gains, rtol=1e-9)


@pytest.mark.slow
def test_every_row_is_sampled_equally_often() -> None:
    counts = np.zeros(20)
    rng = np.random.default_rng(6)
    for _ in range(400):
        function = Recorder(20 * [0.0])
        maximise(function, 10, "stochastic", rng, epsilon=0.5)  # samples of 2
        counts[function.asked[0]] += 1
    expected = 400 * 2 / 20
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_stochastic_reaches_its_guarantee_on_average() -> None:
    x = np.random.default_rng(7).normal(size=(10, 2))
    value = dense.coverage(dense.rbf_matrix(x, 1.0))
    best = dense.best_value(value, 10, 3)
    reached = [
        value(maximise(Coverage(Rbf(x, 1.0)), 3, "lazier", np.random.default_rng(seed), 0.2).rows.tolist())
        for seed in range(60)
    ]
    assert np.mean(reached) >= (GUARANTEE - 0.2) * best


@pytest.mark.parametrize(
    ("n", "k", "epsilon", "size"), [(5000, 500, 0.01, 47), (10, 10, 0.01, 5), (10, 1, 0.01, 10), (9, 9, 0.9, 1)]
)
def test_sample_sizes(n: int, k: int, epsilon: float, size: int) -> None:
    assert sample_size(n, k, epsilon) == size


@pytest.mark.parametrize("how", ["lazy", "lazier"])
def test_laziness_is_refused_where_gains_grow(how: Greedy) -> None:
    with pytest.raises(OptionsError, match=r"DisparitySum grow with every pick: use 'naive' or 'stochastic'"):
        maximise(DisparitySum(Cosine(np.eye(3))), 2, how, np.random.default_rng(0))


def test_options_out_of_range_are_reported_together() -> None:
    with pytest.raises(OptionsError, match=r"greedy='hasty'.*epsilon=1.5"):
        maximise(Recorder([1.0]), 1, "hasty", np.random.default_rng(0), 1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [0, -1, 4])
@pytest.mark.parametrize("how", STRATEGIES)
def test_a_budget_outside_the_pool_is_refused(k: int, how: Greedy) -> None:
    with pytest.raises(BudgetError, match=f"k={k} of n=3"):
        maximise(Recorder([1.0, 2.0, 3.0]), k, how, np.random.default_rng(0))


@pytest.mark.parametrize("how", STRATEGIES)
@pytest.mark.parametrize("n", [1, 5])
def test_k_of_n_and_rows_all_equal(how: Greedy, n: int) -> None:
    for kernel in (Cosine(np.ones((n, 2))), Rbf(np.ones((n, 2))), Rbf(np.zeros((n, 2)))):
        for function in (
            Coverage(kernel),
            GraphCut(kernel, 1.0),
            LogDeterminant(kernel, 1.0, n),
            DisparityMin(kernel),
        ):
            picks = maximise(function, n, how, np.random.default_rng(0))
            assert sorted(picks.rows.tolist()) == list(range(n))
            assert np.isfinite(picks.gains).all()
            if how in ("naive", "lazy"):
                assert picks.rows.tolist() == list(range(n)), "ties go to the lowest row"


def test_negative_gains_are_picked_too() -> None:
    picks = maximise(GraphCut(Cosine(np.ones((4, 1))), 10.0), 4, "naive", np.random.default_rng(0))
    assert (picks.gains < 0).all()
    assert len(picks.rows) == 4


def test_the_function_holds_the_picks_afterwards() -> None:
    function = Coverage(Rbf(np.arange(6.0)[:, None], 1.0))
    maximise(function, 6, "naive", np.random.default_rng(0))
    np.testing.assert_allclose(function.gains(ALL), 0, atol=ROUNDING)
