"""Selection checks itself; a TrialRecord is one line of strict JSON."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import RecordError, SelectionError
from raysubset.types import Selection, TrialRecord

ROWS = np.array([4, 0, 2])
ONES = np.ones(3, dtype=np.float32)


def test_a_selection_keeps_order_and_size() -> None:
    chosen = Selection.uniform([4, 0, 2], 5)
    assert len(chosen) == 3
    assert chosen.indices.tolist() == [4, 0, 2]
    assert chosen.indices.dtype == np.int64
    assert chosen.weights.tolist() == [1, 1, 1]
    assert chosen.weights.dtype == np.float32
    assert chosen.pool_size == 5
    assert chosen.scale == 1
    assert not chosen.unbiased
    with pytest.raises(FrozenInstanceError):
        chosen.pool_size = 6  # type: ignore[misc]


@pytest.mark.parametrize(
    ("rows", "weights", "n", "message"),
    [
        (ROWS.astype(np.int32), ONES, 5, "int32"),
        (ROWS.reshape(1, 3), ONES.reshape(1, 3), 5, "int64\\[k\\]"),
        (ROWS, ONES[:2], 5, "float32\\(2,\\)"),
        (ROWS, np.ones(3), 5, "must be float32, got float64"),
        (ROWS[:0], ONES[:0], 5, "empty"),
        (ROWS, ONES, 4, r"span \[0, 4\], allowed \[0, 4\)"),
        (np.array([-1, 0, 2]), ONES, 5, r"span \[-1, 2\]"),
        (np.array([2, 0, 2]), ONES, 5, "3 given, 2 distinct"),
        (ROWS, 2 * ONES, 5, "mean 2"),
        (ROWS, np.array([4, -1, 0], np.float32), 5, ">= 0"),
        (ROWS, np.array([math.nan, 1, 1], np.float32), 5, "mean nan"),
    ],
)
def test_an_invalid_selection_is_refused(rows: Any, weights: Any, n: int, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        Selection(rows, weights, n)


@PROPERTY
@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=50).filter(lambda w: sum(w) > 0))
def test_raw_weights_are_scaled_to_mean_one_and_zeros_dropped(raw: list[float]) -> None:
    chosen = Selection.weighted(range(len(raw)), raw, len(raw))
    kept = [row for row, weight in enumerate(raw) if weight > 0]
    assert chosen.indices.tolist() == kept
    assert chosen.weights.mean(dtype=np.float64) == pytest.approx(1, rel=1e-6)
    share = np.array([raw[row] for row in kept]) / sum(raw)
    np.testing.assert_allclose(chosen.weights / len(kept), share, rtol=1e-6, atol=1e-38)


@PROPERTY
@given(st.lists(st.floats(0.125, 1e6, width=32), min_size=1, max_size=50))
def test_the_scale_gives_the_raw_weights_back(raw: list[float]) -> None:
    chosen = Selection.weighted(range(len(raw)), raw, len(raw))
    assert chosen.scale == pytest.approx(sum(raw) / len(raw), rel=1e-9)
    np.testing.assert_allclose(chosen.weights * chosen.scale, raw, rtol=1e-6)
    assert not chosen.unbiased


def test_the_scale_is_the_mean_of_the_rows_that_are_kept() -> None:
    chosen = Selection.weighted([7, 3, 5], [4.0, 0.0, 2.0], 9)
    assert chosen.indices.tolist() == [7, 5]
    assert (chosen.weights * chosen.scale).tolist() == [4, 2]


def test_unbiased_weights_keep_their_mean() -> None:
    weights = np.array([2, 2, 1], np.float32)
    with pytest.raises(SelectionError, match="mean 1.66667"):
        Selection(ROWS, weights, 5)
    chosen = Selection(ROWS, weights, 5, unbiased=True)
    assert chosen.weights.tolist() == [2, 2, 1]
    for bad in (-1, math.nan, math.inf):
        with pytest.raises(SelectionError, match=">= 0"):
            Selection(ROWS, np.array([2, bad, 1], np.float32), 5, unbiased=True)


@pytest.mark.parametrize("raw", [[0, 0], [1, math.nan], [1, math.inf], [-1, -1], [2, -1], [1, -1]])
def test_raw_weights_that_mean_nothing_are_refused(raw: list[float]) -> None:
    with pytest.raises(SelectionError, match="finite, >= 0 and not all zero"):
        Selection.weighted([0, 1], raw, 5)


def test_raw_weights_must_be_one_a_row() -> None:
    with pytest.raises(SelectionError, match="one a row"):
        Selection.weighted([0, 1, 2], [1, 1], 5)


RECORD = TrialRecord(
    stage="search",
    trial="t1",
    epoch=3,
    epochs=10,
    config={"lr": 0.1, "optimizer": "sgd", "nesterov": True, "batch_size": 64},
    status="running",
    samples_consumed=300,
    equiv_epochs=0.3,
    ratio=0.1,
    metric_used="loss",
    train_loss=1.5,
    train_s=1.0,
    select_s=0.1,
    eval_s=0.2,
    finished_s=9.0,
    seed=0,
    rung=1,
    val_loss=1.25,
    val_accuracy=0.5,
)

numbers = st.floats(allow_nan=False, allow_infinity=False)
records = st.builds(
    replace,
    st.just(RECORD),
    trial=st.text(),
    reason=st.text(),
    config=st.dictionaries(st.text(), st.one_of(st.booleans(), st.integers(), numbers, st.text())),
    epoch=st.integers(1),
    rung=st.none() | st.integers(0),
    train_loss=numbers,
    val_loss=st.none() | numbers,
    val_accuracy=st.none() | st.floats(0, 1),
)


@PROPERTY
@given(records)
def test_a_record_is_one_line_and_comes_back(record: TrialRecord) -> None:
    line = record.to_json()
    assert "\n" not in line
    assert set(json.loads(line)) == {field.name for field in fields(TrialRecord)}
    assert TrialRecord.from_json(line) == record


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_numbers_are_strict_json(bad: float) -> None:
    line = replace(RECORD, train_loss=bad, val_loss=bad, config={"lr": bad}).to_json()
    row = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert row["train_loss"] is row["val_loss"] is row["config"]["lr"] is None
    back = TrialRecord.from_json(line)
    assert math.isnan(back.train_loss)
    assert back.val_loss is None


def changed(**change: Any) -> str:
    return json.dumps({**json.loads(RECORD.to_json()), **change})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "Not a trial record"),
        ("{", "Not a trial record"),
        ("[]", "Not a trial record"),
        ("3", "Not a trial record"),
        (changed(schema=2), "schema 2, this version reads 1"),
        ("{}", "schema None"),
        ('{"schema": 1}', "missing"),
        (changed(colour="red"), "colour.*Fields: stage, trial"),
    ],
)
def test_lines_that_are_no_record_are_refused(line: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        TrialRecord.from_json(line)
