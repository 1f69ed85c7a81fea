"""What ``raysubset train`` and ``ablate`` have in common: options, sizes, and the study that both conduct."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

from rich.console import Console
from typer import Option

from raysubset.cli.data import WHAT, open_data
from raysubset.cli.defaults import recipe_for, run_label, space_for
from raysubset.cli.output import print_tables
from raysubset.cli.select import read_options
from raysubset.errors import InterruptedRunError, OptionsError
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
from raysubset.selection.plan import FirstEpochChoice
from raysubset.selection.ratio import Budget, Schedule

if TYPE_CHECKING:  # Ray Tune and PyTorch take seconds to import: a mistyped option is answered before that
    from raysubset.runtime.place import AnyDataset
    from raysubset.tuning.comparing import ComparisonStudy
    from raysubset.tuning.ways import Entrant

Preset = Literal["small", "paper"]

SMALL_ROWS, SMALL_EPOCHS, STUDY_SEEDS = 4000, 12, 3
PAPER_MODEL, PAPER_EPOCHS = "resnet18", 200
SCALED_BATCH = 128  # the recipe's learning rate is for batches of that size; it goes down with them

DataName = Annotated[str, Option(help=WHAT)]
DataDir = Annotated[Path | None, Option(help="Where data sets lie (default: $RAYSUBSET_DATA).")]
Limit = Annotated[int | None, Option(help=f"Use only so many rows of each split (preset small: {SMALL_ROWS:,}).")]
Model = Annotated[
    str | None,
    Option(help="Of the zoo, module:name of a builder, or nb101-8x1:CELL (default: by data and device)."),
]
Epochs = Annotated[
    int | None,
    Option(help=f"Epochs (default: by data and device; preset small {SMALL_EPOCHS}, paper {PAPER_EPOCHS})."),
]
RecipeOptions = Annotated[
    list[str] | None, Option(help="NAME=VALUE, an option of the recipe such as lr=0.05; may be repeated.")
]
First = Annotated[
    FirstEpochChoice, Option(help="auto: full for one training and the paper, scheduled in other studies.")
]
BudgetOption = Annotated[
    Budget | None, Option(help="paper: Algorithm 2; exact: ratio x epochs x rows (default: exact in a study).")
]
Concurrency = Annotated[int, Option(help="Trainings at a time (0: what the machine serves).")]
Workers = Annotated[int, Option(min=1, help="Workers of a training (Ray Train; a GPU or CPU each).")]
Seeds = Annotated[
    int | None, Option(min=1, help=f"How many, counted up from --seed (default: 1; {STUDY_SEEDS} in a study).")
]
Seed = Annotated[int, Option(help="The first seed; it also splits off the validation rows.")]
Name = Annotated[str | None, Option(help="Run name (default: data, model and time).")]
Root = Annotated[
    Path, Option(envvar="RAYSUBSET_ROOT", help="Folder of all runs; on a cluster one that all nodes see.")
]
Resume = Annotated[bool, Option("--resume", help="Go on with the run of that name, as it was asked.")]
DryRun = Annotated[bool, Option("--dry-run", help="List the trainings and what they cost; run nothing.")]
Json = Annotated[bool, Option("--json", help="Print the result as JSON.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What both commands are told, beside the ways of choosing rows."""

    command: str
    data: str
    data_dir: Path | None
    limit: int | None
    model: str | None
    preset: Preset | None
    epochs: int | None
    recipe: list[str] | None
    concurrency: int
    workers: int
    seeds: range
    name: str | None
    root: Path
    resume: bool
    dry_run: bool
    as_json: bool
    trace: bool = False

    def __post_init__(self) -> None:
        if self.resume and self.name is None:
            raise OptionsError("--resume needs the --name of the run to go on with.")
        if self.name is not None and self.name != Path(self.name).name:
            raise OptionsError(f"--name {self.name!r} is no plain folder name; --root says where runs lie.")


def names(text: str) -> tuple[str, ...]:
    """Read names with commas between them."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(flag: str, text: str) -> tuple[float, ...]:
    """Read numbers with commas between them; a fraction such as 1/8 is one.

    Raises:
        OptionsError: One of them is no number.
    """
    found = []
    for part in names(text):
        above, _, below = part.partition("/")
        try:
            found.append(float(above) / (float(below) if below else 1.0))
        except (ValueError, ZeroDivisionError) as error:
            raise OptionsError(f"--{flag} {text!r}, need numbers and commas, such as 0.1,0.3.") from error
    return tuple(found)


def schedules(text: str) -> tuple[Schedule, ...]:
    """Read schedules with commas between them.

    Raises:
        OptionsError: One of them is none.
    """
    if wrong := [part for part in names(text) if part not in get_args(Schedule)]:
        raise OptionsError(f"--schedule {wrong[0]!r}, need {', '.join(get_args(Schedule))} or both with a comma.")
    return cast("tuple[Schedule, ...]", names(text))


def conduct(asked: Asked, entrants: Callable[[], Sequence[Entrant]], notes: Sequence[str]) -> None:
    """Make or open the study, run what is missing, print what came of it.

    Args:
        asked: Data, sizes and where.
        entrants: Makes the ways of choosing rows; not called for a study that exists.
        notes: What a reader of its tables must know.
    """
    console = Console(stderr=asked.as_json)
    made = () if asked.resume else entrants()
    limit = SMALL_ROWS if asked.limit is None and asked.preset == "small" else asked.limit
    loaded = open_data(asked.data, asked.data_dir, limit)
    if loaded.note:
        console.print(loaded.note, style="yellow", highlight=False, markup=False, soft_wrap=True)
    if asked.dry_run:
        _list(asked, made, loaded, console)
        return

    from raysubset.tuning.comparing import create_comparison, open_comparison
    from raysubset.tuning.progress import RichProgress
    from raysubset.tuning.run import open_run

    listener = RichProgress(console)
    if asked.resume:
        study = open_comparison(open_run(asked.root / str(asked.name), loaded, listener))
    else:
        command = shlex.join(["raysubset", *sys.argv[1:]])
        experiment = _experiment(asked, loaded)
        study = create_comparison(
            experiment,
            loaded,
            asked.root,
            listener,
            made,
            asked.seeds,
            command=command,
            notes=notes,
            settings={"data": asked.data, "limit": limit, "trace": asked.trace},
        )
    _announce(study, console)
    _measure(study, asked)
    _print(study, console, asked.as_json)


def _experiment(asked: Asked, loaded: AnyDataset) -> Experiment:
    from raysubset.tuning.presets import preset_for

    preset, paper = preset_for(loaded), asked.preset == "paper"
    model = asked.model or (PAPER_MODEL if paper else preset.model)
    epochs = asked.epochs or (PAPER_EPOCHS if paper else SMALL_EPOCHS if asked.preset else None)
    recipe = recipe_for(loaded, preset, epochs)
    given = read_options(asked.recipe)
    if paper:  # of its appendix: SGD .1/.9, weight decay 5e-4, cosine to 1e-5, batches of 128
        given = {"batch_size": 128, "lr_min": 1e-5, **given}
    batch = given.get("batch_size", recipe.batch_size)
    recipe = recipe.with_config({"lr": recipe.lr * batch / SCALED_BATCH, **given})
    return Experiment(
        name=asked.name or f"{run_label(loaded, asked.data)}-{asked.command}-{datetime.now():%Y%m%d-%H%M%S}",
        model=find_model(model),
        recipe=recipe,
        space=space_for(None, preset),  # that of a search over this recipe; nothing is searched here
        search=SearchOptions(
            search="random", scheduler="none", trials=1, concurrency=asked.concurrency, workers=asked.workers
        ),
        seed=asked.seeds.start,
    )


def _list(asked: Asked, made: Sequence[Entrant], loaded: AnyDataset, console: Console) -> None:
    """Show what would be trained."""
    from raysubset.report.tables import Table
    from raysubset.tuning.run import split_rows

    experiment = _experiment(asked, loaded)
    n, epochs = len(split_rows(experiment, loaded)[0]), experiment.recipe.epochs
    samples = [int(e.plan.resolved("full").timetable(n, epochs).costs.sum()) for e in made]
    if asked.as_json:
        ways = [{"way": e.way.name, "samples": s} for e, s in zip(made, samples, strict=True)]
        facts = {"model": experiment.model_name, "epochs": epochs, "seeds": [*asked.seeds]}
        print(json.dumps({**facts, "ways": ways}))
        return
    rows = tuple((e.way.name, f"{s:,}", e.way.against or "-") for e, s in zip(made, samples, strict=True))
    title = f"{experiment.model_name}, {epochs} epochs, {len(asked.seeds)} seeds"
    print_tables([Table(title, ("way", "samples a seed", "compared with"), rows)], console)
    console.print(f"{sum(samples) * len(asked.seeds):,} samples", highlight=False)


def _announce(study: ComparisonStudy, console: Console) -> None:
    """Say what will run and what it is predicted to cost."""
    from raysubset.tuning.presets import seconds_per_sample
    from raysubset.tuning.progress import duration
    from raysubset.tuning.task import task_words

    run, comparison = study.run, study.comparison
    recipe, data = run.experiment.recipe, run.data
    pace = seconds_per_sample(run.experiment.model, data.input_shape, data.num_classes, recipe.batch_size)
    for line in (
        f"{run.experiment.name}: {run.info.dataset}, {run.info.model}, {run.info.device}",
        *task_words(run.experiment, run.data),
        f"{len(comparison.ways)} ways of choosing rows x {len(comparison.seeds)} seeds, {recipe.epochs} epochs",
        f"predicted: {study.planned_samples:,} samples, {duration(study.planned_samples * pace)} of one worker",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _measure(study: ComparisonStudy, asked: Asked) -> None:
    """Run what is missing; an interruption still leaves a report."""
    try:
        study.measure()
    except InterruptedRunError as error:
        command = f"raysubset {asked.command} --resume --name {study.run.experiment.name} --root {asked.root}"
        raise InterruptedRunError(
            f"{error} So far: {study.run.report()}. Go on with: {command} (and the same --data and --data-dir)."
        ) from None


def _print(study: ComparisonStudy, console: Console, as_json: bool) -> None:
    folder, report = study.run.folder, study.run.report()
    comparison = read_comparison(folder)
    trainings = read_trainings(folder, comparison)
    if as_json:
        plain = {"name": study.run.experiment.name, "report": str(report), "judged_on": comparison.judged_on}
        print(json.dumps({**plain, **derived(comparison, trainings)}))
        return
    print_tables(comparison_tables(comparison, trainings), console)
    for say in (comparison_found, comparison_against, comparison_unmeasured):
        for sentence in say(comparison, trainings):
            console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    for label, value in comparison_facts(comparison, trainings):
        console.print(f"{label}: {value}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
