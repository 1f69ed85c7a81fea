"""``raysubset cluster``: are cluster files sound, and what runs on a cluster?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from typer import Argument, Option

from raysubset.cli.commands import PLAIN
from raysubset.cli.options import Json
from raysubset.cluster.fault import Fault
from raysubset.cluster.files import read_documents
from raysubset.cluster.kuberay import is_kuberay, kuberay_faults

if TYPE_CHECKING:  # Ray takes a second to import
    from raysubset.runtime.cluster import ClusterStatus, NodeUse

FAULTY = 2  # exit code

cluster = typer.Typer(help="Check cluster files, look at a running cluster.", no_args_is_help=True, **PLAIN)


@cluster.command()
def check(
    files: Annotated[list[Path], Argument(help="Files for `ray up`, or RayClusters of KubeRay.")],
    instance: Annotated[
        list[str] | None, Option("--instance", help="A machine type to accept though unknown; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check cluster files offline: by Ray's rules, and by ours for what costs money, data or safety."""
    found = {file: _faults(file, instance or ()) for file in files}
    if as_json:
        rows = [{"file": str(file), "faults": [asdict(one) for one in faults]} for file, faults in found.items()]
        print(json.dumps({"ok": not any(found.values()), "files": rows}))
    else:
        console = Console(highlight=False, markup=False, soft_wrap=True)
        for file, faults in found.items():
            for fault in faults:
                console.print(f"{file}: {fault}", style="red")
            if not faults:
                console.print(f"{file}: ok")
    if any(found.values()):
        raise typer.Exit(FAULTY)


def _faults(file: Path, instances: Sequence[str]) -> list[Fault]:
    """Read a file and hold it against the rules of its kind."""
    documents, faults = read_documents(file)
    if faults:
        return faults

    if is_kuberay(documents):
        return kuberay_faults(documents, version("ray"))

    from raysubset.runtime.launcher import launcher_file_faults

    return launcher_file_faults(documents, instances)


@cluster.command()
def status(
    address: Annotated[
        str | None, Option(help="host:port of the head (default: $RAY_ADDRESS, else what runs here).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show nodes, what of them is used, and the searches that run there."""
    from raysubset.runtime.cluster import cluster_status

    told = cluster_status(address)
    if as_json:
        print(json.dumps(asdict(told)))
        return
    _show(told, Console(highlight=False, markup=False, soft_wrap=True))


def _show(told: ClusterStatus, console: Console) -> None:
    table = Table(box=None, padding=(0, 2))
    for column in ("node", "CPU", "GPU", "memory", "object store", "trials"):
        table.add_column(column, no_wrap=column == "node")
    for node in told.nodes:
        trials = sum(search.trials.get(node.address, 0) for search in told.searches)
        table.add_row(
            f"{node.address}{' (head)' if node.head else ''}",
            _of(node, "CPU"),
            _of(node, "GPU"),
            _gib(node.used.get("memory", 0), node.total.get("memory", 0)),
            _gib(node.store_used, node.store_total),
            str(trials),
        )
    console.print(f"Ray {told.ray_version} at {told.address}, nodes: {len(told.nodes)}, used of total")
    console.print(table)
    for search in told.searches:
        placed = ", ".join(f"{count} on {node}" for node, count in search.trials.items()) or "none"
        where = ", ".join(search.selectors)
        console.print(f"search {search.name}: selector on {where}; trial processes: {placed}; {search.folder}")
    if not told.searches:
        console.print("no search of raysubset runs there")


def _gib(used: float | None, total: float | None) -> str:
    return "no answer" if used is None or total is None else f"{used / 2**30:.2f} of {total / 2**30:.2f} GiB"


def _of(node: NodeUse, resource: str) -> str:
    return f"{node.used.get(resource, 0.0):g} of {node.total.get(resource, 0.0):g}"
