"""``raysubset table``: a table of one of the papers, with our own runs beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from typer import Option

from raysubset.cli.options import Json
from raysubset.cli.output import print_tables
from raysubset.errors import OptionsError
from raysubset.report.own_numbers import own_numbers
from raysubset.report.papers import PAPERS, OwnNumber, beside, facts, paper_table
from raysubset.report.published_asp import PARAMETERS, TABLE_7


def table(
    paper: Annotated[Literal["asp", "dss", "subselnet"], Option(help="Whose table.")],
    name: Annotated[
        str | None, Option("--id", help="Which: T3, F2, ... Without it the paper's tables are listed.")
    ] = None,
    root: Annotated[
        Path,
        Option(envvar="RAYSUBSET_ROOT", help="Folder of the runs to show beside it, searched in all its depth."),
    ] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Print what a paper published beside what our runs found: device, seeds, difference; what was not run."""
    console = Console(stderr=as_json)
    if name is None:
        for known, listed in PAPERS[paper].items():
            Console().print(f"{known}: {listed.title} ({listed.where})", highlight=False, soft_wrap=True)
        return
    printed = paper_table(paper, name)
    if not root.is_dir():
        raise OptionsError(f"--root {root}: there is no such folder.")
    ours = tuple(_ours(paper, name, root))
    if as_json:
        print(json.dumps({"paper": paper, "id": name, "notes": printed.notes, "rows": facts(printed, ours)}))
        return
    shown = beside(printed, ours)
    print_tables([shown], console)
    for note in printed.notes:
        console.print(note, highlight=False, soft_wrap=True)
    missing = sum(row[5] == "not run" for row in shown.rows)
    console.print(
        f"{missing} of {len(printed.numbers)} printed numbers have no run under {root}.", highlight=False
    )


def _ours(paper: str, name: str, root: Path) -> Iterator[OwnNumber]:
    if paper == "subselnet":
        yield from _fits(root)
    elif (paper, name) == ("asp", "T7"):
        yield from _parameters()
    else:
        yield from own_numbers(paper, name, root)


def _parameters() -> Iterator[OwnNumber]:
    """Count the parameters of the zoo's models; nothing is trained."""
    from raysubset.models.catalog import build_model

    for model in TABLE_7:
        network = build_model(model, num_classes=10, input_shape=(3, 32, 32), seed=0)
        count = sum(parameter.numel() for parameter in network.parameters())
        yield OwnNumber(
            method=model, quantity=PARAMETERS, at="-", dataset="cifar10", model=model, device="any",
            value=count // 1000, half=None, runs=1, where="counted",
        )  # fmt: skip


def _fits(root: Path) -> Iterator[OwnNumber]:
    """Read the evaluations of every fit of SubSelNet under a folder."""
    from raysubset.report.subselnet_tables import ours_of
    from raysubset.tuning.subselnet_evaluate import evaluation_rows, read_outcomes

    for log in sorted(root.rglob("evaluation-*.jsonl")):
        rows = evaluation_rows(read_outcomes(log))
        if not rows:
            continue
        fit = json.loads((log.parent / "fit.json").read_text(encoding="utf-8"))
        seeds = len({row.seed for row in rows})
        for (method, quantity, at), value in ours_of(rows).items():
            yield OwnNumber(
                method=method, quantity=quantity, at=at, dataset=fit["dataset"], model="smaller cells",
                device=fit["device"], value=value, half=None, runs=seeds, where=str(log.parent.relative_to(root)),
            )  # fmt: skip
