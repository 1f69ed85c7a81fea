"""``raysubset ablate``: the mixture of metrics with one thing changed at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

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
    conduct,
    names,
    numbers,
)
from raysubset.selection.ratio import Schedule

if TYPE_CHECKING:
    from raysubset.tuning.ways import Entrant


def ablate(
    data: DataName = "cifar10",
    data_dir: DataDir = None,
    limit: Limit = None,
    model: Model = None,
    preset: Annotated[
        Preset | None, Option(help="Minutes on two cores, or the ASP paper's sizes, for a GPU.")
    ] = None,
    orders: Annotated[
        str,
        Option(help="Of the groups random (0), prediction and gradient (1), loss and entropy (2); 012 is always "
               "one, and what the others are compared with."),
    ] = "012,021,102,120,201,210",
    sigmas: Annotated[
        str, Option(help="Widths of the Gaussians, shares of training (the paper names none; 1/8 here).")
    ] = "1/16,1/4",
    temperatures: Annotated[str, Option(help="Of the draw (the paper's is 1).")] = "",
    ratio: Annotated[str, Option(help="Mean shares of the data (the paper's table names none).")] = "0.3",
    schedule: Annotated[Schedule, Option(help="Subset sizes: large first, or all alike.")] = "dynamic",
    first_epoch: First = "auto",
    budget: BudgetOption = None,
    epochs: Epochs = None,
    recipe: RecipeOptions = None,
    concurrency: Concurrency = 0,
    seeds: Seeds = None,
    seed: Seed = 0,
    name: Name = None,
    root: Root = Path("runs"),
    resume: Resume = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Train on ASP's mixture in every order of its groups, with other sigmas and temperatures; over seeds."""
    exact = preset != "paper"
    common: dict[str, Any] = {
        "first_epoch": "scheduled" if exact and first_epoch == "auto" else first_epoch,
        "budget": budget or ("exact" if exact and first_epoch in ("auto", "scheduled") else "paper"),
    }
    asked = Asked(
        command="ablate", data=data, data_dir=data_dir, limit=limit, model=model, preset=preset, epochs=epochs,
        recipe=recipe, concurrency=concurrency, workers=1, seeds=range(seed, seed + (seeds or STUDY_SEEDS)),
        name=name, root=root, resume=resume, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip

    def entrants() -> Sequence[Entrant]:
        from raysubset.tuning.ways import ablation

        return ablation(
            names(orders),
            numbers("sigmas", sigmas),
            numbers("temperatures", temperatures),
            numbers("ratio", ratio),
            schedule,
            common,
        )

    notes = (
        "g012 is the paper's order with sigma 1/8 and T 1, compared with adaptive random; the others change one "
        "thing and are compared with g012, on equal samples and the same seeds.",
    )
    conduct(asked, entrants, notes)
