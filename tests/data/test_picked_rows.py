"""Some rows of a source as a source of their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_images import pixels

from raysubset.data.batches import ArraySource, PickedRows, epoch_batches, evaluation_batches
from raysubset.data.dataset import Split
from raysubset.data.transform import Transform
from raysubset.types import Selection

N = 37
SPLIT = Split(pixels(N, 3, 6, 6), np.random.default_rng(1).integers(0, 4, N))


def picked(*rows: int) -> PickedRows:
    return PickedRows(ArraySource(SPLIT), np.array(rows, dtype=np.int64))


@given(rows=st.lists(st.integers(0, N - 1), min_size=1, max_size=50), data=st.data())
def test_row_i_is_the_ith_that_was_picked(rows: list[int], data: st.DataObject) -> None:
    source = picked(*rows)
    asked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=20))
    images, labels = source.rows(np.array(asked, dtype=np.int64))
    np.testing.assert_array_equal(images, SPLIT.inputs[[rows[i] for i in asked]])
    assert labels.tolist() == [int(SPLIT.labels[rows[i]]) for i in asked]
    assert source.labels.tolist() == [int(SPLIT.labels[row]) for row in rows]
    assert len(source) == len(rows)


def test_picks_of_picks() -> None:
    inner = PickedRows(picked(30, 20, 10), np.array([2, 0]))
    np.testing.assert_array_equal(inner.rows(np.array([0, 1]))[0], SPLIT.inputs[[10, 30]])


def test_what_is_handed_out_is_a_copy() -> None:
    source, before = picked(5, 6), SPLIT.inputs[5].copy()
    source.rows(np.array([0]))[0][:] = 0
    np.testing.assert_array_equal(SPLIT.inputs[5], before)


def test_rows_that_are_not_there_are_an_error() -> None:
    with pytest.raises(IndexError):
        picked(5, 6).rows(np.array([2]))


@pytest.mark.parametrize("rows", [[3, 1, 4, 15, 9, 2, 6], [7] * 5])
def test_batches_are_those_of_a_copy(rows: list[int]) -> None:
    copy, transform = ArraySource(SPLIT.take(np.array(rows))), Transform.fit(SPLIT.inputs, flip=0.5)
    everything = Selection.uniform(np.arange(len(rows)), len(rows))
    for ours, theirs in zip(
        epoch_batches(picked(*rows), everything, transform, batch_size=3, seed=0, epoch=1),
        epoch_batches(copy, everything, transform, batch_size=3, seed=0, epoch=1),
        strict=True,
    ):
        assert (ours.inputs == theirs.inputs).all()
        assert (ours.targets == theirs.targets).all()
        np.testing.assert_array_equal(ours.index, theirs.index)
    seen = [batch.targets.numpy() for batch in evaluation_batches(picked(*rows), transform, 4)]
    np.testing.assert_array_equal(np.concatenate(seen), SPLIT.labels[rows])
