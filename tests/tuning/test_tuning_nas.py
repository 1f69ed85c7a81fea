"""Architecture searches through Ray: reproducible, resumable, and no judge is indispensable."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raysubset.data.dataset import Dataset
from raysubset.data.embedded import embedded_mnist
from raysubset.errors import DataError, RecordError, RunExistsError, SearchFailedError
from raysubset.nas.space201 import Space201
from raysubset.nas.strategies import draw_distinct
from raysubset.nas.table import TableBench
from raysubset.nas_experiment import CandidateOptions, NasExperiment
from raysubset.report.nas_info import NasInfo
from raysubset.report.records import read_records
from raysubset.report.selections import read_selections
from raysubset.runtime.architectures import open_supernet
from raysubset.runtime.judges import Judgement
from raysubset.runtime.session import cluster_slots
from raysubset.selection.plan import SubsetPlan
from raysubset.training.bilevel import ArchitectureRecipe
from raysubset.training.recipe import Recipe
from raysubset.tuning.judging import CandidateLog, JudgePool, JudgeWorker
from raysubset.tuning.nas_run import create_nas_run, open_nas_run
from raysubset.tuning.nas_search import final_training, place_rows, search_architecture
from raysubset.tuning.progress import Silent


@pytest.fixture(scope="module")
def data() -> Dataset:
    return embedded_mnist().thin(200).shrunk(3)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> TableBench:
    """A made-up benchmark of all cells: the more 3x3 convolutions, the better."""
    file = tmp_path_factory.mktemp("table") / "table.csv"
    rows = [f"{cell},{10 + cell.ops.count(3) + cell.code / 1e5:.5f}" for cell in Space201()]
    lines = ["arch,cifar10_test,cifar10_valid_12ep", *(f"{row},{row.split(',')[1]}" for row in rows)]
    file.write_text("\n".join(lines) + "\n")
    return TableBench.read(file, complete=True)


def experiment(name: str, space: str = "nb201", algo: str = "spos", **options: Any) -> NasExperiment:
    asked: dict[str, Any] = {
        "plan": SubsetPlan(ratio=0.5),
        "recipe": Recipe(epochs=3, batch_size=32, lr=0.05),
        "architecture": ArchitectureRecipe(lr=0.05),
        "candidates": CandidateOptions(batch=50, count=12, population=6),
        "channels": 2,
        "cells": 1,
    }
    return NasExperiment(name=name, space=space, algo=algo, **{**asked, **options})


def search(asked: NasExperiment, data: Dataset, root: Path, table: TableBench | None = None) -> NasInfo:
    run = create_nas_run(asked, data, root, Silent(), command="test")
    run.table, run.compared = table, 10
    return search_architecture(run)


def scores(folder: Path, file: str = "candidates.jsonl") -> dict[str, float]:
    lines = (folder / file).read_text().splitlines()
    return {plain["cell"]: plain["score"] for plain in map(json.loads, lines)}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_supernet_search_says_what_the_table_knows_and_goes_on_where_it_was_cut(
    data: Dataset, table: TableBench, tmp_path: Path
) -> None:
    first = search(experiment("one"), data, tmp_path, table)
    assert first.score == max(scores(tmp_path / "one").values())
    assert first.judged == 12
    records = read_records(tmp_path / "one" / "records.jsonl").stage("supernet")
    assert [record.epoch for record in records] == [1, 2, 3]
    assert records[-1].status == "done"
    assert first.supernet_samples == records[-1].samples_consumed
    assert first.table is not None
    assert first.table.rank == table.rank(str(first.cell))
    assert first.agreement is not None
    assert first.agreement.cells == 10
    assert NasInfo.read(tmp_path / "one") == replace(first, versions=dict(first.versions))
    chosen = read_selections(tmp_path / "one")
    assert chosen is not None
    assert chosen.epochs.tolist() == [0, 1, 2]
    assert chosen.by_class.sum() == chosen.times.sum() == records[-1].samples_consumed
    assert len(chosen.examples) > 0
    for picture in ("cell.svg", "cell.png"):
        assert (tmp_path / "one" / picture).stat().st_size > 1000

    whole, file = scores(tmp_path / "one"), tmp_path / "one" / "candidates.jsonl"
    kept = file.read_text().splitlines()[:7]
    file.write_text("\n".join(kept) + '\n{"cell": "cut')
    again = search_architecture(open_nas_run(tmp_path / "one", data, Silent()))
    assert (again.cell, again.score) == (first.cell, first.score)
    assert scores(tmp_path / "one") == whole
    assert file.read_text().splitlines()[:7] == kept  # not judged again
    assert len((tmp_path / "one" / "records.jsonl").read_text().splitlines()) == 3  # not trained again


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_the_best_and_drawn_cells_are_trained_by_themselves_and_that_decides(
    data: Dataset, tmp_path: Path
) -> None:
    options = CandidateOptions(batch=50, count=12, population=6, rows=37, finalists=3, finalist_epochs=2)
    found = search(experiment("f", candidates=options), data, tmp_path)
    by_supernet = scores(tmp_path / "f")
    finals = scores(tmp_path / "f", "finalists.jsonl")
    best = sorted(by_supernet.values(), reverse=True)[:2]
    drawn = [str(cell) for cell in draw_distinct(Space201(), 3, 0, "finalists")]
    (last,) = finals.keys() - by_supernet.keys()
    kept = [cell for cell in finals if cell != last]
    assert sorted((by_supernet[cell] for cell in kept), reverse=True) == best
    assert last == next(cell for cell in drawn if cell not in kept)
    assert found.score == finals[found.cell] == max(finals.values())  # of equals any: the file is in order of time
    assert found.finalists == 3
    lines = (tmp_path / "f" / "finalists.jsonl").read_text().splitlines()
    right = [json.loads(line)["accuracy"] * found.n_validation for line in lines]
    assert right == pytest.approx([round(rows) for rows in right]), "judged by all validation rows, not by 37"
    planned = 3 * 0.5 * 2 * found.n_train
    assert planned <= found.finalists_samples <= 1.05 * planned  # a full first epoch would add half of that

    (tmp_path / "f" / "finalists.jsonl").write_text("\n".join(lines[:2]) + "\n")
    again = search_architecture(open_nas_run(tmp_path / "f", data, Silent()))
    assert (again.cell, again.score, again.finalists_samples) == (found.cell, found.score, found.finalists_samples)
    assert (tmp_path / "f" / "finalists.jsonl").read_text().splitlines()[:2] == lines[:2]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_genotype_is_found_drawn_and_retrained(data: Dataset, tmp_path: Path) -> None:
    asked = experiment("d", "darts", "darts", cells=3, retrain_epochs=1, retrain_channels=2, retrain_cells=3)
    info = search(asked, data, tmp_path)
    assert info.cell is not None
    assert info.cell.startswith("normal ")
    alphas = [json.loads(line) for line in (tmp_path / "d" / "alphas.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in alphas] == [1, 2, 3]
    assert alphas[0]["normal"] != alphas[-1]["normal"]
    assert info.retrained is not None
    assert 0 <= info.retrained["test_accuracy"] <= 1


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_judge_that_dies_is_replaced(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = experiment("judged")
    run = create_nas_run(asked, data, tmp_path, Silent(), command="test")
    setting = place_rows(run, cluster_slots(2))
    weights = open_supernet(asked, setting.open())[0].model.state_dict()
    cells = [str(cell) for cell in draw_distinct(Space201(), 12, 0, "cells")]
    pool = JudgePool(setting, weights, cluster_slots(2), chunk=2)
    undisturbed = {one.cell: one.score for one in pool.judge(cells)}
    pool.close()

    class Mortal(JudgeWorker):
        def judge(self, cells):  # type: ignore[no-untyped-def]
            marker = Path(str(tmp_path)) / "died"
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().judge(cells)

    monkeypatch.setattr("raysubset.tuning.judging.JudgeWorker", Mortal)
    pool = JudgePool(setting, weights, cluster_slots(2), chunk=2)
    assert {one.cell: one.score for one in pool.judge(cells)} == undisturbed
    pool.close()
    assert (tmp_path / "died").exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_supernet_that_diverges_ends_the_search_with_its_reason(data: Dataset, tmp_path: Path) -> None:
    asked = experiment("nan", algo="darts", recipe=Recipe(epochs=3, batch_size=16, lr=1e30))
    with pytest.raises(SearchFailedError, match="learning rate is too high"):
        search(asked, data, tmp_path)


# ---------------------------------------------------------------------- without Ray


@pytest.mark.parametrize("algo", ["random", "evolution"])
def test_a_search_by_the_table_trains_nothing(algo: str, data: Dataset, table: TableBench, tmp_path: Path) -> None:
    options = CandidateOptions(objective="table", count=120, population=20)
    info = search(experiment("t", algo=algo, candidates=options), data, tmp_path, table)
    assert info.table is not None
    assert info.table.rank <= (1000 if algo == "random" else 200)
    assert info.judged == 120
    assert not (tmp_path / "t" / "records.jsonl").exists()


def test_a_taken_name_and_other_data_are_refused(data: Dataset, tmp_path: Path) -> None:
    create_nas_run(experiment("taken"), data, tmp_path, Silent(), command="test")
    with pytest.raises(RunExistsError, match="taken"):
        create_nas_run(experiment("taken"), data, tmp_path, Silent(), command="test")
    with pytest.raises(DataError, match="began on data"):
        open_nas_run(tmp_path / "taken", data.thin(100), Silent())


def test_no_judge_is_started_where_nothing_is_left_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    monkeypatch.setattr(JudgePool, "_start", lambda pool: started.append(1))
    slots = SimpleNamespace(cpus=1, gpus=0, concurrency=2)
    with closing(JudgePool(None, None, slots, chunk=2)) as pool:  # type: ignore[arg-type]
        assert list(pool.judge([])) == []
    assert not started


def test_the_log_of_candidates_keeps_what_is_there_and_names_a_bad_line(tmp_path: Path) -> None:
    file = tmp_path / "candidates.jsonl"
    log = CandidateLog.open(file)
    asked: list[str] = []

    def judge(cells: Any) -> Iterator[Judgement]:
        for cell in cells:
            asked.append(cell)
            yield Judgement(cell, len(cell), 0.5, 1.0, 0.1)

    assert [one.score for one in log.judged(["a", "bb"], judge)] == [1, 2]
    again = CandidateLog.open(file)
    assert [one.cell for one in again.judged(["bb", "ccc", "a"], judge)] == ["bb", "ccc", "a"]
    assert asked == ["a", "bb", "ccc"]
    file.write_text(file.read_text().replace('"score": 2', '"points": 2'))
    with pytest.raises(RecordError, match="line 2"):
        CandidateLog.open(file)


@pytest.mark.parametrize(("side", "cutout"), [(32, 16), (16, 8), (9, 4)])
def test_half_a_side_is_cut_out_when_a_genotype_is_retrained(side: int, cutout: int) -> None:
    asked = experiment("f", "darts", "darts", cells=3, retrain_epochs=7)
    final = final_training(asked, "", side)
    assert (final.recipe.cutout, final.recipe.epochs, final.plan.ratio) == (cutout, 7, 1.0)
