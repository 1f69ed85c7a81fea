"""``raysubset nas``: search an architecture on a chosen part of the data, and say what a benchmark knows of it."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from typer import Option

from raysubset.cli.defaults import run_label
from raysubset.cli.select import read_options
from raysubset.data.catalog import data_folder, load_dataset
from raysubset.errors import InterruptedRunError, OptionsError, UnknownNameError
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
from raysubset.selection.ratio import Schedule

if TYPE_CHECKING:
    from raysubset.data.dataset import Dataset
    from raysubset.report.nas_info import NasInfo
    from raysubset.tuning.nas_run import NasRun, SplitRows

TABLE = Path("nasbench201") / "nasbench201.parquet"


def nas(
    space: Annotated[str, Option(help="nb201, nb101 or darts.")] = "nb201",
    algo: Annotated[
        str | None, Option(help="spos, rsps, darts, gdas, random or evolution (default: by space).")
    ] = None,
    data: Annotated[str, Option(help="cifar10, cifar100, mnist, embedded, or a folder.")] = "cifar10",
    data_dir: Annotated[Path | None, Option(help="Where data sets lie (default: $RAYSUBSET_DATA).")] = None,
    preset: Annotated[str, Option(help="small: minutes on two cores; paper: the papers' sizes.")] = "small",
    limit: Annotated[int | None, Option(help="Rows of each split (default: the preset's).")] = None,
    ratio: Annotated[float, Option(help="Mean share of the data an epoch trains on, in (0, 1].")] = 0.5,
    selector: Annotated[str, Option(help="asp, adaptive-random, full, proxy-data-p1, ...")] = "asp",
    metric: Annotated[str, Option(help="mixture, adaptive, or a single metric: loss, gradient, ...")] = "mixture",
    schedule: Annotated[Schedule, Option(help="Subset sizes: large first, or all alike.")] = "dynamic",
    option: Annotated[
        list[str] | None, Option(help="NAME=VALUE, an option of the selector; may be repeated.")
    ] = None,
    first_epoch: Annotated[FirstEpochChoice, Option(help="auto is full.")] = "auto",
    select_every: Annotated[
        int | None, Option(help="Epochs between selections (default: the selector's).")
    ] = None,
    epochs: Annotated[int | None, Option(help="Of the supernet, or of each cell (default: the preset's).")] = None,
    channels: Annotated[int | None, Option(help="Of the first stage (default: the preset's).")] = None,
    cells: Annotated[int | None, Option(help="Cells a stage; of a DARTS network altogether.")] = None,
    strategy: Annotated[Strategy | None, Option(help="Over the supernet: evolution, random, exhaustive.")] = None,
    candidates: Annotated[int | None, Option(help="Cells judged (default: the preset's).")] = None,
    finalists: Annotated[
        int | None,
        Option(help="Best cells by a supernet that are then trained by themselves (default: the preset's)."),
    ] = None,
    objective: Annotated[Objective, Option(help="What random and evolution judge by.")] = "training",
    statistics: Annotated[Statistics, Option(help="BatchNorm's while a path is judged.")] = "batch",
    score: Annotated[Score, Option(help="What judges a cell, on validation rows.")] = "accuracy",
    split: Annotated[
        Split, Option(help="Sides of darts and gdas: fixed by row, or refreshed each epoch.")
    ] = "fixed",
    retrain: Annotated[
        int | None, Option(help="Epochs of the found DARTS network on all rows, 0 for none.")
    ] = None,
    train_rows: Annotated[Path | None, Option(help="int64 .npy of rows that train (a split of your own).")] = None,
    validation_rows: Annotated[Path | None, Option(help="int64 .npy of rows that judge.")] = None,
    table: Annotated[
        Path | None, Option(help="Benchmark table (default: nasbench201 in the data folder).")
    ] = None,
    compare: Annotated[
        int, Option(help="Random cells whose scores are compared with the table, 0 for none.")
    ] = 200,
    concurrency: Annotated[int, Option(help="Judges at a time (0: what the machine serves).")] = 0,
    seed: Annotated[int, Option(help="The seed of everything.")] = 0,
    name: Annotated[str | None, Option(help="Run name (default: space, algorithm and time).")] = None,
    root: Annotated[Path, Option(envvar="RAYSUBSET_ROOT", help="Folder of all runs.")] = Path("runs"),
    resume: Annotated[bool, Option("--resume", help="Go on with the run of that name.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Search an architecture on a chosen part of the data, and say what a benchmark knows of it."""
    from raysubset.tuning.nas_presets import PRESETS, for_digits, nas_preset

    console = Console(stderr=as_json)
    if preset not in PRESETS:
        raise UnknownNameError.of("preset", preset, PRESETS)
    if resume and name is None:
        raise OptionsError("--resume needs the --name of the run to go on with.")
    algo = algo or {"nb201": "spos", "darts": "darts"}.get(space, "random")
    NasExperiment(name="checked", space=space, algo=algo)  # a wrong name is answered before anything is read
    plan = SubsetPlan(
        selector=selector,
        metric=metric,
        ratio=1.0 if selector in ("full", "infobatch") else ratio,
        schedule=schedule,
        first_epoch=first_epoch,
        select_every=select_every,
        options=read_options(option),
    )
    sizes = nas_preset(preset, space, algo)
    loaded = load_dataset(
        data, data_dir, limit=sizes.limit if limit is None else limit, allow_fallback=True
    ).shrunk(sizes.shrink)
    if loaded.note:
        console.print(loaded.note, style="yellow", highlight=False, markup=False, soft_wrap=True)
    bench = _table(table, data_dir, space, loaded)
    colour = len(loaded.input_shape) == 3 and loaded.input_shape[0] == 3
    options = dict(sizes.options) if colour else for_digits(sizes.options)
    if epochs is not None:
        options["recipe"] = replace(options["recipe"], epochs=epochs)
    options |= {
        key: value
        for key, value in (("channels", channels), ("cells", cells), ("retrain_epochs", retrain))
        if value is not None
    }
    judged: CandidateOptions = options.get("candidates", CandidateOptions())
    judged = replace(
        judged,
        strategy=strategy or judged.strategy,
        count=judged.count if candidates is None else candidates,
        finalists=judged.finalists if finalists is None else finalists,
        objective=objective,
        statistics=statistics,
        score=score,
    )
    experiment = NasExperiment(
        name=name or f"{space}-{algo}-{run_label(loaded, data)}-{datetime.now():%Y%m%d-%H%M%S}",
        space=space,
        algo=algo,
        plan=plan,
        split=split,
        seed=seed,
        **{**options, "candidates": judged},
    )
    split_rows = _rows(train_rows, validation_rows)
    run = _opened(experiment, loaded, root, console, resume, split_rows)
    run.table, run.compared, run.concurrency = bench, compare, concurrency
    info = _search(run)
    run.report()
    _print(info, root / experiment.name, console, as_json)


def _table(path: Path | None, data_dir: Path | None, space: str, data: Dataset) -> TableBench | None:
    """Read the benchmark: the file that is named, else NAS-Bench-201 where data sets lie, if it is there."""
    known = data.name in CLASSES
    if path is None:
        folder = data_folder(data_dir)
        path = None if folder is None else folder / TABLE
        if space != "nb201" or not known or path is None or not path.exists():
            return None
    return TableBench.read(path, data.name if known else "cifar10", complete=space == "nb201")


def _rows(train: Path | None, validation: Path | None) -> SplitRows | None:
    """Read a split that was given as two files of row numbers."""
    if train is None and validation is None:
        return None
    if train is None or validation is None:
        raise OptionsError("--train-rows and --validation-rows go together: give both or none.")
    from raysubset.cli.arrays import raw_array
    from raysubset.tuning.nas_run import SplitRows

    return SplitRows(raw_array("train-rows", train), raw_array("validation-rows", validation))


def _opened(
    experiment: NasExperiment, data: Dataset, root: Path, console: Console, resume: bool, rows: SplitRows | None
) -> NasRun:
    from raysubset.tuning.nas_run import create_nas_run, open_nas_run
    from raysubset.tuning.progress import RichProgress

    listener = RichProgress(console)
    if resume:
        return open_nas_run(root / experiment.name, data, listener)
    command = shlex.join(["raysubset", *sys.argv[1:]] if sys.argv[1:2] == ["nas"] else ["python", *sys.argv])
    return create_nas_run(experiment, data, root, listener, command=command, rows=rows)


def _search(run: NasRun) -> NasInfo:
    from raysubset.tuning.nas_search import search_architecture

    try:
        return search_architecture(run)
    except InterruptedRunError as error:
        command = f"raysubset nas --resume --name {run.experiment.name} --root {run.folder.parent}"
        run.report()
        raise InterruptedRunError(f"{error} Go on with: {command} (and the same options otherwise).") from None


def _print(info: NasInfo, folder: Path, console: Console, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(info), indent=2))
        return
    lines = _lines(info)
    width = max(len(label) for label, _ in lines)
    for label, value in lines:
        console.print(f"{label:{width}}  {value}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"report: {folder / 'report.html'}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"All of it: {folder}", highlight=False, markup=False, soft_wrap=True)


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
        lines.append(("trained by themselves", f"the best {info.finalists} in {info.finalists_s:.1f} s"))
    if (table := info.table) is not None:
        lines.append((f"table, {table.data}", f"test {table.test:.2%}, rank {table.rank} of {table.cells}"))
        lines.append(("", f"best {table.best_test:.2%}, median {table.median_test:.2%}"))
    if (agreed := info.agreement) is not None:
        interval = "" if agreed.low is None else f" ({agreed.low:.2f} to {agreed.high:.2f})"
        lines.append(("Kendall's tau, scores to table", f"{agreed.tau:.3f}{interval}, {agreed.cells} cells"))
    if info.retrained is not None:
        lines.append(("retrained on all rows", f"test {info.retrained['test_accuracy']:.2%}"))
    return lines
