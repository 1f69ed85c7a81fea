"""The controls against sorting by hand, and the paper's baselines in the catalogue."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import BudgetError, OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.facility_location import FacilityLocation
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.selection.sampling import gumbel_top_m
from raysubset.subselnet.controls import CONTROLS, TRUE_LOSS, BottomLossGumbel

N, CLASSES = 60, 4


def pool(seed: int = 0) -> Context:
    rng = generator(seed, "controls")
    labels = np.repeat(np.arange(CLASSES), N // CLASSES)
    logits = rng.normal(size=(N, CLASSES)).astype(np.float32) + 2 * np.eye(CLASSES, dtype=np.float32)[labels]
    logits[labels == 0] *= 3  # an easy class, that the smallest losses come from
    true = rng.gamma(2.0, 1.0, N).astype(np.float32)
    return Context(N, labels, {TRUE_LOSS: true}, logits=logits)


def softmax_rows(logits: NDArray[np.float32]) -> list[list[float]]:
    rows = []
    for z in logits.tolist():
        powers = [math.exp(value - max(z)) for value in z]
        rows.append([power / sum(powers) for power in powers])
    return rows


def scores(context: Context) -> dict[str, list[float]]:
    """What each control sorts by, smallest first, from the definitions."""
    assert context.logits is not None
    assert context.labels is not None
    p = softmax_rows(context.logits)
    loss = [-math.log(row[label]) for row, label in zip(p, context.labels, strict=True)]
    return {
        "bottom-loss": loss,
        "top-loss": [-value for value in loss],
        "uncertainty": [sum(q * math.log(q) for q in row) for row in p],
        "bottom-true-loss": context.signals[TRUE_LOSS].tolist(),
    }


@pytest.mark.parametrize("name", ["bottom-loss", "top-loss", "uncertainty", "bottom-true-loss"])
@pytest.mark.parametrize("b", [1, 7, N])
def test_controls_against_sorting(name: str, b: int) -> None:
    context = pool()
    by = scores(context)[name]
    picked = CONTROLS[name]().select(context, b, generator(0, "draw")).indices.tolist()
    assert picked == sorted(range(N), key=lambda row: by[row])[:b]


@pytest.mark.parametrize("name", ["bottom-loss", "top-loss", "uncertainty", "bottom-true-loss"])
def test_class_balanced_controls_take_the_best_of_each_class(name: str) -> None:
    context, b = pool(), 10  # 60 rows, 4 classes alike: quotas 2.5 each, the halves to the first two classes
    by, labels = scores(context)[name], context.need_labels("test").tolist()
    picked = set(CONTROLS[f"{name}-per-class"]().select(context, b, generator(0, "draw")).indices.tolist())
    expected = set()
    for label, quota in zip(range(CLASSES), (3, 3, 2, 2), strict=True):
        members = [row for row in range(N) if labels[row] == label]
        expected |= set(sorted(members, key=lambda row: by[row])[:quota])
    assert picked == expected


def test_signals_come_before_logits_and_bottom_loss_is_class_skewed() -> None:
    context = pool()
    measured = Context(
        N, context.labels, {"loss": np.arange(N, dtype=np.float32)[::-1].copy()}, logits=context.logits
    )
    assert CONTROLS["bottom-loss"]().select(measured, 3, generator(0)).indices.tolist() == [59, 58, 57]
    skewed = CONTROLS["bottom-loss"]().select(context, 15, generator(0)).indices
    assert (context.need_labels("test")[skewed] == 0).sum() > 2 * 15 / CLASSES


@pytest.mark.parametrize("name", list(CONTROLS))
def test_contract_of_all(name: str) -> None:
    context = pool(1)
    for b in (1, 13, N):
        first, again = (CONTROLS[name]().select(context, b, generator(3, "draw")) for _ in range(2))
        assert len(first) == b == len(set(first.indices.tolist()))
        assert first.indices.tolist() == again.indices.tolist()
        assert (first.weights == 1).all()
    for b in (0, N + 1):
        with pytest.raises(BudgetError, match=f"k={b}"):
            CONTROLS[name]().select(context, b, generator(0))


def test_ties_fall_the_same_way_in_every_run_and_take_no_class_whole() -> None:
    """A saturated approximator: every loss 0, the pool sorted by class."""
    context = Context(1000, np.repeat(np.arange(4), 250), {"loss": np.zeros(1000, np.float32)})
    first, again = (CONTROLS["bottom-loss"]().select(context, 100, generator(0, "draw")).indices for _ in range(2))
    assert first.tolist() == again.tolist()
    assert set(context.need_labels("test")[first].tolist()) == {0, 1, 2, 3}


# ------------------------------------------------------------------ bottom-b + Gumbel


@PROPERTY
@given(st.integers(0, 10_000), st.floats(0.001, 5.0), st.integers(1, 40))
def test_gumbel_is_added_to_the_loss(seed: int, scale: float, b: int) -> None:
    losses = generator(seed, "losses").gamma(2.0, 0.5, 40).astype(np.float32)
    context = Context(40, signals={"loss": losses})
    noisy = [
        float(loss) - scale * math.log(-math.log(u))
        for loss, u in zip(losses, generator(seed, "u").random(40), strict=True)
    ]
    picked = BottomLossGumbel(scale).select(context, b, generator(seed, "u")).indices.tolist()
    assert picked == sorted(range(40), key=lambda row: noisy[row])[:b]


def test_added_gumbel_is_not_plackett_luce() -> None:
    """One of three rows with losses 0, 0 and one scale: how often the third? By quadrature over its noise.

    (Of two rows the laws agree: the difference of two Gumbel variables is logistic either way.)
    """
    scale, draws = 0.5, 20_000
    context = Context(3, signals={"loss": np.array([0.0, 0.0, scale], np.float32)})
    rng = generator(0, "law")
    hard = sum(BottomLossGumbel(scale).select(context, 1, rng).indices[0] == 2 for _ in range(draws)) / draws
    x = np.linspace(-8, 40, 400_001)
    density, survival = np.exp(-x - np.exp(-x)), -np.expm1(-np.exp(-(x + 1)))
    exact = float((density * survival**2).sum() * (x[1] - x[0]))
    plackett_luce = math.exp(-1) / (2 + math.exp(-1))
    assert abs(exact - plackett_luce) > 0.03
    assert hard == pytest.approx(exact, abs=5 * math.sqrt(exact / draws))


@pytest.mark.parametrize("scale", [0.1, 0.3, 1.0])
def test_added_gumbel_stays_closer_to_the_smallest_losses(scale: float) -> None:
    losses = generator(0, "closer").gamma(2.0, 0.7, 4000).astype(np.float32)
    low = set(np.argsort(losses)[:400].tolist())
    added = BottomLossGumbel(scale).select(Context(4000, signals={"loss": losses}), 400, generator(1)).indices
    subtracted = gumbel_top_m(-losses, 400, generator(1), temperature=scale)
    assert len(low & set(added.tolist())) > len(low & set(subtracted.tolist())) + 10


def test_a_scale_that_vanishes_is_bottom_loss() -> None:
    context = pool()
    plain = CONTROLS["bottom-loss"]().select(context, 9, generator(0)).indices.tolist()
    assert BottomLossGumbel(1e-9).select(context, 9, generator(0)).indices.tolist() == plain
    assert BottomLossGumbel().scale == 0.025


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_bad_scale(scale: float) -> None:
    with pytest.raises(OptionsError, match="scale="):
        BottomLossGumbel(scale)


def test_bad_contexts() -> None:
    with pytest.raises(OptionsError, match="signal=''"):
        BottomLossGumbel(signal="")
    with pytest.raises(SelectionError, match="no logits"):
        BottomLossGumbel().select(Context(3), 1, generator(0))
    with pytest.raises(SelectionError, match="needs labels"):
        CONTROLS["bottom-loss"]().select(Context(2, logits=np.eye(2, dtype=np.float32)), 1, generator(0))
    with pytest.raises(SelectionError, match="'true-loss' was not measured"):
        CONTROLS["bottom-true-loss"]().select(Context(3), 1, generator(0))
    with pytest.raises(SelectionError, match="row 1 is nan"):
        BottomLossGumbel().select(Context(2, signals={"loss": np.array([0, np.nan], np.float32)}), 1, generator(0))
    with pytest.raises(SelectionError, match="needs labels"):
        CONTROLS["bottom-loss-per-class"]().select(
            Context(2, signals={"loss": np.zeros(2, np.float32)}), 1, generator(0)
        )


# ------------------------------------------------------------------ the paper's baselines, from the catalogue


def test_facility_location_golden() -> None:
    """apricot's "euclidean": gains of similarities max D^2 - D^2 (specification of the baseline: 78, 30, 20)."""
    points = np.array([(0, 0), (0, 1), (5, 0), (5, 1), (2, 3)], dtype=np.float32)
    found = FacilityLocation(exact=True).cover(Context(5, features=points), 3, generator(0))
    assert found.rows.tolist() == [4, 2, 0]
    distances = ((points[:, None] - points) ** 2).sum(-1)
    assert found.gains(float(distances.max())).tolist() == pytest.approx([78, 30, 20], abs=FLOAT64)


@pytest.mark.parametrize(
    ("plan", "evidence"),
    [
        (SubsetPlan(selector="random", per_class=True), "none"),
        (SubsetPlan(selector=FacilityLocation(exact=True)), "embedding"),
        (SubsetPlan(selector="entropy", scout_model="resnet18", scout_epochs=5), "scout"),
        (SubsetPlan(selector="prototypes-hard", options={"floor": 0.0}, embedding="resnet50"), "embedding"),
        (SubsetPlan(selector="prototypes-easy", embedding="resnet50"), "embedding"),
        (SubsetPlan(selector="least-confidence", scout_model="resnet20", scout_epochs=40), "scout"),
        (SubsetPlan(selector="k-center", embedding="scout", scout_model="resnet20"), "embedding"),
        (SubsetPlan(selector="el2n", scout_epochs=5), "scout"),
        (SubsetPlan(selector="grand", evidence="model", select_every=0, warm_start=0.5), "model"),
        (SubsetPlan(selector="glister"), "model"),
        (SubsetPlan(selector="gradmatch-per-batch"), "model"),
    ],
    ids=lambda value: value.name if isinstance(value, SubsetPlan) else "",
)
def test_the_plans_of_the_papers_baselines_can_be_made(plan: SubsetPlan, evidence: str) -> None:
    assert plan.habits.evidence == evidence
    assert plan.compose() is not None
