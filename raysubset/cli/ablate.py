"""``raysubset ablate``: the mixture of metrics with one thing changed at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from typer import Option

from raysubset.cli.grouped import grouped
from raysubset.cli.groups import RunOptions, SubsetSizes
from raysubset.cli.options import Preset
from raysubset.cli.trainings import Asked, EpochOptions, TrainingData, TrainingOptions, conduct
from raysubset.cli.values import names, numbers

if TYPE_CHECKING:
    from raysubset.tuning.ways import Entrant

NOTE = (
    "g012 is the paper's order with sigma 1/8 and T 1, compared with adaptive random; the others change one thing "
    "and are compared with g012, on equal samples and the same seeds."
)


@grouped
def ablate(
    *,
    source: TrainingData,
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
    schedule: SubsetSizes = "dynamic",
    epoch: EpochOptions,
    training: TrainingOptions,
    which: RunOptions,
) -> None:  # fmt: skip
    """Train on ASP's mixture in every order of its groups, with other sigmas and temperatures; over seeds."""

    def entrants() -> Sequence[Entrant]:
        from raysubset.tuning.ways import ablation

        return ablation(
            names(orders),
            numbers("sigmas", sigmas),
            numbers("temperatures", temperatures),
            numbers("ratio", ratio),
            schedule,
            epoch.plain(exact=preset != "paper"),
        )

    asked = Asked(command="ablate", source=source, options=training, which=which, preset=preset)
    conduct(asked, entrants, (NOTE,))
