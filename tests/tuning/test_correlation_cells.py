"""Cells of a correlation study: their seeds, names, configurations and costs, and what their records amount to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from raysubset.data.dataset import Dataset
from raysubset.errors import SearchSpaceError
from raysubset.hpo.space import choice
from raysubset.selection.plan import SubsetPlan
from raysubset.tuning.cells import CellPlan, cell_of, draw_points, is_complete
from raysubset.types import TrialRecord
from tests.tuning.made_up_stages import SESSION, SPACE, study_in

pytestmark = pytest.mark.slow  # seconds each on a busy machine; the pieces have everyday tests


def test_cells_have_the_seeds_that_a_comparison_needs(digits: Dataset, tmp_path: Path) -> None:
    study = study_in(tmp_path, digits)
    plans = list(study.options.plans())
    assert [plan.name for plan in plans[:6]] == [
        "full-0", "full-1", "r0.1-none-0", "r0.1-subset-0", "r0.1-both-0", "r0.1-none-1",
    ]  # fmt: skip
    assert len(plans) == 2 + 2 * 2 * 3
    made = {plan.name: plan.experiment(study.run.experiment) for plan in plans}
    seeds = {name: variant.seed for name, variant in made.items()}
    assert seeds["r0.1-none-0"] == seeds["r0.1-both-0"] == seeds["r0.2-subset-0"]
    assert len({seeds["full-0"], seeds["full-1"], seeds["r0.1-both-0"], seeds["r0.1-both-1"]}) == 4
    assert study.run.experiment.seed not in seeds.values()
    assert {v.search.scheduler for v in made.values()} == {"none"}
    assert [made[n].search.pairing for n in ("r0.1-none-0", "r0.1-subset-0", "full-0")] == [
        "none",
        "subset",
        "both",
    ]
    assert (made["full-0"].plan, made["r0.2-both-1"].plan.ratio) == (SubsetPlan.full(), 0.2)
    assert made["r0.2-both-1"].plan.first_epoch == "scheduled"


def test_configurations_are_distinct_and_more_of_them_begin_alike() -> None:
    assert draw_points(SPACE, 5, 0) == draw_points(SPACE, 9, 0)[:5]
    assert draw_points(SPACE, 5, 0) != draw_points(SPACE, 5, 1)
    few = {"batch_size": choice([16, 32, 64])}
    assert sorted(point["batch_size"] for point in draw_points(few, 3, 0)) == [16, 32, 64]
    with pytest.raises(SearchSpaceError, match="configs=4, but 400 draws from the space gave 3 distinct"):
        draw_points(few, 4, 0)


def test_the_prediction_is_what_is_consumed(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages()
    study = study_in(tmp_path, digits, ratios=(0.1,), pairings=("both",), repeats=1)
    full = 8 * 2 * study.run.info.n_train
    subset = SubsetPlan(selector="adaptive-random", ratio=0.1, first_epoch="scheduled")
    per_trial = int(subset.timetable(study.run.info.n_train, 2).sizes.sum())
    assert study.planned_samples == 2 * full + 8 * per_trial
    assert sum(cell.samples for cell in study.measure(SESSION).full) == 2 * full


def report(trial: str, epoch: int, status: str, loss: float | None) -> TrialRecord:
    return TrialRecord(
        "full-0", trial, epoch, 3, {"lr": trial}, status, 10 * epoch, 0.1, 1.0, "full", 1.0, 1.0, 0.0, 0.0,
        float(epoch), 0, val_loss=loss, val_accuracy=None if loss is None else 0.5,
    )  # fmt: skip


def test_a_cell_of_trials_that_failed_late() -> None:
    rows = [
        *(report("0000", epoch, "running" if epoch < 3 else "done", 1.0 / epoch) for epoch in (1, 2, 3)),
        report("0001", 1, "running", 0.1), report("0001", 2, "failed", 0.2),
        report("0002", 1, "running", None), report("0002", 2, "running", 0.4), report("0002", 3, "done", math.inf),
        report("0003", 2, "running", 0.6), report("0003", 3, "done", 0.5),
    ]  # fmt: skip
    points = [{"lr": f"{number:04d}"} for number in range(4)]
    cell = cell_of(CellPlan(True, 1.0, "both", 0), rows, points)
    assert {at: scores["loss"] for at, scores in cell.scores.items()} == {
        "end": (1 / 3, None, None, 0.5),
        "epoch 2": (0.5, None, None, 0.6),  # epoch 1 did not judge the last one
    }
    assert (cell.samples, cell.wall_s, cell.failed) == (30 + 20 + 30 + 30, 3.0, 2)
    assert cell.goodness("accuracy").tolist() == [0.5, -math.inf, -math.inf, 0.5]


def test_a_cell_is_complete_when_all_its_trials_have_ended() -> None:
    rows = [report("0000", 3, "done", 1.0), report("0001", 1, "failed", None)]
    assert is_complete(rows, 2)
    assert not is_complete(rows, 3)
    assert not is_complete([*rows[:1], report("0001", 1, "running", 0.5)], 2)


def test_a_cell_is_named_by_what_it_trains() -> None:
    assert CellPlan(False, 0.05, "subset", 2).name == "r0.05-subset-2"
    assert CellPlan(True, 1.0, "both", 1).name == "full-1"
