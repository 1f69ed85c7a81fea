"""Data larger than memory: the rows of the files, each block once an epoch, within its bounds."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_images import encoded, pixels, write_folder, write_parquet

from raysubset.data.batches import epoch_batches, evaluation_batches
from raysubset.data.dataset import Dataset
from raysubset.data.transform import Transform
from raysubset.errors import DataError, DatasetNotFoundError, OptionsError
from raysubset.runtime.cached import CachedSource
from raysubset.runtime.place import place, rows_for_testing
from raysubset.runtime.sharded import ShardedDataset
from raysubset.runtime.shards import store_shards
from raysubset.runtime.store import StoredSource, StoredSplit
from raysubset.types import Selection

ROW = 3 * 5 * 4  # bytes
IN_BLOCK = ROW + 16  # with id and label
N = 97


def write_set(root: Path, seed: int = 0, test: bool = True) -> Path:
    """97 training rows in three files of unequal row groups, 20 test rows."""
    rng = np.random.default_rng(seed)
    files = [encoded(image) for image in pixels(N, 5, 4, 3, seed=seed)]
    labels = rng.integers(0, 4, N).tolist()
    cuts = list(itertools.pairwise([0, 40, 41, N]))
    for number, (low, high) in enumerate(cuts):
        name = root / f"train-{number}.parquet"
        write_parquet(name, files[low:high], labels[low:high], row_group_size=7 + number)
    if test:
        images = [encoded(image) for image in pixels(20, 5, 4, 3, seed=seed + 1)]
        write_parquet(root / "test-0.parquet", images, rng.integers(0, 4, 20).tolist())
    return root


def read_all(root: Path) -> Dataset:
    parts = [Dataset.from_parquet(root / f"train-{i}.parquet").train for i in range(3)]
    test = Dataset.from_parquet(root / "test-0.parquet").train
    return Dataset.from_arrays(
        np.concatenate([part.inputs for part in parts]),
        np.concatenate([part.labels for part in parts]),
        test=(test.inputs, test.labels),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("sharded"))


@pytest.fixture(scope="module")
def whole(root: Path) -> Dataset:
    return read_all(root)


def small_blocks(root: Path, rows: int = 8, **options: int) -> ShardedDataset:
    return ShardedDataset.from_parquet(root, **{"block_bytes": rows * ROW, **options})


@pytest.fixture(scope="module")
def stored(ray_cluster: None, root: Path) -> StoredSplit:
    return store_shards(small_blocks(root).train)[0]


def test_what_is_known_without_ray(root: Path, whole: Dataset) -> None:
    data = small_blocks(root)
    assert np.array_equal(data.train.labels, whole.train.labels)
    assert np.array_equal(data.test.labels, whole.test.labels)
    assert (data.input_shape, data.classes, data.num_classes) == ((3, 5, 4), ("0", "1", "2", "3"), 4)
    assert (data.name, data.source) == (root.name, f"{root} (sharded)")
    assert data.fingerprint() == small_blocks(root, rows=3).fingerprint()
    thin = data.thin(11)
    assert np.array_equal(thin.train.labels, whole.thin(11).train.labels)
    assert thin.fingerprint() != data.fingerprint()


@pytest.mark.ray
@pytest.mark.parametrize("mapped", [True, False])
def test_every_row_once_and_as_in_memory(stored: StoredSplit, whole: Dataset, mapped: bool) -> None:
    import ray

    ids = np.concatenate([table.column("id").to_numpy() for table in ray.get(list(stored.blocks))])
    assert ids.tolist() == list(range(N))
    assert len(stored.blocks) == 13
    source = StoredSource(stored) if mapped else CachedSource(stored, 2 * 8 * IN_BLOCK)
    index = np.random.default_rng(1).permutation(N)[:50]
    inputs, labels = source.rows(index)
    assert np.array_equal(inputs, whole.train.inputs[index])
    assert np.array_equal(labels, whole.train.labels[index])
    assert np.array_equal(source.labels, whole.train.labels)
    assert source.rows(index[:0])[0].shape == (0, 3, 5, 4)


@pytest.mark.ray
def test_a_small_split_is_mapped_a_large_one_cached(stored: StoredSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from raysubset.runtime import store

    assert isinstance(stored.open(), StoredSource)
    assert isinstance(replace(stored, map_bytes=N * ROW).open(), StoredSource)
    assert isinstance(replace(stored, map_bytes=N * ROW - 1).open(), CachedSource)
    monkeypatch.setattr(store, "MAPPED_SHARE", 1e-12)
    assert isinstance(stored.open(), CachedSource)


def chosen(k: int, seed: int = 0) -> Selection:
    rows = np.random.default_rng(seed).permutation(N)[:k]
    return Selection(rows, np.ones(k, dtype=np.float32), N)


def rows_of(batches) -> tuple[np.ndarray, np.ndarray]:
    batches = list(batches)
    return np.concatenate([b.index for b in batches]), np.concatenate([b.inputs.numpy() for b in batches])


@pytest.mark.ray
@pytest.mark.parametrize(("k", "window"), [(60, N), (60, 16), (97, 16), (9, 8), (1, 8)])
def test_an_epoch_reads_each_needed_block_once_within_its_bounds(
    root: Path, stored: StoredSplit, whole: Dataset, k: int, window: int
) -> None:
    from dataclasses import replace

    transform = Transform.fit(whole.train.inputs, crop_padding=1, flip=0.5)
    bounded = replace(stored, layout=replace(stored.layout, window_rows=window))
    cached, mapped = CachedSource(bounded, 2 * 8 * IN_BLOCK), StoredSource(bounded)
    before = cached.reads.copy()
    for epoch in range(3):
        selection = chosen(k, epoch)
        arguments = {"batch_size": 7, "seed": 5, "epoch": epoch}
        ids, inputs = rows_of(epoch_batches(cached, selection, transform, **arguments))
        reads, before = cached.reads - before, cached.reads.copy()
        needed = np.unique(selection.indices // 8)
        assert reads.max() == 1
        assert set(np.flatnonzero(reads)) <= set(needed)  # those still mapped need no reading
        assert sorted(ids) == sorted(selection.indices)
        ids_mapped, inputs_mapped = rows_of(epoch_batches(mapped, selection, transform, **arguments))
        assert np.array_equal(ids, ids_mapped)  # the order is the options', not the machine's
        assert np.array_equal(inputs, inputs_mapped)
        if k <= window:
            from raysubset.data.batches import ArraySource

            plain = epoch_batches(ArraySource(whole.train), selection, transform, **arguments)
            assert all(map(np.array_equal, rows_of(plain), (ids, inputs)))
    assert cached.cache.peak_bytes <= 2 * 8 * IN_BLOCK
    assert cached.cache.bytes == sum(view.shape[0] * IN_BLOCK for view in cached.cache._mapped.values())


@pytest.mark.ray
def test_an_evaluation_reads_each_block_once(stored: StoredSplit, whole: Dataset) -> None:
    source = CachedSource(stored, 8 * IN_BLOCK)
    transform = Transform.fit(whole.train.inputs)
    ids, inputs = rows_of(evaluation_batches(source, transform, 11))
    assert ids.tolist() == list(range(N))
    assert source.reads.tolist() == [1] * 13
    assert source.cache.peak_bytes == 8 * IN_BLOCK
    expected = rows_of(evaluation_batches(whole.train, transform, 11))[1]
    assert np.array_equal(inputs, expected)


@pytest.mark.ray
def test_one_segment_is_held_at_a_time(stored: StoredSplit) -> None:
    stream = CachedSource(stored, 8 * IN_BLOCK).stream(np.arange(N))
    for _ in range(N // 5):
        stream.take(5)
        assert stream._inputs.base is None
        assert len(stream._inputs) <= 8


@pytest.mark.ray
def test_blocks_do_not_change_rows_or_order(
    ray_cluster: None, root: Path, whole: Dataset, stored: StoredSplit
) -> None:
    other = store_shards(small_blocks(root, rows=30).train)[0]
    assert (len(stored.blocks), len(other.blocks)) == (13, 4)
    transform, arguments = Transform.fit(whole.train.inputs), {"batch_size": 16, "seed": 1, "epoch": 0}
    some = [
        rows_of(epoch_batches(CachedSource(s, 2 * 30 * IN_BLOCK), chosen(50), transform, **arguments))
        for s in (stored, other)
    ]
    assert all(map(np.array_equal, *some))


@pytest.mark.ray
def test_placed_splits_are_those_of_the_data_in_memory(ray_cluster: None, root: Path, whole: Dataset) -> None:
    from raysubset.data.split import stratified_split

    train, validation = stratified_split(whole.train.labels, 0.2, 3)
    placed, expected = (place(data, train, validation) for data in (small_blocks(root), whole))
    assert placed.transform == expected.transform
    for ours, theirs in zip(placed[:2], expected[:2], strict=True):
        assert len(ours) == len(theirs)
        everything = np.arange(len(ours))
        assert all(map(np.array_equal, ours.open().rows(everything), theirs.open().rows(everything)))


@pytest.mark.ray
def test_test_rows_are_read_when_they_are_asked_for(ray_cluster: None, tmp_path: Path) -> None:
    data, whole = small_blocks(write_set(tmp_path)), read_all(tmp_path)
    ours, theirs = (rows_for_testing(each).rows(np.arange(20)) for each in (data, whole))
    assert all(map(np.array_equal, ours, theirs))
    images = [encoded(image) for image in pixels(20, 5, 4, 3)]
    write_parquet(tmp_path / "test-0.parquet", [*images[:19], b"nonsense"], [0] * 20)
    data = small_blocks(tmp_path)  # sees footers, labels and one header; nothing of the search reads more
    place(data, np.arange(0, N, 2), np.arange(1, N, 2))
    with pytest.raises(DataError, match=r"test-0\.parquet, row 19: not a readable image"):
        rows_for_testing(data)
    with pytest.raises(DataError, match="no test rows"):
        rows_for_testing(ShardedDataset.from_parquet(tmp_path / "train-0.parquet"))


@pytest.mark.ray
def test_a_worker_names_the_bad_row(ray_cluster: None, tmp_path: Path) -> None:
    write_set(tmp_path)
    files = [encoded(image) for image in pixels(9, 5, 4, 3)]
    larger = encoded(pixels(1, 6, 6, 3)[0])
    for bad, message in ((b"nonsense", "not a readable image"), (larger, "image is 6 x 6")):
        write_parquet(tmp_path / "train-1.parquet", [*files[:4], bad, *files[5:]], [0] * 9)
        data = small_blocks(tmp_path)
        with pytest.raises(DataError, match=rf"train-1\.parquet, row 4: {message}") as caught:
            store_shards(data.train)
        assert type(caught.value) is DataError  # not Ray's, whose message is a traceback
    write_parquet(tmp_path / "train-1.parquet", files, [1] * 9)
    with pytest.raises(DataError, match=r"train-1\.parquet has \d+ bytes, and had"):
        store_shards(data.train)


@pytest.mark.ray
def test_an_image_folder_is_the_one_in_memory(ray_cluster: None, tmp_path: Path) -> None:
    for part, count in (("train", 9), ("val", 4)):
        images = {name: pixels(count, 5, 4, seed=i) for i, name in enumerate(("b", "a"))}
        write_folder(tmp_path / "set" / part, images)
    data, whole = ShardedDataset.from_folder(tmp_path / "set"), Dataset.from_folder(tmp_path / "set")
    assert (data.name, data.classes, data.input_shape) == (whole.name, whole.classes, whole.input_shape)
    inputs, labels = store_shards(data.train)[0].open().rows(np.arange(len(data.train)))
    assert np.array_equal(inputs, whole.train.inputs)
    assert np.array_equal(labels, whole.train.labels)
    assert np.array_equal(data.test.labels, whole.test.labels)
    assert ShardedDataset.from_folder(tmp_path / "set" / "train").test is None


SPILLED = """
import json, logging, sys
import numpy as np, ray
import raysubset as rs
from raysubset.data.batches import epoch_batches
from raysubset.data.transform import Transform
from raysubset.runtime.shards import store_shards
from raysubset.types import Selection

def read(stored):
    source, n = stored[0].open(), len(stored[0])
    told = []
    for epoch in range(2):
        rows = np.random.default_rng(epoch).permutation(n)[: n // 10]
        before = source.reads.copy()
        selection = Selection(rows, np.ones(len(rows), dtype=np.float32), n)
        for batch in epoch_batches(source, selection, Transform((), ()), batch_size=64, seed=0, epoch=epoch):
            assert (batch.inputs[:, 0].numpy() == batch.index).all()
        told.append(int((source.reads - before).max()))
    return told, type(source).__name__, source.cache.peak_bytes

ray.init(address="local", num_cpus=2, object_store_memory=80 * 2**20, include_dashboard=False,
         logging_level=logging.ERROR, log_to_driver=False)
data = rs.ShardedDataset.from_parquet(sys.argv[1], block_bytes=8 * 2**20)
print(json.dumps(ray.get(ray.remote(read).remote(list(store_shards(data.train))))))
"""


@pytest.mark.ray
@pytest.mark.slow
def test_epochs_over_data_three_times_the_object_store(tmp_path: Path) -> None:
    import json
    import os
    import subprocess
    import sys

    rows = np.repeat(np.arange(3_840, dtype=np.float32), 16_384)  # 252 MB
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows), 16_384)
    table = pa.table({"features": lists, "label": np.zeros(3_840, dtype=np.int64)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=100)
    command = [sys.executable, "-c", SPILLED, str(tmp_path / "x.parquet")]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ended.returncode == 0, ended.stderr[-2_000:]
    reads, kind, mapped = json.loads(ended.stdout.splitlines()[-1])
    assert (reads, kind) == ([1, 1], "CachedSource")
    assert mapped <= 20 * 2**20  # half of the store, shared by the processes of two CPUs


def test_a_data_set_that_changed_has_another_fingerprint(tmp_path: Path) -> None:
    before = small_blocks(write_set(tmp_path)).fingerprint()
    assert small_blocks(write_set(tmp_path)).fingerprint() == before
    seen = {before}
    labels = np.random.default_rng(0).integers(0, 4, N)[:40].tolist()
    files = [encoded(image) for image in pixels(N, 5, 4, 3)][:40]
    first = tmp_path / "train-0.parquet"
    write_parquet(first, files, labels, row_group_size=8)
    seen.add(small_blocks(tmp_path).fingerprint())
    write_parquet(first, files[:39], labels[:39], row_group_size=7)
    seen.add(small_blocks(tmp_path).fingerprint())
    assert len(seen) == 3


def test_a_label_that_changed_is_seen(root: Path) -> None:
    from dataclasses import replace

    data = small_blocks(root)
    labels = data.train.labels.copy()
    labels[50] = (labels[50] + 1) % 4
    changed = replace(data, train=replace(data.train, labels=labels))
    assert changed.fingerprint() != data.fingerprint()


def test_an_input_that_changed_in_a_sampled_row_is_seen(tmp_path: Path) -> None:
    files = [encoded(image) for image in pixels(40, 5, 4, 3)]
    path = write_parquet(tmp_path / "x.parquet", files, [0, 1] * 20)
    pq.write_table(pq.read_table(path), path, compression="none")
    before, content = ShardedDataset.from_parquet(path).fingerprint(), path.read_bytes()
    for row, is_seen in ((0, True), (39, True), (1, False)):  # sixteen rows of forty are looked at
        path.write_bytes(content.replace(files[row], files[row][:-4] + b"here"))
        assert path.read_bytes() != content
        assert (ShardedDataset.from_parquet(path).fingerprint() != before) == is_seen


def test_files_are_found_by_name(tmp_path: Path) -> None:
    image = encoded(pixels(1, 5, 4)[0])

    def sizes(*names: str) -> tuple[int, int]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for number, name in enumerate(names):
            write_parquet(folder / name, [image] * 2**number, [0] * 2**number)
        data = ShardedDataset.from_parquet(folder)
        return len(data.train), 0 if data.test is None else len(data.test)

    assert sizes("a.parquet", "b.parquet") == (3, 0)
    assert sizes("train.parquet", "test.parquet", "validation.parquet") == (1, 2)
    assert sizes("d/train-0.parquet", "d/train-1.parquet", "d/val-0.parquet", "other.parquet") == (3, 4)
    assert sizes("train/a.parquet", "test/a.parquet", "train/b.parquet") == (5, 2)
    for names in (
        ("train_val/train-0.parquet", "train_val/val-0.parquet"),
        ("testbed/train-0.parquet", "testbed/test-0.parquet"),
    ):
        with pytest.raises(DataError, match=r"both for training and for testing .*from_parquet\(train, test\)"):
            sizes(*names)
    alone = ShardedDataset.from_parquet(tmp_path / "1" / "train.parquet", tmp_path / "1" / "test.parquet")
    assert (len(alone.train), len(alone.test)) == (1, 2)


def test_what_wants_inputs_in_memory_is_told_so(root: Path) -> None:
    import raysubset as rs

    with pytest.raises(OptionsError, match="never in one process"):
        rs.Subset(small_blocks(root), rs.SubsetPlan())  # type: ignore[arg-type]


def test_bad_input_is_told_before_ray_starts(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="No parquet file or folder"):
        ShardedDataset.from_parquet(tmp_path / "none")
    with pytest.raises(DatasetNotFoundError, match=r"No \*\.parquet in"):
        ShardedDataset.from_parquet(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="No folder"):
        ShardedDataset.from_folder(tmp_path / "none")
    write_parquet(tmp_path / "x.parquet", [], [])
    with pytest.raises(DataError, match="no rows"):
        ShardedDataset.from_parquet(tmp_path / "x.parquet")
    write_parquet(tmp_path / "x.parquet", [encoded(pixels(1, 5, 4)[0])] * 3, [0, -1, 1])
    with pytest.raises(DataError, match="train row 1: label -1"):
        ShardedDataset.from_parquet(tmp_path / "x.parquet")
    write_parquet(tmp_path / "x.parquet", [encoded(pixels(1, 5, 4)[0])] * 3, [0, 2, 1])
    with pytest.raises(DataError, match=r"train row 1: label 2, allowed \[0, 2\)"):
        ShardedDataset.from_parquet(tmp_path / "x.parquet", classes=["cat", "dog"])
    write_parquet(tmp_path / "y.parquet", [encoded(pixels(1, 5, 5)[0])], [0])
    with pytest.raises(DataError, match="test inputs are uint8"):
        ShardedDataset.from_parquet(tmp_path / "x.parquet", tmp_path / "y.parquet")
    with pytest.raises(OptionsError, match="cache_bytes=10 must hold a block"):
        ShardedDataset.from_parquet(tmp_path / "x.parquet", cache_bytes=10)
    with pytest.raises(OptionsError, match="Known options: block_bytes, epoch_bytes, cache_bytes, map_bytes"):
        ShardedDataset.from_parquet(tmp_path / "x.parquet", blok_bytes=10)
