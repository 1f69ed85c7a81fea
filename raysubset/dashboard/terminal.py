"""The same digest in a terminal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from raysubset.dashboard.board import Board
from raysubset.report import wording

LOOK_EVERY_S = 1.0
SHOWN_TRIALS = 10
STATES = {
    "running": "running",
    "finished": "finished",
    "interrupted": "ended before its end; it can be resumed",
    "lost": "its driver is gone without a word (killed?); it can be resumed",
    "unknown": "whether it runs is not known: its driver left no sign",
}


def snapshot(folder: Path) -> dict[str, Any]:
    """Return all that is known of a run, in plain JSON types."""
    told = Board([folder]).changes("0")
    return {**told["runs"][0], "detail": told.get("detail")}


def follow(folder: Path, console: Console, *, once: bool = False) -> None:
    """Show a run until it ends; without a terminal, or with ``once``, as it stands now.

    Raises:
        StorageError, RecordError: Nothing of the run can be read.
    """
    board = Board([folder])
    told = board.changes("0")
    if once or not console.is_terminal:
        console.print(screen(told["runs"][0], told.get("detail")))
        return
    run, detail = told["runs"][0], told.get("detail")
    trials = {row["trial"]: row for row in (detail or {}).get("trials", [])}
    with Live(screen(run, detail), console=console, auto_refresh=False) as live:
        while run["state"] == "running":
            time.sleep(LOOK_EVERY_S)
            shown = detail["stage"] if detail else ""
            told = board.changes("0", shown=shown, boot=told["boot"], since=told["version"])
            run = next(iter(told["runs"]), run)
            if (news := told.get("detail")) is not None:
                trials = ({} if news["whole"] else trials) | {row["trial"]: row for row in news["trials"]}
                detail = {**news, "trials": list(trials.values())}
            live.update(screen(run, detail), refresh=True)


def screen(run: dict[str, Any], detail: dict[str, Any] | None) -> RenderableType:
    """Draw a run from the plain types of `dashboard.view`; text of the run is never read as markup."""
    age = (
        f", last report {wording.seconds(max(0.0, time.time() - run['changed_at']))} ago"
        if run["changed_at"]
        else ""
    )
    parts: list[RenderableType] = [
        Text.assemble(
            (run["name"], "bold"), f"  {STATES[run['state']]}{age}", "  stopping" if run["stopping"] else ""
        ),
        _fit(run) if run["kind"] == "fit" else _figures(run),
    ]
    parts += [Text(words, style="yellow") for words in run["warnings"]]
    if detail is not None:
        parts += [table for table in (_rungs(detail), _failures(detail), _trials(detail)) if table.row_count]
    return Group(*parts)


def _figures(run: dict[str, Any]) -> Table:
    """Return what the tiles of the page say."""
    counts, plan, grid = run["counts"], run["plan"], Table.grid(padding=(0, 2))
    ended = counts["total"] - counts.get("running", 0) - counts.get("waiting", 0)
    by_status = ", ".join(
        f"{number} {status}" for status, number in counts.items() if status != "total" and number
    )
    if run["stage"]:
        grid.add_row("stage", "", run["stage"])
    grid.add_row(
        "trials", _bar(ended, plan["trials"]), f"{_of(ended, plan['trials'])} ended ({by_status or 'none yet'})"
    )
    grid.add_row("samples", _bar(run["samples"], plan["samples"]), _of(run["samples"], plan["samples"]))
    limit = f" of {wording.seconds(plan['seconds'])}" if plan["seconds"] else ""
    left = f", about {wording.seconds(run['left_s'])} left at this pace" if run["left_s"] else ""
    grid.add_row("time", _bar(run["seconds"], plan["seconds"]), f"{wording.seconds(run['seconds'])}{limit}{left}")
    grid.add_row("selection", "", f"{wording.percent(run['selection_share'])} of the trials' seconds")
    grid.add_row("best", "", Text(_best(run)))
    return grid


def _fit(run: dict[str, Any]) -> Table:
    """Return the stages of a fit of SubSelNet."""
    table = Table("stage", "", "", "done", "work", "last, or why it ended", box=None)
    for row in run["fit"]:
        left = f", about {wording.seconds(row['left_s'])} left" if row["left_s"] is not None else ""
        said = row["reason"] or row["last"] + (
            f", {wording.percent(row['score'])}" if row["score"] is not None else ""
        )
        done = f"{row['done']:,} of {row['pieces']:,}" if row["pieces"] else ""
        spent = f"{wording.seconds(row['seconds'])}{left}" if row["done"] else ""
        style = "yellow" if row["reason"] else ""
        bar = _bar(row["done"], row["pieces"])
        table.add_row(row["stage"], row["status"], bar, done, spent, Text(said, style=style))
    return table


def _best(run: dict[str, Any]) -> str:
    if (cell := run["candidate"]) is not None:
        return f"{cell['score']:.4g}, {cell['cell']} ({run['judged']} cells judged)"
    if (best := run["best"]) is None:
        return "no trial has been judged yet"
    where = f"trial {best['trial']} of {best['stage']} at epoch {best['epoch']}"
    return f"{run['score']} {best['score']:.4g}, {where}"


def _bar(value: float, most: float | None) -> RenderableType:
    return ProgressBar(most, min(value, most), width=24) if most else ""


def _of(value: int, most: float | None) -> str:
    return f"{value:,} of at most {most:,.0f}" if most else f"{value:,}"


def _rungs(detail: dict[str, Any]) -> Table:
    table = Table("rung", "epoch", "reached", "of these here", title="Rungs", title_justify="left", box=None)
    for row in detail["rungs"]:
        here = ", ".join(f"{number} {status}" for status, number in row["here"].items())
        table.add_row(str(row["rung"]), str(row["epoch"] or ""), f"{row['reached']:,}", here)
    return table


def _failures(detail: dict[str, Any]) -> Table:
    table = Table("trials", "first", "reason", title="Failures", title_justify="left", box=None)
    for row in detail["failures"]:
        table.add_row(str(row["trials"]), Text(row["first"]), Text(row["reason"], style="yellow"))
    return table


def _trials(detail: dict[str, Any]) -> Table:
    """Return the trials with the best scores, those of later epochs first."""
    names = ("trial", "status", "epoch", detail["score"], "samples", "rows chosen by", "configuration")
    table = Table(*names, title="Leading trials", title_justify="left", box=None)
    sign = 1.0 if detail["score"] == "loss" else -1.0
    judged = [row for row in detail["trials"] if row["score"] is not None and row["status"] != "failed"]
    judged.sort(key=lambda row: (-row["scored_at"], sign * row["score"], row["trial"]))
    for row in judged[:SHOWN_TRIALS]:
        chosen = f"{row['metric']}, {wording.percent(row['ratio'])}"
        config = wording.config(row["config"])
        cells = (row["trial"], row["status"], f"{row['epoch']} of {row['epochs']}", f"{row['score']:.4g}")
        table.add_row(*map(Text, (*cells, f"{row['samples']:,}", chosen, config)))
    return table
