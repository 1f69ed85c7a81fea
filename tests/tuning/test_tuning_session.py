"""What a stage's record says of the evidence it began with, over interruptions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from raysubset.errors import InterruptedRunError
from raysubset.experiment import Experiment, SearchOptions
from raysubset.hpo.space import uniform
from raysubset.report.records import RECORDS_FILE, RecordWriter
from raysubset.report.run_info import StageInfo
from raysubset.selection.plan import SubsetPlan
from raysubset.training.recipe import Recipe
from raysubset.tuning.opening import stage_ladder
from raysubset.tuning.session import Session, retraining
from raysubset.tuning.stage import StageOutcome
from tests.report.synthetic import record

EVIDENCE = SimpleNamespace(samples=1_000, seconds=7.0)


class FakeRun(SimpleNamespace):
    """A run that keeps its notes."""

    def note(self, **changes) -> None:
        self.info = SimpleNamespace(**{**vars(self.info), **changes})


def session(folder: Path) -> Session:
    run = FakeRun(
        folder=folder,
        experiment=SimpleNamespace(name="r"),
        info=SimpleNamespace(stages={}),
        listener=None,
        searcher=None,
        scheduler=None,
        checkpoint_every_s=20.0,
    )
    return Session(run, SimpleNamespace(evidence=EVIDENCE), None)  # type: ignore[arg-type]


def test_a_session_whose_driver_was_killed_counts_by_its_records(tmp_path, monkeypatch) -> None:
    with RecordWriter(tmp_path / RECORDS_FILE) as writer:
        writer.append(record("0000", 1, finished_s=50.0))
    began = []

    def run_stage(*_, elapsed_s: float, **__) -> StageOutcome:
        began.append(elapsed_s)
        return StageOutcome(StageInfo(elapsed_s + 10.0, 500, 1, True, energy_j=3.0), False, {})

    monkeypatch.setattr("raysubset.tuning.session.run_stage", run_stage)
    opened = session(tmp_path)
    opened._run("search", opened.run.experiment, None)
    assert began == [50.0]
    search = opened.run.info.stages["search"]
    assert search.wall_s == 60.0
    assert search.energy_j is None, "what the killed session drew is not known"


def laddered(fidelity: str, levels: int) -> Experiment:
    options = SearchOptions(fidelity=fidelity, levels=levels)
    plan, recipe = SubsetPlan(ratio=0.3), Recipe(epochs=9)
    return Experiment(
        name="a", model="mlp", space={"lr": uniform(0.1, 1)}, plan=plan, recipe=recipe, search=options
    )


@pytest.mark.parametrize("fidelity", ["ratio", "restart"])
def test_a_retraining_is_one_plain_training(fidelity) -> None:
    ladder = stage_ladder(retraining(laddered(fidelity, 2)), 6000)
    assert [segment.epochs for segment in ladder.segments] == [9]


def test_the_twin_on_all_data_of_a_ladder_can_be_laid_out() -> None:
    made = laddered("ratio", 4)
    assert len(stage_ladder(made, 6000).segments) == 4
    assert stage_ladder(made.on_full_data(), 6000).rungs.epochs[-1] == 9


def test_evidence_is_counted_once_however_often_a_search_is_resumed(tmp_path, monkeypatch) -> None:
    began = []

    def run_stage(*_, elapsed_s: float, **__) -> StageOutcome:
        began.append(elapsed_s)
        ended = len(began) >= 3
        info = StageInfo(elapsed_s + 10.0, 500 * len(began), len(began), ended, planned_samples=3_000)
        return StageOutcome(info, not ended, {})

    monkeypatch.setattr("raysubset.tuning.session.run_stage", run_stage)
    opened = session(tmp_path)
    for _ in range(2):
        with pytest.raises(InterruptedRunError):
            opened._run("search", opened.run.experiment, None)
    opened._run("search", opened.run.experiment, None)
    assert began == [7.0, 17.0, 27.0]
    search = opened.run.info.stages["search"]
    assert (search.wall_s, search.samples, search.planned_samples) == (37.0, 2_500, 4_000)
    opened._run("retrain", opened.run.experiment, [{}])
    assert began[-1] == 0.0
    assert opened.run.info.stages["retrain"].samples == 2_000
