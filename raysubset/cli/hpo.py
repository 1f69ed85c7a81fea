"""``raysubset hpo``: search hyper-parameters on subsets, retrain the best on everything, show what it saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from typer import Option

from raysubset.cli.defaults import run_label
from raysubset.cli.grouped import grouped
from raysubset.cli.groups import AnyData, RunOptions, SubsetChoice
from raysubset.cli.hpo_options import Beside, SearchChoice, TrialOptions
from raysubset.cli.options import KeepClasses, WarmStart
from raysubset.cli.output import announce, print_summary
from raysubset.cli.repeat import gone_on_with, this_command
from raysubset.experiment import Experiment, SearchOptions
from raysubset.selection.plan import FirstEpochChoice, SubsetPlan

if TYPE_CHECKING:  # Ray Tune and PyTorch take seconds to import: a mistyped option is answered before that
    from raysubset.runtime.place import AnyDataset
    from raysubset.tuning.run import Run


@grouped
def hpo(
    *,
    source: AnyData,
    subset: SubsetChoice,
    warm_start: WarmStart = None,
    per_class: KeepClasses = False,
    first_epoch: Annotated[
        FirstEpochChoice, Option(help="auto is scheduled in a search; shared: told by earlier trials.")
    ] = "auto",
    searched: SearchChoice,
    tried: TrialOptions,
    which: RunOptions,
    beside: Beside,
) -> None:
    """Search hyper-parameters on a chosen part of the data, retrain the best on all of it, show what it saved."""
    console = which.console
    plan = subset.plan(first_epoch=first_epoch, warm_start=warm_start, per_class=per_class)
    search = searched.options()
    loaded = source.opened(console)

    from raysubset.tuning.progress import RichProgress
    from raysubset.tuning.run import create_run, open_run
    from raysubset.tuning.tracking import check_trackers

    track = beside.track or []
    check_trackers(track)
    listener = RichProgress(console)
    if which.resume:
        run = open_run(which.folder, loaded, listener)
    else:
        experiment = _experiment(tried, which, plan, search, loaded, source.data)
        settings = {"compare_full": beside.compare_full, "track": track}
        run = create_run(experiment, loaded, which.root, listener, command=this_command("hpo"), settings=settings)
    _tell_others(run, beside)
    _announce(run, console)
    _go(run, beside.compare_full or bool(run.info.settings.get("compare_full")), beside.dashboard)
    print_summary(run.folder, run.report(), console, which.as_json)


def _experiment(
    tried: TrialOptions, which: RunOptions, plan: SubsetPlan, search: SearchOptions, loaded: AnyDataset, asked: str
) -> Experiment:
    """Name the run after data and model, and fill in what was not said."""
    from raysubset.tuning.presets import preset_for

    preset = preset_for(loaded, tried.smoke)
    name = which.called(run_label(loaded, asked), tried.model_name(preset).partition(":")[0])
    return tried.experiment(name, loaded, preset, plan, search)


def _tell_others(run: Run, beside: Beside) -> None:
    """Note the machine's power; let trackers follow, those asked for now or when the run began."""
    from raysubset.tuning.tracking import followed

    if beside.watts is not None:
        run.note(watts=beside.watts)
    track = beside.track or run.info.settings.get("track", [])
    run.listener = followed(run.listener, track, run.experiment.name, run.folder)


def _announce(run: Run, console: Console) -> None:
    """Say what will run and what it is predicted to cost."""
    from raysubset.hpo.halving import expected_samples
    from raysubset.tuning.opening import stage_ladder

    experiment, options = run.experiment, run.experiment.search
    n = run.info.n_train
    rungs, full = (stage_ladder(one, n).rungs for one in (experiment, experiment.on_full_data()))
    on_all = expected_samples(full, options.trials, options.eta)
    work = (
        f"{options.trials} trials of {experiment.recipe.epochs} epochs at ratio {experiment.plan.ratio:g}, judged "
        f"after {', '.join(f'{level:,.0f}' for level in rungs.levels)} samples"
    )
    samples = expected_samples(rungs, options.trials, options.eta)
    announce(run, work, samples, console, beside=f" (on all data {on_all:,.0f})")


def _go(run: Run, compare_full: bool, dashboard: bool) -> None:
    """Run the stages that are not finished; an interruption still leaves a report."""
    from raysubset.tuning.session import open_session

    with gone_on_with(run, "hpo"), open_session(run, dashboard) as session:
        ranked = session.search()
        ranked_full = session.search_full() if compare_full else ()
        result = session.retrain(ranked)
        result_full = session.retrain(ranked_full, "retrain-full") if ranked_full else None
        run.note(
            result=session.test(result),
            result_full=session.test(result_full, "retrain-full") if result_full else None,
        )
