"""``raysubset dashboard`` and ``raysubset watch``: look at searches while they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from raysubset.cli.options import Root

Runs = Annotated[
    list[str],
    typer.Argument(help="Folders of runs, names under --root, or a folder full of runs.", metavar="RUN..."),
]


def dashboard(
    runs: Runs,
    root: Root = Path("runs"),
    host: Annotated[str, typer.Option(help="Address to bind; other than loopback wants a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to bind; 0 takes any free one.", min=0, max=65535)] = 8270,
    token: Annotated[
        str | None, typer.Option(help="What a visitor must know (default: none on loopback, else a fresh one).")
    ] = None,
) -> None:
    """Serve a page over runs, that updates while they go on; several stand side by side."""
    from raysubset.dashboard.find import find_runs
    from raysubset.dashboard.serve import serve

    console = Console(highlight=False, markup=False, soft_wrap=True)

    def started(address: str) -> None:
        console.print(f"dashboard: {address}  (Ctrl-C ends it; the searches go on)")

    serve(find_runs(runs, root), host=host, port=port, token=token, started=started)


def watch(
    run: Annotated[str, typer.Argument(help="Folder of a run, or its name under --root.")],
    root: Root = Path("runs"),
    once: Annotated[bool, typer.Option("--once", help="Print once and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, once.")] = False,
) -> None:
    """Watch a run in the terminal until it ends."""
    import json

    from raysubset.dashboard.find import find_runs
    from raysubset.dashboard.terminal import follow, snapshot
    from raysubset.errors import OptionsError

    folders = find_runs([run], root)
    if len(folders) > 1:
        raise OptionsError(f"{run!r} holds {len(folders)} runs: name one of them, or use `raysubset dashboard`.")
    if as_json:
        print(json.dumps(snapshot(folders[0])))
    else:
        follow(folders[0], Console(), once=once)
