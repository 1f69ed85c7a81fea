"""``raysubset corr``: do subsets rank configurations as all the data do, and how small may they be?"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from rich.console import Console
from typer import Option

from raysubset.cli.defaults import recipe_for, run_label, space_for
from raysubset.cli.output import print_tables
from raysubset.data.catalog import load_dataset
from raysubset.errors import InterruptedRunError, OptionsError
from raysubset.experiment import Experiment, Score, SearchOptions
from raysubset.hpo.pairing import Pairing
from raysubset.hpo.space import Space, choice
from raysubset.report.rank_cells import STUDY_FILE, Calibration, Study
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.ratio import Schedule
from raysubset.tuning.cells import StudyOptions

if TYPE_CHECKING:  # Ray Tune and PyTorch take seconds to import: a mistyped option is answered before that
    from raysubset.tuning.correlation import CorrelationStudy
    from raysubset.tuning.recorder import Listener

ASP_WAYS = ("adaptive-random", "asp-loss", "asp-entropy", "asp-gradient", "asp-prediction", "asp-mixture")
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "small": {
        "configs": 12, "ratios": "0.1,0.3", "pairing": "both", "repeats": 2, "full_seeds": 2, "epochs": 15,
        "model": "resnet8", "limit": 4000, "plan": ["adaptive-random", "random", "asp-loss", "asp-mixture"],
    },
    "paper": {
        "configs": 36, "ratios": "0.1,0.3,0.5,0.7,0.85", "pairing": "both", "repeats": 3, "full_seeds": 3,
        "epochs": 200, "model": "resnet20", "grid": "asp36", "plan": list(ASP_WAYS),
    },
}  # fmt: skip
"""What a preset fills in where nothing was said."""

ASP_GRID: Space = {
    "label_smoothing": choice([0.0, 0.1]),
    "lr": choice([0.05, 0.1, 0.2]),
    "flip": choice([0.25, 0.5, 0.75]),
    "momentum": choice([0.8, 0.9]),
}
"""The 36 configurations of the ASP paper, section 4.4; how strongly it smooths labels is not said."""

RATIOS, CALIBRATION_RATIOS = "0.02,0.05", "0.02,0.05,0.1,0.2,0.5"
PAIRINGS, CALIBRATION_PAIRING = "none,subset,both", "both"
THRESHOLD = 0.6


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
    plan: Annotated[
        list[str] | None,
        Option(
            help="Compare ways of choosing rows: adaptive-random, asp-mixture, asp-loss, random, ...; repeat it. "
            "The first is what the others are compared with."
        ),
    ] = None,
    selector: Annotated[
        str, Option(help="Of one way: adaptive-random, asp, craig, ...: see `raysubset select --list`.")
    ] = "adaptive-random",
    metric: Annotated[
        str, Option(help="Of asp: mixture, adaptive, or a single metric: loss, gradient, ...")
    ] = "mixture",
    preset: Annotated[
        Literal["small", "paper"] | None,
        Option(
            help="The ASP paper's study, with adaptive random as the first way: an hour on two free cores, or its "
            "36 configurations, ratios and epochs, for a GPU."
        ),
    ] = None,
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
    grid: Annotated[
        Literal["asp36"] | None, Option(help="asp36: the paper's 36 configurations in place of a space.")
    ] = None,
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

    Kendall's tau, Pearson, Spearman and the regret of the best, a row a ratio, way of choosing rows, pairing and
    score, beside the ceiling: one seed on all data against another.
    """
    console = Console(stderr=as_json)
    if resume and name is None:
        raise OptionsError("--resume needs the --name of the study to go on with.")
    said = {
        "configs": configs, "ratios": ratios, "pairing": pairing, "repeats": repeats, "full_seeds": full_seeds,
        "epochs": epochs, "model": model, "limit": limit, "plan": plan, "grid": grid,
    }  # fmt: skip
    asked = _filled(preset, calibrate, said)
    if asked["grid"] and space:
        raise OptionsError("--grid and --space both say which configurations there are: give one of them.")
    options = StudyOptions(
        configs=asked["configs"],
        ratios=_numbers(asked["ratios"]),
        pairings=cast("tuple[Pairing, ...]", _names(asked["pairing"])),
        repeats=asked["repeats"],
        full_seeds=asked["full_seeds"],
        ways=tuple(asked["plan"]),
        calibration=_calibration(calibrate, tau, hold, score, pairing),
    )
    chosen = SubsetPlan(selector=selector, metric=metric, ratio=max(options.ratios), schedule=schedule)
    search = SearchOptions(scheduler="none", concurrency=concurrency, evaluate=evaluate)
    loaded = load_dataset(data, data_dir, limit=asked["limit"], allow_fallback=True)
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
        sizes = preset_for(loaded)
        experiment = Experiment(
            name=name or f"{run_label(loaded, data)}-ranks-{datetime.now():%Y%m%d-%H%M%S}",
            model=asked["model"] or sizes.model,
            plan=chosen,
            recipe=recipe_for(loaded, sizes, asked["epochs"]),
            space=ASP_GRID if asked["grid"] else space_for(space, sizes),
            search=search,
            seed=seed,
        )
        command = shlex.join(["raysubset", *sys.argv[1:]])
        study = create_study(experiment, loaded, root, listener, options, command=command)
    _announce(study, console)
    _print(_measured(study), study, console, as_json)


def _filled(preset: str | None, calibrate: bool, said: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what was not said: by the preset, else by what the study is for."""
    plain: dict[str, Any] = {
        "configs": 12 if calibrate else 30,
        "ratios": CALIBRATION_RATIOS if calibrate else RATIOS,
        "pairing": CALIBRATION_PAIRING if calibrate else PAIRINGS,
        "repeats": 2 if calibrate else 3,
        "full_seeds": 1 if calibrate else 2,
        "plan": [],
    }
    given = {name: value for name, value in said.items() if value is not None}
    return {**dict.fromkeys(said), **plain, **PRESETS.get(preset or "", {}), **given}


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
        f"{experiment.name}: {run.info.dataset}, {run.info.model}, {run.info.device}, "
        f"{', '.join(options.ways) or experiment.plan.name}",
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
    print_tables(study_tables(measured), console)
    for label, value in study_facts(measured):
        console.print(f"{label}: {value}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
