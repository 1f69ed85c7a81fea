"""``raysubset nas``: search an architecture on a chosen part of the data, and say what a benchmark knows of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from typer import Option

from raysubset.cli.defaults import is_coloured, run_label
from raysubset.cli.grouped import grouped
from raysubset.cli.groups import PresetData, RunOptions, SubsetChoice
from raysubset.cli.options import Ratio, Seed
from raysubset.cli.output import say
from raysubset.cli.repeat import gone_on_with, this_command
from raysubset.data.catalog import data_folder
from raysubset.errors import OptionsError
from raysubset.nas.table import CLASSES, TableBench
from raysubset.nas_experiment import (
    CandidateOptions,
    NasExperiment,
    Objective,
    Score,
    Split,
    Statistics,
    Strategy,
)
from raysubset.selection.plan import FirstEpochChoice, SubsetPlan

if TYPE_CHECKING:
    from raysubset.data.dataset import Dataset
    from raysubset.report.nas_info import NasInfo
    from raysubset.tuning.nas_run import NasRun, SplitRows

TABLE = Path("nasbench201") / "nasbench201.parquet"
ALGORITHMS = {"nb201": "spos", "darts": "darts"}  # of the spaces, where none is named; else random


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfChoice(SubsetChoice):
    """Who chooses the rows of a supernet's epoch, half of them where nothing is said."""

    ratio: Ratio = 0.5
    first_epoch: Annotated[FirstEpochChoice, Option(help="auto is full.")] = "auto"

    def whole_plan(self) -> SubsetPlan:
        """Return the plan; what has no ratio is given all the data."""
        from raysubset.tuning.ways import is_whole

        return self.plan(ratio=1.0 if is_whole(self.selector) else self.ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSizes:
    """Of the networks searched with, and of the one that is found."""

    epochs: Annotated[int | None, Option(help="Of the supernet, or of each cell (default: the preset's).")] = None
    channels: Annotated[int | None, Option(help="Of the first stage (default: the preset's).")] = None
    cells: Annotated[int | None, Option(help="Cells a stage; of a DARTS network altogether.")] = None
    retrain: Annotated[int | None, Option(help="Epochs of the found DARTS network on all rows, 0 for none.")] = (
        None
    )

    def over(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return a preset's options with those that were said in their place."""
        said = {"channels": self.channels, "cells": self.cells, "retrain_epochs": self.retrain}
        if self.epochs is not None:
            said["recipe"] = replace(options["recipe"], epochs=self.epochs)
        return {**options, **{name: value for name, value in said.items() if value is not None}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How cells are proposed and judged."""

    strategy: Annotated[Strategy | None, Option(help="Over the supernet: evolution, random, exhaustive.")] = None
    candidates: Annotated[int | None, Option(help="Cells judged (default: the preset's).")] = None
    finalists: Annotated[
        int | None,
        Option(
            help="Cells that are then trained by themselves, half of them a supernet's best, half drawn (default: "
            "the preset's; 0 for a selector that wants evidence gathered beforehand, which such cells lack)."
        ),
    ] = None
    objective: Annotated[Objective, Option(help="What random and evolution judge by.")] = "training"
    statistics: Annotated[Statistics, Option(help="BatchNorm's while a path is judged.")] = "batch"
    score: Annotated[Score, Option(help="What judges a cell, on validation rows.")] = "accuracy"

    def over(self, preset: CandidateOptions, plan: SubsetPlan) -> CandidateOptions:
        """Return a preset's options with those that were said in their place."""
        return replace(
            preset,
            strategy=self.strategy or preset.strategy,
            count=preset.count if self.candidates is None else self.candidates,
            finalists=self._finalists(preset, plan),
            objective=self.objective,
            statistics=self.statistics,
            score=self.score,
        )

    def _finalists(self, preset: CandidateOptions, plan: SubsetPlan) -> int:
        if self.finalists is not None:
            return self.finalists
        return 0 if plan.habits.informed_at_start else preset.finalists


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFiles:
    """A split of one's own: two files of row numbers."""

    train_rows: Annotated[Path | None, Option(help="int64 .npy of rows that train (a split of your own).")] = None
    validation_rows: Annotated[Path | None, Option(help="int64 .npy of rows that judge.")] = None

    def read(self) -> SplitRows | None:
        """Read both, or None if there are none.

        Raises:
            OptionsError: There is one of them.
            DataError: A file cannot be read.
        """
        if self.train_rows is None and self.validation_rows is None:
            return None
        if self.train_rows is None or self.validation_rows is None:
            raise OptionsError("--train-rows and --validation-rows go together: give both or none.")
        from raysubset.cli.arrays import raw_array
        from raysubset.tuning.nas_run import SplitRows

        return SplitRows(
            raw_array("train-rows", self.train_rows), raw_array("validation-rows", self.validation_rows)
        )


@grouped
def nas(
    *,
    space: Annotated[str, Option(help="nb201, nb101 or darts.")] = "nb201",
    algo: Annotated[
        str | None, Option(help="spos, rsps, darts, gdas, random or evolution (default: by space).")
    ] = None,
    source: PresetData,
    subset: HalfChoice,
    sizes: NetworkSizes,
    judging: Judging,
    split: Annotated[
        Split, Option(help="Sides of darts and gdas: fixed by row, or refreshed each epoch.")
    ] = "fixed",
    rows: RowFiles,
    table: Annotated[
        Path | None, Option(help="Benchmark table (default: nasbench201 in the data folder).")
    ] = None,
    compare: Annotated[
        int, Option(help="Random cells whose scores are compared with the table, 0 for none.")
    ] = 200,
    concurrency: Annotated[int, Option(help="Judges at a time (0: what the machine serves).")] = 0,
    seed: Seed = 0,
    which: RunOptions,
) -> None:
    """Search an architecture on a chosen part of the data, and say what a benchmark knows of it."""
    from raysubset.tuning.nas_presets import for_digits, nas_preset

    algo = algo or ALGORITHMS.get(space, "random")
    NasExperiment(name="checked", space=space, algo=algo)  # a wrong name is answered before anything is read
    plan = subset.whole_plan()
    preset = nas_preset(source.preset, space, algo)
    loaded = source.read(which.console, preset.limit).shrunk(preset.shrink)
    bench = _table(table, source.data_dir, space, loaded)
    options = sizes.over(preset.options if is_coloured(loaded) else for_digits(preset.options))
    options["candidates"] = judging.over(options.get("candidates", CandidateOptions()), plan)
    name = which.called(space, algo, run_label(loaded, source.data))
    experiment = NasExperiment(name=name, space=space, algo=algo, plan=plan, split=split, seed=seed, **options)
    run = _opened(experiment, loaded, which, rows.read())
    run.table, run.compared, run.concurrency = bench, compare, concurrency
    info = _search(run)
    run.report()
    _print(info, which.root / experiment.name, which.console, which.as_json)


def _table(path: Path | None, data_dir: Path | None, space: str, data: Dataset) -> TableBench | None:
    """Read the benchmark: the file that is named, else NAS-Bench-201 where data sets lie, if it is there."""
    known = data.name in CLASSES
    if path is None:
        folder = data_folder(data_dir)
        path = None if folder is None else folder / TABLE
        if space != "nb201" or not known or path is None or not path.exists():
            return None
    return TableBench.read(path, data.name if known else "cifar10", complete=space == "nb201")


def _opened(experiment: NasExperiment, data: Dataset, which: RunOptions, rows: SplitRows | None) -> NasRun:
    """Begin the run, or go on with it."""
    from raysubset.tuning.nas_run import create_nas_run, open_nas_run
    from raysubset.tuning.progress import RichProgress

    listener = RichProgress(which.console)
    if which.resume:
        return open_nas_run(which.folder, data, listener)
    return create_nas_run(experiment, data, which.root, listener, command=this_command("nas"), rows=rows)


def _search(run: NasRun) -> NasInfo:
    """Search; an interruption still leaves a report."""
    from raysubset.tuning.nas_search import search_architecture

    with gone_on_with(run, "nas", same="options otherwise"):
        return search_architecture(run)


def _print(info: NasInfo, folder: Path, console: Console, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(info), indent=2))
        return
    lines = _lines(info)
    width = max(len(label) for label, _ in lines)
    for label, value in lines:
        say(console, f"{label:{width}}  {value}")
    say(console, f"report: {folder / 'report.html'}")
    say(console, f"All of it: {folder}")


def _lines(info: NasInfo) -> list[tuple[str, str]]:
    """Say in words what was found and what it cost."""
    lines = [("found", info.cell or "nothing")]
    if info.score is not None:
        lines.append(("score on validation rows", f"{info.score:.4f}"))
    if info.supernet_epochs is not None and info.supernet_train_s is not None:
        cost = f"{info.supernet_train_s:.1f} s, {info.supernet_epochs:.1f} passes over {info.dataset}"
        lines.append(("supernet", f"{cost} ({info.selector}, ratio {info.ratio:g})"))
    if info.judged:
        lines.append(("judged", f"{info.judged} cells in {info.judged_s:.1f} s"))
    if info.finalists:
        lines.append(("trained by themselves", f"{info.finalists} cells in {info.finalists_s:.1f} s"))
    if (table := info.table) is not None:
        lines.append((f"table, {table.data}", f"test {table.test:.2%}, rank {table.rank} of {table.cells}"))
        lines.append(("", f"best {table.best_test:.2%}, median {table.median_test:.2%}"))
    if (agreed := info.agreement) is not None:
        interval = "" if agreed.low is None else f" ({agreed.low:.2f} to {agreed.high:.2f})"
        lines.append(("Kendall's tau, scores to table", f"{agreed.tau:.3f}{interval}, {agreed.cells} cells"))
    if info.retrained is not None:
        lines.append(("retrained on all rows", f"test {info.retrained['test_accuracy']:.2%}"))
    return lines
