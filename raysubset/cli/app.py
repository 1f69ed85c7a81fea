"""The typer application and what happens to errors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

from raysubset.cli.commands import PLAIN, LazyGroup
from raysubset.errors import InterruptedRunError, RaysubsetError, SearchFailedError

FAILED = 1
REFUSED = 2
INTERRUPTED = 130  # what a shell reports for Ctrl-C

app = typer.Typer(
    name="raysubset",
    cls=LazyGroup,
    help="AutoML on Ray that trains every trial on a small part of the data, chosen anew each epoch.",
    no_args_is_help=True,
    **{**PLAIN, "add_completion": True},
)


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
    """Run a command and return its exit code.

    0, 1 for a search all of whose trials failed, 2 for what the user can mend, 130 for an interrupted search.
    """
    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        with _warnings_in_a_line(errors):
            app(args=arguments)
    except SystemExit as stop:  # usage errors and --help end here, already printed
        return stop.code if isinstance(stop.code, int) else 0
    except InterruptedRunError as error:
        errors.print(str(error), style="yellow")
        return INTERRUPTED
    except RaysubsetError as error:
        errors.print(f"{type(error).__name__}: {error}", style="red")
        return FAILED if isinstance(error, SearchFailedError) else REFUSED
    return 0


@contextmanager
def _warnings_in_a_line(console: Console) -> Iterator[None]:
    """Print warnings as errors are printed: what is the matter, not which line of ours said so."""
    with warnings.catch_warnings():
        ordinary = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, UserWarning) and category.__module__.startswith("raysubset"):
                console.print(f"{category.__name__}: {message}", style="yellow")
            else:
                ordinary(message, category, *where, **more)

        warnings.showwarning = show
        yield
