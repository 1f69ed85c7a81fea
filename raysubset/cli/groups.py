"""Groups of options that commands take whole (`cli.grouped`), and what the options of each make together.

A command with another default or another meaning of an option takes a subclass that says so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from rich.console import Console
from typer import Option

from raysubset.cli.data import NAMED, WHAT, open_data
from raysubset.cli.options import DataDir, Json, Limit, Metric, Preset, Ratio, Root, SelectorOptions
from raysubset.cli.output import say
from raysubset.cli.values import read_options
from raysubset.data.catalog import load_dataset
from raysubset.errors import OptionsError, UnknownNameError
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.ratio import Schedule

if TYPE_CHECKING:
    from raysubset.data.dataset import Dataset
    from raysubset.runtime.place import AnyDataset

SubsetSizes = Annotated[Schedule, Option(help="Subset sizes: large first, or all alike.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedData:
    """A data set by name or folder, to be read into memory."""

    data: Annotated[str, Option(help=NAMED)] = "cifar10"
    data_dir: DataDir = None
    limit: Limit = None

    def read(self, console: Console, otherwise: int | None = None) -> Dataset:
        """Read it, or the embedded digits for a named set that is nowhere, saying so on the console.

        Args:
            console: Where that is said.
            otherwise: The limit where none was given.

        Raises:
            DataError, DatasetNotFoundError, StorageError, UnknownNameError: See `load_dataset`.
        """
        limit = otherwise if self.limit is None else self.limit
        loaded = load_dataset(self.data, self.data_dir, limit=limit, allow_fallback=True)
        _say_note(loaded, console)
        return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyData:
    """A data set by name or folder, or one that stays sharded where it is."""

    data: Annotated[str, Option(help=WHAT)] = "cifar10"
    data_dir: DataDir = None
    limit: Limit = None

    def opened(self, console: Console, otherwise: int | None = None) -> AnyDataset:
        """Open it, see `NamedData.read` and `open_data`."""
        loaded = open_data(self.data, self.data_dir, otherwise if self.limit is None else self.limit)
        _say_note(loaded, console)
        return loaded


def _say_note(loaded: AnyDataset, console: Console) -> None:
    if loaded.note:
        say(console, loaded.note, style="yellow")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetData(NamedData):
    """A data set whose rows, as all sizes, are those of a preset."""

    preset: Annotated[str, Option(help="small: minutes on two cores; paper: the papers' sizes.")] = "small"
    limit: Annotated[int | None, Option(help="Rows of each split (default: the preset's).")] = None

    def __post_init__(self) -> None:
        if self.preset not in get_args(Preset):
            raise UnknownNameError.of("preset", self.preset, get_args(Preset))


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodChoice:
    """Who chooses the rows."""

    selector: Annotated[str, Option(help="asp, adaptive-random, craig, ...: see `raysubset select --list`.")] = (
        "asp"
    )
    metric: Metric = "mixture"

    def plan(self, **more: Any) -> SubsetPlan:
        """Return the plan that the options of this group and ``more`` fields of it make.

        Raises:
            UnknownNameError, BudgetError, OptionsError: See `SubsetPlan` and `read_options`.
        """
        said = {**asdict(self), **more}
        return SubsetPlan(options=read_options(said.pop("option", None)), **said)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChoice(MethodChoice):
    """Who chooses the rows, how often, and what it is told."""

    option: SelectorOptions = None
    select_every: Annotated[
        int | None, Option(help="Epochs between selections, 0 for one (default: the selector's habit).")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetChoice(RowChoice):
    """Who chooses how many rows."""

    ratio: Ratio = 0.1
    schedule: SubsetSizes = "dynamic"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Which run it is, and how its result is printed."""

    name: Annotated[str | None, Option(help="Run name (default: what it is of, and the time).")] = None
    root: Root = Path("runs")
    resume: Annotated[bool, Option("--resume", help="Go on with the run of that name, as it was asked.")] = False
    as_json: Json = False

    def __post_init__(self) -> None:
        if self.resume and self.name is None:
            raise OptionsError("--resume needs the --name of the run to go on with.")
        if self.name is not None and self.name != Path(self.name).name:
            raise OptionsError(f"--name {self.name!r} is no plain folder name; --root says where runs lie.")

    @property
    def console(self) -> Console:
        """Where everything but JSON is printed."""
        return Console(stderr=self.as_json)

    @property
    def folder(self) -> Path:
        """That of the run which is gone on with."""
        return self.root / str(self.name)

    def called(self, *of: str) -> str:
        """Return the run's name: the one given, or what the run is of and the time."""
        return self.name or stamped(*of)


def stamped(*of: str) -> str:
    """Name a run after what it is of, and the time."""
    return f"{'-'.join(of)}-{datetime.now():%Y%m%d-%H%M%S}"
