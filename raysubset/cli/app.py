"""The typer application and what happens to errors."""

from __future__ import annotations

from typing import Annotated

import click
import typer
from rich.console import Console

from raysubset.cli import data, hpo, report
from raysubset.errors import RaysubsetError
from raysubset.tuning.run import InterruptedRunError

INTERRUPTED = 130  # what a shell reports for Ctrl-C

app = typer.Typer(
    name="raysubset",
    help="AutoML on Ray that trains every trial on a small part of the data, chosen anew each epoch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("hpo")(hpo.hpo)
app.command("report")(report.report)
app.command("data")(data.data)


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        typer.echo(version("raysubset"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code: 0, 2 for what the user can mend, 130 for an interruption."""
    errors = Console(stderr=True, soft_wrap=True)
    try:
        result = app(args=arguments, standalone_mode=False)
        return int(result or 0)
    except InterruptedRunError as error:
        errors.print(str(error), style="yellow", highlight=False, markup=False)
        return INTERRUPTED
    except (KeyboardInterrupt, click.exceptions.Abort):
        errors.print("Interrupted before the search began; nothing was started.", style="yellow")
        return INTERRUPTED
    except RaysubsetError as error:
        errors.print(f"{type(error).__name__}: {error}", style="red", highlight=False, markup=False)
        return 2
    except click.exceptions.ClickException as error:
        error.show()
        return 2
