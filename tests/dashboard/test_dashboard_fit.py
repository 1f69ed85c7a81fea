"""A fit of SubSelNet on the dashboard: its stages, what is done of them, and why it ended, while it goes on."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from watched import begun_fit, dead_pid, silence

from raysubset.dashboard.board import Board
from raysubset.dashboard.find import find_runs
from raysubset.dashboard.run import FIT_STAGES
from raysubset.dashboard.terminal import follow, screen, snapshot
from raysubset.errors import InterruptedRunError, OptionsError
from raysubset.report.driver import Driver
from raysubset.report.fit_progress import PROGRESS_FILE, FitProgress
from raysubset.report.requests import STOP_RUN, ask, asked
from raysubset.tuning.subselnet_watched import heed, told

CELLS = [f"conv3x3~0+output~{k}" for k in range(4)]


def rows(board: Board) -> dict[str, dict]:
    board.look()
    return {row["stage"]: row for row in board.overview("0")["runs"][0]["fit"]}


def test_stages_cells_and_seconds_grow_while_it_runs(tmp_path: Path) -> None:
    progress = begun_fit(tmp_path)
    assert find_runs([str(tmp_path)], tmp_path) == [tmp_path.resolve()]
    board = Board([tmp_path])
    assert rows(board) == {}
    progress.stage("features", 1)
    progress.stage("encoder", 1)
    found = rows(board)
    assert list(found) == list(FIT_STAGES)
    assert [found[name]["status"] for name in FIT_STAGES] == [
        "running",
        "running",
        "to come",
        "to come",
        "to come",
    ]
    progress.piece("encoder", "encoder", 20.0)
    progress.piece("features", "features", 3.0)
    progress.stage("supervisors", 40, done=36, seconds=360.0)
    for cell in CELLS[:2]:
        progress.piece("supervisors", cell, 12.5, 0.61)
    now = rows(board)["supervisors"]
    assert (now["done"], now["pieces"], now["seconds"], now["status"]) == (38, 40, 385.0, "running")
    assert (now["last"], now["score"]) == (CELLS[1], 0.61)
    assert now["left_s"] >= 0
    assert rows(board)["encoder"] == {**rows(board)["encoder"], "status": "done", "seconds": 20.0, "done": 1}
    assert board.overview("0")["runs"][0]["state"] == "running"


def test_only_news_is_told(tmp_path: Path) -> None:
    progress = begun_fit(tmp_path)
    progress.stage("supervisors", 4)
    board = Board([tmp_path])
    first = board.changes("0")
    assert first["runs"][0]["kind"] == "fit"
    assert board.changes("0", boot=first["boot"], since=first["version"])["runs"] == []
    progress.piece("supervisors", CELLS[0], 1.0, 0.5)
    (news,) = board.changes("0", boot=first["boot"], since=first["version"])["runs"]
    assert news["fit"][2]["done"] == 1


def whole(progress: FitProgress) -> None:
    for stage in FIT_STAGES:
        progress.stage(stage, 1)
        progress.piece(stage, stage, 1.0)


def test_a_fit_is_finished_when_all_its_stages_are_and_an_evaluation_is_not_under_way(tmp_path: Path) -> None:
    progress = begun_fit(tmp_path)
    whole(progress)
    board = Board([tmp_path])

    def state() -> str:
        Driver.here({}).over().write(tmp_path)
        board.look()
        return board.overview("0")["runs"][0]["state"]

    assert state() == "finished"
    progress.stage("evaluation", 24, done=10, seconds=100.0)
    assert state() == "interrupted"
    assert rows(board)["evaluation"]["status"] == "unfinished"
    for _ in range(14):
        progress.piece("evaluation", "gibbs 0.1, seed 0", 2.0, 0.4)
    assert state() == "finished"
    assert rows(board)["evaluation"]["seconds"] == pytest.approx(128.0)


def test_what_ends_a_fit_is_said_in_the_stages_that_were_under_way(tmp_path: Path) -> None:
    begun_fit(tmp_path)
    with pytest.raises(ValueError, match="diverged"), told(tmp_path) as progress:  # noqa: PT012
        progress.stage("encoder", 1, done=1, seconds=5.0)
        progress.stage("supervisors", 4)
        raise ValueError("The network of supervisor c diverged.")
    board = Board([tmp_path])
    found = rows(board)
    assert found["supervisors"]["status"] == "failed"
    assert found["supervisors"]["reason"] == "ValueError: The network of supervisor c diverged."
    assert (found["encoder"]["status"], found["encoder"]["reason"]) == ("done", "")
    assert board.overview("0")["runs"][0]["state"] == "interrupted"
    FitProgress(tmp_path).stage("supervisors", 4, done=1, seconds=9.0)  # it goes on
    assert (rows(board)["supervisors"]["reason"], rows(board)["supervisors"]["done"]) == ("", 1)


def test_a_killed_fit_is_lost_and_its_stage_unfinished(tmp_path: Path) -> None:
    begun_fit(tmp_path).stage("supervisors", 4)
    driver = Driver.here({})
    Driver(driver.host, dead_pid(), driver.started).write(tmp_path)
    silence(tmp_path, 3600)
    board = Board([tmp_path])
    assert board.overview("0")["runs"][0]["state"] == "lost"
    assert rows(board)["supervisors"]["status"] == "unfinished"


def test_it_stops_between_two_pieces_when_asked(tmp_path: Path) -> None:
    begun_fit(tmp_path)
    with pytest.raises(InterruptedRunError, match="what is done is kept"), told(tmp_path) as progress:  # noqa: PT012
        progress.stage("supervisors", 4)
        heed(tmp_path)
        Board([tmp_path]).stop("0")
        assert asked(tmp_path) == {STOP_RUN}
        heed(tmp_path)
    assert not asked(tmp_path)
    with pytest.raises(OptionsError, match="cannot be stopped"):
        Board([tmp_path]).stop("0")
    ask(tmp_path, STOP_RUN)
    with told(tmp_path):
        heed(tmp_path)  # a request of before is void


def test_lines_that_are_no_progress_are_left_out_and_named(tmp_path: Path) -> None:
    progress = begun_fit(tmp_path)
    progress.stage("supervisors", 4)
    with (tmp_path / PROGRESS_FILE).open("a", encoding="utf-8") as file:
        file.write('{"event": "piece", "stage": "nowhere", "at": 1}\nnonsense\n{"event": "piece", "sta')
    board = Board([tmp_path])
    warnings = " ".join(board.overview("0")["runs"][0]["warnings"])
    assert "line 2" in warnings
    assert "line 3" in warnings
    assert "line 4" not in warnings  # still being written
    assert rows(board)["supervisors"]["done"] == 0


def test_a_fit_of_before_shows_the_stages_that_it_finished(tmp_path: Path) -> None:
    begun_fit(tmp_path, stages={"features": {"seconds": 3.0}, "encoder": {"seconds": 20.0}})
    found = rows(Board([tmp_path]))
    assert {name: (row["status"], row["seconds"]) for name, row in found.items()} == {
        "features": ("done", 3.0), "encoder": ("done", 20.0),
    }  # fmt: skip


def test_an_evaluation_of_a_fit_of_before_is_shown_behind_its_stages(tmp_path: Path) -> None:
    progress = begun_fit(tmp_path, stages={name: {"seconds": 3.0} for name in FIT_STAGES})
    progress.stage("evaluation", 1)
    board = Board([tmp_path])
    assert [*rows(board)] == [*FIT_STAGES, "evaluation"]
    assert [row["status"] for row in rows(board).values()] == ["done"] * 5 + ["running"]
    progress.piece("evaluation", "gibbs 0.1, seed 0", 2.0, 0.4)
    Driver.here({}).over().write(tmp_path)
    board.look()
    assert board.overview("0")["runs"][0]["state"] == "finished"


def test_the_terminal_shows_it_too(tmp_path: Path) -> None:
    progress = begun_fit(tmp_path)
    progress.stage("supervisors", 1234, done=1000, seconds=90.0)
    progress.piece("supervisors", "cell [b]x[/b]", 5.0, 0.61)
    console = Console(width=200, record=True, file=io.StringIO())
    follow(tmp_path, console, once=True)
    said = console.export_text()
    assert "1,001 of 1,234" in said
    assert "cell [b]x[/b], 61.0 %" in said
    plain = snapshot(tmp_path)
    assert json.loads(json.dumps(plain))["kind"] == "fit"
    assert screen(plain, None) is not None
