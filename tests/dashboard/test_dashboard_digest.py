"""The digest of a growing run against what the whole files say, read by code of another make."""

from __future__ import annotations

import itertools
import json
import math
import socket
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report.synthetic import record, run_info, search_records
from watched import PLANS, add, begun, dead_pid, journal, silence

from raysubset.dashboard.board import Board
from raysubset.dashboard.find import find_runs
from raysubset.dashboard.follow import Follower
from raysubset.dashboard.run import RunDigest
from raysubset.dashboard.stage import PAUSING
from raysubset.errors import OptionsError, StorageError, UnknownNameError
from raysubset.hpo.catalog import make_scheduler
from raysubset.hpo.proposer import RandomProposer
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.search import Search
from raysubset.hpo.space import loguniform
from raysubset.report.driver import DRIVER_FILE, Driver, note_stage, presence
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.report.requests import STOP_RUN, StopRequest, ask, asked, clear
from raysubset.report.run_info import Result
from raysubset.report.trials import outcomes, rung_counts

SPACE = {"lr": loguniform(1e-3, 1e-1)}


# ---------------------------------------------------------------------- the follower


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"x", b"\n")), max_size=12))
def test_every_whole_line_is_read_once_however_the_writes_fall(parts, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("follow") / "lines"
    follower, found = Follower(path), []
    for part in parts:
        with path.open("ab") as file:
            file.write(part)
        look = follower.look()
        assert look.first == len(found) + 1
        assert not look.anew
        found += look.lines
    assert found == (b"".join(parts).split(b"\n"))[:-1]


@pytest.mark.parametrize("how", ["cut", "replaced", "removed"])
def test_another_file_in_its_place_is_read_from_the_beginning(how, tmp_path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n")
    follower = Follower(path)
    assert follower.look().lines == [b"one", b"two"]
    if how == "cut":
        path.write_bytes(b"new\n")
    elif how == "replaced":
        (tmp_path / "other").write_bytes(b"new\nlonger than before\n")
        (tmp_path / "other").replace(path)
    else:
        path.unlink()
        assert follower.look().anew
        path.write_bytes(b"new\n")
    look = follower.look()
    assert look.anew == (how != "removed")
    assert look.lines[0] == b"new"
    assert look.first == 1


# ---------------------------------------------------------------------- the sums


def incumbents(rows, score: str) -> list[tuple[int, float, str]]:
    """Best so far by brute force: after every report, the best among all at the latest epoch judged so far."""
    found: list[tuple[int, float, str]] = []
    for end in range(1, len(rows) + 1):
        seen = rows[:end]
        judged = [row for row in seen if getattr(row, f"val_{score}") is not None]
        if not judged:
            continue
        top = max(row.epoch for row in judged)
        sign = 1 if score == "loss" else -1
        best = min(
            (row for row in judged if row.epoch == top), key=lambda row: sign * getattr(row, f"val_{score}")
        )
        spent: dict[str, int] = {}
        for row in seen:
            spent[row.trial] = row.samples_consumed
        if not found or found[-1][2] != best.trial or found[-1][1] != getattr(best, f"val_{score}"):
            found.append((sum(spent.values()), getattr(best, f"val_{score}"), best.trial))
    return found


def interleaved(seed: int, trials: int = 10) -> list:
    """A search whose trials report in turns, as they do when several run."""
    rng = np.random.default_rng(seed)
    queues: dict[str, list] = {}
    for row in search_records(trials=trials, seed=seed):
        queues.setdefault(row.trial, []).append(row)
    rows = []
    while queues:
        name = str(rng.choice(sorted(queues)))
        rows.append(queues[name].pop(0))
        if not queues[name]:
            del queues[name]
    fields = [{**json.loads(row.to_json()), "finished_s": float(at)} for at, row in enumerate(rows)]
    return [type(rows[0]).from_json(json.dumps(one)) for one in fields]


@pytest.mark.parametrize("score", ["loss", "accuracy"])
@pytest.mark.parametrize("seed", range(3))
def test_a_digest_of_parts_says_what_the_whole_says(score, seed, tmp_path) -> None:
    folder, rows = begun(tmp_path / "r", score=score), interleaved(seed)
    digest, rng = RunDigest(folder, "0"), np.random.default_rng(seed)
    text = "".join(f"{row.to_json()}\n" for row in rows).encode()
    cuts = [0, *sorted(rng.integers(0, len(text), 30).tolist()), len(text)]
    for version, (start, end) in enumerate(itertools.pairwise(cuts), 1):
        with (folder / RECORDS_FILE).open("ab") as file:
            file.write(text[start:end])
        digest.look(version)
    stage = digest.stages["search"]
    assert [(p.samples, p.score, p.trial) for p in stage.best.changes] == incumbents(rows, score)
    whole = outcomes(read_records(folder / RECORDS_FILE).rows, score)
    assert {
        t.trial: (t.status, t.reports[-1].epoch, t.reports[-1].samples, t.rung) for t in stage.trials.values()
    } == {one.trial: (one.status, one.epochs, one.samples, one.rung) for one in whole}
    assert [t.trial for t in stage.leaders(99)] == [o.trial for o in whole if o.status != "failed" and o.score]
    assert stage.counts == Counter(one.status for one in whole)
    assert stage.select_s == pytest.approx(math.fsum(row.select_s for row in rows), rel=1e-12)  # order of summing
    told = Board([folder]).changes("0")["detail"]
    counted = {one.rung: (one.reached, one.stopped, one.failed) for one in rung_counts(rows, whole)}
    assert {
        one["rung"]: (one["reached"], one["here"].get("stopped", 0), one["here"].get("failed", 0))
        for one in told["rungs"]
    } == counted
    for one in told["choices"]:
        of_epoch = [row for row in rows if row.epoch == one["epoch"]]
        assert one["metrics"] == Counter(row.metric_used for row in of_epoch)
        assert one["ratio"] == pytest.approx(sum(row.ratio for row in of_epoch) / len(of_epoch), rel=1e-12)


def test_epochs_trained_again_after_a_resume_count_once(tmp_path) -> None:
    folder = begun(tmp_path / "r")
    before = [record("a", epoch, val_loss=1.0 / epoch, select_s=1.0, finished_s=epoch) for epoch in (1, 2, 3)]
    again = [record("a", epoch, val_loss=5.0 + epoch, select_s=2.0, finished_s=10 + epoch) for epoch in (2, 3)]
    digest = RunDigest(folder, "0")
    add(folder, before)
    digest.look(1)
    assert digest.stages["search"].best.changes[-1].score == 1 / 3
    add(folder, again)
    digest.look(2)
    stage = digest.stages["search"]
    assert stage.select_s == 1.0 + 2.0 + 2.0
    assert stage.best.total == 300
    assert [p.score for p in stage.best.changes] == [1.0, 7.0, 8.0], "the scores of the later lines"
    assert {epoch: one.trials for epoch, one in stage.choices.items()} == {1: 1, 2: 1, 3: 1}
    add(folder, [record("a", 3, val_loss=8.0, select_s=2.0, finished_s=99, status="stopped", reason="lost")])
    digest.look(3)
    assert digest.stages["search"].select_s == 5.0, "a last word on an epoch is no second epoch"
    assert digest.stages["search"].trials["a"].status == "stopped"


def test_bad_lines_are_named_and_a_line_half_written_waits(tmp_path) -> None:
    folder = begun(tmp_path / "r")
    digest = RunDigest(folder, "0")
    line = record("b", 1).to_json()
    with (folder / RECORDS_FILE).open("a") as file:
        file.write(f"{record('a', 1).to_json()}\n{{bad\n{line[:40]}")
    digest.look(1)
    assert list(digest.stages["search"].trials) == ["a"]
    assert any("records.jsonl, line 2" in words for words in digest.warnings.values())
    assert not digest.look(2), "nothing new"
    with (folder / RECORDS_FILE).open("a") as file:
        file.write(f"{line[40:]}\n")
    assert digest.look(3)
    assert list(digest.stages["search"].trials) == ["a", "b"]
    assert len(digest.warnings) == 1


def test_records_that_are_replaced_are_told_anew(tmp_path) -> None:
    board = Board([begun(tmp_path / "r")])
    add(tmp_path / "r", [record("old", epoch) for epoch in (1, 2)])
    first = board.changes("0")
    (tmp_path / "r" / RECORDS_FILE).write_text(record("new", 1).to_json() + "\n")
    told = board.changes("0", shown="search", boot=first["boot"], since=first["version"])
    assert told["whole"]
    assert [row["trial"] for row in told["detail"]["trials"]] == ["new"]


# ---------------------------------------------------------------------- who waits


@pytest.mark.parametrize("name", ["asha", "asha-promote", "dasha", "halving", "hyperband", "median", "none"])
def test_who_waits_at_a_rung_is_known_from_the_journal(name, tmp_path) -> None:
    rungs = Rungs((100.0, 300.0, 900.0), (1, 3, 9))
    rungs = Rungs(rungs.levels[-1:], rungs.epochs[-1:]) if name == "none" else rungs
    heading = {"search": "random", "scheduler": name, "levels": list(rungs.levels), "epochs": list(rungs.epochs)}
    folder, events = begun(tmp_path / "r"), []
    scheduler = make_scheduler(name, rungs, 3, 0, SPACE)
    search = Search(
        rungs,
        scheduler,
        RandomProposer(SPACE, 0),
        trials=14,
        concurrency=3,
        journal=lambda event: events.append(event),
    )
    digest, rng, done, waited, version = RunDigest(folder, "0"), np.random.default_rng(0), {}, 0, 0
    journal(folder, [heading])
    while not search.finished:
        while search.ask() is not None:
            pass
        trial = str(rng.choice(sorted(search.running)))
        done[trial] = done.get(trial, 0) + 1
        samples = 100 * done[trial]
        rung = rungs.reached(samples, done[trial])
        judged = rung >= 0 and rung > rungs.reached(samples - 100, done[trial] - 1)
        search.report(trial, samples, float(rng.random()) if judged else None, 0.0, done[trial])
        if rung == len(rungs.levels) - 1:
            search.end(trial)
        journal(folder, events)
        events.clear()
        version += 1
        digest.look(version)
        waiting = {one.trial for one in digest.stages["search"].trials.values() if one.status == "waiting"}
        assert waiting == set(search.paused)
        add(
            folder, [record(trial=trial, epoch=done[trial], status="running")]
        )  # the record comes after the journal
        digest.look(version)
        later = {one.trial for one in digest.stages["search"].trials.values() if one.status == "waiting"}
        assert later == set(search.paused)
        waited += bool(waiting)
    assert bool(waited) == (name in PAUSING)


def test_a_trial_is_shown_before_its_first_report(tmp_path) -> None:
    folder = begun(tmp_path / "r")
    journal(folder, [{"event": "start", "trial": "0000", "bracket": 0, "point": {"lr": 0.1}}])
    told = Board([folder]).changes("0")
    assert told["runs"][0]["counts"] == {"total": 1, "running": 1}
    assert told["detail"]["trials"][0]["config"] == {"lr": 0.1}
    assert told["detail"]["trials"][0]["score"] is None


# ---------------------------------------------------------------------- does it run?


def test_a_driver_that_lives_ended_or_died_is_told_apart(tmp_path) -> None:
    folder = tmp_path / "r"
    run_info().write(folder)
    digest = RunDigest(folder, "0")
    digest.look(1)
    assert digest.state == "unknown"
    driver = Driver.here(PLANS)
    driver.write(folder)
    digest.look(2)
    assert digest.state == "running"
    silence(folder, 20)
    digest.look(3)
    assert digest.state == "running", "a process that lives may be late"
    silence(folder, 40)
    assert digest.look(4)
    assert digest.state == "lost"
    Driver(socket.gethostname(), dead_pid(), driver.started).write(folder)
    assert presence(folder, Driver.read(folder)) == "running", "it may be another machine of that name"
    silence(folder, 7)
    assert presence(folder, Driver.read(folder)) == "lost"
    driver.over().write(folder)
    digest.look(5)
    assert digest.state == "interrupted"
    run_info(result=Result({"lr": 0.1}, 0.9, 0.9, 0.1)).write(folder)
    digest.look(6)
    assert digest.state == "finished"


def test_what_a_stage_may_use_is_noted_beside_the_others(tmp_path) -> None:
    note_stage(tmp_path, "search", PLANS["search"])
    assert not (tmp_path / DRIVER_FILE).exists(), "nobody attends this folder"
    Driver.here({}).write(tmp_path)
    note_stage(tmp_path, "search", PLANS["search"])
    note_stage(tmp_path, "retrain", PLANS["search"])
    assert set(Driver.read(tmp_path).stages) == {"search", "retrain"}


def test_requests_are_files_that_stand_until_they_are_done(tmp_path) -> None:
    odd = StopRequest("search", "../../a/b <i>")
    assert asked(tmp_path) == frozenset()
    for _ in range(2):
        ask(tmp_path, odd)
    ask(tmp_path, STOP_RUN)
    (tmp_path / "requests" / "stop,x,y.json").write_text("{half")
    assert asked(tmp_path) == {odd, STOP_RUN}
    assert sorted(path.parent.name for path in tmp_path.rglob("*.json")) == ["requests"] * 3, "nothing elsewhere"
    clear(tmp_path)
    assert asked(tmp_path) == frozenset()


# ---------------------------------------------------------------------- the board


def test_only_changes_are_told(tmp_path) -> None:
    folder = begun(tmp_path / "r")
    add(folder, [record(name, 1) for name in "abc"])
    board = Board([folder, begun(tmp_path / "other", name="other")])
    first = board.changes("0")
    assert first["whole"]
    assert len(first["runs"]) == 2
    again = {"shown": "search", "boot": first["boot"], "since": first["version"]}
    nothing = board.changes("0", **again)
    assert (nothing["runs"], "detail" in nothing, nothing["whole"]) == ([], False, False)
    add(folder, [record("b", 2)])
    told = board.changes("0", **again)
    assert [run["key"] for run in told["runs"]] == ["0"]
    assert [row["trial"] for row in told["detail"]["trials"]] == ["b"]
    assert not told["detail"]["whole"]
    assert board.changes("0", **{**again, "boot": "another"})["whole"], "versions of a server that has ended"
    add(folder, [record("z", 1, stage="retrain")])
    turned = board.changes("0", **again)
    assert turned["detail"]["stage"] == "retrain"
    assert turned["detail"]["whole"], "another stage than the one shown"
    assert turned["runs"][0]["best"]["stage"] == "retrain"


def test_what_cannot_be_stopped_is_refused_with_its_reason(tmp_path) -> None:
    folder = begun(tmp_path / "r")
    add(folder, [record("a", 1), record("b", 1, status="done"), record("c", 1, stage="retrain")])
    board = Board([folder])
    board.stop("0", "search", "a")
    assert asked(folder) == {StopRequest("search", "a")}
    assert board.changes("0", "search")["detail"]["stopping"] == ["a"]
    with pytest.raises(UnknownNameError, match="trial 'nobody'"):
        board.stop("0", "search", "nobody")
    with pytest.raises(UnknownNameError, match="stage 'nothing'"):
        board.stop("0", "nothing", "a")
    with pytest.raises(UnknownNameError, match="run '7'"):
        board.stop("7")
    with pytest.raises(OptionsError, match="has ended already: done"):
        board.stop("0", "search", "b")
    with pytest.raises(OptionsError, match="needs all of its trials"):
        board.stop("0", "retrain", "c")
    Driver.read(folder).over().write(folder)
    with pytest.raises(OptionsError, match="it is interrupted"):
        board.stop("0")
    assert asked(folder) == {StopRequest("search", "a")}


def test_runs_are_found_by_folder_name_and_in_folders(tmp_path) -> None:
    one, two = begun(tmp_path / "one"), begun(tmp_path / "two")
    assert find_runs(["two", str(one), "two"], tmp_path) == [two, one]
    assert find_runs([str(tmp_path)], Path("nowhere")) == [one, two]
    with pytest.raises(UnknownNameError, match="Did you mean 'two'.*one, two"):
        find_runs(["twoo"], tmp_path)
    with pytest.raises(StorageError, match="there is none in"):
        find_runs(["one"], tmp_path / "empty")


def test_a_run_without_a_word_yet_and_one_that_cannot_be_read(tmp_path) -> None:
    folder = begun(tmp_path / "r")
    told = Board([folder]).changes("0")
    assert told["runs"][0]["best"] is None
    assert told["runs"][0]["counts"] == {"total": 0}
    assert "detail" not in told
    (folder / "run.json").write_text("{half")
    (folder / DRIVER_FILE).write_text("[]")
    told = Board([folder]).changes("0")["runs"][0]
    assert told["name"] == "r"
    assert len(told["warnings"]) == 2
    assert told["state"] == "unknown"
