"""Networks of cells: trained alike for alike seeds, on what the plan says, and asked about every row in order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_fit import small_folds

from raysubset.data.batches import ArraySource, PickedRows
from raysubset.data.dataset import Split
from raysubset.data.transform import Transform
from raysubset.errors import ArchitectureError, NonFiniteLossError
from raysubset.models.init import seeded
from raysubset.nas.cell_model import CellModel
from raysubset.nas.space import NetworkSize
from raysubset.runtime.supervisors import CellTraining, row_logits, supervise, train_cell
from raysubset.seeds import generator
from raysubset.selection.plan import SubsetPlan
from raysubset.training.recipe import Recipe

N, CLASSES = 97, 3  # three batches of 32, the last of them a row longer
CELL, OTHER = map(str, small_folds().unseen)
RECIPE = Recipe(epochs=2, batch_size=32, optimizer="adam", lr=3e-3, flip=0.5)
ASKED = CellTraining(CELL, NetworkSize(5, 1), RECIPE, SubsetPlan.full(), CLASSES, 3)


@pytest.fixture(scope="module")
def split() -> Split:
    rng = generator(0, "supervisors")
    labels = rng.integers(0, CLASSES, N)
    images = rng.integers(0, 120, (N, 1, 8, 8))
    images[np.arange(N), 0, 2 * labels, :] += 130  # a bright line tells the class
    return Split(images.astype(np.uint8), labels)


@pytest.fixture(scope="module")
def transform(split: Split) -> Transform:
    return Transform.fit(split.inputs)


def test_a_supervisor_is_asked_about_every_row_in_order(split: Split, transform: Transform) -> None:
    """By hand: the network it left, in evaluation mode, on images that are normalised, not flipped."""
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    asked = replace(ASKED, recipe=replace(RECIPE, epochs=6))
    found = supervise(asked, ArraySource(split), transform)
    assert torch.equal(before, torch.random.get_rng_state())
    model = train_cell(asked, ArraySource(split), transform).model.eval()
    pixels = (split.inputs.astype(np.float64) / 255 - transform.mean[0]) / transform.std[0]
    with torch.no_grad():
        expected = model(torch.from_numpy(pixels.astype(np.float32))).numpy()
    np.testing.assert_allclose(found.logits, expected, atol=1e-4)
    assert found.logits.dtype == np.float32
    assert found.accuracy == (expected.argmax(axis=1) == split.labels).mean()
    assert found.accuracy > 0.6
    assert found.seconds > 0


def test_the_seed_names_weights_and_order(split: Split, transform: Transform) -> None:
    found = [
        supervise(replace(ASKED, seed=seed, cell=cell), ArraySource(split), transform).logits
        for seed, cell in ((3, CELL), (3, CELL), (4, CELL), (3, OTHER))
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 1e-3
    assert np.abs(found[0] - found[3]).max() > 1e-3


def test_picked_rows_are_all_that_is_trained_on(split: Split, transform: Transform) -> None:
    rows = generator(0, "picked").permutation(N)[:40]
    picked = PickedRows(ArraySource(split), rows)
    trained = train_cell(ASKED, picked, transform)
    assert trained.samples == 2 * 40
    assert trained.train_s > 0
    copied = train_cell(ASKED, ArraySource(split.take(rows)), transform)
    for ours, theirs in zip(trained.model.parameters(), copied.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_adaptive_plan_is_followed_and_its_time_told(split: Split, transform: Transform) -> None:
    plan = SubsetPlan(selector="adaptive-random", ratio=0.25, schedule="static")
    trained = train_cell(replace(ASKED, plan=plan), ArraySource(split), transform)
    assert trained.samples == 2 * 24
    assert trained.select_s > 0


def test_asking_leaves_the_network_as_it_was(split: Split, transform: Transform) -> None:
    with seeded(0):
        model = CellModel(CELL, NetworkSize(5, 1))(CLASSES, (1, 8, 8)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, again = (row_logits(model, ArraySource(split), transform, "cpu") for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


def test_divergence_is_said(split: Split, transform: Transform) -> None:
    wild = replace(RECIPE, optimizer="sgd", lr=1e30, momentum=0.0, epochs=4)
    with pytest.raises(NonFiniteLossError):
        supervise(replace(ASKED, recipe=wild), ArraySource(split), transform)


def test_a_cell_outside_the_space_is_refused(split: Split, transform: Transform) -> None:
    with pytest.raises(ArchitectureError, match="unknown operation"):
        supervise(replace(ASKED, cell="conv9x9~0+output~1"), ArraySource(split), transform)
