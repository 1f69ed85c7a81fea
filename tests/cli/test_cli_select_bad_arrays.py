"""raysubset select: a wrong array is named with its row, in one line, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.cli.select_arrays import RESULT, check_refused


def changed(name: str, change: Callable[[NDArray[Any]], Any]) -> Callable[[], None]:
    return lambda: np.save("bad.npy", change(np.load(f"{name}.npy")))


def with_value(row: Any, value: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def put(values: NDArray[Any]) -> NDArray[Any]:
        values[row] = value
        return values

    return put


def pickled() -> None:
    np.save("bad.npy", np.array([{"a": 1}], dtype=object))


def text() -> None:
    Path("bad.npy").write_text("1,2,3\n")


def cut_off() -> None:
    Path("bad.npy").write_bytes(Path("F.npy").read_bytes()[:-20])


def archive() -> None:
    with Path("bad.npy").open("wb") as file:
        np.savez(file, x=np.zeros(3), y=np.zeros(3))


HALF = "need float32 or float64 (float16 loses"
BAD_ARRAYS: dict[str, tuple[Callable[[], Any], str, list[str]]] = {
    "text": (text, "--features bad.npy", ["features: bad.npy is no whole .npy file"]),
    "cut off": (cut_off, "--features bad.npy", ["bad.npy is no whole .npy file"]),
    "empty": (lambda: Path("bad.npy").write_bytes(b""), "--features bad.npy", ["bad.npy is no whole .npy file"]),
    "pickle": (pickled, "--features bad.npy", ["bad.npy is no whole .npy file"]),
    "archive": (archive, "--features bad.npy", ["archive of arrays (x, y)"]),
    "one dimension": (changed("S", lambda s: s), "--features bad.npy", ["features must have shape (n, width)"]),
    "no columns": (changed("F", lambda f: f[:, :0]), "--features bad.npy", ["width >= 1, got (40, 0)"]),
    "no rows": (changed("F", lambda f: f[:0]), "--features bad.npy", ["n=0"]),
    "nan": (
        changed("F", with_value((7, 2), np.nan)),
        "--features bad.npy",
        ["features of row 7 hold nan in column 2"],
    ),
    "inf": (
        changed("Z", with_value((5, 1), np.inf)),
        "--logits bad.npy",
        ["logits of row 5 hold inf in column 1"],
    ),
    "half": (changed("F", lambda f: f.astype(np.float16)), "--features bad.npy", ["features are float16", HALF]),
    "integers": (changed("F", lambda f: f.astype(int)), "--residuals bad.npy", ["residuals are int64"]),
    "too large": (
        changed("F", lambda f: with_value((3, 0), 1e300)(f.astype(np.float64))),
        "--features bad.npy",
        ["row 3 hold 1e+300, too large for float32"],
    ),
    "a row short": (
        changed("F", lambda f: f[:-1]),
        "--features bad.npy --labels Y.npy",
        ["differ in their number of rows: features 39, labels 40"],
    ),
    "a signal row short": (
        changed("S", lambda s: s[:-1]),
        "--signal loss=bad.npy --labels Y.npy",
        ["labels 40, signal 'loss' 39"],
    ),
    "signal nan": (
        changed("S", with_value(4, np.nan)),
        "--signal loss=bad.npy",
        ["signal 'loss' of row 4 is nan"],
    ),
    "signal half": (changed("S", lambda s: s.astype(np.float16)), "--signal loss=bad.npy", ["float16(40,)"]),
    "signal of two dimensions": (changed("F", lambda f: f), "--signal loss=bad.npy", ["float32(40, 4)"]),
    "float labels": (changed("S", lambda s: s), "--labels bad.npy", ["labels must be integers", "float32(40,)"]),
    "one-hot labels": (changed("Y", lambda y: np.eye(3, dtype=int)[y]), "--labels bad.npy", ["int64(40, 3)"]),
    "negative label": (changed("Y", with_value(6, -1)), "--labels bad.npy", ["labels of row 6 hold -1"]),
    "huge label": (
        changed("Y", with_value(6, 10**12)),
        "--labels bad.npy",
        ["labels of row 6 hold 1000000000000"],
    ),
    "label beyond the logits": (
        changed("Y", with_value(6, 3)),
        "--labels bad.npy --logits Z.npy",
        ["label of row 6 is 3, but the logits have 3 columns"],
    ),
    "validation label beyond": (
        changed("VY", with_value(2, 5)),
        "--features F.npy --val-logits VZ.npy --val-features VF.npy --val-labels bad.npy",
        ["Validation row 2 has label 5, need [0, 3)"],
    ),
    "validation rows disagree": (
        changed("VY", lambda y: y[:-1]),
        "--features F.npy --val-logits VZ.npy --val-features VF.npy --val-labels bad.npy",
        ["9 logits, 8 labels, 9 feature rows"],
    ),
    "validation features of another width": (
        changed("VF", lambda f: f[:, :2]),
        "--features F.npy --val-logits VZ.npy --val-labels VY.npy --val-features bad.npy",
        ["features and val-features belong to one model, but have 4 and 2 columns"],
    ),
    "residuals of another width": (
        changed("Z", lambda z: z[:, :2]),
        "--residuals bad.npy --logits Z.npy",
        ["logits and residuals belong to one model, but have 3 and 2 columns"],
    ),
    "duplicate id": (changed("I", with_value(9, 1000)), "--ids bad.npy", ["id 1000 stands at rows", "distinct"]),
    "float ids": (changed("S", lambda s: s), "--ids bad.npy", ["ids must be integers or strings"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_a_wrong_array_is_named_with_its_row(capsys: pytest.CaptureFixture[str], folder: Path, case: str) -> None:
    make, arguments, said = BAD_ARRAYS[case]
    make()
    check_refused(capsys, folder, f"--selector random --k 3 {arguments} --out {RESULT}", said)
