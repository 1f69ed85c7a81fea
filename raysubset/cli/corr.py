"""``raysubset corr``: do subsets rank configurations as all the data do, and how small may they be?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from typer import Option

from raysubset.cli.corr_options import CalibrationChoice, StudySizes, study_options
from raysubset.cli.defaults import recipe_for, run_label, space_for
from raysubset.cli.grouped import grouped
from raysubset.cli.groups import MethodChoice, NamedData, RunOptions, SubsetSizes
from raysubset.cli.options import Concurrency, Preset, Seed, SpaceFile
from raysubset.cli.output import announce, print_tables, say
from raysubset.cli.repeat import gone_on_with, this_command
from raysubset.errors import OptionsError
from raysubset.experiment import Experiment, SearchOptions
from raysubset.hpo.space import Space, choice
from raysubset.report.rank_cells import STUDY_FILE, Study
from raysubset.selection.plan import SubsetPlan

if TYPE_CHECKING:  # Ray Tune and PyTorch take seconds to import: a mistyped option is answered before that
    from raysubset.data.dataset import Dataset
    from raysubset.tuning.correlation import CorrelationStudy

ASP_GRID: Space = {
    "label_smoothing": choice([0.0, 0.1]),
    "lr": choice([0.05, 0.1, 0.2]),
    "flip": choice([0.25, 0.5, 0.75]),
    "momentum": choice([0.8, 0.9]),
}
"""The 36 configurations of the ASP paper, section 4.4; how strongly it smooths labels is not said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OneWay(MethodChoice):
    """Who chooses the rows where no ways are compared."""

    selector: Annotated[
        str, Option(help="Of one way: adaptive-random, asp, craig, ...: see `raysubset select --list`.")
    ] = "adaptive-random"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How the trainings are made, whatever chooses their rows."""

    evaluate: Annotated[
        str, Option(help="Judge at the end (rungs), or after all epochs, to see how early it ranks.")
    ] = "rungs"
    space: SpaceFile = None
    concurrency: Concurrency = 0
    seed: Seed = 0

    def experiment(
        self, name: str, data: Dataset, sizes: Mapping[str, Any], plan: SubsetPlan, search: SearchOptions
    ) -> Experiment:
        """Return the experiment, its gaps filled in by data and device."""
        from raysubset.tuning.presets import preset_for

        preset = preset_for(data)
        return Experiment(
            name=name,
            model=sizes["model"] or preset.model,
            plan=plan,
            recipe=recipe_for(data, preset, sizes["epochs"]),
            space=ASP_GRID if sizes["grid"] else space_for(self.space, preset),
            search=search,
            seed=self.seed,
        )


@grouped
def corr(
    *,
    source: NamedData,
    sizes: StudySizes,
    way: OneWay,
    schedule: SubsetSizes = "dynamic",
    preset: Annotated[
        Preset | None,
        Option(
            help="The ASP paper's study, with adaptive random as the first way: an hour on two free cores, or its "
            "36 configurations, ratios and epochs, for a GPU."
        ),
    ] = None,
    wanted: CalibrationChoice,
    trained: TrainingOptions,
    which: RunOptions,
) -> None:
    """Train the same configurations on all the data and on subsets; say how alike they rank, with intervals.

    Kendall's tau, Pearson, Spearman and the regret of the best, a row a ratio, way of choosing rows, pairing and
    score, beside the ceiling: one seed on all data against another.
    """
    filled = sizes.filled(preset, wanted.calibrate)
    if filled["grid"] and trained.space:
        raise OptionsError("--grid and --space both say which configurations there are: give one of them.")
    options = study_options(filled, wanted.calibration(sizes.pairing))
    plan = way.plan(ratio=max(options.ratios), schedule=schedule)
    search = SearchOptions(scheduler="none", concurrency=trained.concurrency, evaluate=trained.evaluate)
    loaded = source.read(which.console, filled["limit"])

    from raysubset.tuning.correlation import create_study, open_study
    from raysubset.tuning.progress import RichProgress
    from raysubset.tuning.run import open_run

    listener = RichProgress(which.console)
    if which.resume:
        study = open_study(open_run(which.folder, loaded, listener))
    else:
        name = which.called(run_label(loaded, source.data), "ranks")
        experiment = trained.experiment(name, loaded, filled, plan, search)
        study = create_study(experiment, loaded, which.root, listener, options, command=this_command("corr"))
    _announce(study, which.console)
    _print(_measured(study), study, which.console, which.as_json)


def _announce(study: CorrelationStudy, console: Console) -> None:
    """Say what will run and what it is predicted to cost."""
    experiment, options = study.run.experiment, study.options
    draws = len(list(options.plans())) - options.full_seeds
    work = (
        f"{options.configs} configurations of {experiment.recipe.epochs} epochs, {options.full_seeds} times on "
        f"all data and {draws} times on subsets of ratio {', '.join(map(str, options.ratios))}"
    )
    ways = f", {', '.join(options.ways) or experiment.plan.name}"
    most = "at most " if options.calibration else ""
    announce(study.run, work, study.planned_samples, console, ways=ways, most=most)


def _measured(study: CorrelationStudy) -> Study:
    """Measure what is missing; an interruption still leaves a report."""
    from raysubset.tuning.session import open_session

    with gone_on_with(study.run, "corr"), open_session(study.run) as session:
        return study.measure(session)


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
        say(console, f"{label}: {value}")
    say(console, f"report: {report}")
