"""Rows chosen inside candidate batches: the right number, of the largest losses, without side effects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from raysubset.data.batches import ArraySource, epoch_batches
from raysubset.data.transform import Transform
from raysubset.selection.batchwise import RhoLoss
from raysubset.training.candidates import candidate_batch_size, chosen_batches
from raysubset.types import Selection


@pytest.mark.parametrize(("size", "batch"), [(60, 32), (61, 16), (600, 64), (2, 32), (299, 7)])
def test_yields_the_planned_number_of_rows_each_once(digits, size: int, batch: int) -> None:
    n = len(digits.train)
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Linear(784, 10)).train()
    rows = []
    for part in chosen_batches(model, _candidates(digits, size, batch), _rho(n), size, n, 0, 0):
        assert model.training
        assert 1 < len(part) <= batch + 1
        assert len(part.inputs) == len(part.targets) == len(part.index) == len(part.weight)
        np.testing.assert_array_equal(part.targets.numpy(), digits.train.labels[part.index])
        rows += part.index.tolist()
    assert len(rows) == len(set(rows))
    assert size - 1 <= len(rows) <= size
    assert not model[1].running_mean.any(), "candidates must not enter the statistics"


def test_keeps_the_rows_of_largest_reducible_loss(digits) -> None:
    n = len(digits.train)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    candidates = list(_candidates(digits, 60, 10))
    kept = list(chosen_batches(model, candidates, _rho(n), 60, n, 0, 0))
    with torch.no_grad():
        for batch, part in zip(candidates, kept, strict=True):
            losses = cross_entropy(model(batch.inputs), batch.targets, reduction="none").numpy()
            expected = set(batch.index[np.argsort(-losses)[: len(part)]].tolist())
            assert set(part.index.tolist()) == expected


def test_a_candidate_batch_is_as_much_larger_as_the_ratio_asks() -> None:
    assert candidate_batch_size(32, 600, 6_000) == 320
    assert candidate_batch_size(32, 7, 10) == 46
    assert candidate_batch_size(32, 10, 10) == 32


def _rho(n: int) -> RhoLoss:
    return RhoLoss(np.zeros(n, dtype=np.float32))


def _candidates(digits, size: int, batch: int):
    n = len(digits.train)
    return epoch_batches(
        ArraySource(digits.train),
        Selection.uniform(np.arange(n), n),
        Transform.fit(digits.train.inputs),
        batch_size=candidate_batch_size(batch, size, n),
        seed=0,
        epoch=0,
    )
