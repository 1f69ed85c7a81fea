"""The pool that kernels choose from, and steps that no collection precedes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raysubset.selection.gradients import Gradients
from raysubset.selection.protocol import Context, Target


@pytest.fixture
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gc.collect", int)  # a tenth of a second each in a large process


@pytest.fixture(scope="module")
def known() -> Context:
    from tests.bench.made_pool import N, V, outputs  # here: the folder's other tests do without

    logits, labels, features = outputs(N, "pool")
    residuals = torch.from_numpy(logits).softmax(1).numpy().copy()
    residuals[np.arange(N), labels] -= 1
    val_logits, val_labels, val_features = outputs(V, "validation")
    return Context(
        N,
        labels,
        gradients=Gradients(residuals, features),
        target=Target(val_logits, val_labels, val_features),
        learning_rate=0.05,
    )
