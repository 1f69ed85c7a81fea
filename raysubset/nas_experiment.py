"""NasExperiment: what a search over architectures is made of, as one frozen object. TOML in and out; no Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

from raysubset.errors import OptionsError, UnknownNameError
from raysubset.frozen_toml import from_toml, to_toml
from raysubset.nas.space import NetworkSize
from raysubset.selection.plan import SubsetPlan
from raysubset.training.bilevel import ArchitectureRecipe
from raysubset.training.recipe import Recipe

SPACES: tuple[str, ...] = ("nb201", "nb101", "darts")
ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    "spos": ("nb201",),
    "rsps": ("nb201",),
    "darts": ("nb201", "darts"),
    "gdas": ("nb201",),
    "random": SPACES,
    "evolution": SPACES,
}
"""Algorithm -> the spaces it knows a supernet for, or needs none."""

FORESEEN: Mapping[str, tuple[str, ...]] = {
    "nb101": ("random", "evolution"),
    "darts": ("darts", "random", "evolution"),
}
"""Space -> the algorithms that train on what a fit of SubSelNet foresees of its cells."""

Strategy = Literal["evolution", "random", "exhaustive"]
Statistics = Literal["batch", "recalibrated"]
Score = Literal["accuracy", "loss"]
Objective = Literal["training", "table"]
Split = Literal["fixed", "refresh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateOptions:
    """How cells are proposed and judged.

    Attributes:
        strategy: Over a trained supernet: "evolution", "random" or "exhaustive".
        count: Cells judged, but for an exhaustive search.
        population: Of evolution.
        rows: Validation rows that judge a cell, a fixed draw; 0 for all.
        batch: Rows of a batch they are judged in; BatchNorm's batch statistics are over so many.
        statistics: Of BatchNorm: the "batch"'s own, or "recalibrated" on training rows for each cell.
        recalibration: Batches of training rows for that.
        score: What is compared, on the validation rows: "accuracy", or the negated "loss".
        objective: Of "random" and "evolution" without a supernet: each cell's own short "training", or the
            "table".
        finalists: Cells that are trained each by itself, on what the plan chooses, and judged by all validation
            rows, since shared weights rank cells poorly: half of them a single-path supernet's best, half drawn at
            random; 0: the supernet alone decides.
        finalist_epochs: Of each; their first epoch is as small as the plan's schedule says.

    Raises:
        OptionsError: A value out of range; all of them in one message.
    """

    strategy: Strategy = "evolution"
    count: int = 200
    population: int = 50
    rows: int = 0
    batch: int = 256
    statistics: Statistics = "batch"
    recalibration: int = 20
    score: Score = "accuracy"
    objective: Objective = "training"
    finalists: int = 0
    finalist_epochs: int = 5

    def __post_init__(self) -> None:
        faults = [
            f"{name}={value!r}, need one of {', '.join(get_args(allowed))}"
            for name, value, allowed in (
                ("strategy", self.strategy, Strategy),
                ("statistics", self.statistics, Statistics),
                ("score", self.score, Score),
                ("objective", self.objective, Objective),
            )
            if value not in get_args(allowed)
        ]
        for name, number, least in (
            ("count", self.count, 1),
            ("population", self.population, 1),
            ("rows", self.rows, 0),
            ("batch", self.batch, 2),
            ("recalibration", self.recalibration, 1),
            ("finalists", self.finalists, 0),
            ("finalist_epochs", self.finalist_epochs, 1),
        ):
            if number < least:
                faults.append(f"{name}={number}, need at least {least}")
        if faults:
            raise OptionsError.of("CandidateOptions", faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class NasExperiment:
    """A search over architectures on one data set.

    Attributes:
        name: Run name; the run's folder carries it.
        space: "nb201", "nb101" or "darts".
        algo: "spos" (single-path one-shot), "rsps" (the same, random search), "darts" (first order), "gdas",
            "random" or "evolution" (aging evolution).
        plan: How the supernet (or each cell) chooses its data.
        recipe: How it trains.
        architecture: How alpha learns (darts, gdas).
        channels, cells: Of the networks searched with: channels of the first stage; cells a stage (of a DARTS
            network altogether).
        candidates: How cells are proposed and judged.
        split: Sides of a bilevel search, see `runtime.sides`.
        validation: Share of the training rows that judges cells, or steers alpha.
        retrain_epochs: Epochs of the found DARTS network on all rows, 0 for none.
        retrain_channels, retrain_cells: Of that network.
        seed: The seed of everything.

    Raises:
        UnknownNameError: space or algo unknown.
        OptionsError: The algorithm does not know the space, or a value is out of range.
    """

    name: str
    space: str = "nb201"
    algo: str = "spos"
    plan: SubsetPlan = field(default_factory=SubsetPlan)
    recipe: Recipe = field(default_factory=Recipe)
    architecture: ArchitectureRecipe = field(default_factory=ArchitectureRecipe)
    channels: int = 16
    cells: int = 5
    candidates: CandidateOptions = field(default_factory=CandidateOptions)
    split: Split = "fixed"
    validation: float = 0.5
    retrain_epochs: int = 0
    retrain_channels: int = 36
    retrain_cells: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise UnknownNameError.of("space", self.space, SPACES)
        if self.algo not in ALGORITHMS:
            raise UnknownNameError.of("algorithm", self.algo, ALGORITHMS)
        faults = []
        if self.space not in ALGORITHMS[self.algo]:
            able = [algo for algo, spaces in ALGORITHMS.items() if self.space in spaces]
            faults.append(f"algo={self.algo!r} has no supernet of {self.space!r}; there {', '.join(able)} search")
        if not self.name or self.name != Path(self.name).name or self.name.startswith("."):
            faults.append(f"name={self.name!r}, need a plain folder name")
        if self.split not in get_args(Split):
            faults.append(f"split={self.split!r}, need one of {', '.join(get_args(Split))}")
        if not 0 < self.validation < 1:
            faults.append(f"validation={self.validation!r}, need a share in (0, 1)")
        for name, number, least in (
            ("channels", self.channels, 1),
            ("cells", self.cells, 1),
            ("retrain_epochs", self.retrain_epochs, 0),
            ("retrain_channels", self.retrain_channels, 1),
            ("retrain_cells", self.retrain_cells, 1),
        ):
            if number < least:
                faults.append(f"{name}={number}, need at least {least}")
        if self.space == "darts" and self.algo == "darts" and self.cells < 3:
            faults.append(f"cells={self.cells}: two of a DARTS network's cells reduce; need 3, or none is normal")
        fitted = self.plan.habits.evidence == "fitted"
        if fitted and self.algo not in FORESEEN.get(self.space, ()):
            known = "; ".join(f"{', '.join(algos)} in {space}" for space, algos in FORESEEN.items())
            faults.append(
                f"selector={self.plan.name!r} foresees networks of single nb101 cells and darts genotypes "
                f"({known}), not algo={self.algo!r} in space={self.space!r}"
            )
        elif fitted and self.is_bilevel:
            faults += self._faults_of_reading()
        elif not fitted and not self.trains_supernet and self.plan.habits.informed_at_start:
            faults.append(
                f"selector={self.plan.name!r} looks at evidence gathered beforehand, which algo={self.algo!r} has "
                "none of: it trains each cell by itself"
            )
        if self.candidates.finalists:
            faults += self._finalists_faults()
        if self.retrain_epochs and self.space != "darts":
            faults.append(
                f"retrain_epochs={self.retrain_epochs} is for the darts space; others are read from a table"
            )
        if faults:
            raise OptionsError.of("NasExperiment", faults)

    def _finalists_faults(self) -> list[str]:
        """Say why there can be no finalists, if there can be none."""
        finalists = f"finalists={self.candidates.finalists}"
        if self.algo not in ("spos", "rsps"):
            return [f"{finalists}: algo={self.algo!r} ranks no cells by shared weights; spos and rsps do"]
        if self.plan.habits.informed_at_start:
            return [
                f"{finalists}: selector={self.plan.name!r} looks at evidence gathered beforehand, which cells "
                "trained by themselves have none of; give finalists=0"
            ]
        return []

    def _faults_of_reading(self) -> list[str]:
        """Say what does not go with the discretised-cell reading: it fixes sides, and when to choose."""
        faults = []
        if self.split != "fixed":
            faults.append(f"split={self.split!r} with selector={self.plan.name!r}: its sides are fixed by row")
        if self.plan.select_every is not None:
            faults.append(
                f"select_every={self.plan.select_every} with selector={self.plan.name!r}: it chooses whenever the "
                "genotype has changed"
            )
        if "cell" in self.plan.options:
            faults.append("the selector's cell is the search's own, not an option")
        return faults

    @property
    def reads_cells(self) -> bool:
        """True where a supernet's subset follows the cell it stands for (`runtime.discretised`)."""
        return self.is_bilevel and self.plan.habits.evidence == "fitted"

    @property
    def size(self) -> NetworkSize:
        """Of the networks that are searched with."""
        return NetworkSize(self.channels, self.cells)

    @property
    def trains_supernet(self) -> bool:
        """True where cells share the weights of one training."""
        return self.algo in ("spos", "rsps", "darts", "gdas")

    @property
    def is_bilevel(self) -> bool:
        """True where the architecture is learnt by gradients."""
        return self.algo in ("darts", "gdas")

    def to_toml(self) -> str:
        """Return the experiment as TOML."""
        if not isinstance(self.plan.selector, str):
            raise OptionsError(f"A selector object ({self.plan.name}) cannot be written to TOML: give its name.")
        return to_toml(self, _PARTS)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read an experiment; what is left out keeps its default.

        Raises:
            OptionsError: Not TOML, an unknown key (lists the known ones), or a value out of range.
        """
        return from_toml(cls, text, _PARTS)


_PARTS: Mapping[str, Any] = {
    "plan": SubsetPlan,
    "recipe": Recipe,
    "architecture": ArchitectureRecipe,
    "candidates": CandidateOptions,
}
