"""``raysubset train``: a normal training on chosen subsets, or many that differ in how the rows are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from raysubset.cli.select import read_options
from raysubset.cli.trainings import (
    STUDY_SEEDS,
    Asked,
    BudgetOption,
    Concurrency,
    DataDir,
    DataName,
    DryRun,
    Epochs,
    First,
    Json,
    Limit,
    Model,
    Name,
    Preset,
    RecipeOptions,
    Resume,
    Root,
    Seed,
    Seeds,
    Workers,
    conduct,
    names,
    numbers,
    schedules,
)
from raysubset.errors import OptionsError

if TYPE_CHECKING:
    from raysubset.selection.ratio import Schedule
    from raysubset.tuning.ways import Entrant

ALL = "all"
PAPER_WAYS = (
    "full", "infobatch", "random", "adaptive-random",
    "asp-gradient", "asp-loss", "asp-entropy", "asp-prediction", "asp-mixture",
)  # fmt: skip
PAPER_RATIOS, PAPER_SCHEDULES = "0.1,0.3,0.5,0.7", "static,dynamic"


def train(
    data: DataName = "cifar10",
    data_dir: DataDir = None,
    limit: Limit = None,
    model: Model = None,
    compare: Annotated[
        str | None,
        Option(help=f"Ways of choosing rows, with commas; adaptive random is always one. {ALL}: "
               f"{', '.join(PAPER_WAYS)}."),
    ] = None,
    preset: Annotated[
        Preset | None, Option(help="The ASP paper's comparison: minutes on two cores, or at its sizes, for a GPU.")
    ] = None,
    selector: Annotated[
        str, Option(help="Of one training: asp, adaptive-random, ...: see `raysubset select --list`.")
    ] = "asp",
    metric: Annotated[
        str, Option(help="Of asp: mixture, gradient, loss, entropy, prediction or random.")
    ] = "mixture",
    ratio: Annotated[
        str | None, Option(help="Mean share of the data an epoch trains on (default: 0.1); to compare, several.")
    ] = None,
    schedule: Annotated[
        str | None, Option(help="dynamic (default: large subsets first) or static; to compare, both.")
    ] = None,
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
    scale: Annotated[
        Literal["none", "zscore", "rank"], Option(help="Of asp's remembered importance, before the draw.")
    ] = "none",
    first_epoch: First = "auto",
    budget: BudgetOption = None,
    trace: Annotated[
        bool, Option("--trace", help="Keep how important rows are, epoch by epoch, for `raysubset viz`.")
    ] = False,
    epochs: Epochs = None,
    recipe: RecipeOptions = None,
    concurrency: Concurrency = 0,
    workers: Workers = 1,
    seeds: Seeds = None,
    seed: Seed = 0,
    name: Name = None,
    root: Root = Path("runs"),
    resume: Resume = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Train one model on chosen subsets, or compare ways of choosing them at equal samples, over seeds."""
    study = compare is not None or preset is not None
    exact = study and preset != "paper"  # the paper's first epoch trains on everything, whatever the ratio
    common = {
        "first_epoch": "scheduled" if exact and first_epoch == "auto" else first_epoch,
        "budget": budget or ("exact" if exact and first_epoch in ("auto", "scheduled") else "paper"),
        "per_class": per_class,
        "select_every": select_every,
        "warm_start": warm_start,
        "scale": scale,
    }
    ratios = numbers("ratio", ratio or (PAPER_RATIOS if preset else "0.1"))
    sizes = schedules(schedule or (PAPER_SCHEDULES if preset else "dynamic"))
    count = seeds or (STUDY_SEEDS if study else 1)
    asked = Asked(
        command="train", data=data, data_dir=data_dir, limit=limit, model=model, preset=preset, epochs=epochs,
        recipe=recipe, concurrency=concurrency, workers=workers, seeds=range(seed, seed + count), name=name,
        root=root, resume=resume, dry_run=dry_run, as_json=as_json, trace=trace,
    )  # fmt: skip

    def entrants() -> Sequence[Entrant]:
        if not study:
            return _one(selector, metric, ratios, sizes, {**common, "options": read_options(option)})
        if option:
            raise OptionsError("--option is of the selector of one training; ways that are compared have none.")
        from raysubset.tuning.ways import grid

        words = PAPER_WAYS if compare in (None, ALL) else names(str(compare))
        return grid(words, ratios, sizes, common)

    conduct(asked, entrants, _notes(common) if study else ())


def _one(
    selector: str, metric: str, ratios: Sequence[float], sizes: Sequence[Schedule], options: Mapping[str, Any]
) -> Sequence[Entrant]:
    """Return the only way of a single training."""
    from raysubset.report.comparison import Way
    from raysubset.selection.plan import SubsetPlan
    from raysubset.tuning.ways import Entrant, is_whole

    if len(ratios) != 1 or len(sizes) != 1:
        raise OptionsError("One training has one --ratio and one --schedule; several are for --compare.")
    ratio = 1.0 if is_whole(selector) else ratios[0]
    plan = SubsetPlan(**{**options, "selector": selector, "metric": metric, "ratio": ratio, "schedule": sizes[0]})
    method = f"asp-{metric}" if selector == "asp" else selector
    way = Way(name=f"{method}-{sizes[0]}-r{ratio:g}", method=method, schedule=sizes[0], ratio=ratio)
    return (Entrant(way, plan),)


def _notes(common: Mapping[str, Any]) -> tuple[str, ...]:
    first = {
        "scheduled": "The first epoch is as small as the schedule says and drawn uniformly",
        "shared": "The first epoch is as small as the schedule says",
    }.get(common["first_epoch"], "The first epoch trains on everything, that of adaptive random too")
    cost = "sizes are those of Algorithm 2, so a ratio's ways cost a little more than ratio x epochs x rows"
    if common["budget"] == "exact":
        cost = "every way of a ratio consumes ratio x epochs x rows"
    return (
        f"{first}; {cost}.",
        "Against adaptive random with the same ratio, schedule and first epoch; full and infobatch have none.",
    )
