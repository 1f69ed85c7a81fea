"""The options of ``raysubset hpo``: how is searched, what is tried, and what else is shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from raysubset.cli.defaults import recipe_for, space_for
from raysubset.cli.options import (
    BudgetEpochs,
    Concurrency,
    Eta,
    Model,
    Seed,
    SpaceFile,
    TrialEpochs,
    Watts,
    Workers,
)
from raysubset.errors import OptionsError
from raysubset.experiment import Experiment, Score, SearchOptions, find_model
from raysubset.hpo.fidelity import Anneal, Mode, Promote
from raysubset.hpo.pairing import Pairing
from raysubset.hpo.rungs import Place
from raysubset.selection.plan import SubsetPlan

if TYPE_CHECKING:
    from raysubset.runtime.place import AnyDataset
    from raysubset.tuning.presets import Preset


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchChoice:
    """How configurations are proposed, judged and paid for: `SearchOptions`, but for what a preset fills in."""

    search: Annotated[str, Option(help="tpe, random, grid, bo, bohb or hyper-tune.")] = "tpe"
    scheduler: Annotated[
        str,
        Option(help="asha, asha-promote, dasha, halving, hyperband, hyper-tune, median or none."),
    ] = "asha"
    eta: Eta = 3
    place: Annotated[Place, Option(help="Rungs at equal steps of samples or epochs.")] = "samples"
    fidelity: Annotated[
        Mode, Option(help="A lower rung is a prefix of the training, a smaller ratio, or a shorter restart.")
    ] = "prefix"
    promote: Annotated[Promote, Option(help="How a trial goes on at the next level.")] = "auto"
    anneal: Annotated[Anneal, Option(help="Learning rate over the levels of a ratio ladder.")] = "auto"
    levels: Annotated[int | None, Option(help="Levels, the last included (default: as many as fit).")] = None
    concurrency: Concurrency = 0
    workers: Workers = 1
    score: Annotated[Score, Option(help="What rungs compare, on the validation split.")] = "loss"
    evaluate: Annotated[str, Option(help="Validate at rungs, or after all epochs.")] = "rungs"
    pairing: Annotated[Pairing, Option(help="Random numbers that trials share.")] = "both"
    budget_epochs: BudgetEpochs = None
    time_budget: Annotated[
        float | None,
        Option(help="Seconds that the full search may take; a subset search gets ratio times that."),
    ] = None
    earlier: Annotated[Path | None, Option(help="Folder of an earlier run to start the searcher from.")] = None

    def options(self) -> SearchOptions:
        """Return what is searched by, with the default numbers of trials and retrainings.

        Raises:
            UnknownNameError, OptionsError: See `SearchOptions`.
        """
        said = asdict(self)
        seconds, earlier = said.pop("time_budget"), said.pop("earlier")
        return SearchOptions(**said, time_budget_s=seconds, earlier="" if earlier is None else str(earlier))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOptions:
    """What is tried, and how much of it; what is not said is filled in by data and device."""

    model: Model = None
    space: SpaceFile = None
    trials: Annotated[int | None, Option(help="Configurations to try.")] = None
    epochs: TrialEpochs = None
    retrain: Annotated[int | None, Option(help="Best configurations retrained on all data.")] = None
    seed: Seed = 0
    smoke: Annotated[bool, Option("--smoke", help="A run of seconds, to see that everything works.")] = False

    def model_name(self, preset: Preset) -> str:
        """Return the model asked for, or the preset's."""
        return self.model or preset.model

    def experiment(
        self, name: str, data: AnyDataset, preset: Preset, plan: SubsetPlan, search: SearchOptions
    ) -> Experiment:
        """Return the experiment, its gaps filled in by the preset.

        Raises:
            OptionsError, SearchSpaceError: See `Experiment`, `find_model` and `space_for`.
        """
        trials = preset.trials if self.trials is None else self.trials
        retrain = preset.retrain if self.retrain is None else self.retrain
        return Experiment(
            name=name,
            model=find_model(self.model_name(preset)),
            plan=plan,
            recipe=recipe_for(data, preset, self.epochs),
            space=space_for(self.space, preset),
            search=replace(search, trials=trials, retrain=retrain),
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is done beside the search, and shown of it."""

    compare_full: Annotated[
        bool, Option("--compare-full", help="Run the same search on all the data beside it.")
    ] = False
    track: Annotated[list[str] | None, Option(help="Also tell mlflow or wandb (may be repeated).")] = None
    watts: Watts = None
    dashboard: Annotated[bool, Option("--dashboard", help="Start the Ray dashboard with a local session.")] = False

    def __post_init__(self) -> None:
        if self.watts is not None and not 0 < self.watts < inf:
            raise OptionsError(f"--watts {self.watts!r}, need a number > 0.")
