"""A small pool of made-up outputs, and its gradients written out in full."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raysubset.seeds import generator
from raysubset.selection.gradients import Gradients
from raysubset.selection.protocol import Context

N, V, C, H = 400, 30, 4, 5
MEGABYTE = 1 << 20


def outputs(rows: int, part: str) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    rng = generator(0, "bench", part)
    logits = rng.normal(size=(rows, C)).astype(np.float32)
    return logits, rng.integers(0, C, rows), rng.normal(size=(rows, H)).astype(np.float32)


def expanded(gradients: Gradients) -> NDArray[np.float64]:
    """One flattened outer product a row."""
    assert gradients.features is not None
    inputs = np.hstack([gradients.features, np.ones((len(gradients), 1))]).astype(np.float64)
    return np.stack(
        [np.outer(r, h).ravel() for r, h in zip(gradients.residuals.astype(float), inputs, strict=True)]
    )


def distances(gradients: Gradients) -> NDArray[np.float64]:
    """All squared distances, from differences."""
    rows = expanded(gradients)
    return np.array([((rows - row) ** 2).sum(axis=1) for row in rows])


def of(known: Context) -> Gradients:
    assert known.gradients is not None
    return known.gradients
