"""Plain .npy files into the context of a selector; every fault names the array and its row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import DataError, SelectionError
from raysubset.selection.gradients import Gradients, check_rows
from raysubset.selection.outputs import residuals_of
from raysubset.selection.protocol import Context, Target

Arrays = Mapping[str, NDArray[Any]]

MOST_CLASSES = 1_000_000  # counting classes takes 8 bytes each: a label of 10^12 is a mistake, not a class


def read_array(name: str, path: Path) -> NDArray[Any]:
    """Read and check one array.

    Args:
        name: "ids" (distinct integers or strings), "...labels" (integers >= 0), "signal ..." (numbers but NaN, one
            a row) or anything else: finite floats, shape (n, width).
        path: A .npy file. Nothing in it is ever unpickled.

    Returns:
        int64 labels, ids as they are, float32 otherwise.

    Raises:
        DataError: The file cannot be read or is no .npy file.
        SelectionError: Shape, dtype or a value does not fit.
    """
    values = raw_array(name, path)
    if name == "ids":
        return _distinct(values)
    if name.endswith("labels"):
        return _classes(name, values)
    return _scores(name, values) if name.startswith("signal ") else _rows(name, values)


def context_of(arrays: Arrays, signals: Mapping[str, NDArray[np.float32]]) -> Context:
    """Put together what a selector is given.

    Args:
        arrays: As `read_array` gives them, any of features, residuals, logits, labels, ids, val-features,
            val-logits and val-labels. Logits and labels make the residuals where there are none.
        signals: Metric name -> float32[n].

    Raises:
        SelectionError: The arrays disagree in rows, columns or classes, or nothing says how many rows there are.
    """
    lengths = {name: len(values) for name, values in arrays.items() if not name.startswith("val-")}
    lengths |= {f"signal {name!r}": len(values) for name, values in signals.items()}
    if not lengths:
        raise SelectionError("Nothing says how many rows there are: give at least one array of them, say --ids.")
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise SelectionError(f"The arrays differ in their number of rows: {told}.")
    _same_width(arrays, "logits", "residuals")
    residuals, features, logits, labels = (
        arrays.get(name) for name in ("residuals", "features", "logits", "labels")
    )
    if residuals is None and logits is not None and labels is not None:
        residuals = residuals_of(logits, labels)
    gradients = None if residuals is None else Gradients(residuals, features)
    n = next(iter(lengths.values()))
    return Context(n, labels, signals, features, gradients, logits, _target(arrays))


def _target(arrays: Arrays) -> Target | None:
    names = ("val-logits", "val-labels", "val-features")
    missing = [name for name in names if name not in arrays]
    if len(missing) == len(names):
        return None
    if missing:
        raise SelectionError(f"The rows that steer the choice lack --{', --'.join(missing)}; give all three.")
    _same_width(arrays, "features", "val-features")
    _same_width(arrays, "logits", "val-logits")
    _same_width(arrays, "residuals", "val-logits")
    logits, labels, features = (arrays[name] for name in names)
    return Target(logits, labels, features)


def _same_width(arrays: Arrays, one: str, other: str) -> None:
    if one in arrays and other in arrays and arrays[one].shape[1] != arrays[other].shape[1]:
        widths = f"{arrays[one].shape[1]} and {arrays[other].shape[1]}"
        raise SelectionError(f"{one} and {other} belong to one model, but have {widths} columns.")


def raw_array(name: str, path: Path) -> NDArray[Any]:
    """Read one array as it is.

    Raises:
        DataError: The file cannot be read or is no .npy file.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{name}: cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, EOFError, BadZipFile, MemoryError) as error:
        raise DataError(f"{name}: {path} is no whole .npy file of numbers ({error}).") from error
    if not isinstance(values, np.ndarray):
        with values:
            held = ", ".join(values.files)
        raise DataError(f"{name}: {path} is an archive of arrays ({held}); give one of them as a .npy file.")
    return values


def _rows(name: str, values: NDArray[Any]) -> NDArray[Any]:
    rows = _float32(name, values)
    check_rows(name, rows)
    if rows.shape[1] == 0:
        raise SelectionError(f"{name} must have shape (n, width) with width >= 1, got {rows.shape}.")
    return rows


def _scores(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Check a signal; it may be infinite where its metric says so (an example never learned)."""
    if values.dtype.kind in "iub":
        values = values.astype(np.float64)
    if values.ndim != 1 or values.dtype.kind != "f" or values.dtype.itemsize < 4:
        raise SelectionError(
            f"{name} must be float32[n] (float16 loses the small differences that decide), got "
            f"{values.dtype}{values.shape}."
        )
    if (bad := np.flatnonzero(np.isnan(values))).size:
        raise SelectionError(f"{name} of row {bad[0]} is nan; every row needs a number.")
    return _float32(name, values)


def _float32(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Narrow wider floats; what is no float of 32 bits or more is left for `check_rows` to refuse."""
    if values.dtype.kind != "f" or values.dtype.itemsize < 4:
        return values
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32, copy=False)
    if values.dtype.itemsize > 4 and (lost := np.argwhere(np.isinf(narrow) & np.isfinite(values))).size:
        raise SelectionError(f"{name} of row {lost[0][0]} hold {values[tuple(lost[0])]:g}, too large for float32.")
    return narrow


def _classes(name: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise SelectionError(f"{name} must be integers of shape (n,), got {labels.dtype}{labels.shape}.")
    if (bad := np.flatnonzero((labels < 0) | (labels >= MOST_CLASSES))).size:
        raise SelectionError(
            f"{name} of row {bad[0]} hold {labels[bad[0]]}; classes are numbered 0, 1, ... below {MOST_CLASSES:,}."
        )
    return labels.astype(np.int64, copy=False)


def _distinct(ids: NDArray[Any]) -> NDArray[Any]:
    if ids.ndim != 1 or ids.dtype.kind not in "iuU":
        raise SelectionError(f"ids must be integers or strings of shape (n,), got {ids.dtype}{ids.shape}.")
    values, counts = np.unique(ids, return_counts=True)
    if (repeated := values[counts > 1]).size:
        first, second = np.flatnonzero(ids == repeated[0])[:2]
        raise SelectionError(
            f"id {repeated[0]} stands at rows {first} and {second}; ids must be distinct ({repeated.size} repeat)."
        )
    return ids
