"""A fit of SubSelNet through Ray: cut off and gone on with, evaluated, and served to searches."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import raysubset as rs
from raysubset.data.dataset import Dataset
from raysubset.data.embedded import embedded_mnist
from raysubset.errors import CertainSupervisorsWarning, DataError, StorageError
from raysubset.nas.cell_model import CellModel
from raysubset.nas_experiment import CandidateOptions, NasExperiment
from raysubset.report.fit_progress import PROGRESS_FILE, StageProgress, hear
from raysubset.selection.plan import SubsetPlan
from raysubset.subselnet.approximator_fit import ApproximatorOptions
from raysubset.subselnet.bank import LogitBank
from raysubset.subselnet.encoder_fit import EncoderOptions
from raysubset.subselnet.inductive import InductiveOptions
from raysubset.subselnet.selector import open_predictor
from raysubset.subselnet_experiment import SubSelNetExperiment
from raysubset.training.checkpoint import load_checkpoint
from raysubset.training.recipe import Recipe
from raysubset.tuning import subselnet_fit
from raysubset.tuning.nas_run import create_nas_run
from raysubset.tuning.nas_search import search_architecture
from raysubset.tuning.progress import Silent
from raysubset.tuning.recommend import recommend
from raysubset.tuning.subselnet_evaluate import EvaluationOptions, evaluate_fit, evaluation_rows, outcomes_file
from raysubset.tuning.subselnet_fit import fit_subselnet
from raysubset.tuning.subselnet_piece import FULL
from raysubset.tuning.subselnet_run import SubSelNetRun, open_run, start_run

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

TINY = {
    "supervisors": 3,
    "checks": 1,
    "unseen": 3,
    "channels": 5,
    "recipe": Recipe(epochs=1, optimizer="adam", lr=3e-3, batch_size=32),
    "embedding": "pca",
    "encoder_cells": 40,
    "encoder": EncoderOptions(steps=20),
    "approximator": ApproximatorOptions(steps=20, check_every=10),
    "inductive": InductiveOptions(steps=20),
}


class CutOffError(Exception):
    """Stands for the death of the driver."""


@pytest.fixture(scope="module")
def data() -> Dataset:
    return embedded_mnist().thin(200).shrunk(3)


def begin(data: Dataset, root: Path, name: str = "fit", **options: Any) -> SubSelNetRun:
    experiment = SubSelNetExperiment(name=name, **{**TINY, **options})
    return start_run(experiment, data, root, command="test", asked="embedded", limit=200, shrink=3)


@pytest.fixture(scope="module")
def fitted(data: Dataset, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> SubSelNetRun:
    run = begin(data, tmp_path_factory.mktemp("whole"))
    fit_subselnet(run)
    return run


def copied(fitted: SubSelNetRun, data: Dataset, root: Path, **options: Any) -> SubSelNetRun:
    """Go on with a copy of the finished fit."""
    shutil.copytree(fitted.folder, root / "fit")
    return begin(data, root, **options)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if hasattr(first, "shape"):
        return bool(np.array_equal(np.asarray(first), np.asarray(second)))
    return bool(first == second)


def watched(run: SubSelNetRun) -> dict[str, StageProgress]:
    """What a watcher of the run's folder is told."""
    stages: dict[str, StageProgress] = {}
    for line in (run.folder / PROGRESS_FILE).read_text(encoding="utf-8").splitlines():
        hear(stages, json.loads(line))
    return stages


def test_a_fit_goes_on_at_the_cell_where_it_was_cut_off(
    data: Dataset, fitted: SubSelNetRun, tmp_path: Path
) -> None:
    run, told = begin(data, tmp_path), []

    def cut(text: str) -> None:
        told.append(text)
        if text.startswith("cell 2 of 4"):
            raise CutOffError

    with pytest.raises(CutOffError):
        fit_subselnet(run, cut, concurrency=1)
    with pytest.raises(StorageError, match="no finished fit"):
        open_predictor(run.folder)
    supervisors = watched(run)["supervisors"]
    assert (supervisors.done, supervisors.pieces, supervisors.reason) == (2, 4, "CutOffError")
    again: list[str] = []
    fit_subselnet(begin(data, tmp_path), again.append, concurrency=1)
    assert [text[:11] for text in again if text.startswith("cell")] == ["cell 3 of 4", "cell 4 of 4"]
    assert [*watched(run)] == ["features", "encoder", "supervisors", "approximator", "inductive"]
    assert all(stage.ended and stage.seconds > 0 and not stage.reason for stage in watched(run).values())
    kept, whole = (load_checkpoint(one.folder / "predictor") for one in (run, fitted))
    assert same(kept, whole)


def test_what_is_done_is_kept_when_what_comes_after_changes(
    data: Dataset, fitted: SubSelNetRun, tmp_path: Path
) -> None:
    kept = {path.name for path in fitted.folder.iterdir() if "-" in path.name}
    again: list[str] = []
    changed = copied(fitted, data, tmp_path, inductive=InductiveOptions(steps=30))
    fit_subselnet(changed, again.append)
    (new,) = {path.name for path in changed.folder.iterdir() if "-" in path.name} - kept
    assert new.startswith("inductive-")
    assert not any(text.startswith("cell") for text in again)


def test_another_data_set_is_refused(data: Dataset, fitted: SubSelNetRun) -> None:
    with pytest.raises(DataError, match="Choose another --name"):
        begin(data.thin(100), fitted.folder.parent)
    with pytest.raises(DataError, match="is on data"):
        open_run(fitted.folder, data.thin(100))


def test_supervisors_that_know_their_rows_by_heart_are_named(
    data: Dataset, fitted: SubSelNetRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subselnet_fit, "CERTAIN", 0.0)
    with pytest.warns(CertainSupervisorsWarning, match=r"classify \d+\.\d% of their own rows"):
        fit_subselnet(copied(fitted, data, tmp_path))


def test_a_damaged_bank_names_the_cell(data: Dataset, fitted: SubSelNetRun, tmp_path: Path) -> None:
    run = copied(fitted, data, tmp_path)
    (folder,) = run.folder.glob("bank-*")
    table = np.memmap(folder / "logits.f16", np.float16, "r+", shape=(7, run.info.n_train, 10))
    table[1, 5, 0] = np.nan
    table.flush()
    shutil.rmtree(next(run.folder.glob("approximator-*")))
    with pytest.raises(DataError, match=str(run.folds.train[1]).replace("+", r"\+")):
        fit_subselnet(run)


def test_an_evaluation_goes_on_and_ranks_the_unseen_cells(fitted: SubSelNetRun) -> None:
    methods = (
        "random",
        "gibbs",
        "inductive",
        "hybrid",
        "consensus-gibbs-per-class",
        "bottom-true-loss",
        "glister",
        "el2n",
    )
    options = EvaluationOptions(methods=methods, ratios=(0.2,), seeds=1, epochs=1)
    cut: list[str] = []

    def stop(text: str) -> None:
        cut.append(text)
        if text.startswith("5 of"):
            raise CutOffError

    with pytest.raises(CutOffError):
        evaluate_fit(fitted, options, stop, concurrency=1)
    log = outcomes_file(fitted, options)
    assert len(log.read_text().splitlines()) == 5
    outcomes = evaluate_fit(fitted, options, concurrency=2)
    assert len(log.read_text().splitlines()) == len(outcomes) == 3 * (1 + len(methods))
    rows = evaluation_rows(outcomes)
    assert {row.method for row in rows} == set(methods)
    assert len(rows) == 3 * len(methods)
    assert all(row.select_s >= 0 and row.train_s > 0 and row.full_s > row.train_s / 5 for row in rows)
    assert evaluate_fit(fitted, options) == outcomes  # nothing is trained again
    fewer = evaluate_fit(fitted, replace(options, cells=2))
    assert {piece.cell for piece in fewer} == set(map(str, fitted.folds.unseen[:2]))
    found = recommend(outcomes, "gibbs", 0.2, k=1)
    assert sorted(cell for cell, _ in found.ranked) == sorted(map(str, fitted.folds.unseen))
    full = {piece.cell: outcome.val_accuracy for piece, outcome in outcomes.items() if piece.method == FULL}
    assert set(full) == {cell for cell, _ in found.ranked}


def test_a_search_trains_a_cell_on_one_subset(data: Dataset, fitted: SubSelNetRun, tmp_path: Path) -> None:
    cell = str(fitted.folds.unseen[0])
    plan = SubsetPlan(
        selector="subselnet", options={"fitted": str(fitted.folder), "cell": cell}, ratio=0.2, schedule="static"
    )
    found = rs.tune(
        model=CellModel(cell, fitted.experiment.size),
        data=data,
        space={"lr": rs.loguniform(1e-3, 1e-1)},
        plan=plan,
        recipe=Recipe(epochs=3, batch_size=32),
        trials=3,
        retrain=1,
        name="hpo",
        root=tmp_path,
    )
    lines = [json.loads(line) for line in (tmp_path / "hpo" / "records.jsonl").read_text().splitlines()]
    assert {line["metric_used"] for line in lines if line["stage"] == "search"} == {"subselnet"}
    assert all(line["samples_consumed"] == 36 * line["epoch"] for line in lines if line["stage"] == "search")
    assert 0 <= found.retrain().test_accuracy <= 1


def test_an_architecture_search_gives_each_cell_its_subset(
    data: Dataset, fitted: SubSelNetRun, tmp_path: Path
) -> None:
    experiment = NasExperiment(
        name="nas",
        space="nb101",
        algo="random",
        plan=SubsetPlan(
            selector="subselnet", options={"fitted": str(fitted.folder)}, ratio=0.2, schedule="static"
        ),
        recipe=Recipe(epochs=1, batch_size=32),
        channels=5,
        cells=1,
        candidates=CandidateOptions(count=3),
        validation=0.1,  # as the fit's: it serves these rows alone
    )
    info = search_architecture(create_nas_run(experiment, data, tmp_path, Silent(), command="test"))
    assert (info.judged, info.judged_samples) == (3, 3 * 36)


def test_a_bank_is_not_read_for_other_rows(data: Dataset, fitted: SubSelNetRun) -> None:
    (folder,) = fitted.folder.glob("bank-*")
    with pytest.raises(DataError, match="classes 10, these are 11"):
        LogitBank.open(folder, fingerprint=fitted.info.fingerprint, size=fitted.info.n_train, num_classes=11)
