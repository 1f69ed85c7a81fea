"""``raysubset hpo``: search hyper-parameters on subsets, retrain the best on everything, show what it saved."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from datetime import datetime
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from typer import Option

from raysubset.cli.data import WHAT, open_data
from raysubset.cli.defaults import recipe_for, run_label, space_for
from raysubset.cli.output import print_summary
from raysubset.cli.select import read_options
from raysubset.errors import InterruptedRunError, OptionsError
from raysubset.experiment import Experiment, Score, SearchOptions, find_model
from raysubset.hpo.fidelity import Anneal, Mode, Promote
from raysubset.hpo.pairing import Pairing
from raysubset.hpo.rungs import Place
from raysubset.selection.plan import FirstEpochChoice, SubsetPlan
from raysubset.selection.ratio import Schedule

if TYPE_CHECKING:  # Ray Tune and PyTorch take seconds to import: a mistyped option is answered before that
    from raysubset.tuning.run import Run


def hpo(
    data: Annotated[str, Option(help=WHAT)] = "cifar10",
    data_dir: Annotated[Path | None, Option(help="Where data sets lie (default: $RAYSUBSET_DATA).")] = None,
    limit: Annotated[int | None, Option(help="Use only so many rows of each split.")] = None,
    model: Annotated[
        str | None,
        Option(help="Of the zoo, module:name of a builder, or nb101-8x1:CELL (default: by data and device)."),
    ] = None,
    ratio: Annotated[float, Option(help="Mean share of the data an epoch trains on, in (0, 1].")] = 0.1,
    selector: Annotated[
        str, Option(help="asp, adaptive-random, craig, ...: see `raysubset select --list`.")
    ] = "asp",
    option: Annotated[
        list[str] | None, Option(help="NAME=VALUE, an option of the selector; may be repeated.")
    ] = None,
    select_every: Annotated[
        int | None, Option(help="Epochs between selections, 0 for one (default: the selector's habit).")
    ] = None,
    warm_start: Annotated[
        float | None, Option(help="Share of the epochs whose budget is spent on all data first, in [0, 1).")
    ] = None,
    per_class: Annotated[bool, Option("--per-class", help="Keep the class shares in every subset.")] = False,
    metric: Annotated[str, Option(help="mixture, adaptive, or a single metric: loss, gradient, ...")] = "mixture",
    schedule: Annotated[Schedule, Option(help="Subset sizes: large first, or all alike.")] = "dynamic",
    first_epoch: Annotated[
        FirstEpochChoice, Option(help="auto is scheduled in a search; shared: told by earlier trials.")
    ] = "auto",
    search: Annotated[str, Option(help="tpe, random, grid, bo, bohb or hyper-tune.")] = "tpe",
    scheduler: Annotated[
        str,
        Option(help="asha, asha-promote, dasha, halving, hyperband, hyper-tune, median or none."),
    ] = "asha",
    eta: Annotated[int, Option(help="A rung keeps one in so many trials.")] = 3,
    place: Annotated[Place, Option(help="Rungs at equal steps of samples or epochs.")] = "samples",
    fidelity: Annotated[
        Mode, Option(help="A lower rung is a prefix of the training, a smaller ratio, or a shorter restart.")
    ] = "prefix",
    promote: Annotated[Promote, Option(help="How a trial goes on at the next level.")] = "auto",
    anneal: Annotated[Anneal, Option(help="Learning rate over the levels of a ratio ladder.")] = "auto",
    levels: Annotated[int | None, Option(help="Levels, the last included (default: as many as fit).")] = None,
    trials: Annotated[int | None, Option(help="Configurations to try.")] = None,
    epochs: Annotated[int | None, Option(help="Epochs of a whole trial.")] = None,
    space: Annotated[Path | None, Option(help="TOML file with the search space.")] = None,
    concurrency: Annotated[int, Option(help="Trials at a time (0: what the machine serves).")] = 0,
    workers: Annotated[int, Option(min=1, help="Training workers of a trial (Ray Train; a GPU or CPU each).")] = 1,
    score: Annotated[Score, Option(help="What rungs compare, on the validation split.")] = "loss",
    evaluate: Annotated[str, Option(help="Validate at rungs, or after all epochs.")] = "rungs",
    pairing: Annotated[Pairing, Option(help="Random numbers that trials share.")] = "both",
    budget_epochs: Annotated[
        float | None,
        Option(help="Full-data epochs the full search may cost; a subset search gets ratio times that."),
    ] = None,
    time_budget: Annotated[
        float | None,
        Option(help="Seconds that the full search may take; a subset search gets ratio times that."),
    ] = None,
    earlier: Annotated[Path | None, Option(help="Folder of an earlier run to start the searcher from.")] = None,
    retrain: Annotated[int | None, Option(help="Best configurations retrained on all data.")] = None,
    seed: Annotated[int, Option(help="The seed of everything.")] = 0,
    name: Annotated[str | None, Option(help="Run name (default: data, model and time).")] = None,
    root: Annotated[
        Path, Option(envvar="RAYSUBSET_ROOT", help="Folder of all runs; on a cluster one that all nodes see.")
    ] = Path("runs"),
    resume: Annotated[bool, Option("--resume", help="Go on with the run of that name.")] = False,
    compare_full: Annotated[
        bool, Option("--compare-full", help="Run the same search on all the data beside it.")
    ] = False,
    track: Annotated[list[str] | None, Option(help="Also tell mlflow or wandb (may be repeated).")] = None,
    watts: Annotated[float | None, Option(help="Power of the machine, for an estimate of energy.")] = None,
    smoke: Annotated[bool, Option("--smoke", help="A run of seconds, to see that everything works.")] = False,
    dashboard: Annotated[
        bool, Option("--dashboard", help="Start the Ray dashboard with a local session.")
    ] = False,
    as_json: Annotated[bool, Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Search hyper-parameters on a chosen part of the data, retrain the best on all of it, show what it saved."""
    console = Console(stderr=as_json)
    if resume and name is None:
        raise OptionsError("--resume needs the --name of the run to go on with.")
    if name is not None and name != Path(name).name:
        raise OptionsError(f"--name {name!r} is no plain folder name; --root says where runs lie.")
    if watts is not None and not 0 < watts < inf:
        raise OptionsError(f"--watts {watts!r}, need a number > 0.")
    plan = SubsetPlan(
        selector=selector,
        metric=metric,
        ratio=ratio,
        schedule=schedule,
        first_epoch=first_epoch,
        select_every=select_every,
        warm_start=warm_start,
        per_class=per_class,
        options=read_options(option),
    )
    options = SearchOptions(
        search=search,
        scheduler=scheduler,
        eta=eta,
        place=place,
        fidelity=fidelity,
        promote=promote,
        anneal=anneal,
        levels=levels,
        time_budget_s=time_budget,
        earlier="" if earlier is None else str(earlier),
        concurrency=concurrency,
        workers=workers,
        score=score,
        evaluate=evaluate,
        pairing=pairing,
        budget_epochs=budget_epochs,
    )
    loaded = open_data(data, data_dir, limit)
    if loaded.note:
        console.print(loaded.note, style="yellow", highlight=False, markup=False, soft_wrap=True)

    from raysubset.tuning.presets import preset_for
    from raysubset.tuning.progress import RichProgress
    from raysubset.tuning.run import create_run, open_run
    from raysubset.tuning.tracking import check_trackers, followed

    check_trackers(track or [])
    listener = RichProgress(console)
    if resume:
        run = open_run(root / str(name), loaded, listener)
    else:
        preset = preset_for(loaded, smoke)
        model = model or preset.model
        experiment = Experiment(
            name=name or f"{run_label(loaded, data)}-{model.partition(':')[0]}-{datetime.now():%Y%m%d-%H%M%S}",
            model=find_model(model),
            plan=plan,
            recipe=recipe_for(loaded, preset, epochs),
            space=space_for(space, preset),
            search=replace(
                options,
                trials=preset.trials if trials is None else trials,
                retrain=preset.retrain if retrain is None else retrain,
            ),
            seed=seed,
        )
        command = shlex.join(["raysubset", *sys.argv[1:]] if sys.argv[1:2] == ["hpo"] else ["python", *sys.argv])
        run = create_run(
            experiment,
            loaded,
            root,
            listener,
            command=command,
            settings={"compare_full": compare_full, "track": track or []},
        )
    if watts is not None:
        run.note(watts=watts)
    trackers = track or run.info.settings.get("track", [])
    run.listener = followed(run.listener, trackers, run.experiment.name, run.folder)
    _announce(run, console)
    _go(run, compare_full or bool(run.info.settings.get("compare_full")), dashboard)
    print_summary(run.folder, run.report(), console, as_json)


def _announce(run: Run, console: Console) -> None:
    """Say what will run and what it is predicted to cost."""
    from raysubset.hpo.halving import expected_samples
    from raysubset.tuning.opening import stage_ladder
    from raysubset.tuning.presets import seconds_per_sample
    from raysubset.tuning.progress import duration
    from raysubset.tuning.task import task_words

    experiment, options = run.experiment, run.experiment.search
    n = run.info.n_train
    rungs = stage_ladder(experiment, n).rungs
    samples = expected_samples(rungs, options.trials, options.eta)
    on_all = expected_samples(stage_ladder(experiment.on_full_data(), n).rungs, options.trials, options.eta)
    shape, classes = run.data.input_shape, run.data.num_classes
    seconds = samples * seconds_per_sample(experiment.model, shape, classes, experiment.recipe.batch_size)
    lines = [
        f"{experiment.name}: {run.info.dataset}, {run.info.model}, {run.info.device}",
        *task_words(experiment, run.data),
        f"{options.trials} trials of {experiment.recipe.epochs} epochs at ratio {experiment.plan.ratio:g}, judged "
        f"after {', '.join(f'{level:,.0f}' for level in rungs.levels)} samples",
        f"predicted: {samples:,.0f} samples (on all data {on_all:,.0f}), {duration(seconds)} of one worker",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _go(run: Run, compare_full: bool, dashboard: bool) -> None:
    """Run the stages that are not finished; an interruption still leaves a report."""
    from raysubset.tuning.session import open_session

    try:
        with open_session(run, dashboard) as session:
            ranked = session.search()
            ranked_full = session.search_full() if compare_full else ()
            result = session.retrain(ranked)
            result_full = session.retrain(ranked_full, "retrain-full") if ranked_full else None
            run.note(
                result=session.test(result),
                result_full=session.test(result_full, "retrain-full") if result_full else None,
            )
    except InterruptedRunError as error:
        command = f"raysubset hpo --resume --name {run.experiment.name} --root {run.folder.parent}"
        raise InterruptedRunError(
            f"{error} So far: {run.report()}. Go on with: {command} (and the same --data and --data-dir)."
        ) from None
