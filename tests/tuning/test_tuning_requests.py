"""A driver shows that it lives and does what it is asked, in the run's folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.tune.experiment import Trial

import raysubset as rs
from raysubset.errors import InterruptedRunError, StorageError
from raysubset.hpo.promotion import PromotionHalving
from raysubset.hpo.proposer import RandomProposer
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.search import Search
from raysubset.hpo.space import loguniform
from raysubset.report.driver import DRIVER_FILE, Driver, StagePlan, note_stage, presence
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.report.requests import STOP_RUN, STOPPED_BY_REQUEST, StopRequest, ask, asked
from raysubset.tuning import attendance
from raysubset.tuning.attendance import StopRequests, attended, heeding
from raysubset.tuning.faults import StageStopped, stopping
from raysubset.tuning.jobs import Jobs


class FakeTrial(SimpleNamespace):
    """As much of Tune's trial as a request touches."""

    def __init__(self, name: str, status: str = Trial.RUNNING) -> None:
        super().__init__(config={"trial": name}, status=status, stopping_criterion={})

    def is_finished(self) -> bool:
        return self.status in (Trial.TERMINATED, Trial.ERROR)


@pytest.fixture
def given_up() -> list[str]:
    return []


def look(requests: StopRequests, *trials: FakeTrial) -> None:
    requests._next_look = 0.0
    requests.on_step_end(0, list(trials))


# ---------------------------------------------------------------------- signs of life


def test_a_driver_gives_signs_until_it_ends(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(attendance, "BEAT_EVERY_S", 0.02)
    ask(tmp_path, STOP_RUN)
    with attended(tmp_path):
        assert asked(tmp_path) == frozenset(), "what was asked of the driver before is void"
        driver = Driver.read(tmp_path)
        assert (driver.pid, driver.ended) == (os.getpid(), "")
        assert presence(tmp_path, driver) == "running"
        note_stage(tmp_path, "search", StagePlan(3, 100.0))
        os.utime(tmp_path / DRIVER_FILE, (0, 0))
        until = time.monotonic() + 20
        while (tmp_path / DRIVER_FILE).stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert presence(tmp_path, driver) == "running", "it is touched"
        ask(tmp_path, StopRequest("search", "a"))
    ended = Driver.read(tmp_path)
    assert presence(tmp_path, ended) == "ended"
    assert asked(tmp_path) == frozenset()
    fails = pytest.raises(ZeroDivisionError)
    with fails, attended(tmp_path):
        _ = 1 / len(asked(tmp_path))
    ended = Driver.read(tmp_path)
    assert ended.ended
    assert ended.stages == {"search": StagePlan(3, 100.0)}, "of the session before"


def test_a_folder_that_cannot_be_written_is_said(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError), attended(tmp_path / "file"):
        pytest.fail("nothing may begin")


# ---------------------------------------------------------------------- requests


def test_a_trial_that_is_asked_to_end_ends_with_its_next_report(tmp_path, given_up) -> None:
    requests = StopRequests(tmp_path, "search", given_up.append)
    a, b = FakeTrial("a"), FakeTrial("b")
    ask(tmp_path, StopRequest("search", "a"))
    look(requests, a, b)
    look(requests, a, b)
    assert given_up == ["a"], "once"
    assert (a.stopping_criterion, b.stopping_criterion) == ({"training_iteration": 0}, {})
    assert requests.trials == {"a"}
    assert asked(tmp_path) == {StopRequest("search", "a")}, "it stands until it is done"
    a.status = Trial.TERMINATED
    look(requests, a, b)
    assert asked(tmp_path) == frozenset()


@pytest.mark.parametrize("request_", [StopRequest("retrain", "a"), StopRequest("search", "nobody")])
def test_what_is_not_of_this_stage_is_done_with(tmp_path, given_up, request_) -> None:
    ask(tmp_path, request_)
    look(StopRequests(tmp_path, "search", given_up.append), FakeTrial("a"))
    assert (given_up, asked(tmp_path)) == ([], frozenset())


def test_where_all_trials_are_needed_none_can_be_ended_alone(tmp_path) -> None:
    trial, requests = FakeTrial("a"), StopRequests(tmp_path, "search")
    ask(tmp_path, StopRequest("search", "a"))
    look(requests, trial)
    assert (trial.stopping_criterion, requests.trials, asked(tmp_path)) == ({}, set(), frozenset())


def test_a_run_that_is_asked_to_end_stops_as_a_fault_would(tmp_path) -> None:
    ask(tmp_path, STOP_RUN)
    with pytest.raises(StageStopped, match=STOPPED_BY_REQUEST) as caught:
        look(StopRequests(tmp_path, "search"), FakeTrial("a"))
    assert str(stopping(caught.value)) == STOPPED_BY_REQUEST
    assert asked(tmp_path) == frozenset()


def test_the_folder_is_looked_at_now_and_then(tmp_path, monkeypatch) -> None:
    looks = []
    monkeypatch.setattr(attendance, "asked", lambda folder: looks.append(folder) or frozenset())
    requests = StopRequests(tmp_path, "search")
    for _ in range(1000):
        requests.on_step_end(0, [])
    assert 1 <= len(looks) < 100  # 1,000 steps of no work last far less than 50 s


def test_a_paused_trial_that_is_given_up_is_ended_at_once() -> None:
    events: list = []
    rungs, space = Rungs((100.0, 300.0), (1, 3)), {"lr": loguniform(1e-3, 1e-1)}
    search = Search(
        rungs, PromotionHalving(2, 3), RandomProposer(space, 0), trials=9, concurrency=2, journal=events.append
    )
    jobs = Jobs(search, lambda: 1.0)
    trials = [FakeTrial(jobs.next_config()["trial"], Trial.PENDING) for _ in range(2)]
    for trial in trials:
        jobs.added(trial)
    report = {"samples_consumed": 100, "epoch": 1, "score": 0.5, "rung": 0, "status": "running"}
    jobs.heard("0000", report)
    trials[0].status, trials[1].status = Trial.PAUSED, Trial.RUNNING
    assert jobs.losers() == []
    jobs.give_up("0000")
    jobs.give_up("0001")
    assert jobs.losers() == [trials[0]], "one that runs ends with its report"
    search.end("0000")
    jobs.ended("0001", {**report, "score": 0.1})
    again = Search(rungs, PromotionHalving(2, 3), RandomProposer(space, 0), trials=9, concurrency=2)
    again.replay(events)
    assert (again.running, again.paused) == ({}, {}), "a search that is resumed knows that they ended"
    assert again.history.points.keys() == {"0000", "0001"}
    assert not again.history.failed


def test_the_judging_of_candidates_stops_between_two(tmp_path) -> None:
    judged = iter(heeding(lambda cells: iter(cells), tmp_path)(["a", "b", "c"]))
    assert next(judged) == "a"
    ask(tmp_path, STOP_RUN)
    with pytest.raises(InterruptedRunError, match=STOPPED_BY_REQUEST):
        next(judged)
    again = heeding(lambda cells: iter(cells), tmp_path)(["b"])
    assert next(iter(again)) == "b", "a judgement that is there is handed on, to be kept, before the end"


# ---------------------------------------------------------------------- a real search

SEARCH = """
import sys, raysubset as rs
data = rs.load_dataset("embedded", limit=600)
rs.tune(model="mlp", data=data, space={"lr": rs.loguniform(1e-3, 1e-1)}, plan=rs.SubsetPlan(ratio=0.2),
        recipe=rs.Recipe(epochs=60, batch_size=16, lr=0.05), trials=24, name="s", root=sys.argv[1], progress=False,
        concurrency=2, search="random", scheduler=sys.argv[2], resume=len(sys.argv) > 3)
"""


def start(root: Path, scheduler: str, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SEARCH, str(root), scheduler, *more], stderr=subprocess.PIPE, text=True
    )


def until(happened, process: subprocess.Popen[str], seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.stderr.read()[-2000:]
        assert time.monotonic() < end
        time.sleep(0.1)


def last_rows(root: Path) -> dict[str, rs.types.TrialRecord]:
    path = root / "s" / RECORDS_FILE
    return {row.trial: row for row in read_records(path).stage("search")} if path.exists() else {}


def end_one(root: Path, process: subprocess.Popen[str]) -> rs.types.TrialRecord:
    """Ask for trials to end until one does so for that reason; the scheduler may have been faster with others."""
    for name in ("0001", "0002", "0003", "0004"):
        until(lambda name=name: name in last_rows(root), process)
        ask(root / "s", StopRequest("search", name))
        until(lambda: asked(root / "s") == frozenset(), process)
        if (ended := last_rows(root)[name]).reason == STOPPED_BY_REQUEST:
            assert ended.status == "stopped"
            return ended
    pytest.fail("no trial was ended by request")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["none", "asha-promote"])
def test_a_search_ends_a_trial_then_itself_and_goes_on_without_that_trial(tmp_path, scheduler) -> None:
    process = start(tmp_path, scheduler)
    try:
        ended = end_one(tmp_path, process)
        until(lambda: asked(tmp_path / "s") == frozenset(), process)
        ask(tmp_path / "s", STOP_RUN)
        _, said = process.communicate(timeout=400)
        assert process.returncode == 1
        assert "InterruptedRunError: Run 's' was interrupted in stage 'search': stopped by request." in said
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert Driver.read(tmp_path / "s").ended
    before = last_rows(tmp_path)
    assert any(row.status == "running" for row in before.values()) or len(before) < 24, "there is something to do"
    process = start(tmp_path, scheduler, "resume")
    _, said = process.communicate(timeout=900)
    assert process.returncode == 0, said[-2000:]
    rows = read_records(tmp_path / "s" / RECORDS_FILE).stage("search")
    assert max(row.epoch for row in rows if row.trial == ended.trial) == ended.epoch, "it was not trained on"
    after = last_rows(tmp_path)
    assert after[ended.trial].reason == STOPPED_BY_REQUEST
    assert len(after) == 24
    assert all(row.status in ("done", "stopped") for row in after.values())
    assert any(row.status == "done" for row in after.values())
