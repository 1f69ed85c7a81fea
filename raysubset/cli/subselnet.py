"""``raysubset subselnet``: fit once, then serve subsets to architectures that were never trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from typer import Argument, Option

from raysubset.cli.commands import PLAIN
from raysubset.cli.defaults import is_coloured, run_label
from raysubset.cli.grouped import grouped
from raysubset.cli.groups import PresetData, stamped
from raysubset.cli.options import Concurrency, DataDir, Json, Root, RowCount, RowShare, Seed
from raysubset.cli.output import print_facts, say
from raysubset.cli.repeat import this_command
from raysubset.cli.select import size_faults, subset_size, write_selection
from raysubset.cli.values import names, numbers
from raysubset.data.catalog import load_dataset
from raysubset.errors import OptionsError
from raysubset.seeds import generator

if TYPE_CHECKING:  # each brings torch, most bring Ray
    from raysubset.subselnet_experiment import SubSelNetExperiment
    from raysubset.tuning.subselnet_evaluate import EvaluationOptions
    from raysubset.tuning.subselnet_piece import Outcome, Piece
    from raysubset.tuning.subselnet_presets import SubSelNetPreset
    from raysubset.tuning.subselnet_run import SubSelNetRun

subselnet = typer.Typer(
    help="Subsets for architectures that were never trained: fit once, then select, evaluate, recommend.",
    no_args_is_help=True,
    **PLAIN,
)
Folder = Annotated[Path, Argument(help="Folder of a fit: <root>/<name>.")]
Entropy = Annotated[float, Option(help="Weight of the samplers' entropy, in nats of loss.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """What a fit learns from; what is not said is filled in by the preset."""

    space: Annotated[
        str, Option(help="Of the cells: nb101, or darts (genotypes), which serves DARTS searches.")
    ] = "nb101"
    supervisors: Annotated[int | None, Option(help="Cells to learn from, >= 3.")] = None
    unseen: Annotated[int | None, Option(help="Cells kept for the evaluation.")] = None
    epochs: Annotated[int | None, Option(help="Of each supervisor.")] = None
    embedding: Annotated[str | None, Option(help="Of the rows: auto, resnet50, scout or pca.")] = None
    approximator: Annotated[
        str | None, Option(help="attention, residual, lstm or feed-forward (default: attention).")
    ] = None
    validation: Annotated[
        float,
        Option(help="Share of the training rows that no stage sees; as in the searches that it shall serve."),
    ] = 0.1
    seed: Seed = 0

    def experiment(self, name: str, preset: SubSelNetPreset) -> SubSelNetExperiment:
        """Return the experiment, its gaps filled in.

        Raises:
            OptionsError: See `SubSelNetExperiment`.
        """
        from raysubset.subselnet_experiment import SubSelNetExperiment

        given = {"supervisors": self.supervisors, "unseen": self.unseen, "embedding": self.embedding}
        options = {**preset.options, **{key: value for key, value in given.items() if value is not None}}
        if self.epochs is not None:
            options["recipe"] = replace(options["recipe"], epochs=self.epochs)
        experiment = SubSelNetExperiment(name=name, seed=self.seed, validation=self.validation, **options)
        if self.approximator is None:
            return experiment
        changed = replace(experiment.approximator, kind=self.approximator)  # type: ignore[arg-type]  # checked there
        return replace(experiment, approximator=changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationChoice:
    """Which fit is evaluated, how often, and how the result is printed."""

    folder: Folder
    seeds: Annotated[int, Option(help="Repeats.")] = 1
    epochs: Annotated[int, Option(help="Of a cell's training on a subset.")] = 25
    data_dir: DataDir = None
    concurrency: Concurrency = 0
    as_json: Json = False

    def options(
        self, methods: str, ratios: Sequence[float], entropy: float = 0.3, cells: int | None = None
    ) -> EvaluationOptions:
        """Return what is evaluated: methods by name, with commas between them, or all."""
        from raysubset.runtime.subset_methods import METHODS, MethodOptions
        from raysubset.tuning.subselnet_evaluate import EvaluationOptions

        return EvaluationOptions(
            methods=METHODS if methods == "all" else names(methods),
            ratios=tuple(ratios),
            seeds=self.seeds,
            epochs=self.epochs,
            chosen=MethodOptions(entropy=entropy),
            cells=cells,
        )

    def evaluated(self, asked: EvaluationOptions, console: Console) -> tuple[SubSelNetRun, dict[Piece, Outcome]]:
        """Open the fit and train what is missing of an evaluation."""
        from raysubset.report.fit_info import FitInfo
        from raysubset.tuning.subselnet_evaluate import evaluate_fit
        from raysubset.tuning.subselnet_run import open_run

        info = FitInfo.read(self.folder)
        data = load_dataset(info.data, self.data_dir, limit=info.limit).shrunk(info.shrink)
        run = open_run(self.folder, data)
        return run, evaluate_fit(run, asked, partial(say, console), self.concurrency)


@subselnet.command()
@grouped
def fit(
    *,
    source: PresetData,
    asked: FitOptions,
    name: Annotated[str | None, Option(help="Run name; a fit of that name is gone on with.")] = None,
    root: Root = Path("runs"),
    concurrency: Concurrency = 0,
    as_json: Json = False,
) -> None:
    """Train supervisors, encoder, approximator and inductive sampler; what is done already is kept."""
    from raysubset.subselnet.space import encoded_space
    from raysubset.tuning.subselnet_fit import fit_subselnet
    from raysubset.tuning.subselnet_presets import subselnet_preset
    from raysubset.tuning.subselnet_run import start_run

    console = Console(stderr=as_json)
    encoded_space(asked.space)  # a wrong name is answered before anything is read
    rows = source.limit
    if rows is None:
        rows = subselnet_preset(source.preset, colour=True, space=asked.space).limit
    loaded = source.read(console, rows)
    preset = subselnet_preset(source.preset, colour=is_coloured(loaded), space=asked.space)
    run = start_run(
        asked.experiment(name or stamped("subselnet", run_label(loaded, source.data)), preset),
        loaded.shrunk(preset.shrink),
        root,
        command=this_command("subselnet"),
        asked="embedded" if loaded.note else source.data,
        limit=rows,
        shrink=preset.shrink,
    )
    fit_subselnet(run, partial(say, console), concurrency)
    if as_json:
        print(json.dumps(asdict(run.info), indent=2))
        return
    say(console, f"Fitted: {run.folder}. Next: raysubset subselnet evaluate {run.folder}")


@subselnet.command()
def select(
    folder: Folder,
    cell: Annotated[str, Option(help="A NAS-Bench-101 cell, as op~source~...+...+output~source, or a genotype.")],
    out: Annotated[Path, Option(help="Where the selection is written (.npz).")],
    k: RowCount = None,
    ratio: RowShare = None,
    sampler: Annotated[
        str, Option(help="gibbs-per-class, gibbs, transductive, inductive or hybrid.")
    ] = "gibbs-per-class",
    entropy: Entropy = 0.3,
    seed: Seed = 0,
    as_json: Json = False,
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
    print_facts(facts, as_json)


@subselnet.command()
@grouped
def evaluate(
    *,
    which: EvaluationChoice,
    methods: Annotated[str, Option(help="Names, separated by commas, or all.")] = (
        "random,random-per-class,bottom-loss,gibbs,gibbs-per-class,transductive,inductive,hybrid"
    ),
    ratios: Annotated[str, Option(help="Shares of the rows, separated by commas.")] = "0.05,0.1,0.3",
    cells: Annotated[int | None, Option(help="Only so many of the unseen cells, the first ones.")] = None,
    entropy: Entropy = 0.3,
) -> None:
    """Train the cells the fit never saw on what each method chooses, and say plainly what wins."""
    from raysubset.report.subselnet_tables import markdown
    from raysubset.report.subselnet_verdict import evaluation_section
    from raysubset.tuning.subselnet_evaluate import evaluation_rows
    from raysubset.tuning.subselnet_study import write_study

    console = Console(stderr=which.as_json)
    asked = which.options(methods, numbers("ratios", ratios), entropy, cells)
    run, outcomes = which.evaluated(asked, console)
    rows = evaluation_rows(outcomes)
    pages = write_study(run, outcomes, asked)
    if which.as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    say(console, markdown(evaluation_section(rows, run.info.dataset)))
    say(console, f"All of it: {' and '.join(map(str, pages))}")


@subselnet.command()
@grouped
def recommend(
    *,
    which: EvaluationChoice,
    ratio: Annotated[float, Option(help="Share of the rows a cell is judged by.")] = 0.1,
    method: Annotated[str, Option(help="Whose subsets.")] = "gibbs-per-class",
    k: Annotated[int, Option(help="Cells that count as the best.")] = 5,
) -> None:
    """Rank the cells the fit never saw by training each on its subset, beside full training."""
    from raysubset.tuning.recommend import recommend as ranked

    console = Console(stderr=which.as_json)
    _, outcomes = which.evaluated(which.options(method, [ratio]), console)
    found = ranked(outcomes, method, ratio, k)
    if which.as_json:
        print(json.dumps(asdict(found), indent=2))
        return
    for place, (cell, accuracy) in enumerate(found.ranked, 1):
        say(console, f"{place:3}  {accuracy:.1%}  {cell}")
    interval = "" if found.interval is None else f" ({found.interval.low:.2f} to {found.interval.high:.2f})"
    say(
        console,
        f"Kendall's tau to full training: {found.tau:.2f}{interval}, {len(found.ranked)} cells; Jaccard of the "
        f"{found.k} best: {found.jaccard:.2f}",
    )
