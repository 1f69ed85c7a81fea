from __future__ import annotations

from collections.abc import Callable

import dense_oracle as dense
import numpy as np
import pytest
import torch
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import FLOAT32_GAIN, FLOAT64, PROPERTY

from raysubset.errors import BudgetError, SelectionError
from raysubset.selection import pick_folds, set_functions, similarity
from raysubset.selection.greedy import maximise
from raysubset.selection.pick_folds import ALL
from raysubset.selection.set_functions import (
    Coverage,
    DisparityMin,
    DisparitySum,
    GraphCut,
    LogDeterminant,
    SetFunction,
)
from raysubset.selection.similarity import Cosine, Kernel, Rbf

HALF_SQUARED = float(np.sqrt(0.5))  # exp(-d^2 / (2 bandwidth^2)) = exp(-d^2), the golden file's kernel
RNG = np.random.default_rng(0)

MAKERS: dict[str, tuple[Callable[[Kernel, int], SetFunction], Callable[[NDArray[np.float64]], dense.Value]]] = {
    "coverage": (lambda kernel, k: Coverage(kernel), dense.coverage),
    "graph cut 0.4": (lambda kernel, k: GraphCut(kernel, 0.4), lambda s: dense.graph_cut(s, 0.4)),
    "graph cut 1": (lambda kernel, k: GraphCut(kernel, 1.0), lambda s: dense.graph_cut(s, 1.0)),
    "log-determinant": (lambda kernel, k: LogDeterminant(kernel, 1.0, k), lambda s: dense.log_determinant(s, 1.0)),
    "small ridge": (lambda kernel, k: LogDeterminant(kernel, 1e-3, k), lambda s: dense.log_determinant(s, 1e-3)),
    "disparity-sum": (lambda kernel, k: DisparitySum(kernel), dense.disparity_sum),
}


def points(seed: int, n: int = 9, d: int = 3, dtype: type = np.float64) -> NDArray[np.floating]:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def kernel_and_matrix(name: str, x: NDArray[np.floating]) -> tuple[Kernel, NDArray[np.float64]]:
    if name == "cosine":
        return Cosine(x), dense.cosine_matrix(x)
    width = None if name == "rbf" else 0.7
    return Rbf(x, width), dense.rbf_matrix(x, width)


KERNELS = ["cosine", "rbf", "rbf of 0.7"]


@pytest.mark.parametrize(
    ("key", "function"),
    [
        ("facility_location", lambda kernel: Coverage(kernel)),
        ("graph_cut_lam0p5", lambda kernel: GraphCut(kernel, 0.5)),
        ("graph_cut_lam1", lambda kernel: GraphCut(kernel, 1.0)),
        ("logdet_ridge1", lambda kernel: LogDeterminant(kernel, 1.0, 3)),
    ],
)
def test_golden_picks_and_gains(key: str, function: Callable[[Kernel], SetFunction]) -> None:
    vector = golden("submodular")
    x = np.asarray(vector["inputs"]["points"])
    kernel = Rbf(x, HALF_SQUARED)
    np.testing.assert_allclose(kernel.block(ALL, ALL), vector["expected"]["kernel"], rtol=FLOAT64)
    picks = maximise(function(kernel), 3, "naive", RNG)
    assert picks.rows.tolist() == vector["expected"][key]["selected"]
    np.testing.assert_allclose(
        picks.gains, vector["expected"][key]["gains"], rtol=1e-8
    )  # the file's own tolerance


@given(name=st.sampled_from(KERNELS), function=st.sampled_from(sorted(MAKERS)), seed=st.integers(0, 2**32 - 1))
@pytest.mark.slow
@PROPERTY
def test_gains_are_differences_of_the_definition(name: str, function: str, seed: int) -> None:
    x = points(seed)
    kernel, s = kernel_and_matrix(name, x)
    make, define = MAKERS[function]
    ours, value = make(kernel, 4), define(s)
    picks: list[int] = []
    for pick in np.random.default_rng(seed).permutation(len(x))[:4].tolist():
        rest = [j for j in range(len(x)) if j not in picks]
        expected = [value([*picks, j]) - value(picks) for j in rest]
        np.testing.assert_allclose(ours.gains(ALL)[rest], expected, rtol=1e-7, atol=1e-9)
        ours.add(pick)
        picks.append(pick)


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("function", [*MAKERS, "disparity-min"])
def test_rows_asked_at_different_times_gain_what_rows_always_asked_gain(name: str, function: str) -> None:
    kernel, _ = kernel_and_matrix(name, points(1, n=40))
    make = MAKERS[function][0] if function in MAKERS else lambda kernel, k: DisparityMin(kernel)
    often, seldom = make(kernel, 30), make(kernel, 30)
    rng = np.random.default_rng(2)
    for step, pick in enumerate(rng.permutation(40)[:30].tolist()):
        if step in (3, 17):
            seldom.gains(ALL)  # all meet all picks, then some fall behind again
        asked = torch.from_numpy(np.sort(rng.choice(40, 7, replace=False)))
        np.testing.assert_allclose(seldom.gains(asked), often.gains(ALL)[asked], rtol=1e-9, atol=1e-12)
        often.add(pick)
        seldom.add(pick)
    np.testing.assert_allclose(seldom.gains(ALL), often.gains(ALL), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
def test_disparity_min_is_the_distance_to_the_nearest_pick(name: str) -> None:
    kernel, s = kernel_and_matrix(name, points(3))
    function = DisparityMin(kernel)
    np.testing.assert_array_equal(function.gains(ALL), np.ones(9))
    for picks in ([4], [4, 2], [4, 2, 7]):
        function.add(picks[-1])
        rest = [j for j in range(9) if j not in picks]
        np.testing.assert_allclose(function.gains(ALL)[rest], (1 - s[:, picks]).min(axis=1)[rest], rtol=FLOAT64)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("function", MAKERS)
def test_float32_features_give_float32_right_gains(name: str, function: str) -> None:
    x = points(5, n=60, d=16, dtype=np.float32)
    kernel, s = kernel_and_matrix(name, x)
    make, define = MAKERS[function]
    ours, value = make(kernel, 10), define(s)
    picks = list(range(0, 60, 6))
    for pick in picks:
        ours.add(pick)
    rest = [j for j in range(60) if j not in picks]
    expected = [value([*picks, j]) - value(picks) for j in rest]
    np.testing.assert_allclose(ours.gains(ALL)[rest], expected, rtol=FLOAT32_GAIN, atol=FLOAT32_GAIN)


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("cells", [1, 7, 100])
def test_the_size_of_a_chunk_changes_nothing(name: str, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = points(6, n=23)
    whole = [make(kernel_and_matrix(name, x)[0], 5) for make, _ in MAKERS.values()]
    expected = [maximise(function, 5, "naive", RNG).gains for function in whole]
    monkeypatch.setattr(pick_folds, "CELLS", cells)
    parts = [make(kernel_and_matrix(name, x)[0], 5) for make, _ in MAKERS.values()]
    found = [maximise(function, 5, "naive", RNG).gains for function in parts]
    # not rows: two that cover nobody but each other gain the same, and the last bit of a sum decides
    np.testing.assert_allclose(found, expected, rtol=FLOAT64)


def test_column_sums_of_both_kernels() -> None:
    x = points(7, n=31)
    for name in KERNELS:
        kernel, s = kernel_and_matrix(name, x)
        np.testing.assert_allclose(kernel.totals(), s.sum(axis=0), rtol=FLOAT64)


def test_rows_of_zeros_are_alike_and_at_right_angles_to_the_rest() -> None:
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, -2.0]])
    s = Cosine(x).block(ALL, ALL).numpy()
    np.testing.assert_allclose(s, dense.cosine_matrix(x), rtol=FLOAT64)
    assert s[0, 2] == 1
    assert s[0, 1] == s[0, 3] == 0.5


@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_an_rbf_far_from_the_origin_is_as_good_as_near_it(shift: float) -> None:
    x = np.round(points(8, n=20) * 64).astype(np.float32) / 64 + np.float32(shift)  # exact in float32
    np.testing.assert_allclose(Rbf(x, 1.0).block(ALL, ALL), dense.rbf_matrix(x, 1.0), atol=1e-5)


def test_near_duplicates_keep_their_small_distance() -> None:
    x = np.array([[0.0], [1e-6], [1.0]])
    apart = Rbf(x, HALF_SQUARED).apart(ALL, ALL)
    assert float(apart[0, 1]) == pytest.approx(1e-12, rel=1e-3)  # 1 - exp(-d^2) would be rounded to 1e-16


@pytest.mark.parametrize("name", KERNELS)
def test_log_determinant_takes_near_duplicates_last(name: str) -> None:
    x = np.eye(5) + 0.1 * points(9, n=5, d=5)
    pool = np.concatenate([x, x + 1e-4])
    picks = maximise(LogDeterminant(kernel_and_matrix(name, pool)[0], 1.0, 10), 10, "naive", RNG)
    assert sorted(picks.rows[:5] % 5) == [0, 1, 2, 3, 4], "one of each pair first"


def test_a_factor_too_large_says_what_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pick_folds, "FACTOR_BYTES", 8 * 9 * 3)
    kernel = Rbf(points(1))
    LogDeterminant(kernel, 1.0, 3)
    with pytest.raises(BudgetError, match=r"k=4 rows of n=9 .* k <= 3 fits"):
        LogDeterminant(kernel, 1.0, 4)


@pytest.mark.parametrize("kernel", ["cosine", "rbf"])
def test_features_too_large_are_refused_by_row(kernel: similarity.KernelName) -> None:
    x = np.ones((4, 3), dtype=np.float32)
    x[2] = 3e38
    with pytest.raises(SelectionError, match="row 2"):
        similarity.kernel_of(x, kernel)


def test_only_disparity_sum_has_gains_that_grow() -> None:
    kinds = [getattr(set_functions, name) for name in ("Coverage", "GraphCut", "LogDeterminant", "DisparityMin")]
    assert all(kind.diminishing for kind in kinds)
    assert not DisparitySum.diminishing
