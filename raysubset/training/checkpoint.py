"""A training state in one file: written whole or not at all, read without running code.

The file is a ``torch.save`` archive of tensors and plain Python. It is loaded with ``weights_only=True``, which
refuses every other object, so a checkpoint from a stranger cannot execute anything. numpy arrays travel as
tagged tensors and come back as arrays.
"""

from __future__ import annotations

import copy
import os
import pickle
import tempfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raysubset.errors import StorageError

CHECKPOINT_SCHEMA = 1
FILE_NAME = "checkpoint.pt"
_FORMAT = "raysubset checkpoint"
_ARRAY = "__ndarray__"
_ARRAY_DTYPES = frozenset(np.dtype(code).name for code in "?bBhHiIlLefdFD")  # those torch knows too
_CONTAINERS = (dict, OrderedDict, list, tuple)


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write ``state`` to ``folder``, replacing an earlier checkpoint in one step.

    Whoever reads, also after the writing process was killed, finds the old file or the new one, never a part.

    Args:
        folder: Made if missing.
        state: Tensors, numpy arrays, str, int, float, bool, bytes, None, and dicts, lists and tuples of them;
            such are the state dicts of modules and optimisers. numpy scalars become Python numbers.

    Raises:
        StorageError: The folder cannot be written, or ``state`` holds something else; the message says where.
    """
    content = {"format": _FORMAT, "schema": CHECKPOINT_SCHEMA, "state": _encode(dict(state), "state")}
    temporary: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".checkpoint-", delete=False) as file:
            temporary = Path(file.name)
            torch.save(content, file)
        os.replace(temporary, folder / FILE_NAME)  # noqa: PTH105  named for what it promises: atomic
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise StorageError(f"Cannot write a checkpoint to {folder}: {error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)  # gone already where it took its place


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the state that `save_checkpoint` wrote; tensors arrive on the CPU.

    Raises:
        StorageError: No checkpoint is there, it is truncated or damaged, not ours, or of another schema.

    Cost: Two passes over the file: the first compares checksums (CRC-32, about a second a gigabyte).
    """
    path = folder / FILE_NAME
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):  # all that torch.save writes; torch.load would try older forms
                raise ValueError("it is no zip archive")
            if (damaged := zipfile.ZipFile(file).testzip()) is not None:  # torch.load compares no checksum
                raise ValueError(f"the checksum of {damaged} differs")
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise StorageError(f"No checkpoint in {folder} (looked for {FILE_NAME}).") from error
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = str(error).partition("\n")[0]
        raise StorageError(f"Cannot read {path}: truncated, or not a raysubset checkpoint ({reason})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise StorageError(f"{path} is not a raysubset checkpoint, though torch.save wrote it.")
    if content["schema"] != CHECKPOINT_SCHEMA:
        raise StorageError(
            f"{path} has checkpoint schema {content['schema']!r}, this version reads {CHECKPOINT_SCHEMA}."
        )
    state: dict[str, Any] = _decode(content["state"])
    return state


def _encode(value: Any, where: str) -> Any:
    """Replace numpy by torch and Python; ``where`` names the value in errors."""
    if isinstance(value, np.ndarray) and value.dtype.name in _ARRAY_DTYPES:
        native = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")  # a copy: value may be read-only
        return {_ARRAY: torch.from_numpy(native)}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Tensor):
        return value.detach()
    if type(value) in _CONTAINERS:
        return _rebuild(value, lambda key, item: _encode(item, f"{where}[{key!r}]"))
    if value is None or type(value) in (str, int, float, bool, bytes):
        return value
    raise StorageError(
        f"A checkpoint cannot hold {where}: {type(value).__name__}. Allowed: tensors, numeric numpy arrays, str, "
        "int, float, bool, bytes, None, and dicts, lists and tuples of them."
    )


def _decode(value: Any) -> Any:
    """Undo `_encode`."""
    if isinstance(value, dict) and value.keys() == {_ARRAY}:
        return value[_ARRAY].numpy()
    if type(value) in _CONTAINERS:
        return _rebuild(value, lambda _, item: _decode(item))
    return value


def _rebuild(value: Any, convert: Callable[[Any, Any], Any]) -> Any:
    """Return a container of the same kind with every item converted."""
    if not isinstance(value, dict):
        return type(value)(convert(position, item) for position, item in enumerate(value))
    rebuilt = copy.copy(value)  # an OrderedDict of a module keeps its _metadata
    for key, item in value.items():
        rebuilt[key] = convert(key, item)
    return rebuilt
