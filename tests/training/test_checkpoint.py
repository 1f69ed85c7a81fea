"""Checkpoints: what goes in comes out, whole or not at all, and nothing in them runs."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra import numpy as hnp

from raysubset.errors import StorageError
from raysubset.models.catalog import build_model
from raysubset.training.checkpoint import load_checkpoint, save_checkpoint

FILE = "checkpoint.pt"


def test_round_trip(tmp_path: Path) -> None:
    read_only = np.arange(6, dtype=np.int64).reshape(2, 3)
    read_only.flags.writeable = False
    state = {
        "tensor": torch.arange(3, dtype=torch.bfloat16),
        "array": np.array([1.5, -2.0], dtype=np.float32),
        "rows": read_only,
        "flags": np.array([True, False]),
        "scalar": np.float64(0.25),
        "nested": {"list": [1, 2.5, None, "text", True], "tuple": (np.int32(3), np.zeros(0)), 3: b"bytes"},
        "big_endian": np.array([1, 2], dtype=">i4"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }
    save_checkpoint(tmp_path / "deep" / "folder", MappingProxyType(state))
    loaded = load_checkpoint(tmp_path / "deep" / "folder")
    assert list(loaded) == list(state)
    assert torch.equal(loaded["tensor"], state["tensor"])
    for name in ("array", "rows", "flags", "big_endian", "fortran"):
        assert isinstance(loaded[name], np.ndarray)
        np.testing.assert_array_equal(loaded[name], state[name])
        assert loaded[name].dtype == state[name].dtype.newbyteorder("=")
    assert (loaded["scalar"], type(loaded["scalar"])) == (0.25, float)
    assert loaded["nested"]["list"] == [1, 2.5, None, "text", True]
    assert loaded["nested"]["tuple"][0] == 3
    assert loaded["nested"]["tuple"][1].shape == (0,)
    assert loaded["nested"][3] == b"bytes"


@pytest.mark.slow
@given(array=hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, min_side=0)))
def test_arrays_return_bit_for_bit_or_are_refused(
    array: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("checkpoint")
    if array.dtype.kind in "mMSUO" or array.dtype.itemsize > 16 or array.dtype == np.longdouble:
        with pytest.raises(StorageError, match=r"state\['array'\]: ndarray"):
            save_checkpoint(folder, {"array": array})
        return
    save_checkpoint(folder, {"array": array})
    loaded = load_checkpoint(folder)["array"]
    assert (loaded.shape, loaded.dtype) == (array.shape, array.dtype.newbyteorder("="))
    assert loaded.tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


def test_state_of_a_module_keeps_order_and_versions(tmp_path: Path) -> None:
    state = build_model("resnet8", num_classes=10, input_shape=(3, 16, 16), seed=0).state_dict()
    save_checkpoint(tmp_path, {"model": state})
    loaded = load_checkpoint(tmp_path)["model"]
    assert isinstance(loaded, OrderedDict)
    assert loaded._metadata == state._metadata
    assert list(loaded) == list(state)


def test_saving_leaves_the_state_as_it_was(tmp_path: Path) -> None:
    array, inner = np.zeros(2), {"x": np.int64(1)}
    state = {"array": array, "inner": inner}
    save_checkpoint(tmp_path, state)
    assert state["array"] is array
    assert isinstance(inner["x"], np.int64)


@pytest.mark.parametrize(("state", "where"), [
    ({"a": {"b": [0, object()]}}, r"state\['a'\]\['b'\]\[1\]: object"),
    ({"path": Path("x")}, r"state\['path'\]: PosixPath"),
    ({"f": print}, r"state\['f'\]: builtin_function_or_method"),
    ({"s": {1, 2}}, r"state\['s'\]: set"),
])  # fmt: skip
def test_refuses_what_could_not_be_read_back(state: dict[str, Any], where: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=where):
        save_checkpoint(tmp_path, state)
    assert list(tmp_path.iterdir()) == []


def test_replaces_the_last_one_and_leaves_no_other_file(tmp_path: Path) -> None:
    for epoch in range(3):
        save_checkpoint(tmp_path, {"epoch": epoch})
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert load_checkpoint(tmp_path) == {"epoch": 2}


def test_a_reader_of_the_last_one_is_not_disturbed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"epoch": 0})
    before = (tmp_path / FILE).read_bytes()
    with (tmp_path / FILE).open("rb") as reader:
        save_checkpoint(tmp_path, {"epoch": 1})
        assert reader.read() == before


def test_a_failed_write_keeps_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, {"epoch": 0})

    def full_disk(_: object, file: Any) -> None:
        file.write(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(StorageError, match=f"Cannot write a checkpoint to {tmp_path}: Pytorch"):
        save_checkpoint(tmp_path, {"epoch": 1})
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert load_checkpoint(tmp_path) == {"epoch": 0}


def test_an_interrupted_write_leaves_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, {"epoch": 1})
    assert list(tmp_path.iterdir()) == []


def test_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="Cannot write a checkpoint to"):
        save_checkpoint(tmp_path / "file", {"epoch": 1})


def test_says_that_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"No checkpoint in {tmp_path}"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.7, 0.95, 0.999])
def test_refuses_a_truncated_file(kept: float, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"model": torch.randn(500), "epoch": 3})
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(StorageError, match="truncated, or not a raysubset checkpoint"):
        load_checkpoint(tmp_path)


class Malicious:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("harm",)


def test_refuses_foreign_files_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / FILE
    for content in (b"hello", b"PK\x03\x04 not a zip", pickle.dumps({"a": 1}), pickle.dumps(Malicious())):
        path.write_bytes(content)
        with pytest.raises(StorageError, match="not a raysubset checkpoint"):
            load_checkpoint(tmp_path)
    for foreign in (Malicious(), {"model": torch.zeros(2)}, torch.zeros(3), {"format": "other", "schema": 1}):
        torch.save(foreign, path)
        with pytest.raises(StorageError, match="not a raysubset checkpoint"):
            load_checkpoint(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_names_a_schema_it_does_not_know(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"epoch": 1})
    content = torch.load(tmp_path / FILE, weights_only=True)
    torch.save(content | {"schema": 99}, tmp_path / FILE)
    with pytest.raises(StorageError, match="schema 99, this version reads 1"):
        load_checkpoint(tmp_path)


def test_refuses_a_file_with_a_flipped_bit(tmp_path: Path) -> None:
    """torch.load compares no checksum: it would hand over another weight."""
    save_checkpoint(tmp_path, {"model": torch.randn(5000)})
    whole = (tmp_path / FILE).read_bytes()
    for position in range(len(whole) // 4, 3 * len(whole) // 4, 1111):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        (tmp_path / FILE).write_bytes(bytes(damaged))
        with pytest.raises(StorageError, match="checksum"):
            load_checkpoint(tmp_path)
