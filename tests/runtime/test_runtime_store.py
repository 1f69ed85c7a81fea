"""The object store gives back what was put in, without copying it."""

from __future__ import annotations

import numpy as np
import pytest

from raysubset.data.dataset import Split

pytestmark = pytest.mark.ray


def make_split(n: int) -> Split:
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (n, 3, 4, 5), dtype=np.uint8), rng.integers(0, 7, n))


@pytest.mark.parametrize("block_rows", [1, 7, 50, 1000])
def test_rows_come_back_in_the_order_asked(ray_cluster, monkeypatch, block_rows: int) -> None:
    from raysubset.runtime import store

    monkeypatch.setattr(store, "BLOCK_BYTES", block_rows * 60)
    split = make_split(50)
    source = store.store_split(split).open()
    index = np.random.default_rng(1).permutation(50)[:33]
    inputs, labels = source.rows(index)
    assert len(source) == 50
    assert (inputs == split.inputs[index]).all()
    assert (labels == split.labels[index]).all()
    assert (source.labels == split.labels).all()


def test_blocks_are_views_of_the_shared_store(ray_cluster) -> None:
    from raysubset.runtime.store import store_split

    source = store_split(make_split(64)).open()
    view = source._inputs[0]
    assert not view.flags.writeable
    assert not view.flags.owndata


def test_a_block_that_is_not_in_its_place_is_refused(ray_cluster) -> None:
    from dataclasses import replace

    from raysubset.errors import DataError
    from raysubset.runtime.store import store_split

    stored = store_split(make_split(64))
    with pytest.raises(DataError, match="Block 0 holds ids"):
        replace(stored, layout=replace(stored.layout, starts=stored.layout.starts + 3)).open()
