"""Scores by hand, by golden files and by loops."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import FLOAT64, PROPERTY, SIGNAL_RELATIVE

from raysubset.errors import SelectionError
from raysubset.selection import scores
from raysubset.selection.gradients import Gradients
from raysubset.selection.scores import TrainingTrace

EL2N, FORGETTING, SVP, METRICS = (golden(name) for name in ("el2n", "forgetting", "svp", "asp_metrics"))
LOGITS, LABELS = np.array(METRICS["inputs"]["logits"]), np.array(METRICS["inputs"]["labels"])
HISTORY = np.array(FORGETTING["inputs"]["correct"], dtype=np.float64).T  # one line a row; None becomes NaN


def test_golden_el2n_of_two_models() -> None:
    p, labels = np.array(EL2N["inputs"]["probs_model_sample_class"]), np.array(EL2N["inputs"]["labels"])
    np.testing.assert_allclose(scores.el2n(p, labels), EL2N["expected"]["el2n"], rtol=FLOAT64)
    for model, expected in zip(p, EL2N["expected"]["per_model"], strict=True):
        np.testing.assert_allclose(scores.el2n(model, labels), expected, rtol=FLOAT64)


def test_el2n_and_grand_of_one_row_by_hand() -> None:
    p, labels = np.array([[0.7, 0.2, 0.1]]), np.array([0])
    assert scores.el2n(p, labels)[0] == pytest.approx(0.3741657387, abs=1e-10)
    residual = (p - [[1, 0, 0]]).astype(np.float64)
    model = Gradients(residual, np.array([[1.0, 2.0]]))
    assert scores.grand([model])[0] == pytest.approx(0.9165151390, abs=1e-10)
    other = Gradients(2 * residual, np.array([[0.0, 0.0]]))
    assert scores.grand([model, other])[0] == pytest.approx((0.9165151390 + 2 * 0.3741657387) / 2, abs=1e-10)


def test_golden_signals_of_logits() -> None:
    expected, h = METRICS["expected"], np.array(METRICS["inputs"]["penultimate"])
    p = scores.softmax(LOGITS)
    np.testing.assert_allclose(p, expected["probs"], rtol=FLOAT64)
    np.testing.assert_allclose(scores.loss(LOGITS, LABELS), expected["loss"], rtol=FLOAT64)
    np.testing.assert_allclose(scores.entropy(p), expected["entropy"], rtol=FLOAT64)
    np.testing.assert_allclose(scores.el2n(p, LABELS), expected["el2n"], rtol=FLOAT64)
    residuals = p - np.eye(3)[LABELS]
    norms = scores.grand([Gradients(residuals, h)])
    np.testing.assert_allclose(norms, expected["grad_norm_weight_and_bias"], rtol=FLOAT64)


def test_golden_uncertainties() -> None:
    p = np.array(SVP["inputs"]["probs"])
    for name, score in (
        ("entropy", scores.entropy),
        ("least_confidence", scores.least_confidence),
        ("margin", scores.margin),
    ):
        np.testing.assert_allclose(score(p), SVP["expected"][name], rtol=FLOAT64)
    assert json.dumps("top2_entropy")  # tests/selection/test_top_score.py


def test_golden_forgetting_in_both_spellings_of_absence() -> None:
    expected = [float(x) for x in FORGETTING["expected"]["score"]]
    assert scores.forgetting_counts(HISTORY).tolist() == expected
    assert scores.forgetting_counts(np.nan_to_num(HISTORY, nan=-1)).tolist() == expected


def test_margins_and_their_area_by_hand() -> None:
    z = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0]])
    assert scores.margins(z, np.array([0, 2])).tolist() == [1.0, -4.0]
    history = np.array([[1.0, -4.0], [np.nan, 2.0], [3.0, np.nan]])
    assert scores.area_under_margin(history).tolist() == [2.0, -1.0]


def test_extreme_logits_stay_finite() -> None:
    z = np.array([[1e4, -1e4, 0.0], [-1e30, -1e30, -1e30]])
    p = scores.softmax(z)
    assert p[0].tolist() == [1, 0, 0]
    np.testing.assert_allclose(p[1], 1 / 3, rtol=FLOAT64)
    assert scores.entropy(p)[0] == 0
    assert not np.signbit(scores.entropy(p)[0])
    assert scores.loss(z, np.array([1, 0])).tolist() == pytest.approx([2e4, np.log(3)])


@PROPERTY
@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(2, 8))
def test_against_torch(seed: int, n: int, c: int) -> None:
    rng = np.random.default_rng(seed)
    z, labels = 3 * rng.normal(size=(n, c)), rng.integers(0, c, n)
    tz, ty = torch.tensor(z), torch.tensor(labels)
    p = torch.distributions.Categorical(logits=tz)
    close = {"rtol": 1e-8, "atol": 1e-12}
    np.testing.assert_allclose(scores.softmax(z), p.probs.numpy(), **close)
    np.testing.assert_allclose(scores.entropy(scores.softmax(z)), p.entropy().numpy(), **close)
    losses = torch.nn.functional.cross_entropy(tz, ty, reduction="none")
    np.testing.assert_allclose(scores.loss(z, labels), losses.numpy(), **close)
    top = p.probs.topk(2, dim=1).values
    np.testing.assert_allclose(scores.margin(scores.softmax(z)), (1 - top[:, 0] + top[:, 1]).numpy(), **close)
    rivals = tz.scatter(1, ty[:, None], -torch.inf).amax(dim=1)
    np.testing.assert_allclose(scores.margins(z, labels), (tz[range(n), ty] - rivals).numpy(), **close)


histories = st.integers(1, 8).flatmap(
    lambda n: st.lists(st.lists(st.sampled_from([0, 1, -1]), min_size=n, max_size=n), min_size=1, max_size=10)
)


@PROPERTY
@given(histories)
def test_forgetting_counts_against_each_rows_own_story(history: list[list[int]]) -> None:
    for row, score in enumerate(scores.forgetting_counts(history)):
        story = [epoch[row] for epoch in history if epoch[row] != -1]
        falls = sum(a == 1 and b == 0 for a, b in pairwise(story))
        assert score == (falls if 1 in story else np.inf)


@PROPERTY
@given(histories, st.integers(0, 2**32))
def test_a_trace_gathers_what_the_whole_history_says(history: list[list[int]], seed: int) -> None:
    rng, n = np.random.default_rng(seed), len(history[0])
    margins = np.full((len(history), n), np.nan)
    trace = TrainingTrace(n)
    for e, epoch in enumerate(history):
        rows = rng.permutation(np.flatnonzero(np.array(epoch) >= 0))
        margins[e, rows] = rng.normal(size=len(rows))
        trace.record(rows, np.array(epoch)[rows] == 1, margins[e, rows])
    signals = trace.signals()
    assert signals["forgetting"].tolist() == scores.forgetting_counts(history).tolist()
    seen = ~np.isnan(margins).all(axis=0)
    means = np.array([np.nanmean(margins[:, row]) if seen[row] else np.nan for row in range(n)])
    expected = np.where(seen, means, means[seen].min() if seen.any() else 0.0)
    np.testing.assert_allclose(signals["aum"], expected, rtol=SIGNAL_RELATIVE, atol=SIGNAL_RELATIVE)
    assert signals["aum"].dtype == signals["forgetting"].dtype == np.float32


def test_a_trace_refuses_what_cannot_be() -> None:
    trace, one = TrainingTrace(3), np.ones(1)
    yes = np.array([True])
    with pytest.raises(SelectionError, match=r"n=3.*3\.\.3"):
        trace.record(np.array([3]), yes, one)
    with pytest.raises(SelectionError, match="once"):
        trace.record(np.array([1, 1]), np.array([True, False]), np.ones(2))
    with pytest.raises(SelectionError, match="Row 2 has margin nan"):
        trace.record(np.array([2]), yes, np.array([np.nan]))
    assert not trace.signals()["aum"].any()


def test_bad_histories_and_labels_are_named() -> None:
    with pytest.raises(SelectionError, match=r"correct\[1, 2\] is 0.5"):
        scores.forgetting_counts([[0, 1, 1], [0, 1, 0.5]])
    with pytest.raises(SelectionError, match="Row 1 has no margin"):
        scores.area_under_margin([[1.0, np.nan]])
    with pytest.raises(SelectionError, match=r"Row 1 has label 3, need \[0, 3\)"):
        scores.loss(np.zeros((2, 3)), np.array([0, 3]))
    with pytest.raises(SelectionError, match="Row 0 has label -1"):
        scores.el2n(np.full((1, 2), 0.5), np.array([-1]))
    with pytest.raises(SelectionError, match="2 labels for 1 rows"):
        scores.margins(np.zeros((1, 3)), np.array([0, 1]))
    with pytest.raises(SelectionError, match="two classes"):
        scores.margin(np.ones((3, 1)))


def test_inputs_are_left_as_they_were() -> None:
    p: NDArray[np.float64] = scores.softmax(LOGITS)
    frozen, z = p.copy(), LOGITS.copy()
    scores.el2n(p, LABELS)
    scores.margins(LOGITS, LABELS)
    assert (p == frozen).all()
    assert (z == LOGITS).all()


def test_every_part_of_the_golden_files_is_read() -> None:
    folder = Path(__file__).parent
    text = "".join((folder / name).read_text(encoding="utf-8") for name in ("test_scores.py", "test_top_score.py"))
    keys = {*EL2N["expected"], *FORGETTING["expected"], *SVP["expected"]} - {"kcenter3"}  # read by k-center's test
    assert all(json.dumps(key) in text for key in keys)
