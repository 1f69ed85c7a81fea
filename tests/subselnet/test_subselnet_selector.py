"""SubSelNet by its name in the catalogue: plans, other pools, folders without a fit, fits that are replaced."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_fit import save_fit, small_fit, small_folds, small_labels

from raysubset.errors import ArchitectureError, BudgetError, DataError, OptionsError, SelectionError, StorageError
from raysubset.seeds import generator
from raysubset.selection.catalog import find_selector
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context, Selector
from raysubset.subselnet.predictor import SAMPLERS
from raysubset.subselnet.selector import SubSelNet, fitted_rows, open_predictor
from raysubset.testing.selectors import SelectorContract
from raysubset.training.checkpoint import save_checkpoint

CELL, OTHER = map(str, small_folds().unseen)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_fit(tmp_path_factory.mktemp("fit"), small_fit())


@pytest.fixture
def pool() -> Context:
    labels = small_labels()
    labels.flags.writeable = False
    return Context(len(labels), labels)


def method(folder: Path, **options: Any) -> SubSelNet:
    return SubSelNet(**{"fitted": str(folder), "cell": CELL, "steps": 20, **options})


class TestContract(SelectorContract):
    @pytest.fixture(params=SAMPLERS)
    def selector(self, request: pytest.FixtureRequest, folder: Path) -> Selector:
        return method(folder, sampler=request.param, steps=3)

    @pytest.fixture
    def context(self, pool: Context) -> Context:
        """The one pool that the fit is of."""
        return pool


def test_a_plan_chooses_by_it(folder: Path, pool: Context) -> None:
    options = {"fitted": str(folder), "cell": CELL, "sampler": "gibbs", "entropy": 0.5}
    plan = SubsetPlan(selector="subselnet", options=options)
    chosen = plan.compose().select(pool, 20, generator(1))
    assert plan.compose() == SubSelNet(str(folder), CELL, "gibbs", 0.5)
    predictor = open_predictor(folder)
    losses = predictor.predict(small_folds().unseen[0]).losses.astype(np.float64)
    keys = -losses / 0.5 - np.log(-np.log(generator(1).random(120)))
    assert chosen.indices.tolist() == np.argsort(-keys)[:20].tolist()


def test_it_is_chosen_once_before_any_training(folder: Path) -> None:
    found = find_selector("subselnet", {"fitted": str(folder), "cell": CELL})
    assert found.selector == SubSelNet(str(folder), CELL)
    assert (found.habits.evidence, found.habits.every, found.habits.informed_at_start) == ("fitted", 0, True)
    plan = SubsetPlan(selector="subselnet", options={"fitted": str(folder), "cell": CELL}, ratio=0.1)
    table = plan.timetable(1000, 6)
    assert table.sizes.tolist() == [100] * 6
    assert plan.scouting_samples(1000) == 0
    assert table.charges.sum() == 0


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_sampler_is_the_predictors(sampler: Any, folder: Path, pool: Context) -> None:
    options = {"entropy": 0.6, "steps": 7, "candidates": 2.0}
    ours = method(folder, sampler=sampler, **options).select(pool, 25, generator(2))
    predictor = open_predictor(folder)
    seen = predictor.predict(small_folds().unseen[0])
    theirs = predictor.sampler(sampler, seen, **options).select(predictor.context(seen), 25, generator(2))
    assert ours.indices.tolist() == theirs.indices.tolist()
    assert (ours.weights == 1).all()


def test_samplers_and_options_matter(folder: Path, pool: Context) -> None:
    plain = replace(method(folder), sampler="transductive")
    several = [
        plain,
        *(replace(plain, sampler=sampler) for sampler in SAMPLERS[1:]),
        replace(plain, entropy=3.0),
        replace(plain, steps=2),
        replace(plain, sampler="hybrid", candidates=1.5),
        replace(plain, cell=OTHER),
    ]
    rows = {tuple(one.select(pool, 25, generator(3)).indices.tolist()) for one in several}
    assert len(rows) == len(several)


def test_other_pools_are_refused(folder: Path, pool: Context) -> None:
    labels = small_labels()
    for other in (labels[:100], (labels + 1) % 3, np.roll(labels, 1)):
        with pytest.raises(DataError, match=f"this pool of {len(other)} is another one.*--data"):
            method(folder).select(Context(len(other), other), 5, generator(0))
    with pytest.raises(SelectionError, match="needs labels"):
        method(folder).select(Context(120), 5, generator(0))
    with pytest.raises(BudgetError, match="k=121 of n=120"):
        method(folder).select(pool, 121, generator(0))


@pytest.mark.parametrize(
    ("wrong", "phrase"),
    [
        ({"fitted": ""}, "fitted='', need the folder"),
        ({"sampler": "best"}, "sampler='best', need one of transductive, inductive, hybrid, gibbs"),
        ({"entropy": 0.0}, "entropy=0.0"),
        ({"entropy": float("inf")}, "entropy=inf"),
        ({"steps": 0, "candidates": 0.5}, "steps=0.*candidates=0.5"),
        ({"candidates": float("nan")}, "candidates=nan"),
    ],
)
def test_options_say_what_is_wrong(wrong: dict[str, Any], phrase: str, folder: Path) -> None:
    options = {"fitted": str(folder), "cell": CELL, **wrong}
    with pytest.raises(OptionsError, match=phrase):
        SubSelNet(**options)
    with pytest.raises(OptionsError, match=phrase):
        SubsetPlan(selector="subselnet", options=options)


def test_a_cell_must_be_named_and_of_the_space(folder: Path, pool: Context) -> None:
    with pytest.raises(ArchitectureError, match="unknown operation 'conv9x9'"):
        method(folder, cell="conv9x9~0+output~1")
    with pytest.raises(OptionsError, match="cell=''"):
        method(folder, cell="").select(pool, 5, generator(0))


def test_an_option_it_does_not_have_lists_those_it_has(folder: Path) -> None:
    with pytest.raises(
        OptionsError, match="folder.*Its options: fitted, cell, sampler, entropy, steps, candidates"
    ):
        SubsetPlan(selector="subselnet", options={"folder": str(folder)})


def test_a_folder_without_a_fit_is_said(tmp_path: Path, pool: Context) -> None:
    with pytest.raises(StorageError, match="no finished fit in.*raysubset subselnet fit"):
        method(tmp_path / "nowhere").select(pool, 5, generator(0))
    (tmp_path / "predictor").mkdir()
    with pytest.raises(StorageError, match="no finished fit in"):
        method(tmp_path).select(pool, 5, generator(0))
    (tmp_path / "predictor" / "checkpoint.pt").write_bytes(b"no archive")
    with pytest.raises(StorageError, match="truncated, or not a raysubset checkpoint"):
        method(tmp_path).select(pool, 5, generator(0))


@pytest.mark.parametrize("missing", ["encoder", "approximator", "scorer", "features", "labels"])
def test_a_checkpoint_of_something_else_is_said(missing: str, tmp_path: Path, pool: Context) -> None:
    less = {name: value for name, value in small_fit().items() if name != missing}
    save_checkpoint(tmp_path / "predictor", less)
    with pytest.raises(DataError, match=f"{missing}.* is missing"):
        method(tmp_path).select(pool, 5, generator(0))


def test_a_fit_is_read_once_and_anew_when_it_is_replaced(tmp_path: Path, pool: Context) -> None:
    save_fit(tmp_path, small_fit())
    first = open_predictor(tmp_path)
    assert open_predictor(tmp_path) is first
    before = method(tmp_path).select(pool, 25, generator(4))
    save_fit(tmp_path, small_fit(seed=1))
    _later(tmp_path)
    assert open_predictor(tmp_path) is not first
    after = method(tmp_path).select(pool, 25, generator(4))
    assert before.indices.tolist() != after.indices.tolist()


def _later(folder: Path) -> None:
    """Date a file a second later: clocks of file systems tick coarsely."""
    path = folder / "predictor" / "checkpoint.pt"
    now = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(now, now))


def test_fits_of_several_folders_are_kept_apart(tmp_path: Path, pool: Context) -> None:
    rows = []
    for seed in (0, 1):
        save_fit(tmp_path / str(seed), small_fit(seed=seed))
        path = tmp_path / str(seed) / "predictor" / "checkpoint.pt"
        os.utime(path, ns=(10**18, 10**18))
        rows.append(method(tmp_path / str(seed)).select(pool, 25, generator(4)).indices.tolist())
    assert rows[0] != rows[1]


def test_the_rows_of_the_data_set_are_kept(folder: Path, tmp_path: Path) -> None:
    np.testing.assert_array_equal(fitted_rows(folder), 2 * np.arange(120))
    with pytest.raises(StorageError, match="No checkpoint"):
        fitted_rows(tmp_path)
