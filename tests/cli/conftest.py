"""Arrays to select from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from raysubset.seeds import generator
from raysubset.selection.kernels import backend


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every array that a selector may ask for; commands run in it."""
    from tests.cli.select_arrays import CLASSES, WIDTH, N  # here: the folder's other tests do without

    rng = generator(0, "cli select")
    arrays: dict[str, NDArray[Any]] = {
        "F": rng.normal(size=(N, WIDTH)).astype(np.float32),
        "Z": rng.normal(size=(N, CLASSES)).astype(np.float32),
        "Y": rng.permutation(np.repeat([0, 1, 2], [20, 13, 7])),
        "S": rng.normal(size=N).astype(np.float32),
        "I": 1000 + 7 * rng.permutation(N),
        "VZ": rng.normal(size=(9, CLASSES)).astype(np.float32),
        "VY": rng.integers(0, CLASSES, 9),
        "VF": rng.normal(size=(9, WIDTH)).astype(np.float32),
    }
    for name, values in arrays.items():
        np.save(tmp_path / f"{name}.npy", values)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend, "numba_available", lambda: False)  # nothing here is worth a compilation
    return tmp_path
