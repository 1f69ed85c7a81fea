"""CRAIG against its golden values and its own promises."""

from __future__ import annotations

import numpy as np
import pytest
from golden_values import golden
from tolerances import FLOAT64

from raysubset.errors import BudgetError, OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.craig import Craig
from raysubset.selection.gradients import Gradients
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.wrappers import PerClass
from raysubset.testing.selectors import SelectorContract, make_context

GOLDEN = golden("craig")
POINTS = np.array(GOLDEN["inputs"]["gradients"])
LABELS = np.array(GOLDEN["inputs"]["labels"])
SIX = Context(6, LABELS, gradients=Gradients(POINTS))
SELECTORS: dict[str, Selector] = {
    "squared": Craig(),
    "euclidean, bias": Craig(distance="euclidean", gradients="bias"),
    "per class": PerClass(Craig()),
}


@pytest.mark.slow
class TestCraig(SelectorContract):
    @pytest.fixture(params=SELECTORS)
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return SELECTORS[request.param]


@pytest.mark.parametrize(
    ("case", "distance"), [("squared", "squared"), ("euclidean", "euclidean"), ("squared_k3", "squared")]
)
def test_golden(case: str, distance: str) -> None:
    want = GOLDEN["expected"][case]
    craig = Craig(distance=distance)  # type: ignore[arg-type]
    found = craig.cover(SIX, len(want["selected"]), generator(0))
    squared = ((POINTS[:, None] - POINTS[None]) ** 2).sum(axis=2)
    empty = squared.max() if distance == "squared" else np.sqrt(squared.max())
    assert found.rows.tolist() == want["selected"]
    assert found.nearest.tolist() == want["assign"]
    np.testing.assert_allclose(found.gains(empty), want["gains"], rtol=FLOAT64)
    assert found.gains(empty).sum() == pytest.approx(want["value"], rel=FLOAT64)
    chosen = craig.select(SIX, len(want["selected"]), generator(0))
    assert chosen.indices.tolist() == want["selected"]
    np.testing.assert_allclose(chosen.weights * chosen.scale, want["weights"], rtol=1e-6)


def test_golden_per_class() -> None:
    chosen = PerClass(Craig()).select(SIX, 2, generator(0))
    assert chosen.indices.tolist() == [0, 3]
    np.testing.assert_allclose(chosen.weights * chosen.scale, [3, 3], rtol=1e-6)


@pytest.mark.parametrize("distance", ["squared", "euclidean"])
@pytest.mark.parametrize("k", [1, 9, 46, 47])
def test_weights_count_the_rows_nearest_in_expanded_gradients(distance: str, k: int) -> None:
    context = make_context("mixed")
    assert context.gradients is not None
    chosen = Craig(distance=distance).select(context, k, generator(0))  # type: ignore[arg-type]
    g = context.gradients.expanded().astype(np.float64)
    nearest = ((g[:, None] - g[chosen.indices][None]) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_allclose(chosen.weights * chosen.scale, np.bincount(nearest, minlength=k), rtol=1e-5)
    assert (chosen.weights * chosen.scale).sum() == pytest.approx(47, rel=1e-5)


def test_bias_gradients_leave_the_features_out() -> None:
    context = make_context("mixed")
    assert context.gradients is not None
    bare = Context(47, gradients=Gradients(context.gradients.residuals))
    bias = Craig(gradients="bias").select(context, 9, generator(0))
    assert bias.indices.tolist() == Craig().select(bare, 9, generator(0)).indices.tolist()
    assert bias.indices.tolist() != Craig().select(context, 9, generator(0)).indices.tolist()


def test_equal_gradients_give_k_rows_and_one_heavy_one() -> None:
    context = make_context("equal")
    same = Context(47, gradients=Gradients(np.ones((47, 3), np.float32)))
    chosen = Craig().select(same, 4, generator(0))
    assert chosen.indices.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(chosen.weights * chosen.scale, [44, 1, 1, 1], rtol=1e-6)
    assert len(PerClass(Craig()).select(context, 20, generator(0))) == 20


def test_what_is_missing_or_wrong_is_named() -> None:
    with pytest.raises(SelectionError, match="craig needs last-layer gradients"):
        Craig().select(Context(5), 2, generator(0))
    with pytest.raises(OptionsError, match=r"distance='cosine'.*gradients='all'.*memory_bytes=0"):
        Craig(distance="cosine", gradients="all", memory_bytes=0)  # type: ignore[arg-type]
    with pytest.raises(BudgetError, match="memory_bytes=1 cannot be kept"):
        Craig(memory_bytes=1).select(make_context("mixed"), 20, generator(0))


def test_the_cost_model_knows_the_widths() -> None:
    assert Craig().flops(5000, 500, 10, 64) > 5 * Craig(gradients="bias").flops(5000, 500, 10, 64)
    assert Craig().flops(5000, 500, 10, 64) > 5000**2 * 75
