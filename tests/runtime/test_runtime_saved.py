"""A state in the run's storage: found again, refused when damaged, kept when the new one cannot be written."""

from __future__ import annotations

import errno
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import fs

from raysubset.data import locations
from raysubset.errors import OptionsError, StorageError
from raysubset.runtime.saved import SavedState

STATE = {"contributions": [{"trial": "t", "loss": 0.5, "codes": np.arange(40_000, dtype=np.uint8)}]}
FILE = "checkpoint.pt"


class Bucket(fs.FileSystemHandler):
    """An object store in a local folder: an object appears when its stream is closed, moves replace whole objects.

    ``fails`` names the calls that meet a full or unreachable store.
    """

    def __init__(self, root: Path) -> None:
        self._inner, self.fails = fs.SubTreeFileSystem(str(root), fs.LocalFileSystem()), set()

    def _checked(self, call: str) -> fs.FileSystem:
        if call in self.fails:
            raise OSError(errno.ENOSPC, f"no space left ({call})")
        return self._inner

    def get_type_name(self) -> str:
        return "bucket"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> Any:
        return self._inner.get_file_info(paths)

    def get_file_info_selector(self, selector: Any) -> Any:
        return self._inner.get_file_info(selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        self._checked("create_dir").create_dir(path, recursive=recursive)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        stream = self._checked("open").open_output_stream(path)
        if "write" in self.fails:
            stream.write(b"half of it")
            stream.close()
            raise OSError(errno.ENOSPC, "no space left (write)")
        return stream

    def move(self, source: str, target: str) -> None:
        self._checked("move").move(source, target)

    def delete_file(self, path: str) -> None:
        self._checked("delete").delete_file(path)

    def open_input_file(self, path: str) -> Any:
        return self._checked("read").open_input_file(path)

    def _never(self, *_: Any) -> Any:
        raise NotImplementedError

    delete_dir = delete_dir_contents = delete_root_dir_contents = copy_file = _never
    open_append_stream = open_input_stream = _never


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    (tmp_path / "store").mkdir()
    handler = Bucket(tmp_path / "store")
    local = locations.filesystem
    store = fs.PyFileSystem(handler)
    monkeypatch.setattr(locations, "filesystem", lambda uri: store if uri else local(uri))
    return handler


@pytest.fixture(params=["local", "s3://runs/search", "gs://runs/search"])
def place(request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket) -> tuple[str, Path]:
    """Where a state is saved, and the file that it then is."""
    if request.param == "local":
        return str(tmp_path / "run" / "shared"), tmp_path / "run" / "shared" / FILE
    return f"{request.param}/shared", tmp_path / "store" / "runs" / "search" / "shared" / FILE


def same(left: Any, right: Any) -> None:
    np.testing.assert_equal(left, right)


def test_a_state_is_found_again(place: tuple[str, Path]) -> None:
    where, file = place
    saved = SavedState(where)
    assert saved.load() is None
    saved.save({"older": 1})
    saved.save(STATE)
    same(SavedState(where).load(), STATE)
    assert [path.name for path in file.parent.iterdir()] == [FILE]  # no part of a file is left behind


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(place: tuple[str, Path], kept: float) -> None:
    where, file = place
    SavedState(where).save(STATE)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(StorageError, match="truncated"):
        SavedState(where).load()


def test_no_flipped_bit_goes_unnoticed(place: tuple[str, Path]) -> None:
    where, file = place
    SavedState(where).save(STATE)
    whole, refused = file.read_bytes(), 0
    for position in np.linspace(0, len(whole) - 1, 40).astype(int):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        file.write_bytes(bytes(damaged))
        try:
            same(SavedState(where).load(), STATE)  # a byte that says nothing: padding, a date
        except StorageError:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize("fails", ["open", "write", "move", "create_dir"])
@pytest.mark.parametrize("delete_fails", [False, True])
def test_a_store_that_is_full_keeps_the_old_state(
    bucket: Bucket, tmp_path: Path, fails: str, delete_fails: bool
) -> None:
    saved = SavedState("s3://runs/search/shared")
    saved.save(STATE)
    bucket.fails = {fails, *(["delete"] if delete_fails else [])}
    with pytest.raises(StorageError, match="no space left"):
        saved.save({"newer": 2})
    bucket.fails = set()
    same(saved.load(), STATE)
    if not delete_fails:
        assert [path.name for path in (tmp_path / "store" / "runs" / "search" / "shared").iterdir()] == [FILE]
    saved.save({"newer": 3})
    same(saved.load(), {"newer": 3})


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file of this process may grow beyond 20 kB: a real write fails in the middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.usefixtures("small_disk")
def test_a_disk_that_is_full_keeps_the_old_state(tmp_path: Path) -> None:
    saved = SavedState(tmp_path / "shared")
    saved.save({"older": 1})
    with pytest.raises(StorageError, match="Cannot write"):
        saved.save(STATE)
    assert [path.name for path in (tmp_path / "shared").iterdir()] == [FILE]
    same(saved.load(), {"older": 1})


def test_a_store_out_of_reach_is_named(bucket: Bucket) -> None:
    saved = SavedState("s3://runs/search/shared")
    saved.save(STATE)
    bucket.fails = {"read"}
    with pytest.raises(StorageError, match="s3://runs/search/shared"):
        saved.load()


def test_only_known_kinds_of_storage() -> None:
    with pytest.raises(OptionsError, match="scheme 'ftp'"):
        SavedState("ftp://host/run")
    with pytest.raises(OptionsError, match="credentials do not belong in a URI") as caught:
        SavedState("s3://key:secret@bucket/run")
    assert "secret" not in str(caught.value).split("credentials")[0]
