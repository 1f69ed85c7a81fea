"""Reading order: each block once, windows that fit, and the draw's own order where everything fits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.data.batches import ArraySource, epoch_batches, evaluation_batches
from raysubset.data.dataset import Split
from raysubset.data.streams import BlockLayout, segments
from raysubset.data.transform import Transform
from raysubset.types import Selection


def layout_of(sizes: list[int], window: int | None) -> BlockLayout:
    return BlockLayout(np.cumsum([0, *sizes]).astype(np.int64), window)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
@PROPERTY
def test_segments_are_the_finest_cut_that_keeps_each_block_whole(blocks: list[int]) -> None:
    cuts = segments(np.array(blocks))
    whole = [p for p in range(len(blocks) + 1) if not set(blocks[:p]) & set(blocks[p:])]
    assert cuts.tolist() == whole


sizes = st.lists(st.integers(1, 6), min_size=1, max_size=12)


@given(sizes, st.integers(1, 20), st.integers(0, 99), st.data())
@PROPERTY
def test_windows_hold_what_fits_and_no_block_comes_twice(
    sizes: list[int], window: int, seed: int, data: st.DataObject
) -> None:
    layout = layout_of(sizes, window)
    n = sum(sizes)
    ids = np.array(data.draw(st.permutations(range(n))))[: data.draw(st.integers(1, n))]
    order = layout.order(ids, seed, 3)
    assert sorted(order) == list(range(len(ids)))
    owner = [next(b for b in range(len(sizes)) if layout.starts[b] <= i < layout.starts[b + 1]) for i in ids]
    read = np.array(owner)[order]
    largest = max(owner.count(block) for block in set(owner))
    cuts = [p for p in range(len(read) + 1) if not set(read[:p]) & set(read[p:])]
    assert max(np.diff(cuts)) <= max(window, largest)
    if len(ids) <= window:
        assert order.tolist() == list(range(len(ids)))
    for low, high in itertools.pairwise(cuts):
        assert (np.diff(order[low:high]) > 0).all()  # inside, the order of the draw


def test_blocks_are_permuted_anew_each_epoch_and_by_nothing_else() -> None:
    layout, ids = layout_of([4] * 30, 16), np.arange(120)[::-1].copy()
    orders = [layout.order(ids, seed, epoch).tolist() for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) == 3


class BlockedRows(ArraySource):
    """Rows in memory that say they lie in blocks, and hand out only what was announced."""

    def __init__(self, split: Split, layout: BlockLayout) -> None:
        super().__init__(split)
        object.__setattr__(self, "layout", layout)
        object.__setattr__(self, "announced", [])

    def stream(self, ids: np.ndarray) -> Announced:
        self.announced.append(ids)
        return Announced(self.split, ids)


class Announced:
    def __init__(self, split: Split, ids: np.ndarray) -> None:
        self.split, self.ids, self.taken = split, ids, 0

    def take(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        ids = self.ids[self.taken : self.taken + count]
        self.taken += count
        return self.split.inputs[ids], self.split.labels[ids]


@pytest.fixture
def split() -> Split:
    rng = np.random.default_rng(0)
    return Split(rng.normal(size=(60, 3)).astype(np.float32), rng.integers(0, 4, 60))


def chosen(k: int) -> Selection:
    rng = np.random.default_rng(1)
    weights = rng.random(k).astype(np.float32)
    return Selection(rng.permutation(60)[:k], weights / weights.mean(), 60)


@pytest.mark.parametrize("window", [None, 5, 7, 30, 60])
def test_an_epoch_brings_every_row_with_its_own_weight_and_label(split: Split, window: int | None) -> None:
    source, selection = BlockedRows(split, layout_of([7] * 8 + [4], window)), chosen(31)
    batches = list(epoch_batches(source, selection, Transform((), ()), batch_size=8, seed=2, epoch=1))
    ids = np.concatenate([batch.index for batch in batches])
    assert sorted(ids) == sorted(selection.indices)
    weight = dict(zip(selection.indices.tolist(), selection.weights.tolist(), strict=True))
    for batch in batches:
        assert (batch.inputs.numpy() == split.inputs[batch.index]).all()
        assert (batch.targets.numpy() == split.labels[batch.index]).all()
        assert batch.weight.tolist() == [weight[i] for i in batch.index.tolist()]
    plain = epoch_batches(ArraySource(split), selection, Transform((), ()), batch_size=8, seed=2, epoch=1)
    same_order = np.array_equal(ids, np.concatenate([batch.index for batch in plain]))
    assert same_order == (window is None or window >= 31)


@pytest.mark.parametrize("window", [None, 10])
def test_workers_announce_their_own_rows_and_share_every_batch(split: Split, window: int | None) -> None:
    from raysubset.data.shard import Shard

    def ids_of(shard: Shard, source: BlockedRows) -> list[list[int]]:
        batches = epoch_batches(source, chosen(31), Transform((), ()), batch_size=8, seed=2, epoch=1, shard=shard)
        return [[i for i in batch.index.tolist() if i >= 0] for batch in batches]

    sources = [BlockedRows(split, layout_of([7] * 8 + [4], window)) for _ in range(3)]
    whole = ids_of(Shard(), sources[0])
    parts = [ids_of(Shard(rank, 2), sources[1 + rank]) for rank in (0, 1)]
    assert [sorted(batch) for batch in whole] == [sorted(a + b) for a, b in zip(*parts, strict=True)]
    assert all((ids < 30).all() for ids in sources[1].announced)
    assert all((ids >= 30).all() for ids in sources[2].announced)


def test_evaluation_announces_the_ids_in_order(split: Split) -> None:
    source = BlockedRows(split, layout_of([7] * 8 + [4], 10))
    batches = list(evaluation_batches(source, Transform((), ()), 9))
    assert np.concatenate([batch.index for batch in batches]).tolist() == list(range(60))
    assert np.array_equal(np.concatenate([batch.inputs.numpy() for batch in batches]), split.inputs)
    assert source.announced[0].tolist() == list(range(60))
