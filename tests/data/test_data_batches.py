from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_images import pixels

from raysubset.data.batches import ArraySource, batch_bounds, epoch_batches, epoch_order, evaluation_batches
from raysubset.data.dataset import Split
from raysubset.data.transform import Transform
from raysubset.errors import OptionsError, SelectionError
from raysubset.types import Selection

N = 37


@pytest.fixture
def split() -> Split:
    """Read-only arrays, as an object store hands them over."""
    images, labels = pixels(N, 3, 6, 6), np.random.default_rng(1).integers(0, 4, N)
    images.flags.writeable = labels.flags.writeable = False
    return Split(images, labels)


@given(k=st.integers(1, 200), batch_size=st.integers(1, 50))
def test_bounds_cover_all_rows_and_never_end_on_one(k: int, batch_size: int) -> None:
    bounds = batch_bounds(k, batch_size)
    assert [row for start, stop in bounds for row in range(start, stop)] == list(range(k))
    sizes = [stop - start for start, stop in bounds]
    assert all(size == batch_size for size in sizes[:-1])
    assert 1 <= sizes[-1] <= batch_size + 1
    if batch_size > 1 and k > 1:
        assert min(sizes) > 1


def test_bounds_by_hand() -> None:
    assert batch_bounds(9, 4) == [(0, 4), (4, 9)]
    assert batch_bounds(10, 4) == [(0, 4), (4, 8), (8, 10)]
    assert batch_bounds(1, 4) == [(0, 1)]
    assert batch_bounds(3, 1) == [(0, 1), (1, 2), (2, 3)]
    for k, size in ((0, 4), (4, 0)):
        with pytest.raises(OptionsError, match="need both >= 1"):
            batch_bounds(k, size)


@given(pool=st.integers(1, 60), seed=st.integers(0, 2**40), epoch=st.integers(0, 300), data=st.data())
def test_a_subset_is_visited_in_the_order_of_the_whole(
    pool: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    rows = data.draw(st.permutations(range(pool)))[: data.draw(st.integers(1, pool))]
    whole = Selection.uniform(np.arange(pool), pool)
    visited = whole.indices[epoch_order(whole, seed, epoch)].tolist()
    assert sorted(visited) == list(range(pool))
    subset = Selection.uniform(rows, pool)
    assert subset.indices[epoch_order(subset, seed, epoch)].tolist() == [
        row for row in visited if row in set(rows)
    ]


def test_order_changes_with_seed_and_epoch() -> None:
    whole = Selection.uniform(np.arange(50), 50)
    orders = {tuple(epoch_order(whole, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4


@pytest.mark.parametrize("channels_last", [False, True])
def test_an_epoch_carries_each_row_with_its_own_weight_and_image(split: Split, channels_last: bool) -> None:
    rows = np.random.default_rng(0).permutation(N)[:21]
    selection = Selection.weighted(rows, np.arange(1.0, 22.0), N)
    transform = Transform.fit(split.inputs, flip=0.5, crop_padding=1)
    batches = list(
        epoch_batches(
            ArraySource(split),
            selection,
            transform,
            batch_size=5,
            seed=3,
            epoch=2,
            channels_last=channels_last,
        )
    )
    assert [len(batch) for batch in batches] == [5, 5, 5, 6]
    weight_of = dict(zip(selection.indices.tolist(), selection.weights.tolist(), strict=True))
    for batch in batches:
        assert batch.index.dtype == np.int64
        assert batch.targets.dtype == torch.int64
        assert batch.weight.dtype == torch.float32
        assert batch.targets.tolist() == split.labels[batch.index].tolist()
        assert batch.weight.tolist() == [weight_of[row] for row in batch.index.tolist()]
        alone = transform.train(torch.from_numpy(split.inputs[batch.index]), batch.index, 3, 2)
        assert torch.equal(batch.inputs, alone)
        if channels_last:
            assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
    assert sorted(np.concatenate([batch.index for batch in batches])) == sorted(rows)


def test_a_row_looks_the_same_in_a_subset_and_in_the_whole(split: Split) -> None:
    transform = Transform.fit(split.inputs, flip=0.5, crop_padding=2)

    def seen(rows: np.ndarray, batch_size: int) -> dict[int, bytes]:
        selection = Selection.uniform(rows, N)
        return {
            int(row): image.numpy().tobytes()
            for batch in epoch_batches(
                ArraySource(split), selection, transform, batch_size=batch_size, seed=0, epoch=7
            )
            for row, image in zip(batch.index, batch.inputs, strict=True)
        }

    whole, subset = seen(np.arange(N), 8), seen(np.array([30, 2, 11, 5]), 3)
    assert all(whole[row] == image for row, image in subset.items())


def test_a_selection_of_another_pool_is_refused(split: Split) -> None:
    selection = Selection.uniform([0, 1], N + 1)
    with pytest.raises(SelectionError, match=f"pool of {N + 1} rows, the source has {N}"):
        next(
            epoch_batches(
                ArraySource(split), selection, Transform.fit(split.inputs), batch_size=2, seed=0, epoch=0
            )
        )


@pytest.mark.parametrize("wrap", [False, True])
def test_evaluation_visits_every_row_once_in_order(split: Split, wrap: bool) -> None:
    transform = Transform.fit(split.inputs, flip=1.0, crop_padding=2)
    batches = list(evaluation_batches(ArraySource(split) if wrap else split, transform, 6))
    assert [len(batch) for batch in batches] == [6, 6, 6, 6, 6, 7]
    assert np.concatenate([batch.index for batch in batches]).tolist() == list(range(N))
    assert torch.cat([batch.targets for batch in batches]).tolist() == split.labels.tolist()
    assert all((batch.weight == 1).all() for batch in batches)
    whole = transform.evaluate(torch.from_numpy(split.inputs.copy()))
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), whole)


class ViewSource:
    """A source that answers with read-only views, as one over an object store may."""

    def __init__(self, split: Split) -> None:
        self.split, self.labels = split, split.labels

    def __len__(self) -> int:
        return len(self.split)

    def rows(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.split.inputs[index[0] : index[-1] + 1], self.split.labels[index[0] : index[-1] + 1]


@pytest.mark.parametrize("writeable", [False, True])
def test_a_model_that_writes_into_its_input_does_not_reach_the_data(writeable: bool) -> None:
    features = np.ones((9, 3), np.float32)
    split = Split(features, np.arange(9))
    features.flags.writeable = split.labels.flags.writeable = writeable
    for batch in evaluation_batches(ViewSource(split), Transform.fit(features), 4):
        batch.inputs.zero_()
        batch.targets.zero_()
    assert (features == 1).all()
    assert split.labels.tolist() == list(range(9))
