"""Studies of trainings: what they run, resume and refuse with made-up stages; one real study under Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from raysubset.cli.viz import viz
from raysubset.data.dataset import Dataset
from raysubset.data.split import stratified_split
from raysubset.data.transform import Transform
from raysubset.errors import BudgetError, InterruptedRunError, OptionsError, RunExistsError
from raysubset.experiment import Experiment, SearchOptions
from raysubset.report.comparison import COMPARISON_FILE, Way, read_trainings
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.report.run_info import StageInfo
from raysubset.report.traces import TRACE_FOLDER, RankTrace
from raysubset.selection.plan import SubsetPlan
from raysubset.training.recipe import Recipe
from raysubset.tuning.comparing import MODEL_FOLDER, ComparisonStudy, create_comparison, open_comparison
from raysubset.tuning.presets import default_space
from raysubset.tuning.progress import Silent
from raysubset.tuning.run import open_run
from raysubset.tuning.stage import StageOutcome
from raysubset.tuning.ways import Entrant, grid
from raysubset.tuning.winner import load_model
from tests.report.synthetic import record

EXACT = {"first_epoch": "scheduled", "budget": "exact"}


def experiment(**changes: Any) -> Experiment:
    fields: dict[str, Any] = {
        "name": "t", "model": "mlp", "recipe": Recipe(epochs=3, batch_size=32, lr=0.05),
        "space": default_space((32,)),
        "search": SearchOptions(search="random", scheduler="none", trials=1),
    }  # fmt: skip
    return Experiment(**(fields | changes))


def study_in(
    root: Path, digits: Dataset, words: tuple[str, ...] = ("asp-loss", "full"), seeds: tuple[int, ...] = (0, 1)
) -> ComparisonStudy:
    entrants = grid(words, (0.5,), ("static",), EXACT)
    return create_comparison(experiment(), digits, root, Silent(), entrants, seeds, command="raysubset train")


class FakeStages:
    """Stages that train nothing; accuracies are told by the point."""

    def __init__(self, stops_after: int | None = None) -> None:
        self.stops_after = stops_after
        self.called: list[tuple[str, list[Any], Any, str]] = []

    def __call__(self, stage: str, experiment: Any, pool: Any, slots: Any, folder: Path, writer: Any,
                 listener: Any, *, drive: Any, contest: Any, **_: Any) -> StageOutcome:  # fmt: skip
        self.called.append((stage, list(drive.points), contest, pool))
        for number, point in enumerate(drive.points):
            if number == self.stops_after:
                return StageOutcome(StageInfo(1.0, 1, number, False), True, {}, "stopped")
            writer.append(
                record(f"{number:04d}", 3, stage=stage, config=point, status="done", epochs=3,
                       test_accuracy=0.5 + 0.1 * point["seed"], test_loss=1.0)
            )  # fmt: skip
        return StageOutcome(StageInfo(1.0, 1, len(drive.points), True), False, {})


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeStages]:
    def use(**changes: Any) -> FakeStages:
        made = FakeStages(**changes)

        @contextmanager
        def open_session(run: Any, dashboard: bool = False, evidence: str = "") -> Iterator[Any]:
            yield SimpleNamespace(pool=(evidence, run.experiment.plan.name), slots=None)

        monkeypatch.setattr("raysubset.tuning.comparing.run_stage", made)
        monkeypatch.setattr("raysubset.tuning.comparing.open_session", open_session)
        monkeypatch.setattr("raysubset.tuning.comparing.stored_test_rows", lambda data: data.test)
        return made

    return use


def test_all_ways_and_seeds_are_one_stage_seed_by_seed(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    made = stages()
    study = study_in(tmp_path, digits)
    trainings = study.measure()
    ((stage, points, contest, _),) = made.called
    ways = ["full", "adaptive-random-static-r0.5", "asp-loss-static-r0.5"]
    assert points == [{"plan": way, "seed": seed} for seed in (0, 1) for way in ways]
    assert stage == "train"
    assert contest.test is digits.test
    plan, seed = contest.entry(points[-1])
    assert (plan.metric, plan.ratio, plan.budget, seed) == ("loss", 0.5, "exact", 1)
    assert contest.samples == study.planned_samples == 2 * (3 * 540 + 2 * round(0.5 * 3 * 540))
    assert [t.accuracy for t in trainings] == [0.5, 0.6] * 3
    again = open_comparison(open_run(tmp_path / "t", digits, Silent()))
    assert again.comparison == study.comparison
    assert again.measure() == trainings
    assert len(made.called) == 1  # nothing is trained again


def test_an_interrupted_study_goes_on(digits: Dataset, tmp_path: Path, stages: Any) -> None:
    stages(stops_after=2)
    study = study_in(tmp_path, digits)
    with pytest.raises(InterruptedRunError, match="'t' was interrupted in 'train': stopped"):
        study.measure()
    assert len(read_trainings(study.run.folder, study.comparison)) == 2
    made = stages()
    assert len(open_comparison(open_run(tmp_path / "t", digits, Silent())).measure()) == 6
    assert len(made.called) == 1


def test_ways_with_evidence_of_their_own_have_a_session_of_their_own(
    digits: Dataset, tmp_path: Path, stages: Any
) -> None:
    made = stages()
    study = study_in(tmp_path, digits, ("asp-loss", "el2n", "forgetting"), (0,))
    assert any(note.startswith("el2n-static-r0.5: ") for note in study.comparison.notes)
    study.measure()
    assert [(stage, pool[0], len(points)) for stage, points, _, pool in made.called] == [
        ("train", "evidence-train", 2), ("train-1", "evidence-train-1", 2),
    ]  # fmt: skip
    assert [pool[1] for *_, pool in made.called] == ["adaptive-random", "el2n"]


def test_nothing_is_left_behind_by_what_does_not_fit(digits: Dataset, tmp_path: Path) -> None:
    entrants = grid(("asp-loss",), (0.1,), ("static",), {"first_epoch": "full", "budget": "exact"})
    with pytest.raises(BudgetError, match=r"adaptive-random-static-r0\.1: "):
        create_comparison(experiment(), digits, tmp_path, Silent(), entrants, (0,), command="")
    for twice, seeds in ((entrants[:1] * 2, (0,)), (entrants[:1], (0, 0)), ((), (0,))):
        with pytest.raises(OptionsError, match="each once"):
            create_comparison(experiment(), digits, tmp_path, Silent(), twice, seeds, command="")
    assert list(tmp_path.iterdir()) == []
    study = study_in(tmp_path, digits)
    with pytest.raises(RunExistsError):
        study_in(tmp_path, digits)
    (study.run.folder / COMPARISON_FILE).unlink()
    with pytest.raises(OptionsError, match="no study of trainings"):
        open_comparison(open_run(study.run.folder, digits, Silent()))


@pytest.mark.ray
@pytest.mark.slow
def test_real_trainings_are_paired_and_tested(digits: Dataset, tmp_path: Path, ray_cluster: None) -> None:
    """At ratio 1 every way trains on everything, so equal seeds must give equal models."""
    plan = SubsetPlan(selector="asp", metric="loss", ratio=1.0, schedule="static", first_epoch="scheduled")
    entrants = [
        Entrant(Way(name="a", method="full", schedule="static", ratio=1.0), SubsetPlan.full()),
        Entrant(Way(name="b", method="asp-loss", schedule="static", ratio=1.0), plan),
    ]
    study = create_comparison(experiment(), digits, tmp_path, Silent(), entrants, (0, 1), command="")
    found = {(t.way, t.seed): t for t in study.measure()}
    assert found["a", 0].loss == found["b", 0].loss
    assert found["a", 1].loss == found["b", 1].loss != found["a", 0].loss
    assert all(t.samples == 3 * 540 for t in found.values())
    assert not (study.run.folder / MODEL_FOLDER).exists()

    way = Way(name="c", method="asp-loss", schedule="static", ratio=0.5)
    half = Entrant(way, SubsetPlan(metric="loss", ratio=0.5, schedule="static", first_epoch="full"))
    settings = {"trace": True, "data": "embedded", "limit": 600}
    alone = create_comparison(
        experiment(name="one"), digits, tmp_path, Silent(), [half], (1,), command="", settings=settings
    )
    (training,) = alone.measure()
    assert training.samples == 540 + 2 * 270
    trace = RankTrace.read(alone.run.folder / TRACE_FOLDER / "train-0000.npz")
    assert (trace.metric, len(trace.ranks), len(trace.total)) == ("loss", 3, 540)
    assert trace.mean.mean() == pytest.approx((540 + 1) / 2 / 540)  # ranks 1..n, as shares of n
    viz(alone.run.folder)
    page = (alone.run.folder / "viz.html").read_text(encoding="utf-8")
    assert "The 10 hardest rows" in page
    assert "Metrics: no way of this run draws them." in page
    assert digits.test is not None
    network = load_model(alone.run.folder / MODEL_FOLDER, "mlp", 10, digits.input_shape)
    rows = read_records(alone.run.folder / RECORDS_FILE).rows
    assert [row.test_accuracy is None for row in rows] == [True, True, False]  # read once, at the end
    kept, _ = stratified_split(digits.train.labels, 0.1, 0)
    scale = Transform.fit(digits.train.take(kept).inputs)
    with torch.no_grad():
        logits = network(scale.evaluate(torch.from_numpy(digits.test.inputs)))
    accuracy = float((logits.argmax(1).numpy() == digits.test.labels).mean())
    assert training.accuracy == pytest.approx(accuracy)
