"""What the bank tells of a cell that was never trained: nothing that a supervisor did not say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from raysubset.subselnet.bank import LogitBank
from raysubset.tuning.subselnet_piece import bank_losses

N, CLASSES, SUPERVISORS = 30, 4, 2
CELLS = ("taught", "teacher", "unseen")
LABELS = np.arange(N) % CLASSES
TRAIN = SimpleNamespace(labels=LABELS)


def bank_with(tmp_path, unseen: int) -> tuple[LogitBank, np.ndarray]:
    bank = LogitBank.create(tmp_path / f"bank-{unseen}", CELLS, N, CLASSES, "f00d")
    logits = np.stack([np.random.default_rng(seed).normal(size=(N, CLASSES)) for seed in (0, 1, unseen)])
    for cell, z in zip(CELLS, logits, strict=True):
        bank.write(cell, z.astype(np.float32), 0.5, 1.0)
    p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    return bank, p[:, np.arange(N), LABELS]


def test_the_consensus_is_the_mean_prediction_of_the_supervisors_alone(tmp_path) -> None:
    found = {}
    for unseen in (2, 3):
        bank, p = bank_with(tmp_path, unseen)
        found[unseen] = bank_losses(bank, "unseen", SUPERVISORS, TRAIN).consensus()
        np.testing.assert_allclose(found[unseen], -np.log(p[:SUPERVISORS].mean(axis=0)), rtol=2e-3)
    np.testing.assert_array_equal(found[2], found[3])


@pytest.mark.parametrize("row", range(len(CELLS)))
def test_the_true_losses_are_those_of_the_cell_itself(tmp_path, row: int) -> None:
    bank, p = bank_with(tmp_path, 2)
    np.testing.assert_allclose(
        bank_losses(bank, CELLS[row], SUPERVISORS, TRAIN).true(), -np.log(p[row]), rtol=3e-3, atol=1e-3
    )
