"""The parts of tuning that need no cluster."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from raysubset.errors import SearchSpaceError, UnknownNameError
from raysubset.hpo.budget import SampleLedger
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.space import Choice, Integer, Uniform, choice, integer, loguniform, uniform
from raysubset.tuning.progress import StageView, duration
from raysubset.tuning.ranking import rank_trials
from raysubset.types import TrialRecord

RUNGS = Rungs((100.0, 300.0, 900.0), (1, 3, 9))
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


def test_random_search_does_not_depend_on_what_ran_before(tmp_path) -> None:
    from raysubset.tuning.searchers import RandomSearch

    first = RandomSearch(SPACE, seed=3)
    drawn = [first.suggest(f"t{i}") for i in range(5)]
    again = RandomSearch(SPACE, seed=3)
    begun = [again.suggest("x"), again.suggest("y")]
    again.save(str(tmp_path / "state"))
    resumed = RandomSearch(SPACE, seed=3)
    resumed.restore(str(tmp_path / "state"))
    assert begun + [resumed.suggest("z") for _ in range(3)] == drawn
    assert len({point["lr"] for point in drawn}) == 5


def admission(budget: float, trials: int = 10, concurrency: int = 2):
    from raysubset.tuning.searchers import Admission, RandomSearch

    return Admission(
        RandomSearch(SPACE, 0), trials=trials, concurrency=concurrency, ledger=SampleLedger(budget), rungs=RUNGS
    )


def test_admission_keeps_to_concurrency_and_numbers_trials() -> None:
    search = admission(budget=1e9, trials=3)
    assert [search.suggest(t)["trial"] for t in ("a", "b")] == ["0000", "0001"]
    assert search.suggest("c") is None
    search.on_trial_complete("a", {"samples_consumed": 100, "score": 1.0})
    assert search.suggest("c")["trial"] == "0002"
    search.on_trial_complete("b", {"samples_consumed": 100, "score": 1.0})
    assert search.suggest("d") == "FINISHED"


def test_admission_stops_when_the_budget_is_spent_or_promised() -> None:
    search = admission(budget=150)
    assert search.suggest("a")["trial"] == "0000"  # promises 100 samples, to its first rung
    assert search.suggest("b")["trial"] == "0001"
    search.on_trial_complete("b", {"samples_consumed": 60, "score": 1.0})
    assert search.suggest("c") is None  # 60 spent + 100 promised
    search.on_trial_result("a", {"samples_consumed": 100, "score": 1.0})
    assert search.ledger.committed == {"a": 200.0}
    search.on_trial_complete("a", {"samples_consumed": 100, "score": 1.0})
    assert search.suggest("c") == "FINISHED"
    assert search.ledger.total == 160


def test_admission_comes_back_as_it_was(tmp_path) -> None:
    search = admission(budget=1e9)
    search.suggest("a")
    search.on_trial_result("a", {"samples_consumed": 100, "score": 1.0})
    search.save(str(tmp_path / "state"))
    expected = search.suggest("b")
    resumed = admission(budget=1e9)
    resumed.restore(str(tmp_path / "state"))
    assert resumed.suggest("b") == expected
    assert resumed.suggest("c") is None
    assert resumed.ledger.spent == search.ledger.spent


@pytest.mark.slow
def test_tpe_is_repeatable_learns_and_survives_failed_trials() -> None:
    from raysubset.tuning.searchers import make_searcher

    def distances(seed: int) -> list[float]:
        searcher = make_searcher("tpe", SPACE, seed, trials=40)
        drawn = []
        for i in range(40):
            drawn.append(abs(math.log(searcher.suggest(f"t{i}")["lr"] / 0.02)))
            score = float("inf") if i % 5 == 0 else drawn[-1]
            searcher.on_trial_complete(f"t{i}", {"score": score, "samples_consumed": 1})
        return drawn

    runs = [distances(seed) for seed in range(4)]
    assert distances(0) == runs[0] != runs[1]
    assert np.median([run[25:] for run in runs]) < np.median([run[:13] for run in runs])


def test_an_unknown_searcher_is_named() -> None:
    from raysubset.tuning.searchers import make_searcher

    with pytest.raises(UnknownNameError, match="Known: random, tpe"):
        make_searcher("grid", SPACE, 0, 10)


def judge(scheduler, trial: str, samples: int, score: float) -> str:
    tuned = SimpleNamespace(config={"trial": trial})
    rung = RUNGS.reached(samples)
    result = {"rung": rung if rung >= 0 else None, "samples_consumed": samples, "score": score}
    return scheduler.on_trial_result(None, tuned, result)


def test_the_scheduler_goes_on_from_its_own_file(tmp_path) -> None:
    from raysubset.tuning.scheduler import SampleHalving

    file = tmp_path / "halving.json"
    scheduler = SampleHalving(RUNGS, 3, file)
    assert judge(scheduler, "a", 120, 0.5) == "CONTINUE"
    assert judge(scheduler, "b", 100, 0.9) == "STOP"
    assert judge(scheduler, "c", 50, 99.0) == "CONTINUE"  # before the first rung
    assert judge(scheduler, "d", 100, float("inf")) == "STOP"
    resumed = SampleHalving(RUNGS, 3, file)
    assert resumed.core.losses == scheduler.core.losses
    assert judge(resumed, "e", 100, 0.8) == "STOP"
    assert judge(resumed, "f", 100, 0.4) == "CONTINUE"
    assert json.loads(file.read_text())["losses"][0]["d"] is None


def test_the_scheduler_takes_back_what_a_trial_does_again(tmp_path) -> None:
    from raysubset.tuning.scheduler import SampleHalving

    def added(trial: str, saved_at: int | None, finished: bool = False) -> SimpleNamespace:
        saved = None if saved_at is None else SimpleNamespace(metrics={"samples_consumed": saved_at})
        return SimpleNamespace(
            config={"trial": trial}, latest_checkpoint_result=saved, is_finished=lambda: finished
        )

    scheduler = SampleHalving(RUNGS, 3, tmp_path / "halving.json")
    for trial in ("done", "begun", "lost"):
        judge(scheduler, trial, 100, 0.5)
        judge(scheduler, trial, 300, 0.4)
    scheduler.on_trial_add(None, added("done", None, finished=True))
    scheduler.on_trial_add(None, added("begun", 120))
    scheduler.on_trial_add(None, added("lost", None))
    assert [sorted(judged) for judged in scheduler.core.losses] == [["begun", "done"], ["done"], []]


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
