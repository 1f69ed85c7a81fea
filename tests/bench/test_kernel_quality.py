"""How good a choice is: each measure against its definition, with gradients written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tolerances import FLOAT64

from raysubset.bench.contenders import IMPORTANCE
from raysubset.bench.kernels import CASES, mean_importance
from raysubset.bench.quality import Picked, coverage_error, loss_after, match_residual
from raysubset.selection.protocol import Context
from tests.bench.made_pool import C, H, N, distances, expanded, of, outputs


@pytest.mark.parametrize("cells", [1 << 22, 70])
def test_coverage_error_is_the_sum_of_squared_distances_to_the_nearest_pick(
    known: Context, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysubset.bench.quality.CELLS", cells)
    picks = np.array([7, 399, 20])
    expected = distances(of(known))[:, picks].min(axis=1).sum()
    assert coverage_error(of(known), picks) == pytest.approx(expected, rel=FLOAT64)


def test_coverage_error_by_class_knows_no_other_class(known: Context) -> None:
    labels = known.labels
    assert labels is not None
    picks = np.concatenate([np.flatnonzero(labels == label)[3:9] for label in range(C)])
    apart = np.where(labels[:, None] == labels[None, picks], distances(of(known))[:, picks], np.inf)
    assert coverage_error(of(known), picks, labels) == pytest.approx(apart.min(axis=1).sum(), rel=FLOAT64)
    assert coverage_error(of(known), picks[:-6], labels) == math.inf


def test_match_residual_is_that_of_the_expanded_gradients(known: Context) -> None:
    picked = Picked(np.array([5, 2, 9]), np.array([30.0, 2.5, 100.0]))
    atoms = expanded(of(known))
    expected = np.linalg.norm(picked.weights @ atoms[picked.rows] - atoms.sum(0)) / np.linalg.norm(atoms.sum(0))
    assert match_residual(of(known), picked) == pytest.approx(expected, rel=FLOAT64)


def test_loss_after_is_that_of_a_layer_that_took_the_step(known: Context) -> None:
    assert known.target is not None
    rows, eta = np.array([1, 8, 4]), 0.3
    step = expanded(of(known))[rows].sum(0).reshape(C, H + 1)
    inputs = torch.from_numpy(known.target.features).double()
    layer = torch.nn.Linear(H, C, dtype=torch.float64)
    with torch.no_grad():
        before = layer(inputs)
        layer.weight -= eta * torch.from_numpy(step[:, :-1])
        layer.bias -= eta * torch.from_numpy(step[:, -1])
        logits = torch.from_numpy(known.target.logits) + layer(inputs) - before
    expected = float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(known.target.labels)))
    assert loss_after(of(known), rows, known.target, eta) == pytest.approx(expected, rel=FLOAT64)


def test_glister_is_judged_by_the_step_it_is_chosen_by(known: Context) -> None:
    assert known.target is not None
    task, rows = CASES["glister"].task(known, N), np.array([3, 5])
    before, each, mean = (loss_after(of(known), rows, known.target, eta) for eta in (0.0, 0.05, 0.05 / 1000))
    assert task.k == N // 50
    assert CASES["glister"].quality(task, Picked(rows)) == pytest.approx(each, rel=FLOAT64)
    assert CASES["glister-mean"].quality(task, Picked(rows)) == pytest.approx(
        before - mean, rel=FLOAT64, abs=1e-15
    )


def test_importances_are_losses_of_real_rows(known: Context) -> None:
    task = CASES["draw"].task(known, 5000)
    values = task.context.signal(IMPORTANCE)
    logits, labels, _ = outputs(N, "pool")
    losses = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(labels), reduction="none"
    )
    nearest = np.abs(values[:, None] - losses.numpy()[None]).min(axis=1)
    assert (len(values), task.k) == (5000, 500)
    assert nearest.max() < 1e-5  # float32
    assert mean_importance(task, Picked(np.array([3, 4]))) == pytest.approx(float(values[3:5].mean()))
