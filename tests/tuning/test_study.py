"""Studies: their grids, and cells that run, fail or stop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import raysubset as rs
from raysubset.data.dataset import Dataset
from raysubset.errors import BudgetError, DataError, InterruptedRunError, OptionsError, UnknownNameError
from raysubset.experiment import Experiment, SearchOptions
from raysubset.report.records import RECORDS_FILE, RecordWriter
from raysubset.report.run_info import Result, StageInfo
from raysubset.report.study_lines import CellResult
from raysubset.tuning.asp_tables import PAPER, asp_table
from raysubset.tuning.asp_tables import SMALL as SMALL_TABLE
from raysubset.tuning.dss_study import SMALL as SMALL_DSS
from raysubset.tuning.dss_study import dss_study, paper_setting
from raysubset.tuning.progress import Silent
from raysubset.tuning.study import run_study
from raysubset.tuning.study_grid import Cell, Study, predicted_samples, read_cell
from raysubset.types import TrialRecord


def dss(setting=SMALL_DSS, data: str = "embedded", seeds: tuple[int, ...] = (0, 1)) -> Study:
    return dss_study("d", data, setting, seeds, augment=data != "embedded", published_for="mnist")


def grids() -> Iterator[tuple[Study, int]]:
    yield dss(), 5
    yield dss(replace(SMALL_DSS, selectors=("asp", "craig"))), 3
    for data in ("cifar10", "cifar100", "mnist"):
        yield dss(paper_setting(data), data), 5
    for setting in (SMALL_TABLE, PAPER):
        yield asp_table("T3", "a", {"cifar10": True}, setting, (0, 1)), 12
        yield asp_table("T4", "a", {"cifar10": True, "cifar100": True}, setting, (0, 1)), 20


@pytest.mark.parametrize(("study", "cells"), list(grids()), ids=lambda value: getattr(value, "table", ""))
def test_grids_are_whole_and_can_be_written_down(study: Study, cells: int) -> None:
    assert len(study.cells) == 2 * cells
    assert len({cell.name for cell in study.cells}) == 2 * cells
    known = {cell.name: cell for cell in study.cells}
    for cell in study.cells:
        assert Experiment.from_toml(cell.experiment.to_toml()) == cell.experiment
        assert cell.experiment.search.retrain == 1
        if cell.experiment.plan.ratio == 1:
            assert (cell.against, cell.experiment.plan.name) == ("", "full")
            continue
        full = known[cell.against]
        assert full.experiment.plan.name == "full"
        same = replace(cell.experiment, name=full.name, plan=full.experiment.plan)
        assert same == full.experiment  # the same search, seed and recipe: only the rows differ
        assert full.data == cell.data


def test_the_dss_study_is_the_papers() -> None:
    study = dss(paper_setting("cifar10"), "cifar10", seeds=(4,))
    assert [cell.method for cell in study.cells] == [
        "full", "random", "CRAIG", "GLISTER", "GRAD-MATCH (per batch)",
    ]  # fmt: skip
    for cell in study.cells:
        experiment = cell.experiment
        assert (experiment.search.search, experiment.search.scheduler) == ("tpe", "none")
        assert (experiment.search.trials, experiment.model, experiment.seed) == (10, "resnet18", 4)
        assert experiment.validation == 0.1
        assert set(experiment.space) == {"lr", "momentum", "optimizer", "batch_size"}
        assert (experiment.recipe.flip, experiment.recipe.crop_padding) == (0.5, 4)
    for cell in study.cells[1:]:
        plan = cell.experiment.plan
        assert (plan.ratio, plan.schedule, plan.select_every, plan.warm_start) == (0.05, "static", 20, 0.5)
    assert [cell.published is None for cell in study.cells] == [True, True, False, False, False]
    assert paper_setting("cifar100").model == "resnet50"
    assert paper_setting("mnist").model == "lenet"


def test_claims_are_shown_only_at_the_claimed_ratio() -> None:
    assert all(cell.published is None for cell in dss(replace(SMALL_DSS, ratio=0.1)).cells)


def test_tables_are_the_papers() -> None:
    three = asp_table("T3", "a", {"cifar10": True}, PAPER, (0,))
    searches = {
        cell.method: (cell.experiment.search.search, cell.experiment.search.scheduler) for cell in three.cells
    }
    assert searches == {
        "Random": ("random", "none"),
        "HyperBand": ("random", "hyperband"),
        "BOHB": ("bohb", "hyperband"),
        "HyperTune": ("hyper-tune", "hyper-tune"),
    }
    assert sorted({cell.experiment.plan.ratio for cell in three.cells}) == [0.05, 0.3, 1.0]
    assert {c.experiment.plan.metric for c in three.cells if c.against} == {"mixture"}
    four = asp_table("T4", "a", {"cifar10": True, "cifar100": True}, PAPER, (0,))
    subset = [cell for cell in four.cells if cell.against]
    assert {cell.experiment.plan.metric for cell in subset} == {
        "random", "loss", "entropy", "gradient", "prediction", "mixture",
    }  # fmt: skip
    for cell in subset:
        assert cell.method == f"HT.-{cell.experiment.plan.metric.capitalize()}"
        assert (cell.experiment.plan.ratio, cell.experiment.plan.schedule) == (0.1, "dynamic")
        assert cell.experiment.search.search == "hyper-tune"
    for cell in (*three.cells, *four.cells):
        assert cell.published is not None
        assert cell.published.dataset == cell.data
        assert (cell.experiment.recipe.epochs, cell.experiment.search.concurrency) == (200, 8)


def test_tables_share_their_searches_on_full_data() -> None:
    three = {c.name: c for c in asp_table("T3", "a", {"cifar10": True}, SMALL_TABLE, (0,)).cells}
    four = {c.name: c for c in asp_table("T4", "a", {"cifar10": True}, SMALL_TABLE, (0,)).cells}
    shared = set(three) & set(four)
    assert len(shared) == 4
    assert all(three[name].experiment == four[name].experiment for name in shared)


def test_budgets_are_ratio_times_the_full_one(digits: Dataset) -> None:
    study = asp_table("T3", "a", {"embedded": False}, SMALL_TABLE, (0,))
    for cell in study.cells:
        search, retrain = predicted_samples(cell, digits)
        assert search == round(cell.experiment.plan.ratio * 144 * 540)  # 540 of 600 rows are trained on
        assert retrain == 9 * 540


def test_the_budget_alone_ends_a_search_of_a_table(digits: Dataset) -> None:
    """As many trials as could begin if each stopped at its first rung."""
    options = {c.method: c.experiment.search for c in asp_table("T3", "a", {"x": False}, SMALL_TABLE, (0,)).cells}
    assert options["Random"].trials == 16  # 144 / 9
    assert options["HyperBand"].trials == 144  # first rung after 1 of 9 epochs


def test_predictions_of_a_warm_start_by_hand(digits: Dataset) -> None:
    """20 epochs, kappa 0.5: ceil(10 x 0.05) = 1 on all 540 rows, 10 on 27; two choices look at 540 / 3 each."""
    cells = {cell.method: cell for cell in dss(seeds=(0,)).cells}
    assert predicted_samples(cells["full"], digits) == (10 * 20 * 540, 20 * 540)
    assert predicted_samples(cells["random"], digits) == (10 * (540 + 10 * 27), 20 * 540)
    assert predicted_samples(cells["CRAIG"], digits) == (10 * (540 + 10 * 27 + 2 * 180), 20 * 540)


def test_selectors_of_the_small_preset_pay_for_themselves() -> None:
    """Else adaptive random would stand in for them, and the table would compare nothing."""
    from raysubset.models.catalog import build_model
    from raysubset.runtime.affordable import share_of_full_cost

    network = build_model("lenet", num_classes=10, input_shape=(1, 28, 28), seed=0)
    for cell in dss(seeds=(0,)).cells[2:]:
        plan = cell.experiment.plan.resolved("scheduled")
        assert share_of_full_cost(plan, network, (1, 28, 28), 3600, 20) < 0.5


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"selectors": ("crag",)}, UnknownNameError, "Did you mean 'craig'"),
        ({"ratio": 0.0}, BudgetError, "need 0 < ratio"),
        ({"warm_start": 1.0}, OptionsError, "warm_start"),
        ({"scheduler": "ash"}, UnknownNameError, "Did you mean 'asha'"),
        ({"trials": 0}, OptionsError, "trials=0"),
        ({"epochs": 0}, OptionsError, "epochs=0"),
    ],
)
def test_wrong_settings(changes: dict, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        dss(replace(SMALL_DSS, **changes))


SPACE = {"lr": rs.loguniform(1e-3, 1e-1)}


def cell(name: str, method: str = "full", against: str = "", seed: int = 0, **plan) -> Cell:
    experiment = Experiment(
        name=name,
        model="mlp",
        plan=rs.SubsetPlan(**plan) if plan else rs.SubsetPlan.full(),
        recipe=rs.Recipe(epochs=3, batch_size=32),
        space=SPACE,
        search=SearchOptions(search="random", scheduler="none", trials=2, retrain=1),
        seed=seed,
    )
    return Cell(method=method, experiment=experiment, data="digits", against=against)


def two_cells() -> Study:
    return Study(name="two", cells=(cell("full"), cell("part", "asp", "full", ratio=0.2)), notes=("a note",))


class Stage:
    """Stands for a session: writes what one writes, and fails when told to."""

    def __init__(self, ran: list[str], fails: dict[str, Exception]) -> None:
        self.ran, self.fails = ran, fails

    @contextmanager
    def open(self, run, dashboard: bool = False):
        self.run = run
        self.ran.append(run.experiment.name)
        yield self

    def search(self) -> list:
        name = self.run.experiment.name
        if name in self.fails:
            raise self.fails.pop(name)
        row = TrialRecord(
            stage="search", trial="0000", epoch=3, epochs=3, config={"lr": 0.1}, status="done",
            samples_consumed=300, equiv_epochs=1.0, ratio=0.2, metric_used="random", train_loss=1.0, train_s=1.0,
            select_s=0.0, eval_s=0.0, finished_s=3.0, seed=0, rung=0, val_loss=0.5, val_accuracy=0.75,
        )  # fmt: skip
        with RecordWriter(self.run.folder / RECORDS_FILE) as writer:
            writer.append(row)
        seconds = 40.0 if name == "full" else 8.0
        self.run.note(stages={"search": StageInfo(seconds, 900, 2, True), "retrain": StageInfo(2.0, 100, 1, True)})
        return []

    def retrain(self, ranked) -> Result:
        if (name := f"{self.run.experiment.name}/retrain") in self.fails:
            raise self.fails.pop(name)
        return Result(best_config={"lr": 0.1}, val_accuracy=0.8)

    def test(self, result: Result) -> Result:
        return replace(result, test_accuracy=0.9 if self.run.experiment.name == "full" else 0.88)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    @contextmanager
    def no_ray(dashboard: bool = False):
        yield

    stage = Stage([], {})
    monkeypatch.setattr("raysubset.tuning.study.ray_session", no_ray)
    monkeypatch.setattr("raysubset.tuning.study.open_session", stage.open)
    return stage


def go(
    study: Study, digits: Dataset, root: Path, said: list[str] | None = None, **options
) -> dict[str, CellResult]:
    say = [].append if said is None else said.append
    results = run_study(study, {"digits": digits}, root, Silent(), say=say, **options)
    assert [result.cell for result in results] == [cell.name for cell in study.cells]
    return {result.cell: result for result in results}


def test_a_study_runs_its_cells_once(stage: Stage, digits, tmp_path: Path) -> None:
    said: list[str] = []
    first = go(two_cells(), digits, tmp_path, command="raysubset hpo-dss")
    second = go(two_cells(), digits, tmp_path, said)
    assert stage.ran == ["full", "part"]
    assert first == second
    assert said == ["cell 1 of 2, full: finished before", "cell 2 of 2, part: finished before"]
    part = first["part"]
    assert (part.state, part.search_accuracy, part.test_accuracy, part.samples) == ("finished", 0.75, 0.88, 1000)
    assert (part.trials, part.device, part.taken_by) == (2, "cpu", "asp, mixture")
    facts = json.loads((tmp_path / "two" / "study.json").read_text())
    assert facts["lines"][1]["search_speedup"]["mean"] == 5.0
    assert facts["lines"][1]["speedup"]["mean"] == 4.2
    assert [c["cell"] for c in facts["cells"]] == ["full", "part"]
    assert facts["cells"][1] == json.loads(json.dumps(asdict(second["part"])))
    text = (tmp_path / "two" / "results.md").read_text()
    assert "- a note" in text
    assert "| asp | digits | mlp | random | asp, mixture | 0.2 | 1 of 1 |" in text


def test_a_cell_that_fails_does_not_stop_the_others(stage: Stage, digits, tmp_path: Path) -> None:
    stage.fails = {"full": BudgetError("not one trial"), "part": MemoryError("no room")}
    results = go(two_cells(), digits, tmp_path)
    assert {name: r.state for name, r in results.items()} == {"full": "failed", "part": "failed"}
    assert results["full"].cause == "BudgetError: not one trial"
    assert results["part"].cause.startswith("MemoryError: no room (test_study.py, line")
    assert "failed: BudgetError" in (tmp_path / "two" / "results.md").read_text()
    later = go(two_cells(), digits, tmp_path, only=["pa*"])
    assert (later["full"].state, later["full"].cause) == ("failed", "BudgetError: not one trial")
    assert (later["part"].state, later["part"].cause) == ("finished", "")
    assert go(two_cells(), digits, tmp_path)["full"].state == "finished"
    assert stage.ran == ["full", "part", "part", "full"]


def test_a_cell_that_cannot_begin_is_recorded(stage: Stage, digits, tmp_path: Path) -> None:
    broken = replace(two_cells().cells[0].experiment, model="resnet19")
    study = replace(two_cells(), cells=(replace(two_cells().cells[0], experiment=broken), cell("other")))
    results = go(study, digits, tmp_path)
    assert "Did you mean 'resnet1" in results["full"].cause
    assert results["other"].state == "finished"
    assert not (tmp_path / "two" / "full").exists()


@pytest.mark.parametrize("where", ["part", "part/retrain"])
def test_an_interrupted_study_goes_on(stage: Stage, digits, tmp_path: Path, where: str) -> None:
    stage.fails = {where: InterruptedRunError("stopped")}
    with pytest.raises(InterruptedRunError, match=r"interrupted in cell 'part'.*same command"):
        go(two_cells(), digits, tmp_path)
    states = {c["cell"]: c["state"] for c in json.loads((tmp_path / "two" / "study.json").read_text())["cells"]}
    assert states == {"full": "finished", "part": "unfinished"}
    assert go(two_cells(), digits, tmp_path)["part"].state == "finished"
    assert stage.ran == ["full", "part", "part"]


def test_only_what_was_asked_for_runs(stage: Stage, digits, tmp_path: Path) -> None:
    assert go(two_cells(), digits, tmp_path, only=["full"])["part"].state == "waiting"
    assert stage.ran == ["full"]
    with pytest.raises(OptionsError, match=r"only='x\*' fits no cell of study 'two': full, part"):
        go(two_cells(), digits, tmp_path, only=["full", "x*"])


def test_a_study_of_other_settings_or_data_is_refused_before_anything_runs(stage, digits, tmp_path) -> None:
    go(two_cells(), digits, tmp_path, only=["part"])
    changed = tuple(
        replace(c, experiment=replace(c.experiment, recipe=rs.Recipe(epochs=4, batch_size=32)))
        for c in two_cells().cells
    )
    with pytest.raises(OptionsError, match="epochs was 3, is 4"):
        go(replace(two_cells(), cells=changed), digits, tmp_path)
    labels = np.roll(digits.train.labels, 1)
    other = replace(digits, train=replace(digits.train, labels=labels))
    with pytest.raises(DataError, match="began on data"):
        go(two_cells(), other, tmp_path)
    assert stage.ran == ["part"]
    with pytest.raises(OptionsError, match="needs the data sets digits"):
        run_study(two_cells(), {}, tmp_path, Silent(), say=print)


def test_two_tables_of_one_study_keep_their_own_files(stage: Stage, digits, tmp_path: Path) -> None:
    go(replace(two_cells(), table="T3"), digits, tmp_path)
    go(replace(two_cells(), cells=(cell("full"), cell("third", seed=1)), table="T4"), digits, tmp_path)
    assert stage.ran == ["full", "part", "third"]
    names = {path.name for path in (tmp_path / "two").iterdir() if path.is_file()}
    files = ("study-{}.json", "results-{}.md", "report-{}.html")
    assert names == {file.format(table) for file in files for table in ("T3", "T4")}


def test_a_selector_that_gave_way_is_read_from_its_run(stage: Stage, digits, tmp_path: Path) -> None:
    go(two_cells(), digits, tmp_path)
    path = tmp_path / "two" / "part" / "run.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "selector": "adaptive-random"}))
    result = read_cell(tmp_path / "two", two_cells().cells[1])
    assert (result.rows_by, result.taken_by) == ("asp, mixture", "adaptive-random")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cells": ()}, "no cells"),
        ({"cells": (cell("a"), cell("a"))}, "two cells are called 'a'"),
        ({"cells": (cell("a", against="b"),)}, "compared with 'b', which is not there"),
        ({"name": "../up"}, "plain folder name"),
    ],
)
def test_impossible_studies(changes: dict, said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        replace(two_cells(), **changes)


@pytest.mark.ray
@pytest.mark.slow
def test_a_real_study_of_two_cells(digits, ray_cluster, tmp_path: Path) -> None:
    setting = replace(
        SMALL_DSS, model="mlp", epochs=4, trials=2, select_every=1, ratio=0.1, selectors=("adaptive-random",)
    )
    study = dss_study("real", "digits", setting, (0,), augment=False, published_for="mnist")
    results = run_study(study, {"digits": digits}, tmp_path, Silent(), say=print)
    assert [result.state for result in results] == ["finished", "finished"]
    full, part = results
    assert (full.search_samples, full.retrain_samples) == (2 * 4 * 540, 4 * 540)
    assert (part.search_samples, part.retrain_samples) == (2 * (540 + 2 * 54), 4 * 540)
    assert all(0.3 < (result.test_accuracy or 0) <= 1 for result in results)
    said: list[str] = []
    assert run_study(study, {"digits": digits}, tmp_path, Silent(), say=said.append) == results
    assert all(line.endswith("finished before") for line in said)
