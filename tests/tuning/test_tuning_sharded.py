"""A search on sharded data is the search on the same data in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_images import encoded, write_parquet

import raysubset as rs
from raysubset.data.dataset import Dataset
from raysubset.errors import DataError
from raysubset.hpo.space import loguniform
from raysubset.report.records import read_records
from raysubset.training.recipe import Recipe

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def folder(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as three parquet files and one for testing."""
    root = tmp_path_factory.mktemp("digits")
    parts = {f"train-{i}": rows for i, rows in enumerate(np.array_split(np.arange(len(digits.train)), 3))}
    for name, split, rows in (
        *((name, digits.train, rows) for name, rows in parts.items()),
        ("test", digits.test, np.arange(len(digits.test))),
    ):
        images = [encoded(image[0]) for image in split.inputs[rows]]
        write_parquet(root / f"{name}.parquet", images, split.labels[rows].tolist(), row_group_size=50)
    return root


def search(data: object, root: Path, name: str, **options: object):
    return rs.tune(
        model="mlp",
        data=data,  # type: ignore[arg-type]
        space={"lr": loguniform(1e-3, 1e-1)},
        recipe=Recipe(epochs=3, batch_size=32),
        plan=rs.SubsetPlan(ratio=0.2),
        search="random",
        trials=4,
        retrain=1,
        name=name,
        root=root,
        progress=False,
        concurrency=1,
        **options,
    )


def outcomes(folder: Path) -> list[tuple]:
    records = read_records(folder / "records.jsonl")
    return [
        (stage, r.trial, r.epoch, r.samples_consumed, r.train_loss, r.val_loss, r.val_accuracy)
        for stage in ("search", "retrain")
        for r in records.stage(stage)
    ]


@pytest.mark.slow
def test_a_search_that_caches_is_the_one_in_memory(
    digits: Dataset, folder: Path, ray_cluster: None, tmp_path: Path
) -> None:
    cached = {"block_bytes": 28 * 28 * 64, "cache_bytes": 28 * 28 * 150, "map_bytes": 0}
    sharded = rs.ShardedDataset.from_parquet(folder, **cached)
    results = {name: search(data, tmp_path, name) for name, data in (("memory", digits), ("sharded", sharded))}
    retrained = {name: result.retrain() for name, result in results.items()}
    assert len(outcomes(tmp_path / "memory")) >= 8
    assert outcomes(tmp_path / "sharded") == outcomes(tmp_path / "memory")
    assert retrained["sharded"].test_accuracy == retrained["memory"].test_accuracy is not None


def test_a_run_is_not_resumed_on_other_data(digits: Dataset, folder: Path, tmp_path: Path) -> None:
    from raysubset.experiment import Experiment
    from raysubset.tuning.progress import Silent
    from raysubset.tuning.run import create_run, open_run

    data = rs.ShardedDataset.from_parquet(folder)
    experiment = Experiment(name="r", model="mlp", space={"lr": loguniform(1e-3, 1e-1)}, recipe=Recipe(epochs=9))
    run = create_run(experiment, data, tmp_path, Silent(), command="", settings={})
    assert (run.info.n_train, run.info.n_validation, run.info.n_test) == (540, 60, len(digits.test))
    open_run(tmp_path / "r", rs.ShardedDataset.from_parquet(folder, block_bytes=5_000), Silent())
    with pytest.raises(DataError, match="Run 'r' began on data"):
        open_run(tmp_path / "r", data.thin(599), Silent())
