"""What ``raysubset train`` and ``ablate`` have in common: options, sizes, and the study that both conduct."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from typer import Option

from raysubset.cli.defaults import recipe_for, run_label, space_for
from raysubset.cli.groups import AnyData, RunOptions
from raysubset.cli.options import Concurrency, DryRun, Model, Preset
from raysubset.cli.output import announce, print_tables, say
from raysubset.cli.repeat import gone_on_with, this_command
from raysubset.cli.values import read_options
from raysubset.experiment import Experiment, SearchOptions, find_model
from raysubset.report.comparison import read_comparison, read_trainings
from raysubset.report.comparison_lines import derived
from raysubset.report.comparison_tables import (
    comparison_against,
    comparison_facts,
    comparison_found,
    comparison_tables,
    comparison_unmeasured,
)
from raysubset.report.tables import Table
from raysubset.selection.plan import FirstEpochChoice
from raysubset.selection.ratio import Budget

if TYPE_CHECKING:  # Ray Tune and PyTorch take seconds to import: a mistyped option is answered before that
    from raysubset.runtime.place import AnyDataset
    from raysubset.training.recipe import Recipe
    from raysubset.tuning.comparing import ComparisonStudy
    from raysubset.tuning.presets import Preset as Sizes
    from raysubset.tuning.ways import Entrant

SMALL_ROWS, SMALL_EPOCHS, STUDY_SEEDS = 4000, 12, 3
PAPER_MODEL, PAPER_EPOCHS = "resnet18", 200
SCALED_BATCH = 128  # the recipe's learning rate is for batches of that size; it goes down with them


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData(AnyData):
    """A data set, of which the small preset takes few rows."""

    limit: Annotated[
        int | None, Option(help=f"Use only so many rows of each split (preset small: {SMALL_ROWS:,}).")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochOptions:
    """How large epochs are, the first above all."""

    first_epoch: Annotated[
        FirstEpochChoice, Option(help="auto: full for one training and the paper, scheduled in other studies.")
    ] = "auto"
    budget: Annotated[
        Budget | None, Option(help="paper: Algorithm 2; exact: ratio x epochs x rows (default: exact in a study).")
    ] = None

    def plain(self, exact: bool) -> dict[str, Any]:
        """Return them as fields of a plan.

        Args:
            exact: Whether all are to cost the same. The paper's first epoch trains on everything, whatever the
                ratio.
        """
        first = "scheduled" if exact and self.first_epoch == "auto" else self.first_epoch
        return {
            "first_epoch": first,
            "budget": self.budget or ("exact" if exact and first == "scheduled" else "paper"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What is trained, how often."""

    model: Model = None
    epochs: Annotated[
        int | None,
        Option(help=f"Epochs (default: by data and device; preset small {SMALL_EPOCHS}, paper {PAPER_EPOCHS})."),
    ] = None
    recipe: Annotated[
        list[str] | None,
        Option(help="NAME=VALUE, an option of the recipe such as lr=0.05, precision=bfloat16; may be repeated."),
    ] = None
    concurrency: Concurrency = 0
    seeds: Annotated[
        int | None, Option(min=1, help=f"How many, counted up from --seed (default: 1; {STUDY_SEEDS} in a study).")
    ] = None
    seed: Annotated[int, Option(help="The first seed; it also splits off the validation rows.")] = 0
    dry_run: DryRun = False

    def counted(self, study: bool) -> range:
        """Return the seeds of one training, or of a study."""
        return range(self.seed, self.seed + (self.seeds or (STUDY_SEEDS if study else 1)))

    def trained_by(self, data: AnyDataset, sizes: Sizes, preset: Preset | None) -> Recipe:
        """Return how is trained: as data and preset suggest, what was said in its place.

        Raises:
            UnknownNameError: The recipe has no option of a name that was said.
            OptionsError: Its value is out of range.
        """
        usual = {"paper": PAPER_EPOCHS, "small": SMALL_EPOCHS}.get(preset or "")
        recipe = recipe_for(data, sizes, self.epochs or usual)
        given = read_options(self.recipe)
        if preset == "paper":  # of its appendix: SGD .1/.9, weight decay 5e-4, cosine to 1e-5, batches of 128
            given = {"batch_size": 128, "lr_min": 1e-5, **given}
        batch = given.get("batch_size", recipe.batch_size)
        return recipe.with_options({"lr": recipe.lr * batch / SCALED_BATCH, **given})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What both commands are told, beside the ways of choosing rows."""

    command: str
    source: TrainingData
    options: TrainingOptions
    which: RunOptions
    preset: Preset | None
    study: bool = True
    workers: int = 1
    trace: bool = False

    @property
    def seeds(self) -> range:
        """Each way is trained once with each."""
        return self.options.counted(self.study)

    @property
    def limit(self) -> int | None:
        """Rows of each split."""
        return SMALL_ROWS if self.source.limit is None and self.preset == "small" else self.source.limit

    def experiment(self, loaded: AnyDataset) -> Experiment:
        """Return the experiment; its plan is replaced by those of the ways."""
        from raysubset.tuning.presets import preset_for

        sizes = preset_for(loaded)
        concurrency, workers = self.options.concurrency, self.workers
        return Experiment(
            name=self.which.called(run_label(loaded, self.source.data), self.command),
            model=find_model(self.options.model or (PAPER_MODEL if self.preset == "paper" else sizes.model)),
            recipe=self.options.trained_by(loaded, sizes, self.preset),
            space=space_for(None, sizes),  # that of a search over this recipe; nothing is searched here
            search=SearchOptions(
                search="random", scheduler="none", trials=1, concurrency=concurrency, workers=workers
            ),
            seed=self.options.seed,
        )


def conduct(asked: Asked, entrants: Callable[[], Sequence[Entrant]], notes: Sequence[str]) -> None:
    """Make or open the study, run what is missing, print what came of it.

    Args:
        asked: Data, sizes and where.
        entrants: Makes the ways of choosing rows; not called for a study that exists.
        notes: What a reader of its tables must know.
    """
    which, console = asked.which, asked.which.console
    made = () if which.resume else entrants()
    loaded = asked.source.opened(console, asked.limit)
    if asked.options.dry_run:
        _list(asked, made, loaded, console)
        return

    from raysubset.tuning.comparing import open_comparison
    from raysubset.tuning.progress import RichProgress
    from raysubset.tuning.run import open_run

    if which.resume:
        study = open_comparison(open_run(which.folder, loaded, RichProgress(console)))
    else:
        study = _created(asked, loaded, made, notes)
    _announce(study, console)
    with gone_on_with(study.run, asked.command):
        study.measure()
    _print(study, console, which.as_json)


def _created(asked: Asked, loaded: AnyDataset, made: Sequence[Entrant], notes: Sequence[str]) -> ComparisonStudy:
    from raysubset.tuning.comparing import create_comparison
    from raysubset.tuning.progress import RichProgress

    return create_comparison(
        asked.experiment(loaded),
        loaded,
        asked.which.root,
        RichProgress(asked.which.console),
        made,
        asked.seeds,
        command=this_command(asked.command),
        notes=notes,
        settings={"data": asked.source.data, "limit": asked.limit, "trace": asked.trace},
    )


def _list(asked: Asked, made: Sequence[Entrant], loaded: AnyDataset, console: Console) -> None:
    """Show what would be trained."""
    from raysubset.tuning.run import split_rows

    experiment, seeds = asked.experiment(loaded), asked.seeds
    n, epochs = len(split_rows(experiment, loaded)[0]), experiment.recipe.epochs
    samples = [int(e.plan.resolved("full").timetable(n, epochs).costs.sum()) for e in made]
    if asked.which.as_json:
        ways = [{"way": e.way.name, "samples": s} for e, s in zip(made, samples, strict=True)]
        facts = {"model": experiment.model_name, "epochs": epochs, "seeds": [*seeds]}
        print(json.dumps({**facts, "ways": ways}))
        return
    rows = tuple((e.way.name, f"{s:,}", e.way.against or "-") for e, s in zip(made, samples, strict=True))
    title = f"{experiment.model_name}, {epochs} epochs, {len(seeds)} seeds"
    print_tables([Table(title, ("way", "samples a seed", "compared with"), rows)], console)
    say(console, f"{sum(samples) * len(seeds):,} samples")


def _announce(study: ComparisonStudy, console: Console) -> None:
    """Say what will run and what it is predicted to cost."""
    ways, seeds = len(study.comparison.ways), len(study.comparison.seeds)
    work = f"{ways} ways of choosing rows x {seeds} seeds, {study.run.experiment.recipe.epochs} epochs"
    announce(study.run, work, study.planned_samples, console)


def _print(study: ComparisonStudy, console: Console, as_json: bool) -> None:
    folder, report = study.run.folder, study.run.report()
    comparison = read_comparison(folder)
    trainings = read_trainings(folder, comparison)
    if as_json:
        plain = {"name": study.run.experiment.name, "report": str(report), "judged_on": comparison.judged_on}
        print(json.dumps({**plain, **derived(comparison, trainings)}))
        return
    print_tables(comparison_tables(comparison, trainings), console)
    for told in (comparison_found, comparison_against, comparison_unmeasured):
        for sentence in told(comparison, trainings):
            say(console, sentence)
    for label, value in comparison_facts(comparison, trainings):
        say(console, f"{label}: {value}")
    say(console, f"report: {report}")
