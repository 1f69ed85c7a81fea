"""Parquet files and image folders."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_images import encoded, pixels, write_folder, write_parquet
from PIL import Image

from raysubset.data.dataset import Dataset
from raysubset.data.folder import read_folder
from raysubset.data.images import PIECE, THREADED_PIXELS, decode_images
from raysubset.data.parquet import read_parquet
from raysubset.errors import DataError, DatasetNotFoundError


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("column", "label"), [("img", "label"), ("image", "fine_label")])
def test_reads_every_layout(tmp_path: Path, plain: bool, column: str, label: str) -> None:
    images, labels = pixels(8, 6, 7, 3), [0, 1, 2, 0, 1, 2, 0, 1]
    path = write_parquet(
        tmp_path / "a.parquet", [encoded(i) for i in images], labels, plain=plain, column=column, label=label
    )
    table = read_parquet(path)
    assert np.array_equal(table.images, images.transpose(0, 3, 1, 2))
    assert table.images.dtype == np.uint8
    assert table.labels.tolist() == labels
    assert table.classes == ("0", "1", "2")
    assert table.encoding == "PNG"


@given(n=st.integers(1, 20), group=st.integers(1, 7), limit=st.integers(1, 25), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_limit_keeps_image_and_label_together(tmp_path: Path, n: int, group: int, limit: int, seed: int) -> None:
    images, labels = pixels(n, 4, 5, seed=seed), np.random.default_rng(seed).integers(0, 3, n)
    path = write_parquet(
        tmp_path / "a.parquet", [encoded(i) for i in images], labels.tolist(), row_group_size=group
    )
    table = read_parquet(path, limit)
    assert len(table.labels) == min(n, limit)
    assert table.classes == tuple(str(c) for c in range(labels.max() + 1))  # a thinned-out class keeps its place
    known = {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    assert [known[image.tobytes()] for image in table.images] == table.labels.tolist()


def test_class_names_from_either_metadata(tmp_path: Path) -> None:
    files = [encoded(i) for i in pixels(2, 4, 4)]
    feature = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    for i, metadata in enumerate([{"class_names": '["cat", "dog"]'}, {"huggingface": json.dumps(feature)}]):
        path = write_parquet(tmp_path / f"{i}.parquet", files, [0, 1], metadata=metadata)
        assert read_parquet(path).classes == ("cat", "dog")


@pytest.mark.parametrize("metadata", [{"class_names": "cat,"}, {"class_names": '{"a": 1}'}, {"huggingface": "[]"}])
def test_broken_metadata_names_the_file(tmp_path: Path, metadata: dict[str, str]) -> None:
    path = write_parquet(tmp_path / "odd.parquet", [encoded(pixels(1, 4, 4)[0])], [0], metadata=metadata)
    with pytest.raises(DataError, match=r"odd\.parquet: the class names"):
        read_parquet(path)


def test_grey_before_colour_becomes_rgb(tmp_path: Path) -> None:
    grey, colour = pixels(4, 5, 6), pixels(2, 5, 6, 3)
    files = [encoded(i) for i in [*grey, *colour]]
    images = read_parquet(write_parquet(tmp_path / "a.parquet", files, [0] * 6)).images
    assert np.array_equal(images[:4], np.stack([grey] * 3, axis=1))
    assert np.array_equal(images[4:], colour.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("size", [8, int(THREADED_PIXELS**0.5)])
def test_a_corrupt_image_names_file_and_row(tmp_path: Path, size: int) -> None:
    files = [encoded(i) for i in pixels(5, size, size, 3)]
    files[3] = files[3][: len(files[3]) // 2]
    path = write_parquet(tmp_path / "bad.parquet", files, [0] * 5)
    with pytest.raises(DataError, match=r"bad\.parquet, row 3: not a readable image"):
        read_parquet(path)


def test_rows_are_named_by_their_place_in_the_file_under_a_limit(tmp_path: Path) -> None:
    files = [encoded(i) for i in pixels(6, 8, 8)]
    files[5] = b"no image"
    path = write_parquet(tmp_path / "bad.parquet", files, [0, 0, 0, 0, 0, 1])
    with pytest.raises(DataError, match="row 5"):
        read_parquet(path, limit=2)


def test_unequal_sizes_name_the_row(tmp_path: Path) -> None:
    files = [*(encoded(i) for i in pixels(4, 5, 6)), encoded(pixels(1, 6, 5)[0])]
    with pytest.raises(DataError, match=r"row 4: image is 5 x 6 pixels .* first one is 6 x 5"):
        read_parquet(write_parquet(tmp_path / "a.parquet", files, [0] * 5))


def test_more_than_8_bits_are_refused() -> None:
    deep = encoded(np.full((4, 4), 1000, np.uint16))
    with pytest.raises(DataError, match="here 0: image has mode I"):
        decode_images(1, [[deep]], lambda i: f"here {i}")


def test_missing_image_or_label_names_the_row(tmp_path: Path) -> None:
    file = encoded(pixels(1, 4, 4)[0])
    with pytest.raises(DataError, match=r"row 4: the image has no bytes"):
        read_parquet(write_parquet(tmp_path / "a.parquet", [file] * 4 + [None], [0] * 5))
    with pytest.raises(DataError, match=r"row 4: the label is missing"):
        read_parquet(write_parquet(tmp_path / "b.parquet", [file] * 5, [0] * 4 + [None]))


def test_damaged_parquet_names_the_file(tmp_path: Path) -> None:
    good = write_parquet(tmp_path / "good.parquet", [encoded(i) for i in pixels(4, 8, 8)], [0] * 4).read_bytes()
    for name, data in {"cut": good[:-20], "empty": b"", "text": b"hello"}.items():
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(data)
        with pytest.raises(DataError, match=f"{name}.parquet: not a readable parquet"):
            read_parquet(path)
    garbled = bytearray(good)
    garbled[4:200] = bytes(range(196))
    (tmp_path / "garbled.parquet").write_bytes(garbled)
    with pytest.raises(DataError, match=r"garbled\.parquet"):
        read_parquet(tmp_path / "garbled.parquet")
    with pytest.raises(DatasetNotFoundError, match=r"none\.parquet"):
        read_parquet(tmp_path / "none.parquet")


def test_missing_columns_and_rows_are_said(tmp_path: Path) -> None:
    file = encoded(pixels(1, 4, 4)[0])
    with pytest.raises(DataError, match="no column img or image; it has picture, label"):
        read_parquet(write_parquet(tmp_path / "a.parquet", [file], [0], column="picture"))
    with pytest.raises(DataError, match="no rows"):
        read_parquet(write_parquet(tmp_path / "b.parquet", [], []))


def test_threads_and_no_threads_decode_alike() -> None:
    side = int(THREADED_PIXELS**0.5)
    images = pixels(PIECE + 3, side, side)
    decoded, _ = decode_images(len(images), [[encoded(i, "BMP") for i in images]], str)
    assert np.array_equal(decoded[:, 0], images)


def test_folder_with_train_and_test(tmp_path: Path) -> None:
    a, b, c = pixels(3, 4, 5, 3), pixels(2, 4, 5, 3, seed=1), pixels(1, 4, 5, 3, seed=2)
    write_folder(tmp_path / "train", {"zebra": a, "ant": b})
    write_folder(tmp_path / "val", {"zebra": c})
    (tmp_path / "train" / ".hidden").mkdir()
    (tmp_path / "train" / "ant" / "notes.txt").write_text("not an image")
    dataset = Dataset.from_folder(tmp_path)
    assert dataset.classes == ("ant", "zebra")
    assert dataset.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert np.array_equal(dataset.train.inputs, np.concatenate([b, a]).transpose(0, 3, 1, 2))
    assert dataset.test is not None
    assert dataset.test.labels.tolist() == [1]
    assert dataset.source == f"{tmp_path} (PNG)"


def test_folder_without_a_test_part_and_with_a_limit(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": pixels(6, 4, 4), "b": pixels(3, 4, 4)})
    dataset = Dataset.from_folder(tmp_path, limit=3)
    assert dataset.test is None
    assert dataset.train.labels.tolist() == [0, 0, 1]
    assert dataset.name == tmp_path.name


def test_folder_errors_name_the_place(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"a": pixels(2, 4, 4)})
    write_folder(tmp_path / "test", {"b": pixels(2, 4, 4)})
    with pytest.raises(DataError, match="'b' is not one of the training classes: a"):
        Dataset.from_folder(tmp_path)
    (tmp_path / "train" / "a" / "000.png").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"000\.png: not a readable image"):
        read_folder(tmp_path / "train")
    (tmp_path / "train" / "empty").mkdir()
    with pytest.raises(DataError, match="no image in this class folder"):
        read_folder(tmp_path / "train")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="no class folders"):
        Dataset.from_folder(tmp_path / "bare")
    with pytest.raises(DatasetNotFoundError):
        Dataset.from_folder(tmp_path / "absent")


def test_alpha_palette_and_bilevel_images(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    Image.new("RGBA", (4, 4), (9, 8, 7, 6)).save(folder / "0.png")
    Image.new("RGB", (4, 4), (1, 2, 3)).convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "1.png")
    Image.new("1", (4, 4), 1).save(folder / "2.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = read_folder(tmp_path).images
    assert [tuple(image[:, 0, 0]) for image in images] == [(9, 8, 7), (1, 2, 3), (255, 255, 255)]
