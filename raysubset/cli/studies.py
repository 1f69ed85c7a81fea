"""``raysubset hpo-dss`` and ``hpo-table``: the papers' tables of hyper-parameter searches, cell by cell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer import Option

from raysubset.cli.defaults import is_coloured
from raysubset.cli.grouped import grouped
from raysubset.cli.options import (
    BudgetEpochs,
    DataDir,
    DryRun,
    Json,
    Limit,
    Preset,
    Root,
    TrialEpochs,
    WarmStart,
    Watts,
)
from raysubset.cli.output import say
from raysubset.cli.repeat import this_command
from raysubset.data.catalog import EMBEDDED, load_dataset
from raysubset.errors import OptionsError, UnknownNameError
from raysubset.report.published import DSS_CLAIMS, TableId

if TYPE_CHECKING:  # Ray Tune and PyTorch take seconds to import
    from raysubset.data.dataset import Dataset
    from raysubset.report.study_lines import CellResult
    from raysubset.tuning.study_grid import Study

FAILED_CELLS = 1  # exit code

Sizes = Annotated[Preset, Option(help="Minutes on two cores, or the paper's sizes for a GPU.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where data sets lie, and how much of them is used."""

    data_dir: DataDir = None
    limit: Limit = None

    def load(self, names: Sequence[str]) -> dict[str, Dataset]:
        """Load data sets, by the names that the tables show; nothing stands in for a missing one.

        Raises:
            DataError, DatasetNotFoundError, StorageError, UnknownNameError: See `load_dataset`.
        """
        loaded = {}
        for name in names:
            label = Path(name).name if self.limit is None else f"{Path(name).name}-{self.limit}"
            loaded[label] = load_dataset(name, self.data_dir, limit=self.limit)
        return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a cell is like, where it is not to be as the preset says."""

    model: Annotated[str | None, Option(help="Model of the zoo (default: by preset and data).")] = None
    epochs: TrialEpochs = None
    concurrency: Annotated[int | None, Option(help="Trials at a time (0: what the machine serves).")] = None

    def over(self, preset: Any) -> Any:
        """Return a preset with what was said in its place."""
        return replace(preset, **{name: value for name, value in asdict(self).items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class DssChoice(Setting):
    """What the DSS paper's searches are like."""

    ratio: Annotated[float | None, Option(help="Share of the data an epoch trains on.")] = None
    trials: Annotated[int | None, Option(help="Configurations that TPE proposes.")] = None
    select_every: Annotated[int | None, Option(help="Epochs between selections.")] = None
    warm_start: WarmStart = None
    scheduler: Annotated[str | None, Option(help="none, as in the paper, or asha, ... to stop trials.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChoice(Setting):
    """What the searches of ASP's tables are like."""

    budget_epochs: BudgetEpochs = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """Which cells of a study are run, where, and how the result is printed."""

    seeds: Annotated[int, Option(help="How many seeds, counted up from --seed.")] = 3
    seed: Annotated[int, Option(help="The first seed.")] = 0
    only: Annotated[list[str] | None, Option(help="Run only cells of this name, * and ? allowed.")] = None
    watts: Watts = None
    name: Annotated[str | None, Option(help="Study name; one that exists goes on.")] = None
    root: Root = Path("runs")
    dry_run: DryRun = False
    as_json: Json = False

    def __post_init__(self) -> None:
        faults = []
        if self.seeds < 1:
            faults.append(f"seeds={self.seeds}, need at least 1")
        if self.watts is not None and not self.watts > 0:
            faults.append(f"watts={self.watts!r}, need a number > 0")
        if faults:
            raise OptionsError.of("study", faults)

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Every seed of the study."""
        return tuple(range(self.seed, self.seed + self.seeds))


@grouped
def hpo_dss(
    *,
    preset: Sizes = "small",
    data: Annotated[
        str | None, Option(help="cifar10, cifar100, mnist, ... (default: embedded digits; paper: cifar10).")
    ] = None,
    where: Where,
    selector: Annotated[
        list[str] | None, Option(help="Beside full data; may be repeated (default: the paper's and random).")
    ] = None,
    asked: DssChoice,
    which: StudyOptions,
) -> None:
    """Tune on subsets by CRAIG, GLISTER, GRAD-MATCH and at random, and on all data, as the DSS paper does."""
    data = data or (EMBEDDED if preset == "small" else "cifar10")
    if preset == "paper" and data not in DSS_CLAIMS:
        raise UnknownNameError.of("data set of the paper", data, DSS_CLAIMS)
    datasets = where.load([data])
    label, loaded = next(iter(datasets.items()))

    from raysubset.tuning.dss_study import SMALL, dss_study, paper_setting

    setting = asked.over(paper_setting(data) if preset == "paper" else SMALL)
    study = dss_study(
        which.name or f"dss-{preset}-{label}",
        label,
        replace(setting, selectors=tuple(selector)) if selector else setting,
        which.all_seeds,
        augment=is_coloured(loaded),
        published_for=data if data in DSS_CLAIMS else "cifar10" if is_coloured(loaded) else "mnist",
    )
    _conduct("hpo-dss", study, datasets, which)


@grouped
def hpo_table(
    *,
    table: Annotated[TableId, Option("--id", help="T3: searches by ratio; T4: Hyper-Tune by metric.")],
    preset: Sizes = "small",
    data: Annotated[
        list[str] | None,
        Option(help="May be repeated (default: embedded digits; paper: cifar10, for T4 cifar100 too)."),
    ] = None,
    where: Where,
    asked: TableChoice,
    which: StudyOptions,
) -> None:
    """Run ASP's table 3 or 4: random search, HyperBand, BOHB and Hyper-Tune, on all data and on subsets."""
    printed = ["cifar10", "cifar100"] if table == "T4" else ["cifar10"]
    datasets = where.load(data or ([EMBEDDED] if preset == "small" else printed))

    from raysubset.tuning.asp_tables import PAPER, SMALL, asp_table

    study = asp_table(
        table,
        which.name or f"asp-{preset}",
        {label: is_coloured(loaded) for label, loaded in datasets.items()},
        asked.over(PAPER if preset == "paper" else SMALL),
        which.all_seeds,
    )
    _conduct("hpo-table", study, datasets, which)


def _conduct(command: str, study: Study, datasets: Mapping[str, Dataset], which: StudyOptions) -> None:
    """Run a study, or say what it would run; exit code 1 where a cell failed."""
    from raysubset.tuning.progress import RichProgress
    from raysubset.tuning.study import run_study

    if which.dry_run:
        _list(study, datasets, which.only or [], which.as_json)
        return
    console = Console(stderr=which.as_json)
    results = run_study(
        study,
        datasets,
        which.root,
        RichProgress(console),
        only=which.only or [],
        command=this_command(command),
        watts=which.watts,
        say=lambda line: say(console, line),
    )
    _tell(study, results, which, console)
    if any(result.state == "failed" for result in results):
        raise typer.Exit(FAILED_CELLS)


def _tell(study: Study, results: Sequence[CellResult], which: StudyOptions, console: Console) -> None:
    """Print the overview, and where the rest lies."""
    from raysubset.report.study_table import overview_table

    folder = which.root / study.name
    if which.as_json:
        print((folder / study.file("study", ".json")).read_text(encoding="utf-8"), end="")
    else:
        overview = overview_table(results)
        _print(overview.columns, overview.rows)
    say(console, f"tables: {folder / study.file('results', '.md')}")
    say(console, f"report: {folder / study.file('report', '.html')}")


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
