"""``raysubset corr``: do subsets rank configurations as all the data do, and how small may they be?"""

from __future__ import annotations

import json
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from rich.console import Console
from rich.table import Table as RichTable
from typer import Option

from raysubset.cli.defaults import recipe_for, run_label, space_for
from raysubset.data.catalog import load_dataset
from raysubset.errors import InterruptedRunError, OptionsError
from raysubset.experiment import Experiment, Score, SearchOptions
from raysubset.hpo.pairing import Pairing
from raysubset.report.rank_cells import STUDY_FILE, Calibration, Study
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.ratio import Schedule
from raysubset.tuning.cells import StudyOptions

if TYPE_CHECKING:  # Ray Tune and PyTorch take seconds to import: a mistyped option is answered before that
    from raysubset.tuning.correlation import CorrelationStudy
    from raysubset.tuning.recorder import Listener

RATIOS, CALIBRATION_RATIOS = "0.02,0.05", "0.02,0.05,0.1,0.2,0.5"
PAIRINGS, CALIBRATION_PAIRING = "none,subset,both", "both"
THRESHOLD = 0.6
LEAST_WIDTH = 104  # of the tables


def corr(
    data: Annotated[
        str, Option(help="cifar10, cifar100, mnist, fashion-mnist, embedded or a folder.")
    ] = "cifar10",
    data_dir: Annotated[Path | None, Option(help="Where data sets lie (default: $RAYSUBSET_DATA).")] = None,
    limit: Annotated[int | None, Option(help="Use only so many rows of each split.")] = None,
    model: Annotated[str | None, Option(help="Model of the zoo (default: by data and device).")] = None,
    configs: Annotated[int | None, Option(help="Configurations (default: 30, to calibrate 12).")] = None,
    epochs: Annotated[int | None, Option(help="Epochs of a training (default: by data and device).")] = None,
    ratios: Annotated[
        str | None, Option(help=f"Of the subsets (default: {RATIOS}, to calibrate {CALIBRATION_RATIOS}).")
    ] = None,
    pairing: Annotated[
        str | None, Option(help=f"Random numbers that trials share (default: {PAIRINGS}, to calibrate both).")
    ] = None,
    repeats: Annotated[
        int | None, Option(help="Draws of each ratio and pairing (default: 3, to calibrate 2).")
    ] = None,
    full_seeds: Annotated[int | None, Option(help="Seeds on all data (default: 2, to calibrate 1).")] = None,
    selector: Annotated[
        str, Option(help="adaptive-random, asp, craig, ...: see `raysubset select --list`.")
    ] = "adaptive-random",
    metric: Annotated[
        str, Option(help="Of asp: mixture, adaptive, or a single metric: loss, gradient, ...")
    ] = "mixture",
    schedule: Annotated[Schedule, Option(help="Subset sizes: large first, or all alike.")] = "dynamic",
    evaluate: Annotated[
        str, Option(help="Judge at the end (rungs), or after all epochs, to see how early it ranks.")
    ] = "rungs",
    calibrate: Annotated[
        bool, Option("--calibrate", help="Find the smallest ratio that ranks well enough, then stop.")
    ] = False,
    tau: Annotated[float | None, Option(help="Kendall tau that must hold, to calibrate (default: 0.6).")] = None,
    hold: Annotated[
        Literal["lower", "estimate"] | None,
        Option(help="What must reach it: the lower end of tau's 95 % interval (default), or tau itself."),
    ] = None,
    score: Annotated[
        Score | None, Option(help="What both sides are judged by, to calibrate (default: loss).")
    ] = None,
    space: Annotated[Path | None, Option(help="TOML file with the search space.")] = None,
    concurrency: Annotated[int, Option(help="Trials at a time (0: what the machine serves).")] = 0,
    seed: Annotated[int, Option(help="The seed of everything.")] = 0,
    name: Annotated[str | None, Option(help="Run name (default: data, model and time).")] = None,
    root: Annotated[
        Path, Option(envvar="RAYSUBSET_ROOT", help="Folder of all runs; on a cluster one that all nodes see.")
    ] = Path("runs"),
    resume: Annotated[
        bool, Option("--resume", help="Go on with the study of that name, as it was asked.")
    ] = False,
    as_json: Annotated[bool, Option("--json", help="Print the study as JSON.")] = False,
) -> None:
    """Train the same configurations on all the data and on subsets; say how alike they rank, with intervals.

    Kendall's tau, Pearson, Spearman and the regret of the best, a row a ratio, pairing and score, beside the
    ceiling: one seed on all data against another.
    """
    console = Console(stderr=as_json)
    if resume and name is None:
        raise OptionsError("--resume needs the --name of the study to go on with.")
    options = StudyOptions(
        configs=configs if configs is not None else 12 if calibrate else 30,
        ratios=_numbers(ratios or (CALIBRATION_RATIOS if calibrate else RATIOS)),
        pairings=cast("tuple[Pairing, ...]", _names(pairing or (CALIBRATION_PAIRING if calibrate else PAIRINGS))),
        repeats=repeats if repeats is not None else 2 if calibrate else 3,
        full_seeds=full_seeds if full_seeds is not None else 1 if calibrate else 2,
        calibration=_calibration(calibrate, tau, hold, score, pairing),
    )
    plan = SubsetPlan(selector=selector, metric=metric, ratio=max(options.ratios), schedule=schedule)
    search = SearchOptions(scheduler="none", concurrency=concurrency, evaluate=evaluate)
    loaded = load_dataset(data, data_dir, limit=limit, allow_fallback=True)
    if loaded.note:
        console.print(loaded.note, style="yellow", highlight=False, markup=False, soft_wrap=True)

    from raysubset.tuning.correlation import create_study, open_study
    from raysubset.tuning.presets import preset_for
    from raysubset.tuning.progress import RichProgress
    from raysubset.tuning.run import open_run

    listener: Listener = RichProgress(console)
    if resume:
        study = open_study(open_run(root / str(name), loaded, listener))
    else:
        preset = preset_for(loaded)
        experiment = Experiment(
            name=name or f"{run_label(loaded, data)}-ranks-{datetime.now():%Y%m%d-%H%M%S}",
            model=model or preset.model,
            plan=plan,
            recipe=recipe_for(loaded, preset, epochs),
            space=space_for(space, preset),
            search=search,
            seed=seed,
        )
        command = shlex.join(["raysubset", *sys.argv[1:]])
        study = create_study(experiment, loaded, root, listener, options, command=command)
    _announce(study, console)
    _print(_measured(study), study, console, as_json)


def _calibration(
    wanted: bool, tau: float | None, hold: str | None, score: Score | None, pairing: str | None
) -> Calibration | None:
    """Return what is to be calibrated; its options mean nothing without it."""
    given = [
        option for option, value in (("--tau", tau), ("--hold", hold), ("--score", score)) if value is not None
    ]
    if not wanted and given:
        raise OptionsError(f"{', '.join(given)}: only with --calibrate (a study shows tau by every score).")
    if not wanted:
        return None
    return Calibration(
        threshold=THRESHOLD if tau is None else tau,
        score=score or "loss",
        pairing=pairing or CALIBRATION_PAIRING,
        by=hold or "lower",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in _names(text))
    except ValueError as error:
        raise OptionsError(f"--ratios {text!r}, need numbers and commas, such as {RATIOS}.") from error


def _announce(study: CorrelationStudy, console: Console) -> None:
    """Say what will run and what it is predicted to cost."""
    from raysubset.tuning.presets import seconds_per_sample
    from raysubset.tuning.progress import duration

    experiment, options, run = study.run.experiment, study.options, study.run
    samples, draws = study.planned_samples, len(list(options.plans())) - options.full_seeds
    pace = seconds_per_sample(
        experiment.model, run.data.input_shape, run.data.num_classes, experiment.recipe.batch_size
    )
    most = "at most " if options.calibration else ""
    for line in (
        f"{experiment.name}: {run.info.dataset}, {run.info.model}, {run.info.device}, {experiment.plan.name}",
        f"{options.configs} configurations of {experiment.recipe.epochs} epochs, {options.full_seeds} times on "
        f"all data and {draws} times on subsets of ratio {', '.join(map(str, options.ratios))}",
        f"predicted: {most}{samples:,.0f} samples, {most}{duration(samples * pace)} of one worker",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _measured(study: CorrelationStudy) -> Study:
    """Measure what is missing; an interruption still leaves a report."""
    from raysubset.tuning.session import open_session

    try:
        with open_session(study.run) as session:
            return study.measure(session)
    except InterruptedRunError as error:
        command = f"raysubset corr --resume --name {study.run.experiment.name} --root {study.run.folder.parent}"
        raise InterruptedRunError(
            f"{error} So far: {study.run.report()}. Go on with: {command} (and the same --data and --data-dir)."
        ) from None


def _print(measured: Study, study: CorrelationStudy, console: Console, as_json: bool) -> None:
    from raysubset.report.rank_tables import study_tables
    from raysubset.report.rank_verdict import study_facts

    folder, report = study.run.folder, study.run.report()
    if as_json:
        plain = json.loads((folder / STUDY_FILE).read_text(encoding="utf-8"))
        print(json.dumps({"name": study.run.experiment.name, "report": str(report), **plain}))
        return
    wide = Console(width=max(console.width, LEAST_WIDTH))
    for table in study_tables(measured):
        wide.print(_drawn(table.title, table.columns, table.rows))
    for label, value in study_facts(measured):
        console.print(f"{label}: {value}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)


def _drawn(title: str, columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> RichTable:
    table = RichTable(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
