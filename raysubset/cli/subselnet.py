"""``raysubset subselnet``: fit once, then serve subsets to architectures that were never trained."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from typer import Argument, Option

from raysubset.cli.commands import PLAIN
from raysubset.cli.defaults import run_label
from raysubset.cli.select import size_faults, subset_size, write_selection
from raysubset.data.catalog import load_dataset
from raysubset.errors import OptionsError, UnknownNameError
from raysubset.seeds import generator

if TYPE_CHECKING:  # each brings torch, most bring Ray
    from raysubset.data.dataset import Dataset
    from raysubset.tuning.subselnet_evaluate import EvaluationOptions
    from raysubset.tuning.subselnet_piece import Outcome, Piece
    from raysubset.tuning.subselnet_run import SubSelNetRun

subselnet = typer.Typer(
    help="Subsets for architectures that were never trained: fit once, then select, evaluate, recommend.",
    no_args_is_help=True,
    **PLAIN,
)
Folder = Annotated[Path, Argument(help="Folder of a fit: <root>/<name>.")]
DataDir = Annotated[Path | None, Option(help="Where data sets lie (default: $RAYSUBSET_DATA).")]
Concurrency = Annotated[int, Option(help="Trainings at a time (0: what the cluster serves).")]
AsJson = Annotated[bool, Option("--json", help="Print the result as JSON.")]


@subselnet.command()
def fit(
    data: Annotated[str, Option(help="cifar10, cifar100, mnist, embedded, or a folder.")] = "cifar10",
    data_dir: DataDir = None,
    space: Annotated[
        str, Option(help="Of the cells: nb101, or darts (genotypes), which serves DARTS searches.")
    ] = "nb101",
    preset: Annotated[str, Option(help="small: minutes on two cores; paper: the paper's sizes.")] = "small",
    limit: Annotated[int | None, Option(help="Rows of each split (default: the preset's).")] = None,
    supervisors: Annotated[int | None, Option(help="Cells to learn from, >= 3.")] = None,
    unseen: Annotated[int | None, Option(help="Cells kept for the evaluation.")] = None,
    epochs: Annotated[int | None, Option(help="Of each supervisor.")] = None,
    embedding: Annotated[str | None, Option(help="Of the rows: auto, resnet50, scout or pca.")] = None,
    approximator: Annotated[
        str | None, Option(help="attention, residual, lstm or feed-forward (default: attention).")
    ] = None,
    validation: Annotated[
        float,
        Option(help="Share of the training rows that no stage sees; as in the searches that it shall serve."),
    ] = 0.1,
    seed: Annotated[int, Option(help="The seed of everything.")] = 0,
    name: Annotated[str | None, Option(help="Run name; a fit of that name is gone on with.")] = None,
    root: Annotated[Path, Option(envvar="RAYSUBSET_ROOT", help="Folder of all runs.")] = Path("runs"),
    concurrency: Concurrency = 0,
    as_json: AsJson = False,
) -> None:
    """Train supervisors, encoder, approximator and inductive sampler; what is done already is kept."""
    from raysubset.subselnet.space import encoded_space
    from raysubset.subselnet_experiment import SubSelNetExperiment
    from raysubset.tuning.subselnet_fit import fit_subselnet
    from raysubset.tuning.subselnet_presets import PRESETS, subselnet_preset
    from raysubset.tuning.subselnet_run import start_run

    console = Console(stderr=as_json)
    if preset not in PRESETS:
        raise UnknownNameError.of("preset", preset, PRESETS)
    encoded_space(space)  # a wrong name is answered before anything is read
    sizes = subselnet_preset(preset, colour=True, space=space)
    rows = sizes.limit if limit is None else limit
    loaded = load_dataset(data, data_dir, limit=rows, allow_fallback=True)
    colour = len(loaded.input_shape) == 3 and loaded.input_shape[0] == 3
    sizes = subselnet_preset(preset, colour=colour, space=space)
    if loaded.note:
        console.print(loaded.note, style="yellow", highlight=False, markup=False, soft_wrap=True)
    given = (("supervisors", supervisors), ("unseen", unseen), ("embedding", embedding))
    options = dict(sizes.options) | {key: value for key, value in given if value is not None}
    if epochs is not None:
        options["recipe"] = replace(options["recipe"], epochs=epochs)
    label = name or f"subselnet-{run_label(loaded, data)}-{datetime.now():%Y%m%d-%H%M%S}"
    experiment = SubSelNetExperiment(name=label, seed=seed, validation=validation, **options)
    if approximator is not None:
        changed = replace(experiment.approximator, kind=approximator)  # type: ignore[arg-type]  # checked there
        experiment = replace(experiment, approximator=changed)
    command = shlex.join(["raysubset", *sys.argv[1:]] if sys.argv[1:2] == ["subselnet"] else ["python", *sys.argv])
    asked = "embedded" if loaded.note else data
    run = start_run(
        experiment,
        loaded.shrunk(sizes.shrink),
        root,
        command=command,
        asked=asked,
        limit=rows,
        shrink=sizes.shrink,
    )
    fit_subselnet(run, _say(console), concurrency)
    if as_json:
        print(json.dumps(asdict(run.info), indent=2))
        return
    _say(console)(f"Fitted: {run.folder}. Next: raysubset subselnet evaluate {run.folder}")


@subselnet.command()
def select(
    folder: Folder,
    cell: Annotated[str, Option(help="A NAS-Bench-101 cell, as op~source~...+...+output~source, or a genotype.")],
    out: Annotated[Path, Option(help="Where the selection is written (.npz).")],
    k: Annotated[int | None, Option(help="Rows to choose.")] = None,
    ratio: Annotated[float | None, Option(help="Share of the rows to choose, in (0, 1].")] = None,
    sampler: Annotated[
        str, Option(help="gibbs-per-class, gibbs, transductive, inductive or hybrid.")
    ] = "gibbs-per-class",
    entropy: Annotated[float, Option(help="Weight of the sampler's entropy, in nats of loss.")] = 0.3,
    seed: Annotated[int, Option(help="Seed of the draw.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Choose rows for one architecture; the file's ``ids`` are row numbers of the data set's training rows."""
    from raysubset.selection.protocol import Context
    from raysubset.subselnet.selector import SubSelNet, fitted_rows, open_predictor

    if faults := size_faults(k, ratio):
        raise OptionsError.of("raysubset subselnet select", faults)
    method = SubSelNet(str(folder), cell, sampler, entropy)  # type: ignore[arg-type]  # it checks the name
    labels = open_predictor(folder).labels
    count = subset_size(k, ratio, len(labels))
    chosen = method.select(Context(len(labels), labels), count, generator(seed, "select"))
    write_selection(out, chosen, fitted_rows(folder))
    facts = {"cell": cell, "sampler": sampler, "selected": len(chosen), "of": len(labels), "out": str(out)}
    if as_json:
        print(json.dumps(facts))
        return
    for key, value in facts.items():
        Console().print(f"{key:>10}  {value}", highlight=False, markup=False, soft_wrap=True)


@subselnet.command()
def evaluate(
    folder: Folder,
    methods: Annotated[str, Option(help="Names, separated by commas, or all.")] = (
        "random,random-per-class,bottom-loss,gibbs,gibbs-per-class,transductive,inductive,hybrid"
    ),
    ratios: Annotated[str, Option(help="Shares of the rows, separated by commas.")] = "0.05,0.1,0.3",
    seeds: Annotated[int, Option(help="Repeats.")] = 1,
    cells: Annotated[int | None, Option(help="Only so many of the unseen cells, the first ones.")] = None,
    epochs: Annotated[int, Option(help="Of a cell's training on a subset.")] = 25,
    entropy: Annotated[float, Option(help="Weight of the samplers' entropy, in nats of loss.")] = 0.3,
    data_dir: DataDir = None,
    concurrency: Concurrency = 0,
    as_json: AsJson = False,
) -> None:
    """Train the cells the fit never saw on what each method chooses, and say plainly what wins."""
    from raysubset.report.subselnet_tables import markdown
    from raysubset.report.subselnet_verdict import evaluation_section
    from raysubset.tuning.subselnet_evaluate import evaluation_rows
    from raysubset.tuning.subselnet_study import write_study

    console = Console(stderr=as_json)
    asked = _options(methods, ratios, seeds, epochs, entropy, cells)
    run, outcomes = _evaluated(folder, data_dir, asked, concurrency, _say(console))
    rows = evaluation_rows(outcomes)
    pages = write_study(run, outcomes, asked)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    _say(console)(markdown(evaluation_section(rows, run.info.dataset)))
    _say(console)(f"All of it: {' and '.join(map(str, pages))}")


@subselnet.command()
def recommend(
    folder: Folder,
    ratio: Annotated[float, Option(help="Share of the rows a cell is judged by.")] = 0.1,
    method: Annotated[str, Option(help="Whose subsets.")] = "gibbs-per-class",
    k: Annotated[int, Option(help="Cells that count as the best.")] = 5,
    seeds: Annotated[int, Option(help="Repeats.")] = 1,
    epochs: Annotated[int, Option(help="Of a cell's training on a subset.")] = 25,
    data_dir: DataDir = None,
    concurrency: Concurrency = 0,
    as_json: AsJson = False,
) -> None:
    """Rank the cells the fit never saw by training each on its subset, beside full training."""
    from raysubset.tuning.recommend import recommend as ranked

    console = Console(stderr=as_json)
    asked = _options(method, str(ratio), seeds, epochs, 0.3)
    _, outcomes = _evaluated(folder, data_dir, asked, concurrency, _say(console))
    found = ranked(outcomes, method, ratio, k)
    if as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    for place, (cell, accuracy) in enumerate(found.ranked, 1):
        console.print(f"{place:3}  {accuracy:.1%}  {cell}", highlight=False, markup=False, soft_wrap=True)
    interval = "" if found.interval is None else f" ({found.interval.low:.2f} to {found.interval.high:.2f})"
    _say(console)(
        f"Kendall's tau to full training: {found.tau:.2f}{interval}, {len(found.ranked)} cells; Jaccard of the "
        f"{found.k} best: {found.jaccard:.2f}"
    )


def _evaluated(
    folder: Path, data_dir: Path | None, asked: EvaluationOptions, concurrency: int, say: Callable[[str], None]
) -> tuple[SubSelNetRun, dict[Piece, Outcome]]:
    from raysubset.tuning.subselnet_evaluate import evaluate_fit
    from raysubset.tuning.subselnet_run import FitInfo, open_run

    run = open_run(folder, _data(FitInfo.read(folder), data_dir))
    return run, evaluate_fit(run, asked, say, concurrency)


def _data(info: object, data_dir: Path | None) -> Dataset:
    """Load the data that a fit is on."""
    from raysubset.tuning.subselnet_run import FitInfo

    assert isinstance(info, FitInfo)
    return load_dataset(info.data, data_dir, limit=info.limit).shrunk(info.shrink)


def _options(
    methods: str, ratios: str, seeds: int, epochs: int, entropy: float, cells: int | None = None
) -> EvaluationOptions:
    from raysubset.runtime.subset_methods import METHODS, MethodOptions
    from raysubset.tuning.subselnet_evaluate import EvaluationOptions

    try:
        shares = tuple(float(text) for text in ratios.split(","))
    except ValueError as error:
        raise OptionsError(f"--ratios {ratios!r}: need numbers separated by commas.") from error
    names = METHODS if methods == "all" else tuple(text.strip() for text in methods.split(","))
    told = MethodOptions(entropy=entropy)
    return EvaluationOptions(methods=names, ratios=shares, seeds=seeds, epochs=epochs, chosen=told, cells=cells)


def _say(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True)
