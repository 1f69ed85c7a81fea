"""The parts of tuning that need no cluster."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from raysubset.errors import SearchSpaceError
from raysubset.hpo.space import Choice, Integer, Uniform, choice, integer, loguniform, uniform
from raysubset.tuning.progress import RichProgress, StageView, duration
from raysubset.tuning.ranking import rank_trials
from raysubset.types import TrialRecord

SPACE = {"lr": loguniform(1e-3, 1e-1), "momentum": uniform(0.5, 0.9), "batch_size": choice([16, 32])}


def record(trial: str, epoch: int, **changes) -> TrialRecord:
    fields = {
        "stage": "search",
        "trial": trial,
        "epoch": epoch,
        "epochs": 9,
        "config": {"lr": 0.1},
        "status": "running",
        "samples_consumed": epoch * 100,
        "equiv_epochs": epoch / 10,
        "ratio": 0.1,
        "metric_used": "loss",
        "train_loss": 1.0,
        "train_s": 0.9,
        "select_s": 0.05,
        "eval_s": 0.05,
        "finished_s": 1.0,
        "seed": 0,
    }
    return TrialRecord(**{**fields, **changes})


def test_spaces_translate_to_tune_and_back() -> None:
    from raysubset.tuning.space import own_space, tune_space

    space = {**SPACE, "epochs": integer(3, 9)}
    assert own_space(tune_space(space)) == space
    assert own_space(space) == space


def test_tune_domains_without_a_twin_are_refused() -> None:
    from ray import tune

    from raysubset.tuning.space import own_space

    assert own_space({"a": tune.uniform(0, 1), "b": tune.randint(1, 5), "c": tune.choice(["x"])}) == {
        "a": Uniform(0, 1),
        "b": Integer(1, 4),
        "c": Choice(("x",)),
    }
    for domain in (tune.quniform(0, 1, 0.1), tune.randn(0, 1), tune.lograndint(1, 10), 3):
        with pytest.raises(SearchSpaceError, match="need raysubset.uniform"):
            own_space({"a": domain})


def test_trials_are_ranked_at_equal_cost() -> None:
    rows = [
        record("far", 9, val_loss=0.9, val_accuracy=0.5),
        record("near", 1, val_loss=0.1, val_accuracy=0.9),
        record("best", 9, val_loss=0.3, val_accuracy=0.4),
        record("best", 3, val_loss=0.01, val_accuracy=0.99),
        record("unjudged", 9),
        record("lost", 9, val_loss=0.0, val_accuracy=1.0),
        record("lost", 9, status="failed"),
    ]
    ordered = sorted(rows, key=lambda row: row.epoch)
    assert [trial.trial for trial in rank_trials(ordered, "loss")] == ["best", "far", "near"]
    assert [trial.trial for trial in rank_trials(ordered, "accuracy")] == ["far", "best", "near"]


def test_a_trial_that_leaves_out_more_rows_is_ranked_by_its_score() -> None:
    rows = [
        record("poor", 9, val_loss=0.9, samples_consumed=900),
        record("good", 9, val_loss=0.1, samples_consumed=850),
    ]
    assert [trial.trial for trial in rank_trials(rows, "loss")] == ["good", "poor"]
    view = StageView("search", trials=2, budget=1800)
    for row in rows:
        view.hear(row)
    assert view.best == rows[1]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_reason_of_failure_is_no_markup(terminal: bool) -> None:
    console = Console(file=StringIO(), force_terminal=terminal, width=200)
    progress = RichProgress(console)
    progress.stage_started("search", 2, 100.0)
    progress.recorded(record("a", 1, status="failed", reason="ValueError: no [/INST], [enforce fail at a.cpp:7]"))
    progress.stage_ended()
    assert "ValueError: no [/INST], [enforce fail at a.cpp:7]" in console.file.getvalue()


def test_progress_counts_and_predicts() -> None:
    now = [0.0]
    view = StageView("search", trials=4, budget=4000, clock=lambda: now[0])
    view.status["a"] = "running"
    assert view.eta_s is None
    now[0] = 10.0
    view.hear(record("a", 9, status="done", val_loss=0.5, val_accuracy=0.8))
    view.hear(record("b", 1, status="stopped", val_loss=0.1, val_accuracy=0.9))
    view.hear(record("c", 1, status="failed"))
    assert view.finished == 3
    assert view.eta_s == pytest.approx(10 / 3)
    assert view.best is not None
    assert view.best.trial == "a"  # judged furthest
    line = view.line()
    for part in (
        "1 stopped",
        "1 done",
        "1 failed",
        "1,100 of at most 4,000",
        "selection 5.0%",
        "80.00%",
        "4 s left",
    ):
        assert part in line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.1, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (-3, "0 s")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("status", "granted", "warned"),
    [
        ("PENDING", ["theirs"], True),
        ("PENDING", ["theirs", "ours"], False),  # a worker is being started
        ("RUNNING", ["theirs"], False),
    ],
)
def test_waiting_is_for_resources_not_for_imports(monkeypatch, status: str, granted: list[str], warned) -> None:
    from raysubset.runtime.session import Slots
    from raysubset.tuning import waiting

    groups = {"theirs": {"state": "CREATED"}, "queued": {"state": "PENDING"}}
    monkeypatch.setattr(waiting, "placement_group_table", lambda: groups)
    monkeypatch.setattr(waiting.ray, "available_resources", lambda: {"CPU": 0.5})
    callback = waiting.Waiting(Slots(2, 1.0, 0.0, 0.0), patience_s=0.0)
    groups.update((name, {"state": "CREATED"}) for name in granted)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for iteration in range(3):
            callback.on_step_end(iteration, [SimpleNamespace(status=status)])
    said = [str(each.message) for each in caught]
    assert len(said) == warned
    assert all("each needs 1 CPU, and 0.5 CPU and 0 GPU of the cluster are free" in line for line in said)


def test_nothing_of_a_finished_trial_s_statistics_stays_with_the_driver(tmp_path) -> None:
    from ray.tune.experiment import Trial

    from raysubset.report.records import RecordWriter
    from raysubset.tuning.progress import Silent
    from raysubset.tuning.recorder import Recorder

    trial = Trial("made_up", config={"trial": "0000", "point": {}}, stub=True)
    trial.update_last_result({f"measure {i}": float(i) for i in range(20)} | {"training_iteration": 1})
    full = len(trial.run_metadata.get_json_state())
    assert trial.metric_analysis, "Tune computes them of whatever is reported"
    with RecordWriter(tmp_path / "records.jsonl") as writer:
        Recorder("search", 0, writer, Silent(), 0.0).on_trial_complete(1, [trial], trial)
    assert not trial.metric_analysis
    assert not trial.metric_n_steps
    assert len(trial.run_metadata.get_json_state()) < full / 4
    assert trial.last_result["measure 7"] == 7.0


def test_a_report_is_kept_under_the_name_it_was_trained_under(tmp_path) -> None:
    """Ray's PBT gives a trial another's configuration, name and all, before callbacks hear of the report."""
    from raysubset.report.records import RecordWriter, read_records
    from raysubset.tuning.progress import Silent
    from raysubset.tuning.recorder import Recorder

    trial = SimpleNamespace(config={"trial": "0001", "point": {"lr": 0.9}})
    told = {name: value for name, value in asdict(record("-", 3)).items() if name not in ("trial", "config")}
    with RecordWriter(tmp_path / "records.jsonl") as writer:
        recorder = Recorder("search", 0, writer, Silent(), 0.0, budget_spent=lambda: True)
        recorder.on_trial_result(3, [], trial, {**told, "config": {"trial": "0000", "point": {"lr": 0.1}}})
        recorder.on_trial_result(3, [], trial, {**told, "done": True})
    first, second = read_records(tmp_path / "records.jsonl").rows
    assert (first.trial, first.config, first.status) == ("0000", {"lr": 0.1}, "running")
    assert (second.trial, second.config, second.status) == ("0001", {"lr": 0.9}, "stopped")
    assert second.reason == "the budget is spent"


def test_a_trial_begins_when_it_is_needed_not_when_tune_names_it(monkeypatch, tmp_path) -> None:
    from raysubset.tuning import trainable

    done: list[tuple[str, ...]] = []

    class Noted:
        def become(self, config) -> None:
            done.append(("become", config["trial"]))

        def step(self) -> dict:
            done.append(("step",))
            return {"done": False, "status": "running"}

        def restore(self, state) -> None:
            done.append(("restore",))

        def close(self) -> None:
            done.append(("close",))

    monkeypatch.setattr(trainable, "_runner", lambda setting: Noted())
    monkeypatch.setattr(trainable, "load_checkpoint", lambda path: {})
    one = trainable.SubsetTrainable.__new__(trainable.SubsetTrainable)
    one.setup({"trial": "a"}, setting=SimpleNamespace(checkpoint_every_s=60.0))
    one.reset_config({"trial": "b"})  # another process was faster: "a" never ran here
    assert done == []
    one.step()
    one.step()
    one.reset_config({"trial": "c"})
    one.load_checkpoint(str(tmp_path))
    one.step()
    one.reset_config({"trial": "d"})
    one.cleanup()
    assert done == [
        *(("become", "b"), ("step",), ("step",)),
        *(("become", "c"), ("restore",), ("step",)),
        ("close",),
    ]
