"""raysubset select in a folder of arrays: what is written, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from raysubset.cli import main

N, CLASSES, WIDTH = 40, 3, 4
RESULT = "result.npz"
STEERED = "--val-logits VZ.npy --val-labels VY.npy --val-features VF.npy"


def run(capsys: pytest.CaptureFixture[str], arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(("select", *arguments.split()))
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def chosen(capsys: pytest.CaptureFixture[str], arguments: str) -> dict[str, NDArray[Any]]:
    code, _, err = run(capsys, f"{arguments} --out {RESULT}")
    assert code == 0, err
    with np.load(RESULT) as archive:
        return dict(archive)


def check_refused(capsys: pytest.CaptureFixture[str], folder: Path, arguments: str, said: list[str]) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    code, out, err = run(capsys, arguments)
    assert code == 2, err
    assert out == "", out
    for words in said:
        assert words in err, err
    assert "Traceback" not in err, err
    assert len(err.partition("Error: ")[2].splitlines()) == 1, err  # usage may stand above it
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
