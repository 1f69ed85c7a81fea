"""Factored gradients agree with the expanded ones and with autograd; bad rows are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import AUTOGRAD, PROPERTY

from raysubset.errors import SelectionError
from raysubset.seeds import generator
from raysubset.selection.gradients import Gradients, check_rows
from raysubset.selection.outputs import residuals_of


def gradients(seed: int, n: int = 7, c: int = 3, h: int = 4, bias_only: bool = False) -> Gradients:
    rng = generator(seed, "gradients")
    residuals = rng.normal(size=(n, c)).astype(np.float32)
    return Gradients(residuals, None if bias_only else rng.normal(size=(n, h)).astype(np.float32))


def outer(g: Gradients) -> NDArray[np.float64]:
    """Each row's r [h, 1]^T, one number at a time."""
    assert g.features is not None
    rows = []
    for r, h in zip(g.residuals.tolist(), g.features.tolist(), strict=True):
        rows.append([a * b for a in r for b in [*h, 1.0]])
    return np.array(rows)


shapes = st.tuples(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 5), st.integers(1, 6))


@PROPERTY
@given(shapes)
def test_expanded_rows_are_the_outer_products(shape: tuple[int, int, int, int]) -> None:
    g = gradients(*shape)
    expanded = g.expanded()
    assert expanded.dtype == np.float32
    assert expanded.shape == (len(g), g.width)
    np.testing.assert_allclose(expanded, outer(g), rtol=1e-6)


@PROPERTY
@given(shapes, st.booleans())
def test_inner_products_factor(shape: tuple[int, int, int, int], bias_only: bool) -> None:
    g = gradients(*shape, bias_only=bias_only)
    full = g.residuals.astype(np.float64) if g.features is None else outer(g)
    scale = 1.0 if g.features is None else g.features.astype(np.float64) @ g.features.T.astype(np.float64) + 1
    factored = (g.residuals.astype(np.float64) @ g.residuals.T) * scale
    np.testing.assert_allclose(factored, full @ full.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(g.norms(), np.sqrt((full**2).sum(axis=1)), rtol=1e-9)


@PROPERTY
@given(shapes, st.booleans())
def test_the_total_is_the_weighted_sum(shape: tuple[int, int, int, int], bias_only: bool) -> None:
    g = gradients(*shape, bias_only=bias_only)
    full = g.residuals.astype(np.float64) if g.features is None else outer(g)
    weights = generator(shape[0], "weights").random(len(g))
    assert g.total().shape == (g.residuals.shape[1], 1 if bias_only else g.width // g.residuals.shape[1])
    assert g.total().dtype == np.float64
    np.testing.assert_allclose(g.total().ravel(), full.sum(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(g.total(weights).ravel(), weights @ full, rtol=1e-9, atol=1e-9)


def test_many_rows_are_added_up_in_double() -> None:
    """A million float32 tenths add up to 100,958 in single precision one by one."""
    tenth = np.float32(0.1)
    g = Gradients(np.full((1_000_000, 1), tenth))
    assert g.total()[0, 0] == pytest.approx(1_000_000 * float(tenth), rel=1e-12)


def test_they_are_the_gradients_of_the_last_layer() -> None:
    """Against autograd, weights and bias, row by row."""
    rng = generator(0, "autograd")
    features = rng.normal(size=(6, 4)).astype(np.float32)
    labels = rng.integers(0, 3, 6)
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 3)
    expected = []
    for row, label in zip(features, labels, strict=True):
        layer.zero_grad()
        torch.nn.functional.cross_entropy(layer(torch.from_numpy(row[None])), torch.tensor([label])).backward()
        assert layer.weight.grad is not None
        assert layer.bias.grad is not None
        expected.append(torch.cat([layer.weight.grad, layer.bias.grad[:, None]], dim=1).ravel().numpy().copy())
    with torch.no_grad():
        logits = layer(torch.from_numpy(features)).numpy()
    g = Gradients(residuals_of(logits, labels), features)
    np.testing.assert_allclose(g.expanded(), expected, rtol=AUTOGRAD, atol=AUTOGRAD)


def test_a_part_of_the_rows() -> None:
    g = gradients(0)
    rows = np.array([5, 0, 5])
    assert g.take(rows).expanded().tolist() == g.expanded()[rows].tolist()
    bias = g.of_bias()
    assert bias.features is None
    assert bias.width == 3
    assert bias.expanded().tolist() == g.residuals.tolist()
    assert bias.take(rows).residuals.tolist() == g.residuals[rows].tolist()
    assert g.width == 3 * 5
    assert len(g) == 7


def rows_with(value: float, row: int, column: int, dtype: Any = np.float32) -> NDArray[Any]:
    rows = np.ones((5, 4), dtype=dtype)
    rows[row, column] = value
    return rows


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(bad: float) -> None:
    good = np.ones((5, 4), dtype=np.float32)
    with pytest.raises(SelectionError, match=f"residuals of row 3 hold {bad} in column 2"):
        Gradients(rows_with(bad, 3, 2))
    with pytest.raises(SelectionError, match=f"features of row 0 hold {bad} in column 1"):
        Gradients(good, rows_with(bad, 0, 1))


def test_the_first_bad_row_and_column_are_named_even_if_they_cancel() -> None:
    rows = rows_with(np.inf, 2, 1)
    rows[2, 3], rows[4, 0] = -np.inf, np.nan
    with pytest.raises(SelectionError, match="row 2 hold inf in column 1"):
        check_rows("features", rows)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_finite_values_are_fine(dtype: Any) -> None:
    """Their sum overflows; they do not."""
    rows = np.full((5, 4), np.finfo(dtype).max, dtype=dtype)
    check_rows("features", rows)
    rows[4, 3] = np.nan
    with pytest.raises(SelectionError, match="row 4 hold nan in column 3"):
        check_rows("features", rows)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.ones(4, np.float32), r"must have shape \(n, width\), got \(4,\)"),
        (np.ones((2, 3, 4), np.float32), r"got \(2, 3, 4\)"),
        (np.ones((2, 3), np.float16), r"float16 loses.*features\.astype\(np\.float32\)"),
        (np.ones((2, 3), np.int64), "features are int64, need float32 or float64"),
        (np.ones((2, 3), np.complex64), "features are complex64"),
        (np.ones((2, 3), object), "features are object"),
    ],
)
def test_other_shapes_and_types_are_refused(rows: Any, said: str) -> None:
    with pytest.raises(SelectionError, match=said):
        check_rows("features", rows)


def test_residuals_and_features_are_one_a_row() -> None:
    with pytest.raises(SelectionError, match="one feature row a residual row, got 4 and 5"):
        Gradients(np.ones((5, 2), np.float32), np.ones((4, 3), np.float32))
