"""Jobs and journal: one search between Tune's searcher and its scheduler, before and after a crash."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from raysubset.errors import OptionsError, SchedulerError
from raysubset.hpo.budget import Ledger
from raysubset.hpo.halving import StoppingHalving
from raysubset.hpo.promotion import PromotionHalving
from raysubset.hpo.proposer import RandomProposer
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.scheduler import Verdict
from raysubset.hpo.search import Search
from raysubset.hpo.space import loguniform
from raysubset.tuning.faults import Faults
from raysubset.tuning.jobs import Jobs
from raysubset.tuning.journal import Journal
from raysubset.tuning.scheduler import SearchScheduler
from raysubset.tuning.searchers import SearchSource, TuneProposer

RUNGS = Rungs((100.0, 300.0, 900.0), (1, 3, 9))
SPACE = {"lr": loguniform(1e-3, 1e-1)}


def new_search(scheduler=None, events=None, proposer=None, **options) -> tuple[Search, list]:
    journal: list = []
    search = Search(
        RUNGS,
        scheduler or PromotionHalving(3, 3),
        proposer or RandomProposer(SPACE, 0),
        **{"trials": 9, "concurrency": 2, "journal": journal.append, **options},
    )
    search.replay(events or [])
    return search, journal


def new_jobs(search: Search, **options) -> Jobs:
    return Jobs(search, lambda: 1.0, **options)


class FakeTrial(SimpleNamespace):
    """As much of Tune's trial as the adapters touch."""

    def __init__(self, config: dict, status: str = Trial.PENDING, saved_at: int | None = None) -> None:
        saved = None if saved_at is None else SimpleNamespace(metrics={"samples_consumed": saved_at})
        super().__init__(config=config, status=status, latest_checkpoint_result=saved)

    def is_finished(self) -> bool:
        return self.status in (Trial.TERMINATED, Trial.ERROR)

    def set_status(self, status: str) -> None:
        self.status = status


def added(jobs: Jobs, **options) -> FakeTrial:
    trial = FakeTrial(jobs.next_config(), **options)
    jobs.added(trial)
    return trial


def result(samples: int, score: float, status: str = "running") -> dict:
    rung = RUNGS.reached(samples)
    return {
        "samples_consumed": samples,
        "epoch": 0,
        "score": score,
        "rung": rung if rung >= 0 else None,
        "status": status,
    }


def test_trials_are_numbered_and_kept_to_the_concurrency() -> None:
    search, _ = new_search(StoppingHalving(3, 3), trials=3)
    jobs = new_jobs(search)
    trials = [added(jobs), added(jobs)]
    assert [trial.config["trial"] for trial in trials] == ["0000", "0001"]
    assert jobs.next_config() is None
    assert jobs.heard("0000", result(900, 0.1)) is Verdict.STOP
    assert added(jobs).config["trial"] == "0002"
    jobs.ended("0001", result(60, 0.5, "failed"))
    jobs.ended("0002", result(60, 0.5, "failed"))
    assert jobs.next_config() == Searcher.FINISHED
    assert search.finished


def test_a_paused_trial_is_promoted_before_a_new_one_starts() -> None:
    search, _ = new_search()
    jobs = new_jobs(search)
    first, second = added(jobs), added(jobs)
    assert jobs.heard("0000", result(100, 0.3)) is Verdict.PAUSE
    first.status = Trial.PAUSED
    added(jobs)
    assert jobs.heard("0001", result(100, 0.5)) is Verdict.PAUSE
    second.status = Trial.PAUSED
    assert jobs.next_to_resume() is None
    added(jobs)
    assert jobs.heard("0002", result(100, 0.9)) is Verdict.PAUSE
    assert jobs.next_config() is None, "0000 comes first"
    assert jobs.next_to_resume() is first
    assert jobs.next_to_resume() is first, "until it runs"
    first.status = Trial.RUNNING
    assert jobs.next_to_resume() is None
    assert jobs.heard("0000", result(200, 0.3)) is Verdict.CONTINUE


def test_a_trial_that_would_be_resumed_at_once_just_goes_on() -> None:
    search, journal = new_search(PromotionHalving(3, 2), concurrency=1)
    jobs = new_jobs(search)
    added(jobs)
    jobs.heard("0000", result(100, 0.9))
    added(jobs)
    assert jobs.heard("0001", result(100, 0.1)) is Verdict.CONTINUE
    assert [event["event"] for event in journal] == ["start", "report", "start", "report", "promote"]


def test_reports_must_say_what_is_judged() -> None:
    jobs = new_jobs(new_search()[0])
    added(jobs)
    with pytest.raises(SchedulerError, match=r"lacks score, rung, epoch; it has lr, samples_consumed"):
        jobs.heard("0000", {"samples_consumed": 5, "lr": 0.1})


def crashed(events: list, **options) -> Jobs:
    """The jobs of a new driver, from the journal of the one that was killed."""
    return new_jobs(new_search(events=json.loads(json.dumps(events)))[0], **options)


@pytest.fixture
def events() -> list:
    """0000 is on its way to the second rung, 0001 and 0002 are paused, 0003 is new."""
    search, journal = new_search()
    jobs = new_jobs(search)
    for name, score in (("0000", 0.1), ("0001", 0.5), ("0002", 0.9)):
        added(jobs)
        jobs.heard(name, result(100, score))
    assert search.running == {"0000": 1} or jobs.next_to_resume() is None
    added(jobs)
    assert sorted(search.running) == ["0000", "0003"]
    return journal


def test_what_tune_forgot_is_issued_again_under_its_name(events) -> None:
    jobs = crashed(events)
    names = []
    for _ in range(2):
        names.append(added(jobs).config["trial"])
    assert sorted(names) == ["0000", "0003"]
    assert jobs.next_config() is None, "both workers are busy"
    points = {event["trial"]: event["point"] for event in events if event["event"] == "start"}
    assert jobs.search.history.points == points
    jobs.ended("0000", result(900, 0.1))
    assert added(jobs).config["trial"] in ("0001", "0002"), "paused without a checkpoint: trained again"


def test_restored_trials_stand_where_their_checkpoints_do(events) -> None:
    jobs = crashed(events)
    promoted = FakeTrial({"trial": "0000", "point": {}}, saved_at=100)
    paused = FakeTrial({"trial": "0001", "point": {}}, saved_at=100)
    without = FakeTrial({"trial": "0002", "point": {}})
    new = FakeTrial({"trial": "0003", "point": {}})
    for trial in (promoted, paused, without, new):
        jobs.added(trial)
    assert promoted.status == Trial.PENDING
    assert paused.status == Trial.PAUSED, "Tune made it pending"
    assert without.status == Trial.PENDING
    assert jobs.search.running == {"0000": 1, "0002": 0, "0003": 0}
    assert jobs.search.history.losses[0] == {"0000": 0.1, "0001": 0.5}
    assert jobs.next_config() is None


def test_a_trial_that_ended_is_not_run_again_unless_its_model_is_wanted(events) -> None:
    ended = [*events, {"event": "end", "trial": "0003", "samples": 50, "failed": False}]
    for keeps_models, status in ((False, Trial.TERMINATED), (True, Trial.PENDING)):
        jobs = crashed(ended, keeps_models=keeps_models)
        trial = FakeTrial({"trial": "0003", "point": {}})
        jobs.added(trial)
        assert trial.status == status
        assert ("0003" in jobs.search.running) == keeps_models


def test_a_model_that_ended_between_two_snapshots_is_trained_again(events) -> None:
    ended = [*events, *({"event": "end", "trial": f"000{n}", "samples": 900, "failed": False} for n in range(4))]
    jobs = crashed(ended, keeps_models=True)
    jobs.restored(["0000", "0002", "0003"])
    assert jobs.next_config()["trial"] == "0001"
    assert "0001" in jobs.search.running
    assert crashed(ended).search.running == {}


def test_a_trial_whose_process_died_goes_back_to_its_checkpoint() -> None:
    search, _ = new_search(StoppingHalving(3, 3))
    jobs = new_jobs(search)
    trial = added(jobs)
    jobs.heard("0000", result(100, 0.5))
    jobs.heard("0000", result(300, 0.3))
    trial.latest_checkpoint_result = SimpleNamespace(metrics={"samples_consumed": 120})
    jobs.added(trial)
    assert search.running == {"0000": 1}
    assert search.history.losses == [{"0000": 0.5}, {}, {}]
    assert jobs.heard("0000", result(300, 0.3)) is Verdict.CONTINUE
    assert search.history.losses == [{"0000": 0.5}, {"0000": 0.3}, {}]


def test_a_trial_of_another_search_is_refused() -> None:
    with pytest.raises(SchedulerError, match="not to this search's journal"):
        new_jobs(new_search()[0]).added(FakeTrial({"trial": "0042", "point": {}}))


def test_the_scheduler_ends_the_losers_when_the_search_is_over() -> None:
    search, _ = new_search(trials=2)
    jobs = new_jobs(search)
    scheduler, stopped = SearchScheduler(jobs, Faults()), []
    trials = [added(jobs), added(jobs)]
    controller = SimpleNamespace(get_trials=lambda: trials, stop_trial=stopped.append)
    assert scheduler.choose_trial_to_run(controller) is trials[0]
    for trial, score in zip(trials, (0.1, 0.2), strict=True):
        trial.status = Trial.PAUSED
        assert scheduler.on_trial_result(controller, trial, result(100, score)) == "PAUSE"
    assert scheduler.choose_trial_to_run(controller) is None
    assert stopped == trials, "2 < eta: nobody is promoted"


class Foreign(Searcher):
    """A Tune searcher that lets one trial run at a time and remembers what it hears."""

    def __init__(self) -> None:
        super().__init__(metric="score", mode="min")
        self.asked, self.busy, self.heard = 0, False, []

    def suggest(self, trial_id: str):
        if self.asked == 2:
            return Searcher.FINISHED
        if self.busy:
            return None
        self.busy, self.asked = True, self.asked + 1
        return {"lr": self.asked / 10}

    def on_trial_complete(self, trial_id, result=None, error=False) -> None:
        self.busy = False
        self.heard.append((trial_id, result["score"]))

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text(str(self.asked))

    def restore(self, checkpoint_path: str) -> None:
        self.asked = int(Path(checkpoint_path).read_text())


def test_a_searcher_of_tune_proposes_hears_and_is_saved(tmp_path) -> None:
    foreign = Foreign()
    search, _ = new_search(StoppingHalving(3, 3), proposer=TuneProposer(foreign))
    source = SearchSource(new_jobs(search), hears=True)
    assert source.suggest("a") == {"trial": "0000", "point": {"lr": 0.1}}
    assert source.suggest("b") is None, "it asked to wait"
    source.on_trial_result("a", result(100, 0.5))
    source.on_trial_complete("a", result(120, 0.5))
    assert foreign.heard == [("0000", 0.5)]
    assert search.history.losses[0] == {"0000": 0.5}
    source.save(str(tmp_path / "state"))
    again = Foreign()
    resumed = SearchSource(new_jobs(new_search(proposer=TuneProposer(again))[0]))
    resumed.restore(str(tmp_path / "state"))
    assert again.asked == 1
    assert source.suggest("b") == {"trial": "0001", "point": {"lr": 0.2}}
    source.on_trial_complete("b", result(120, 0.4))
    assert source.suggest("c") == Searcher.FINISHED


def test_a_lost_trial_counts_as_failed() -> None:
    search, _ = new_search(StoppingHalving(3, 3))
    source = SearchSource(new_jobs(search))
    source.suggest("a")
    source.on_trial_complete("a", None, error=True)
    assert search.running == {}
    assert search.history.losses[0] == {"0000": float("inf")}


def test_a_searcher_that_waits_for_trials_that_all_wait_ends_the_search() -> None:
    foreign = Foreign()
    search, _ = new_search(PromotionHalving(3, 3), proposer=TuneProposer(foreign))
    jobs = new_jobs(search)
    source = SearchSource(jobs)
    trial = FakeTrial(source.suggest("a"), status=Trial.RUNNING)
    jobs.added(trial)
    assert jobs.heard("0000", result(100, 0.5)) is Verdict.PAUSE
    assert source.suggest("b") is None
    assert not search.closed, "Tune has not paused it yet: it is being saved"
    trial.status = Trial.PAUSED
    assert source.suggest("b") is None
    assert search.finished
    assert source.suggest("b") == Searcher.FINISHED
    assert jobs.losers() == [trial]


class Forgetful(Foreign):
    """It knows the trials that it proposed, and no others; it counts places."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[str, str] = {}

    def suggest(self, trial_id: str):
        self.live[trial_id] = "runs"
        return {"lr": 0.1}

    def on_trial_result(self, trial_id, result) -> None:
        assert self.live[trial_id] == "runs"

    def on_trial_complete(self, trial_id, result=None, error=False) -> None:
        self.live[trial_id] = f"ended, error={error}"

    def on_pause(self, trial_id) -> None:
        self.live[trial_id] = "paused"

    def on_unpause(self, trial_id) -> None:
        self.live[trial_id] = "runs"

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_text(json.dumps(self.live))

    def restore(self, checkpoint_path: str) -> None:
        self.live = json.loads(Path(checkpoint_path).read_text())


def test_a_searcher_hears_only_of_trials_that_it_remembers(tmp_path) -> None:
    search, events = new_search(StoppingHalving(3, 3), proposer=TuneProposer(Forgetful()))
    source = SearchSource(new_jobs(search), hears=True)
    source.suggest("a")
    source.save(str(tmp_path / "snapshot"))
    source.suggest("b")
    again = Forgetful()
    resumed, _ = new_search(StoppingHalving(3, 3), events, proposer=TuneProposer(again))
    source = SearchSource(new_jobs(resumed), hears=True)
    source.restore(str(tmp_path / "snapshot"))
    assert source.suggest("c") == {"trial": "0001", "point": {"lr": 0.1}}, "given out again under its name"
    assert again.live == {"0000": "runs"}
    for trial in ("a", "c"):
        source.on_trial_result(trial, result(60, 0.5))
        source.on_pause(trial)
    assert again.live == {"0000": "paused"}
    source.on_unpause("a")
    assert again.live == {"0000": "runs"}
    source.on_trial_complete("c", result(60, 0.5))
    source.on_trial_complete("a", result(80, float("inf"), "failed"))
    assert again.live == {"0000": "ended, error=True"}


def test_a_trial_that_a_foreign_scheduler_ends_while_it_waits_has_not_failed() -> None:
    search, _ = new_search(StoppingHalving(3, 3))
    source = SearchSource(new_jobs(search), hears=True)
    source.suggest("a")
    source.on_trial_result("a", result(60, 0.5))
    source.on_trial_complete("a", None)
    assert search.running == {}
    assert search.ledger.spent == {"0000": 60}
    assert not search.history.failed
    assert search.history.losses[0] == {}


def test_the_journal_keeps_events_and_drops_a_line_cut_short(tmp_path) -> None:
    file, heading = tmp_path / "j.jsonl", {"trials": 3, "levels": (1.0, 2.0)}
    journal = Journal(file, heading)
    journal.append({"event": "close"})
    journal.close()
    with file.open("ab") as tail:
        tail.write(b'{"event": "st')
    again = Journal(file, heading)
    assert again.events == [{"event": "close"}]
    again.append({"event": "promote", "trial": "0000"})
    again.close()
    third = Journal(file, heading)
    third.close()
    assert third.events == [{"event": "close"}, {"event": "promote", "trial": "0000"}]


def test_the_journal_of_another_search_is_refused(tmp_path) -> None:
    Journal(tmp_path / "j", {"seed": 0, "eta": 3}).close()
    with pytest.raises(OptionsError, match=r"seed was 0, is 1$|seed was 0, is 1\."):
        Journal(tmp_path / "j", {"seed": 1, "eta": 3})


def test_a_budget_in_seconds_ends_trials() -> None:
    search, _ = new_search(StoppingHalving(3, 3), ledger=Ledger(seconds=5.0))
    now = [1.0]
    jobs = Jobs(search, lambda: now[0])
    added(jobs)
    assert jobs.heard("0000", result(100, 0.5)) is Verdict.CONTINUE
    now[0] = 6.0
    assert jobs.heard("0000", result(200, 0.5)) is Verdict.STOP
    assert jobs.next_config() in (None, Searcher.FINISHED)
    assert search.finished
