"""What a model says of a pool becomes gradients and a target."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import PROPERTY, SIGNAL_ABSOLUTE, SIGNAL_RELATIVE

from raysubset.errors import SelectionError
from raysubset.seeds import generator
from raysubset.selection.outputs import Outputs, residuals_of
from raysubset.selection.protocol import Target


def outputs(n: int = 6, c: int = 3, h: int = 4) -> Outputs:
    rng = generator(0, "outputs")
    return Outputs(rng.normal(size=(n, c)).astype(np.float32), rng.normal(size=(n, h)).astype(np.float32), 0.1)


LABELS = np.array([2, 0, 1, 1, 0, 2])


def by_hand(logits: list[float], label: int) -> list[float]:
    powers = [math.exp(z) for z in logits]
    return [p / math.fsum(powers) - (k == label) for k, p in enumerate(powers)]


@PROPERTY
@given(
    st.lists(st.lists(st.floats(-30, 30, width=32), min_size=3, max_size=3), min_size=1, max_size=5),
    st.integers(0, 2),
)
def test_residuals_are_probability_less_label(logits: list[list[float]], label: int) -> None:
    residuals = residuals_of(np.array(logits, dtype=np.float32), np.full(len(logits), label))
    assert residuals.dtype == np.float32
    expected = [by_hand(row, label) for row in logits]
    np.testing.assert_allclose(residuals, expected, rtol=SIGNAL_RELATIVE, atol=SIGNAL_ABSOLUTE)


def test_huge_logits_neither_overflow_nor_vanish() -> None:
    logits = np.array([[1e30, 0, -1e30], [-1e30, -1e30, -1e30]], dtype=np.float32)
    np.testing.assert_allclose(
        residuals_of(logits, np.array([1, 2])), [[1, -1, 0], [1 / 3, 1 / 3, -2 / 3]], rtol=1e-6
    )


def test_gradients_hold_residuals_and_features() -> None:
    seen = outputs()
    gradients = seen.gradients(LABELS)
    assert gradients.features is seen.features
    assert gradients.residuals.tolist() == residuals_of(seen.logits, LABELS).tolist()
    assert len(seen) == len(gradients) == 6


def test_what_was_given_stays_as_it_was() -> None:
    seen = outputs()
    seen.logits.flags.writeable = False
    before = seen.logits.copy()
    seen.gradients(LABELS)
    assert seen.logits.tolist() == before.tolist()


def test_the_target_takes_its_rows_in_their_order() -> None:
    seen, rows = outputs(), np.array([4, 1])
    target = seen.target(rows, LABELS)
    assert target.logits.tolist() == seen.logits[rows].tolist()
    assert target.features.tolist() == seen.features[rows].tolist()
    assert target.labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array([0, 1, 2, 3, 0, 1]), "label of row 3 is 3, but the logits have 3 columns"),
        (np.array([0, -1, 2, 0, 0, 1]), "label of row 1 is -1"),
        (LABELS[:5], r"6 rows of logits need 6 labels, got shape \(5,\)"),
        (LABELS[:, None], r"got shape \(6, 1\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: NDArray[np.int64], said: str) -> None:
    with pytest.raises(SelectionError, match=said):
        outputs().gradients(labels)


F, D, HALF = np.ones((3, 2), np.float32), np.ones((4, 2), np.float32), np.ones((3, 2), np.float16)
HOLE = np.array([[1, 1], [1, np.nan], [1, 1]], np.float32)


@pytest.mark.parametrize(
    ("logits", "features", "said"),
    [
        (F, D, "3 rows of logits and 4 of features"),
        (HALF, F, "logits are float16"),
        (F, HALF, "features are float16"),
        (HOLE, F, "logits of row 1 hold nan in column 1"),
        (F, HOLE, "features of row 1 hold nan in column 1"),
        (F[0], F, "logits must have shape"),
    ],
)
def test_outputs_check_themselves(logits: Any, features: Any, said: str) -> None:
    with pytest.raises(SelectionError, match=said):
        Outputs(logits, features)


@pytest.mark.parametrize(
    ("logits", "labels", "features", "said"),
    [
        (F, np.zeros(3, int), D, "3 logits, 3 labels, 4 feature rows"),
        (F, np.zeros(2, int), F, "3 logits, 2 labels, 3 feature rows"),
        (HOLE, np.zeros(3, int), F, "validation logits of row 1 hold nan"),
        (F, np.zeros(3, int), HOLE, "validation features of row 1 hold nan"),
    ],
)
def test_targets_check_themselves(logits: Any, labels: Any, features: Any, said: str) -> None:
    with pytest.raises(SelectionError, match=said):
        Target(logits, labels, features)
