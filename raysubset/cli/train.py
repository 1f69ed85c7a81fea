"""``raysubset train``: a normal training on chosen subsets, or many that differ in how the rows are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from raysubset.cli.grouped import grouped
from raysubset.cli.groups import RowChoice, RunOptions
from raysubset.cli.options import KeepClasses, Preset, WarmStart, Workers
from raysubset.cli.trainings import Asked, EpochOptions, TrainingData, TrainingOptions, conduct
from raysubset.cli.values import names, numbers, schedules
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OneChoice(RowChoice):
    """Who chooses the rows of one training."""

    selector: Annotated[
        str, Option(help="Of one training: asp, adaptive-random, ...: see `raysubset select --list`.")
    ] = "asp"


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOptions:
    """What all ways of choosing rows have in common."""

    warm_start: WarmStart = None
    per_class: KeepClasses = False
    scale: Annotated[
        Literal["none", "zscore", "rank"], Option(help="Of asp's remembered importance, before the draw.")
    ] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What is compared with what, if anything."""

    compare: Annotated[
        str | None,
        Option(help=f"Ways of choosing rows, with commas; adaptive random is always one. {ALL}: "
               f"{', '.join(PAPER_WAYS)}."),
    ] = None  # fmt: skip
    preset: Annotated[
        Preset | None, Option(help="The ASP paper's comparison: minutes on two cores, or at its sizes, for a GPU.")
    ] = None
    ratio: Annotated[
        str | None, Option(help="Mean share of the data an epoch trains on (default: 0.1); to compare, several.")
    ] = None
    schedule: Annotated[
        str | None, Option(help="dynamic (default: large subsets first) or static; to compare, both.")
    ] = None

    @property
    def study(self) -> bool:
        """Whether there is more than one training."""
        return self.compare is not None or self.preset is not None

    @property
    def exact(self) -> bool:
        """Whether ways are held to equal samples, which the paper's are not quite."""
        return self.study and self.preset != "paper"

    @property
    def words(self) -> Sequence[str]:
        """The ways by name."""
        if self.compare is None:
            return PAPER_WAYS
        return [way for word in names(self.compare) for way in (PAPER_WAYS if word == ALL else (word,))]

    @property
    def ratios(self) -> Sequence[float]:
        """Mean shares of the data."""
        return numbers("ratio", self.ratio or (PAPER_RATIOS if self.preset else "0.1"))

    @property
    def schedules(self) -> Sequence[Schedule]:
        """Schedules of the sizes."""
        return schedules(self.schedule or (PAPER_SCHEDULES if self.preset else "dynamic"))


@grouped
def train(
    *,
    source: TrainingData,
    compared: Compared,
    choice: OneChoice,
    way: WayOptions,
    epoch: EpochOptions,
    trace: Annotated[
        bool, Option("--trace", help="Keep how important rows are, epoch by epoch, for `raysubset viz`.")
    ] = False,
    training: TrainingOptions,
    workers: Workers = 1,
    which: RunOptions,
) -> None:
    """Train one model on chosen subsets, or compare ways of choosing them at equal samples, over seeds."""
    common = {**asdict(way), **epoch.plain(compared.exact), "select_every": choice.select_every}
    ratios, sizes = compared.ratios, compared.schedules

    def entrants() -> Sequence[Entrant]:
        if not compared.study:
            return _one(choice, ratios, sizes, common)
        if choice.option:
            raise OptionsError("--option is of the selector of one training; ways that are compared have none.")
        from raysubset.tuning.ways import grid

        return grid(compared.words, ratios, sizes, common)

    asked = Asked(
        command="train", source=source, options=training, which=which, preset=compared.preset,
        study=compared.study, workers=workers, trace=trace,
    )  # fmt: skip
    conduct(asked, entrants, _notes(common) if compared.study else ())


def _one(
    choice: OneChoice, ratios: Sequence[float], sizes: Sequence[Schedule], common: Mapping[str, Any]
) -> Sequence[Entrant]:
    """Return the only way of a single training."""
    from raysubset.report.comparison import Way
    from raysubset.tuning.ways import Entrant, is_whole

    if len(ratios) != 1 or len(sizes) != 1:
        raise OptionsError("One training has one --ratio and one --schedule; several are for --compare.")
    ratio = 1.0 if is_whole(choice.selector) else ratios[0]
    plan = choice.plan(**common, ratio=ratio, schedule=sizes[0])
    method = f"asp-{choice.metric}" if choice.selector == "asp" else choice.selector
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
