"""Scouts are kept under all that they were made from, and come back as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_fit import small_folds

from raysubset.errors import StorageError
from raysubset.nas.space import NetworkSize
from raysubset.runtime.evidence import Evidence
from raysubset.runtime.subset_methods import SCOUTS, MethodOptions, Scout
from raysubset.runtime.supervisors import CellTraining
from raysubset.seeds import generator
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.training.recipe import Recipe
from raysubset.tuning.kept_scouts import KeptScouts

N, CLASSES = 20, 3
CELL, OTHER = map(str, small_folds().unseen)
TRAINING = CellTraining(CELL, NetworkSize(5, 1), Recipe(epochs=2), SubsetPlan.full(), CLASSES, 3)


@pytest.fixture
def kept(tmp_path: Path) -> KeptScouts:
    return KeptScouts(tmp_path, "data", TRAINING, MethodOptions())


def made() -> Evidence:
    rng = generator(0, "kept scouts")
    signals = {name: rng.normal(size=N).astype(np.float32) for name in ("el2n", "grand")}
    features, logits = (rng.normal(size=(N, wide)).astype(np.float32) for wide in (4, CLASSES))
    context = Context(N, rng.integers(0, CLASSES, N), signals, features, logits=logits)
    return Evidence(context, "key", 77, 1.25, "by hand")


def test_what_a_scout_says_comes_back(kept: KeptScouts) -> None:
    scout, said = Scout.of("el2n", TRAINING), made()
    kept.keep(scout, said)
    found = kept.load(scout)
    assert (found.key, found.samples, found.seconds, found.how) == ("key", 77, 1.25, "by hand")
    for name in ("labels", "features", "logits"):
        np.testing.assert_array_equal(getattr(found.context, name), getattr(said.context, name))
    assert found.context.signals.keys() == said.context.signals.keys()
    for name, values in said.context.signals.items():
        np.testing.assert_array_equal(found.context.signals[name], values)


@pytest.mark.parametrize("method", SCOUTS)
def test_a_scout_serves_every_cell_unless_it_is_the_cells_own(method: str, kept: KeptScouts) -> None:
    kept.keep(Scout.of(method, TRAINING), made())
    other = Scout.of(method, replace(TRAINING, cell=OTHER))
    if method in ("el2n", "grand"):
        with pytest.raises(StorageError):
            kept.load(other)
    else:
        kept.load(other)


@pytest.mark.parametrize(
    "changed",
    [
        {"fingerprint": "other data"},
        {"training": replace(TRAINING, size=NetworkSize(6, 1))},
        {"training": replace(TRAINING, recipe=Recipe(epochs=2, lr=0.3))},
        {"options": MethodOptions(master="resnet8")},
    ],
)
def test_anything_else_is_another_scout(changed: dict[str, object], kept: KeptScouts) -> None:
    scout = Scout.of("pruning", TRAINING)
    kept.keep(scout, made())
    kept.load(scout)
    with pytest.raises(StorageError):
        replace(kept, **changed).load(scout)  # type: ignore[arg-type]
    with pytest.raises(StorageError):
        kept.load(replace(scout, seed=4))
    with pytest.raises(StorageError):
        kept.load(replace(scout, method="prototypes"))
