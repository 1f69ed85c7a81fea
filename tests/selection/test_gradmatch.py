"""GRAD-MATCH: golden values, targets, parts of the layer, and what peers get wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_values import golden
from scipy.optimize import nnls
from tolerances import FLOAT64

from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.gradients import Gradients
from raysubset.selection.gradmatch import GradMatch
from raysubset.selection.protocol import Context, Selector, Target
from raysubset.selection.wrappers import PerClass
from raysubset.testing.selectors import SelectorContract, make_context
from raysubset.types import Selection

PURSUIT = golden("gradmatch")
RAW = 1e-6  # weights are handed over as float32: 6e-8 relative, a few roundings

VARIANTS: dict[str, Selector] = {
    "paper": GradMatch(),
    "no ridge": GradMatch(lam=0.0),
    "bias": GradMatch(gradients="bias"),
    "own class": GradMatch(gradients="own-class"),
    "per class": PerClass(GradMatch()),
    "per class per gradient": PerClass(GradMatch(gradients="own-class")),
}


@pytest.mark.slow
class TestGradMatch(SelectorContract):
    exact = False

    @pytest.fixture(params=VARIANTS)
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return VARIANTS[request.param]


def choose(selector: Selector, context: Context, k: int) -> Selection:
    return selector.select(context, k, generator(0))


def raw(chosen: Selection) -> np.ndarray:
    return chosen.weights.astype(np.float64) * chosen.scale


def expanded(residuals: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Rows of r [h, 1]^T, without the code under test."""
    ones = np.hstack([features.astype(np.float64), np.ones((len(features), 1))])
    return np.einsum("nc,nh->nch", residuals.astype(np.float64), ones).reshape(len(residuals), -1)


def autograd(logits: np.ndarray, labels: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Each row's gradient of the cross-entropy by a last layer that gives these logits, by autograd."""
    rows = []
    for z, y, h in zip(logits, labels, features, strict=True):
        weight = torch.zeros(len(z), len(h) + 1, dtype=torch.float64, requires_grad=True)
        out = torch.from_numpy(z.astype(np.float64)) + weight @ torch.from_numpy(
            np.append(h.astype(np.float64), 1)
        )
        torch.nn.functional.cross_entropy(out[None], torch.tensor([y])).backward()
        assert weight.grad is not None
        rows.append(weight.grad.numpy().ravel())
    return np.array(rows)


@pytest.mark.parametrize("case", PURSUIT["expected"])
def test_golden_values(case: str) -> None:
    lam, k = float(case.split("_")[0][3:]), int(case.split("_k")[1])
    context = Context(5, gradients=Gradients(np.array(PURSUIT["inputs"]["A"]).T.copy()))
    chosen = choose(GradMatch(lam=lam, eps=0.0), context, k)
    assert chosen.indices.tolist() == PURSUIT["expected"][case]["selected"]
    np.testing.assert_allclose(raw(chosen), PURSUIT["expected"][case]["weights"], rtol=RAW)


@pytest.mark.parametrize("name", ["mixed", "ties", "sorted by class"])
@pytest.mark.parametrize("lam", [0.0, 0.5, 100.0])
def test_ridge_is_used_and_the_weights_are_optimal_for_it(name: str, lam: float) -> None:
    """A peer hard-codes lam = 0 on the CPU."""
    context = make_context(name)
    assert context.gradients is not None
    assert context.gradients.features is not None
    chosen = choose(GradMatch(lam=lam), context, 10)
    atoms = expanded(context.gradients.residuals, context.gradients.features)
    m, goal = len(chosen), atoms.sum(axis=0)
    stacked = np.vstack([atoms[chosen.indices].T, np.sqrt(lam) * np.eye(m)])
    padded = np.append(goal, np.zeros(m))
    _, best = nnls(stacked, padded)
    assert np.linalg.norm(stacked @ raw(chosen) - padded) <= 1.01 * best + RAW * np.linalg.norm(goal)


def test_the_residual_does_not_rise_with_k() -> None:
    context = make_context("mixed")
    assert context.gradients is not None
    assert context.gradients.features is not None
    atoms = expanded(context.gradients.residuals, context.gradients.features)
    left = []
    for k in range(1, 20):
        chosen = choose(GradMatch(lam=0.0), context, k)
        left.append(np.linalg.norm(atoms[chosen.indices].T @ raw(chosen) - atoms.sum(axis=0)))
    assert (np.diff(left) <= RAW * np.linalg.norm(atoms.sum(axis=0))).all()
    assert left[-1] < 0.05 * left[0]


def test_rows_follow_their_place_when_the_pool_is_shuffled() -> None:
    context = make_context("mixed")
    order = generator(1).permutation(context.pool_size)
    plain = choose(GradMatch(), context, 9)
    shuffled = choose(GradMatch(), context.restrict(order), 9)
    assert order[shuffled.indices].tolist() == plain.indices.tolist()
    np.testing.assert_allclose(raw(shuffled), raw(plain), rtol=1e-5)


def test_per_class_matches_each_class_by_itself() -> None:
    context = make_context("mixed", n=60)
    assert context.labels is not None
    chosen = choose(PerClass(GradMatch()), context, 15)
    for label in range(3):
        rows = np.flatnonzero(context.labels == label)
        alone = choose(GradMatch(), context.restrict(rows), 5)
        here = context.labels[chosen.indices] == label
        assert chosen.indices[here].tolist() == rows[alone.indices].tolist()
        np.testing.assert_allclose(raw(chosen)[here], raw(alone), rtol=RAW)


def test_own_class_matches_the_row_of_the_own_class_only() -> None:
    context = make_context("mixed", n=60)
    assert context.labels is not None
    assert context.gradients is not None
    assert context.gradients.features is not None
    rows = np.flatnonzero(context.labels == 1)
    column = Gradients(context.gradients.residuals[rows, 1:2].copy(), context.gradients.features[rows])
    alone = choose(GradMatch(), Context(len(rows), gradients=column), 6)
    chosen = choose(GradMatch(gradients="own-class"), context.restrict(rows), 6)
    assert chosen.indices.tolist() == alone.indices.tolist()
    np.testing.assert_allclose(raw(chosen), raw(alone), rtol=RAW)
    together = choose(GradMatch(gradients="own-class", eps=0.0), context, 60)
    apart = choose(PerClass(GradMatch(gradients="own-class", eps=0.0)), context, 60)
    np.testing.assert_allclose(np.sort(raw(together)), np.sort(raw(apart)), rtol=1e-3)  # eps is of another whole


@pytest.mark.parametrize("gradients", ["last-layer", "bias", "own-class"])
def test_validation_target_is_its_gradient_sum_scaled_to_the_pool(gradients: str) -> None:
    context = make_context("mixed")
    target, labels, features = context.target, context.labels, context.features
    assert target is not None
    assert labels is not None
    assert features is not None
    assert context.logits is not None
    pool = autograd(context.logits, labels, features)
    goal = autograd(target.logits, target.labels, target.features)
    if gradients == "bias":
        pool, goal = (rows.reshape(-1, 3, 6)[:, :, 5] for rows in (pool, goal))
    if gradients == "own-class":
        pool, goal = (
            (rows.reshape(-1, 3, 6) * np.eye(3)[y][:, :, None]).reshape(-1, 18)
            for rows, y in ((pool, labels), (goal, target.labels))
        )
    goal = goal.sum(axis=0) * 47 / 13
    chosen = choose(GradMatch(lam=0.0, target="validation", gradients=gradients), context, 47)  # type: ignore[arg-type]
    _, best = nnls(pool.T, goal)
    left = np.linalg.norm(pool[chosen.indices].T @ raw(chosen) - goal)
    assert left <= best + 1e-4 * np.linalg.norm(goal)


def test_validation_rows_of_other_classes_are_left_out() -> None:
    context = make_context("mixed", n=60)
    assert context.labels is not None
    assert context.target is not None
    part = context.restrict(np.flatnonzero(context.labels == 2))
    target = context.target
    here = target.labels == 2
    own = Target(target.logits[here], target.labels[here], target.features[here])
    both = [choose(GradMatch(target="validation"), replace(part, target=t), 5) for t in (target, own)]
    assert both[0].indices.tolist() == both[1].indices.tolist()
    np.testing.assert_array_equal(both[0].weights, both[1].weights)
    none = replace(part, target=Target(target.logits[~here], target.labels[~here], target.features[~here]))
    with pytest.raises(SelectionError, match="none is of the pool's classes \\[2\\]"):
        choose(GradMatch(target="validation"), none, 5)


def test_no_filler_in_few_dimensions() -> None:
    """A peer fills 95 % of a bias-only selection with random rows of weight 1."""
    residuals = np.random.default_rng(0).normal(size=(1000, 10)).astype(np.float32)
    chosen = choose(GradMatch(lam=0.0), Context(1000, gradients=Gradients(residuals)), 100)
    assert len(chosen) <= 10
    matched = residuals[chosen.indices].T.astype(np.float64) @ raw(chosen)
    np.testing.assert_allclose(matched, residuals.sum(axis=0), atol=1e-3 * np.abs(residuals.sum(axis=0)).max())


def test_copies_of_a_row_are_no_trouble() -> None:
    """A peer appends an index twice and solves a singular system."""
    context = make_context("mixed").restrict(np.repeat(np.arange(10), 6))
    for lam in (0.0, 0.5):
        chosen = choose(GradMatch(lam=lam, eps=0.0), context, 60)
        assert np.isfinite(chosen.weights).all()
        assert len(set(chosen.indices.tolist())) == len(chosen)


def test_one_row_represents_itself() -> None:
    context = Context(1, gradients=Gradients(np.array([[3.0, 4.0]], np.float32)))
    assert raw(choose(GradMatch(lam=0.0), context, 1)).tolist() == pytest.approx([1.0])
    assert raw(choose(GradMatch(lam=25.0), context, 1)).tolist() == pytest.approx([0.5])  # 25 / (25 + lam)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (Context(4), "needs last-layer gradients"),
        (Context(4, gradients=Gradients(np.zeros((4, 3), np.float32))), "nothing to match.*4 rows perfectly"),
        (Context(2, gradients=Gradients(np.array([[1, 2], [-1, -2]], np.float32))), "cancel out"),
        (Context(4, gradients=Gradients(np.ones((3, 2), np.float32))), "3 gradients for a pool of 4"),
    ],
)
def test_what_cannot_be_matched_is_said(context: Context, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        choose(GradMatch(), context, 1)


def test_missing_labels_and_validation_rows_are_said() -> None:
    pool = Context(3, gradients=Gradients(np.ones((3, 2), np.float32)))
    with pytest.raises(SelectionError, match="own-class.*needs labels"):
        choose(GradMatch(gradients="own-class"), pool, 1)
    with pytest.raises(SelectionError, match="needs validation rows"):
        choose(GradMatch(target="validation"), pool, 1)


def test_bias_leaves_the_features_out() -> None:
    context = make_context("mixed")
    assert context.gradients is not None
    alone = choose(GradMatch(), Context(47, gradients=Gradients(context.gradients.residuals)), 9)
    chosen = choose(GradMatch(gradients="bias"), context, 9)
    assert chosen.indices.tolist() == alone.indices.tolist()
    np.testing.assert_array_equal(chosen.weights, alone.weights)


def test_validation_rows_that_the_model_fits_perfectly() -> None:
    target = Target(np.array([[200.0, 0.0]], np.float32), np.array([0]), np.zeros((1, 0), np.float32))
    pool = Context(2, gradients=Gradients(np.ones((2, 2), np.float32)), target=target)
    with pytest.raises(SelectionError, match="nothing to match: the validation gradients sum to 0"):
        choose(GradMatch(target="validation", gradients="bias"), pool, 1)


def test_no_row_towards_the_validation_target() -> None:
    target = Target(np.zeros((1, 2), np.float32), np.array([0]), np.zeros((1, 0), np.float32))
    against = Context(1, gradients=Gradients(np.array([[0.5, -0.5]], np.float32)), target=target)
    with pytest.raises(SelectionError, match="not one of 1 gradients points towards"):
        choose(GradMatch(target="validation", gradients="bias"), against, 1)


def test_bad_gradients_name_their_row() -> None:
    residuals = np.ones((5, 2), np.float32)
    with pytest.raises(SelectionError, match="float16"):
        Gradients(residuals.astype(np.float16))
    residuals[3, 1] = np.nan
    with pytest.raises(SelectionError, match="row 3 hold nan"):
        Gradients(residuals)


def test_all_bad_options_are_reported_together() -> None:
    with pytest.raises(OptionsError, match=r"lam=-1.*eps=nan.*target='test'.*gradients='all'"):
        GradMatch(lam=-1, eps=float("nan"), target="test", gradients="all")  # type: ignore[arg-type]


def test_price_counts_the_correlations_and_the_factor() -> None:
    few, many = GradMatch().flops(1000, 10, 10, 64), GradMatch().flops(1000, 20, 10, 64)
    assert few >= 10 * 2 * 1000 * 650, "k products of n atoms with the residual"
    assert 2 * few < many
    assert GradMatch(gradients="bias").flops(1000, 10, 10, 64) == GradMatch().flops(1000, 10, 10, 0)
    assert GradMatch(lam=0).flops(1000, 900, 10, 9) == GradMatch(lam=0).flops(1000, 100, 10, 9), "100 dimensions"
    assert GradMatch(gradients="own-class").flops(1000, 10, 10, 64) == GradMatch().flops(1000, 10, 1, 64)
    assert GradMatch().flops(10**6, 10**5, 10, 64) > 10**5 * 2 * 10**6 * 650 + 2 / 3 * 10**15 - FLOAT64
