"""Rows in files elsewhere: the same rows as the readers in memory, in any cut, and every fault by its name."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from time import monotonic

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_s3 import fake_s3
from made_images import encoded, pixels, write_folder, write_parquet

from raysubset.data.folder import read_folder
from raysubset.data.folder_rows import folder_rows
from raysubset.data.locations import Location
from raysubset.data.parquet import read_parquet
from raysubset.data.parquet_rows import parquet_rows
from raysubset.errors import DataError, DatasetNotFoundError, OptionsError, StorageError


@pytest.fixture
def two_files(tmp_path: Path) -> list[Location]:
    images = pixels(23, 5, 4, 3)
    files = [encoded(image) for image in images]
    labels = np.arange(23) % 4
    write_parquet(tmp_path / "a.parquet", files[:14], labels[:14].tolist(), row_group_size=3)
    write_parquet(tmp_path / "b.parquet", files[14:], labels[14:].tolist(), row_group_size=50)
    return [Location.of(tmp_path / name) for name in ("a.parquet", "b.parquet")]


def in_memory(files: list[Location]) -> tuple[np.ndarray, np.ndarray]:
    tables = [read_parquet(Path(place.path)) for place in files]
    return np.concatenate([t.images for t in tables]), np.concatenate([t.labels for t in tables])


@pytest.mark.parametrize("rows", [range(23), range(0, 23, 2), [13, 14], [22], [0], range(3, 6)])
@pytest.mark.parametrize("at_a_time", [2, 512])
def test_any_rows_are_those_of_the_reader_in_memory(
    two_files: list[Location], rows: list[int], at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysubset.data.parquet_rows.READ_ROWS", at_a_time)
    files, labels, classes = parquet_rows(two_files)
    images, expected = in_memory(two_files)
    part = pickle.loads(pickle.dumps(files.part(np.array(rows))))
    assert (len(part), part.read().dtype) == (len(rows), np.uint8)
    assert np.array_equal(part.read(), images[list(rows)])
    assert np.array_equal(labels, expected)
    assert (len(files), files.form, classes) == (23, (3, 5, 4), ())


def test_class_names_and_files_without_rows(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [], [], metadata={"class_names": '["x"]'})
    image = encoded(pixels(1, 4, 4)[0])
    write_parquet(tmp_path / "b.parquet", [image], [1], metadata={"class_names": '["cat", "dog"]'})
    files, labels, classes = parquet_rows([Location.of(tmp_path / n) for n in ("a.parquet", "b.parquet")])
    assert (len(files), labels.tolist(), classes, files.form) == (1, [1], ("cat", "dog"), (1, 4, 4))
    with pytest.raises(DataError, match=r"a\.parquet: no rows"):
        parquet_rows([Location.of(tmp_path / "a.parquet")])


def write_features(path: Path, values: np.ndarray, **columns: object) -> Location:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    pq.write_table(pa.table({"features": lists, "label": np.arange(len(values)) % 3}), path, row_group_size=4)
    return Location.of(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_are_float32(tmp_path: Path, dtype: type) -> None:
    values = np.random.default_rng(0).normal(size=(11, 3)).astype(dtype)
    files, labels, _ = parquet_rows([write_features(tmp_path / "f.parquet", values)])
    read = files.part(np.array([1, 4, 5, 10])).read()
    assert (files.form, files.dtype, len(labels)) == ((3,), np.float32, 11)
    assert read.dtype == np.float32
    assert np.array_equal(read, values[[1, 4, 5, 10]].astype(np.float32))


def test_a_feature_that_is_not_finite_is_named(tmp_path: Path) -> None:
    values = np.zeros((11, 3))
    values[7, 1] = np.nan
    files, _, _ = parquet_rows([write_features(tmp_path / "f.parquet", values)])
    with pytest.raises(DataError, match=r"f\.parquet, row 7: features are not finite"):
        files.part(np.array([2, 7, 9])).read()


def test_a_bad_image_is_named_by_file_and_row(tmp_path: Path, two_files: list[Location]) -> None:
    good = [encoded(image) for image in pixels(9, 5, 4, 3)]
    for bad, message in (
        (b"nonsense", "row 6: not a readable image"),
        (encoded(pixels(1, 5, 5, 3)[0]), "row 6: image is 5 x 5 pixels"),
        (None, "row 6: the image has no bytes"),
    ):
        write_parquet(tmp_path / "b.parquet", [*good[:6], bad, *good[7:]], [0] * 9)
        files, _, _ = parquet_rows(two_files)
        with pytest.raises(DataError, match=rf"b\.parquet, {message}"):
            files.part(np.arange(10, 22)).read()
        assert len(files.part(np.arange(0, 20)).read()) == 20  # the rows before it can be had


def test_grey_and_colour(tmp_path: Path) -> None:
    grey, colour = encoded(pixels(1, 4, 4)[0]), encoded(pixels(1, 4, 4, 3)[0])
    place = Location.of(write_parquet(tmp_path / "x.parquet", [grey, grey, colour], [0, 1, 0]))
    files, _, _ = parquet_rows([place])
    with pytest.raises(DataError, match=r"x\.parquet, row 2: a colour image"):
        files.part(np.arange(3)).read()
    files, _, _ = parquet_rows([place], channels=3)
    assert np.array_equal(files.part(np.arange(3)).read(), read_parquet(Path(place.path)).images)
    with pytest.raises(OptionsError, match="channels=2"):
        parquet_rows([place], channels=2)


def test_a_file_that_changes_after_it_was_opened_is_refused(tmp_path: Path, two_files: list[Location]) -> None:
    files, _, _ = parquet_rows(two_files)
    write_parquet(tmp_path / "b.parquet", [encoded(i) for i in pixels(9, 5, 4, 3, seed=3)] * 2, [0] * 18)
    with pytest.raises(DataError, match=r"b\.parquet has \d+ bytes, and had"):
        files.part(np.array([2, 20])).read()


def test_files_that_do_not_belong_together(tmp_path: Path, two_files: list[Location]) -> None:
    other = Location.of(write_parquet(tmp_path / "c.parquet", [b""], [0], plain=True))
    with pytest.raises(DataError, match=r"c\.parquet: column img is binary"):
        parquet_rows([*two_files, other])
    (tmp_path / "torn.parquet").write_bytes(Path(two_files[0].path).read_bytes()[:-50])
    with pytest.raises(DataError, match=r"torn\.parquet"):
        parquet_rows([Location.of(tmp_path / "torn.parquet")])
    with pytest.raises(DatasetNotFoundError, match=r"none\.parquet"):
        parquet_rows([Location.of(tmp_path / "none.parquet")])


def test_identity_follows_the_files(tmp_path: Path, two_files: list[Location]) -> None:
    before = list(parquet_rows(two_files)[0].identity())
    assert before == list(parquet_rows(two_files)[0].identity())
    images = [encoded(i) for i in pixels(9, 5, 4, 3, seed=5)]
    write_parquet(tmp_path / "b.parquet", images, [0] * 9, row_group_size=50)
    after = list(parquet_rows(two_files)[0].identity())
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_a_folder_gives_the_rows_of_the_reader_in_memory(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", {"b": pixels(3, 4, 5, 3), "a": pixels(70, 4, 5, 3, seed=1)})
    write_folder(root / "a", {"deeper": pixels(2, 4, 5, 3, seed=2)})
    (root / "a" / "notes.txt").write_text("no image")
    write_folder(root, {".hidden": pixels(1, 4, 4)})
    (root / "stray.png").write_bytes(encoded(pixels(1, 9, 9)[0]))
    table = read_folder(root)
    files, labels, classes = folder_rows(Location.of(root))
    part = pickle.loads(pickle.dumps(files.part(np.arange(0, 75, 2))))
    assert np.array_equal(part.read(), table.images[::2])
    assert np.array_equal(labels, table.labels)
    assert (classes, files.form, len(files)) == (("a", "b"), (3, 4, 5), 75)
    assert next(files.identity()).startswith(b"/a/000.png:")


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no folder"):
        folder_rows(Location.of(tmp_path / "none"))
    with pytest.raises(DataError, match="no class folders"):
        folder_rows(Location.of(tmp_path))
    root = write_folder(tmp_path / "set", {"a": pixels(2, 4, 4), "b": []})
    with pytest.raises(DataError, match="set/b: no image"):
        folder_rows(Location.of(root))
    write_folder(root, {"b": pixels(1, 4, 4)})
    with pytest.raises(DataError, match="'b' is not one of the training classes: a"):
        folder_rows(Location.of(root), ("a",))
    (root / "b" / "000.png").write_bytes(b"nonsense")
    files, _, _ = folder_rows(Location.of(root))
    with pytest.raises(DataError, match=r"set/b/000\.png: not a readable image"):
        files.part(np.arange(3)).read()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://host/x", "scheme 'ftp', known are file, s3, gs, gcs"),
        ("s3://key:secret@bucket/x", "credentials do not belong in a URI"),
        ("s3://key@bucket/x", "credentials do not belong in a URI"),
        ("s3://bucket/x?regoin=eu", "unknown parameter 'regoin'"),
        ("gs://bucket/x?region=eu", "unknown parameter 'region'"),
    ],
)
def test_uris_that_are_wrong(uri: str, message: str) -> None:
    with pytest.raises(OptionsError, match=message) as caught:
        Location.of(uri)
    assert "secret" not in str(caught.value)


def test_locations_by_name(tmp_path: Path) -> None:
    assert str(Location.of("s3://bucket/a/b/?region=eu-west-1")) == "s3://bucket/a/b"
    assert Location.of("gs://anonymous@bucket/a").path == "bucket/a"
    assert Location.of(f"file://{tmp_path}") == Location.of(tmp_path)
    assert str(Location.of("x.parquet")) == str(Path("x.parquet").absolute())


@pytest.mark.slow
@pytest.mark.parametrize("uri", ["s3://bucket/x?region=us-east-1&", "gs://anonymous@bucket/x?"])
def test_a_store_that_cannot_be_reached_is_an_error_soon(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("raysubset.data.locations.GCS_RETRY_S", 2.0)
    started = monotonic()
    with pytest.raises(StorageError, match="bucket/x cannot be read"):
        parquet_rows([Location.of(f"{uri}endpoint_override=127.0.0.1:9&scheme=http")])
    assert monotonic() - started < 60.0  # a bound of the promise, not a timing


def test_a_bucket_is_read_as_a_folder(tmp_path: Path, two_files: list[Location]) -> None:
    write_folder(tmp_path / "bucket" / "pictures", {"a": pixels(3, 5, 4), "b": pixels(2, 5, 4, seed=1)})
    (tmp_path / "bucket" / "set").mkdir()
    (tmp_path / "b.parquet").rename(tmp_path / "bucket" / "set" / "b c.parquet")
    images = read_parquet(tmp_path / "bucket" / "set" / "b c.parquet").images
    with fake_s3(tmp_path) as host:
        there = Location.of(f"s3://anonymous@bucket/set?region=eu-west-1&scheme=http&endpoint_override={host}")
        (found,) = [info.path for info in there.listing() if info.path.endswith(".parquet")]
        files, labels, _ = parquet_rows([there.at(found)])
        part = pickle.loads(pickle.dumps(files.part(np.arange(1, 9))))
        assert np.array_equal(part.read(), images[1:])
        assert len(labels) == 9
        pictures, _, classes = folder_rows(there.at("bucket/pictures"))
        assert pictures.part(np.arange(5)).read().shape == (5, 1, 5, 4)
        assert classes == ("a", "b")
        with pytest.raises(DatasetNotFoundError, match=r"No parquet file s3://bucket/set/none\.parquet"):
            parquet_rows([there.at("bucket/set/none.parquet")])
