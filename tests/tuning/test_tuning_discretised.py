"""A fit on genotypes and a DARTS search by it, through Ray: same seed, same search; what the records name it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysubset.data.dataset import Dataset
from raysubset.data.embedded import embedded_mnist
from raysubset.errors import DataError
from raysubset.nas.genotype import Genotype
from raysubset.nas_experiment import NasExperiment
from raysubset.report.nas_info import READING
from raysubset.selection.plan import SubsetPlan
from raysubset.subselnet.approximator_fit import ApproximatorOptions
from raysubset.subselnet.encoder_fit import EncoderOptions
from raysubset.subselnet.inductive import InductiveOptions
from raysubset.subselnet.selector import fitted_rows, open_predictor
from raysubset.subselnet_experiment import SubSelNetExperiment
from raysubset.training.bilevel import ArchitectureRecipe
from raysubset.training.recipe import Recipe
from raysubset.tuning.nas_run import create_nas_run
from raysubset.tuning.nas_search import search_architecture
from raysubset.tuning.progress import Silent
from raysubset.tuning.subselnet_fit import fit_subselnet
from raysubset.tuning.subselnet_run import FitInfo, SubSelNetRun, start_run

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

TINY: dict[str, Any] = {
    "supervisors": 3,
    "checks": 1,
    "unseen": 0,
    "channels": 1,
    "cells": 3,
    "space": "darts",
    "recipe": Recipe(epochs=1, optimizer="adam", lr=3e-3, batch_size=32),
    "embedding": "pca",
    "encoder_cells": 20,
    "encoder": EncoderOptions(steps=10, hidden=16),
    "approximator": ApproximatorOptions(steps=10, check_every=10),
    "inductive": InductiveOptions(steps=10),
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return embedded_mnist().thin(160).shrunk(3)


@pytest.fixture(scope="module")
def fitted(data: Dataset, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> SubSelNetRun:
    run = start_run(
        SubSelNetExperiment(name="fit", **TINY),
        data,
        tmp_path_factory.mktemp("darts"),
        command="test",
        asked="embedded",
        limit=160,
        shrink=3,
    )
    fit_subselnet(run)
    return run


def search(fitted: SubSelNetRun, data: Dataset, root: Path, **options: Any) -> dict[str, Any]:
    plan = SubsetPlan(selector="subselnet", ratio=0.4, options={"fitted": str(fitted.folder)})
    experiment = NasExperiment(
        name="nas",
        space="darts",
        algo="darts",
        plan=plan,
        recipe=Recipe(epochs=3, batch_size=32, lr=0.05),
        architecture=ArchitectureRecipe(lr=0.3),
        channels=1,
        cells=3,
        **options,
    )
    run = create_nas_run(experiment, data, root, Silent(), command="test")
    info = search_architecture(run)
    page = run.report().read_text(encoding="utf-8")
    lines = [json.loads(line) for line in (run.folder / "records.jsonl").read_text().splitlines()]
    return {"info": info, "page": page, "lines": lines}


def test_a_fit_of_genotypes_says_so_and_serves_a_search(
    data: Dataset, fitted: SubSelNetRun, tmp_path: Path
) -> None:
    assert FitInfo.read(fitted.folder).space == open_predictor(fitted.folder).space.name == "darts"
    assert np.array_equal(fitted_rows(fitted.folder), fitted.rows.train)
    one, again = (search(fitted, data, tmp_path / name) for name in ("one", "again"))
    info = one["info"]
    Genotype.parse(info.cell)
    assert (info.selector, info.metric) == ("subselnet", READING)
    assert f"subselnet, {READING}, ratio 0.4" in one["page"]
    assert "The paper does not say how its method reads a network of all operations" in one["page"]
    assert [line["metric_used"] for line in one["lines"]] == [READING] * 3
    assert [line["samples_consumed"] for line in one["lines"]] == [64, 128, 192]
    assert all(line["select_s"] > 0 for line in one["lines"])
    known = [[line[key] for key in ("train_loss", "samples_consumed")] for line in one["lines"]]
    assert known == [[line[key] for key in ("train_loss", "samples_consumed")] for line in again["lines"]]
    assert again["info"].cell == info.cell


def test_a_fit_of_another_space_does_not_go_on_with_this_one(data: Dataset, fitted: SubSelNetRun) -> None:
    experiment = SubSelNetExperiment(name="fit", supervisors=3, channels=5)
    with pytest.raises(DataError, match="is of space 'darts', not 'nb101'"):
        start_run(experiment, data, fitted.folder.parent, command="test", asked="embedded")
