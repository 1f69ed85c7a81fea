"""Parts of a batch: together they are the batch, whoever owns which rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.data.batches import ArraySource, epoch_batches, evaluation_batches
from raysubset.data.dataset import Split
from raysubset.data.shard import WHOLE, Shard, own_part
from raysubset.data.transform import Transform
from raysubset.errors import OptionsError
from raysubset.types import Selection


def parts_of(ids: np.ndarray, weights: np.ndarray, n: int, size: int) -> list:
    return [own_part(ids, weights, Shard(rank, size).bounds(n), size) for rank in range(size)]


@given(n=st.integers(1, 60), size=st.integers(1, 7))
@settings(PROPERTY)
def test_workers_own_every_row_once_in_equal_numbers(n: int, size: int) -> None:
    if n < size:
        with pytest.raises(OptionsError, match=f"{n} rows cannot be shared by {size} workers"):
            Shard(0, size).bounds(n)
        return
    bounds = [Shard(rank, size).bounds(n) for rank in range(size)]
    assert [row for low, high in bounds for row in range(low, high)] == list(range(n))
    lengths = [high - low for low, high in bounds]
    assert max(lengths) - min(lengths) <= 1


@given(data=st.data(), n=st.integers(4, 50), size=st.integers(1, 4), seed=st.integers(0, 2**20))
@settings(PROPERTY)
def test_the_mean_of_the_parts_losses_is_the_batch_s(data: st.DataObject, n: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    b = data.draw(st.integers(1, n))
    ids = rng.choice(n, b, replace=False)
    weights, losses = rng.random(b).astype(np.float32), rng.random(n)
    whole = float(np.mean(weights * losses[ids]))
    objectives, rows = [], []
    for index, weight, part in parts_of(ids, weights, n, size):
        objectives.append(part.share * np.mean(weight * losses[index]))
        rows += index[: part.rows].tolist()
        assert part.whole == b
        assert (weight[part.rows :] == 0).all()
        assert len(np.unique(index)) == len(index)
        assert len(index) >= min(2, n // size)
    assert sorted(rows) == sorted(ids.tolist())
    assert np.isclose(np.mean(objectives), whole, rtol=1e-6)  # float32 weights


def test_order_is_kept_and_a_part_without_rows_is_all_stand_ins() -> None:
    ids, weights = np.array([7, 1, 5, 9]), np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)
    index, weight, part = own_part(ids, weights, (5, 10), 2)
    assert index.tolist() == [7, 5, 9]
    assert weight.tolist() == [1.0, 3.0, 4.0]
    assert (part.whole, part.rows, part.share) == (4, 3, 1.5)
    index, weight, part = own_part(ids, weights, (2, 5), 3)
    assert index.tolist() == [2, 3]
    assert weight.tolist() == [0.0, 0.0]
    assert part.rows == 0


@pytest.mark.parametrize(("rank", "size"), [(-1, 2), (2, 2), (0, 0)])
def test_there_is_no_such_worker(rank: int, size: int) -> None:
    with pytest.raises(OptionsError, match="no worker"):
        Shard(rank, size)


def rows_of(n: int) -> ArraySource:
    return ArraySource(Split(np.arange(2 * n, dtype=np.float32).reshape(n, 2), np.arange(n) % 3))


def test_epochs_of_two_workers_are_the_epoch_of_one() -> None:
    n, source, transform = 40, rows_of(40), Transform((), ())
    picked = np.sort(np.random.default_rng(0).choice(n, 23, replace=False))
    weights = np.random.default_rng(1).random(23).astype(np.float32)
    selection = Selection(picked, weights / weights.mean(), n)

    def epoch(shard: Shard) -> list:
        return list(epoch_batches(source, selection, transform, batch_size=5, seed=3, epoch=1, shard=shard))

    whole, first, second = epoch(WHOLE), epoch(Shard(0, 2)), epoch(Shard(1, 2))
    assert len(whole) == len(first) == len(second)
    for batch, *parts in zip(whole, first, second, strict=True):
        seen = {}
        for part in parts:
            assert part.part is not None
            assert len(part) == len(part.inputs) == len(part.weight)
            assert (part.index[part.part.rows :] == -1).all()
            for row in range(part.part.rows):
                seen[int(part.index[row])] = (part.inputs[row], part.targets[row], part.weight[row])
        assert batch.part is None
        assert set(seen) == set(batch.index.tolist())
        for row, index in enumerate(batch.index.tolist()):
            inputs, target, weight = seen[index]
            assert torch.equal(inputs, batch.inputs[row])
            assert target == batch.targets[row]
            assert weight == batch.weight[row]


def test_evaluation_walks_a_worker_s_own_rows() -> None:
    source, transform = rows_of(11), Transform((), ())
    seen = [
        [int(i) for batch in evaluation_batches(source, transform, 4, shard=Shard(rank, 2)) for i in batch.index]
        for rank in range(2)
    ]
    assert seen == [list(range(5)), list(range(5, 11))]
