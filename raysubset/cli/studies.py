"""``raysubset hpo-dss`` and ``hpo-table``: the papers' tables of hyper-parameter searches, cell by cell."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from typer import Option

from raysubset.data.catalog import EMBEDDED, load_dataset
from raysubset.errors import OptionsError, UnknownNameError
from raysubset.report.published import DSS_CLAIMS, TableId

if TYPE_CHECKING:  # Ray Tune and PyTorch take seconds to import
    from raysubset.data.dataset import Dataset
    from raysubset.tuning.study_grid import Study

Preset = Literal["small", "paper"]

FAILED_CELLS = 1  # exit code


def hpo_dss(
    preset: Annotated[Preset, Option(help="Minutes on two cores, or the paper's sizes for a GPU.")] = "small",
    data: Annotated[
        str | None, Option(help="cifar10, cifar100, mnist, ... (default: embedded digits; paper: cifar10).")
    ] = None,
    data_dir: Annotated[Path | None, Option(help="Where data sets lie (default: $RAYSUBSET_DATA).")] = None,
    limit: Annotated[int | None, Option(help="Use only so many rows of each split.")] = None,
    selector: Annotated[
        list[str] | None, Option(help="Beside full data; may be repeated (default: the paper's and random).")
    ] = None,
    ratio: Annotated[float | None, Option(help="Share of the data an epoch trains on.")] = None,
    model: Annotated[str | None, Option(help="Model of the zoo (default: by preset and data).")] = None,
    trials: Annotated[int | None, Option(help="Configurations that TPE proposes.")] = None,
    epochs: Annotated[int | None, Option(help="Epochs of a whole trial.")] = None,
    select_every: Annotated[int | None, Option(help="Epochs between selections.")] = None,
    warm_start: Annotated[
        float | None, Option(help="Share of the epochs whose budget is spent on all data first.")
    ] = None,
    scheduler: Annotated[str | None, Option(help="none, as in the paper, or asha, ... to stop trials.")] = None,
    concurrency: Annotated[int | None, Option(help="Trials at a time (0: what the machine serves).")] = None,
    seeds: Annotated[int, Option(help="How many seeds, counted up from --seed.")] = 3,
    seed: Annotated[int, Option(help="The first seed.")] = 0,
    only: Annotated[list[str] | None, Option(help="Run only cells of this name, * and ? allowed.")] = None,
    watts: Annotated[float | None, Option(help="Power of the machine, for an estimate of energy.")] = None,
    name: Annotated[str | None, Option(help="Study name; one that exists goes on.")] = None,
    root: Annotated[
        Path, Option(envvar="RAYSUBSET_ROOT", help="Folder of all studies; on a cluster one that all nodes see.")
    ] = Path("runs"),
    dry_run: Annotated[bool, Option("--dry-run", help="List the cells and what they may cost.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Tune on subsets by CRAIG, GLISTER, GRAD-MATCH and at random, and on all data, as the DSS paper does."""
    _check(seeds, watts)
    data = data or (EMBEDDED if preset == "small" else "cifar10")
    if preset == "paper" and data not in DSS_CLAIMS:
        raise UnknownNameError.of("data set of the paper", data, DSS_CLAIMS)
    datasets = _load([data], data_dir, limit)
    label, loaded = next(iter(datasets.items()))

    from raysubset.tuning.dss_study import SMALL, dss_study, paper_setting

    given = {
        "model": model,
        "trials": trials,
        "epochs": epochs,
        "ratio": ratio,
        "select_every": select_every,
        "warm_start": warm_start,
        "scheduler": scheduler,
        "concurrency": concurrency,
        "selectors": tuple(selector) if selector else None,
    }
    setting = replace(paper_setting(data) if preset == "paper" else SMALL, **_said(given))
    study = dss_study(
        name or f"dss-{preset}-{label}",
        label,
        setting,
        tuple(range(seed, seed + seeds)),
        augment=_is_coloured(loaded),
        published_for=data if data in DSS_CLAIMS else "cifar10" if _is_coloured(loaded) else "mnist",
    )
    _conduct(study, datasets, root, only or [], dry_run, watts, as_json)


def hpo_table(
    table: Annotated[TableId, Option("--id", help="T3: searches by ratio; T4: Hyper-Tune by metric.")],
    preset: Annotated[Preset, Option(help="Minutes on two cores, or the paper's sizes for GPUs.")] = "small",
    data: Annotated[
        list[str] | None,
        Option(help="May be repeated (default: embedded digits; paper: cifar10, for T4 cifar100 too)."),
    ] = None,
    data_dir: Annotated[Path | None, Option(help="Where data sets lie (default: $RAYSUBSET_DATA).")] = None,
    limit: Annotated[int | None, Option(help="Use only so many rows of each split.")] = None,
    model: Annotated[str | None, Option(help="Model of the zoo (default: by preset).")] = None,
    epochs: Annotated[int | None, Option(help="Epochs of a whole trial.")] = None,
    budget_epochs: Annotated[
        float | None, Option(help="Epochs over all data that a search on full data may cost.")
    ] = None,
    concurrency: Annotated[int | None, Option(help="Trials at a time (0: what the machine serves).")] = None,
    seeds: Annotated[int, Option(help="How many seeds, counted up from --seed.")] = 3,
    seed: Annotated[int, Option(help="The first seed.")] = 0,
    only: Annotated[list[str] | None, Option(help="Run only cells of this name, * and ? allowed.")] = None,
    watts: Annotated[float | None, Option(help="Power of the machine, for an estimate of energy.")] = None,
    name: Annotated[str | None, Option(help="Study name; one that exists goes on.")] = None,
    root: Annotated[
        Path, Option(envvar="RAYSUBSET_ROOT", help="Folder of all studies; on a cluster one that all nodes see.")
    ] = Path("runs"),
    dry_run: Annotated[bool, Option("--dry-run", help="List the cells and what they may cost.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run ASP's table 3 or 4: random search, HyperBand, BOHB and Hyper-Tune, on all data and on subsets."""
    _check(seeds, watts)
    printed = ["cifar10", "cifar100"] if table == "T4" else ["cifar10"]
    datasets = _load(data or ([EMBEDDED] if preset == "small" else printed), data_dir, limit)

    from raysubset.tuning.asp_tables import PAPER, SMALL, asp_table

    given = {"model": model, "epochs": epochs, "budget_epochs": budget_epochs, "concurrency": concurrency}
    study = asp_table(
        table,
        name or f"asp-{preset}",
        {label: _is_coloured(loaded) for label, loaded in datasets.items()},
        replace(PAPER if preset == "paper" else SMALL, **_said(given)),
        tuple(range(seed, seed + seeds)),
    )
    _conduct(study, datasets, root, only or [], dry_run, watts, as_json)


def _check(seeds: int, watts: float | None) -> None:
    faults = []
    if seeds < 1:
        faults.append(f"seeds={seeds}, need at least 1")
    if watts is not None and not watts > 0:
        faults.append(f"watts={watts!r}, need a number > 0")
    if faults:
        raise OptionsError.of("study", faults)


def _load(names: Sequence[str], data_dir: Path | None, limit: int | None) -> dict[str, Dataset]:
    """Load the data sets, by the names that the tables show; nothing stands in for a missing one."""
    loaded = {}
    for name in names:
        label = Path(name).name if limit is None else f"{Path(name).name}-{limit}"
        loaded[label] = load_dataset(name, data_dir, limit=limit)
    return loaded


def _is_coloured(data: Dataset) -> bool:
    """Colour images are cropped and flipped as the papers do; digits are not."""
    return len(data.input_shape) == 3 and data.input_shape[0] == 3


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _conduct(
    study: Study,
    datasets: Mapping[str, Dataset],
    root: Path,
    only: Sequence[str],
    dry_run: bool,
    watts: float | None,
    as_json: bool,
) -> None:
    """Run a study, or say what it would run; exit code 1 where a cell failed."""
    from raysubset.report.study_table import overview_table
    from raysubset.tuning.progress import RichProgress
    from raysubset.tuning.study import run_study

    console = Console(stderr=as_json)
    if dry_run:
        _list(study, datasets, only, as_json)
        return
    results = run_study(
        study,
        datasets,
        root,
        RichProgress(console),
        only=only,
        command=shlex.join(["raysubset", *sys.argv[1:]]),
        watts=watts,
        say=lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
    )
    folder = root / study.name
    if as_json:
        print((folder / study.file("study", ".json")).read_text(encoding="utf-8"), end="")
    else:
        overview = overview_table(results)
        _print(overview.columns, overview.rows)
    console.print(f"tables: {folder / study.file('results', '.md')}", highlight=False, soft_wrap=True)
    console.print(f"report: {folder / study.file('report', '.html')}", highlight=False, soft_wrap=True)
    if any(result.state == "failed" for result in results):
        raise typer.Exit(FAILED_CELLS)


def _list(study: Study, datasets: Mapping[str, Dataset], only: Sequence[str], as_json: bool) -> None:
    """Show the cells and the samples they may consume."""
    from raysubset.tuning.study_grid import predicted_samples

    cells = [(cell, *predicted_samples(cell, datasets[cell.data])) for cell in study.matching(only)]
    if as_json:
        rows = [
            {"cell": cell.name, "search_samples_at_most": search, "retrain_samples": retrain}
            for cell, search, retrain in cells
        ]
        print(json.dumps({"study": study.name, "table": study.table, "cells": rows}))
        return
    _print(
        ("cell", "method", "search samples, at most", "retraining"),
        [(cell.name, cell.method, f"{search:,}", f"{retrain:,}") for cell, search, retrain in cells],
    )
    total = sum(search + retrain for _, search, retrain in cells)
    Console().print(f"{len(cells)} cells, at most {total:,} samples", highlight=False)


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, padding=(0, 1))
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)
