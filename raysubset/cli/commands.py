"""Every command by name, and the group that loads one when it is called.

Help and completion read this table alone: loading all commands takes seconds (PyTorch, pyarrow), the table none.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

PLAIN: Mapping[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}


class Command(NamedTuple):
    """One command: the function or `typer.Typer` that it is, in which module, and what the overview says of it."""

    module: str
    attribute: str
    line: str


COMMANDS: Mapping[str, Command] = {
    "train": Command("train", "train", "Train on chosen subsets; compare their choice."),
    "hpo": Command("hpo", "hpo", "Search hyper-parameters, retrain the best, report."),
    "nas": Command("nas", "nas", "Search an architecture."),
    "subselnet": Command("subselnet", "subselnet", "Subsets for architectures never trained."),
    "corr": Command("corr", "corr", "How well subsets rank configurations."),
    "ablate": Command("ablate", "ablate", "The mixture with one thing changed at a time."),
    "select": Command("select", "select", "Choose rows of plain arrays."),
    "simulate": Command("simulate", "simulate", "Schedulers on a virtual clock, nothing trained."),
    "bench": Command("bench", "bench", "Selectors and kernels, measured."),
    "hpo-dss": Command("studies", "hpo_dss", "The DSS paper's comparison of searches."),
    "hpo-table": Command("studies", "hpo_table", "ASP's tables 3 and 4 of searches."),
    "table": Command("table", "table", "A paper's table beside our runs."),
    "viz": Command("viz", "viz", "Rank traces, easy and hard rows, metrics."),
    "report": Command("report", "report", "Draw a run's report again."),
    "dashboard": Command("dashboard", "dashboard", "A live page over runs, in the browser."),
    "watch": Command("dashboard", "watch", "The same of one run, in the terminal."),
    "data": Command("data", "data", "Load a data set and say what it holds."),
    "cluster": Command("cluster", "cluster", "Check cluster files, look at a cluster."),
}


def loaded(name: str) -> Any:
    """Import a command of `COMMANDS` and return it, built."""
    command = COMMANDS[name]
    found = getattr(import_module(f"raysubset.cli.{command.module}"), command.attribute)
    if isinstance(found, typer.Typer):
        return get_command(found)
    alone = typer.Typer(**PLAIN)
    alone.command(name)(found)
    return get_command(alone)


class LazyGroup(TyperGroup):
    """A group whose commands are names and lines until one of them is called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, command in COMMANDS.items():
            self.add_command(TyperCommand(name, short_help=command.line, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return (name, command, its arguments), the command itself in the place of its line."""
        name, line, rest = super().resolve_command(ctx, args)
        return (name, line, rest) if name is None else (name, loaded(name), rest)
