"""Experiment: everything a search is made of, as one frozen object that goes to and from TOML. No Ray."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import tomli_w

from raysubset.errors import OptionsError, UnknownNameError
from raysubset.frozen_toml import field_names, from_table, read_toml, refuse_unknown
from raysubset.hpo.catalog import SCHEDULERS, SEARCHERS
from raysubset.hpo.fidelity import Anneal, FidelityOptions, Mode, Promote
from raysubset.hpo.pairing import PAIRINGS, Pairing
from raysubset.hpo.rungs import PLACES, Place
from raysubset.hpo.space import Space, check_space, space_from_plain, space_to_plain
from raysubset.selection.plan import SubsetPlan
from raysubset.training.recipe import Recipe

if TYPE_CHECKING:
    from raysubset.models.catalog import ModelBuilder  # brings PyTorch, which an experiment does not need

Score = Literal["loss", "accuracy"]
EVALUATE: tuple[str, ...] = ("rungs", "epochs")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How configurations are proposed, judged and paid for.

    Attributes:
        search: "tpe", "random", "grid", "bo" (Bayesian optimisation), "bohb" or "hyper-tune".
        scheduler: "asha" (asynchronous halving, stopping type), "asha-promote" (promotion type), "dasha" (delayed
            promotions), "halving" (synchronous), "hyperband", "hyper-tune", "median", or "none": every trial runs
            to its end.
        trials: Configurations at most, >= 1.
        concurrency: Trials at a time; 0 takes as many as the cluster's CPUs or GPUs serve.
        workers: Training workers of a trial, >= 1; more than one train it together, each on its part of the rows.
        eta: Reduction factor of the rungs, >= 2.
        score: What rungs and the searcher compare: validation "loss" (ranks better at low rungs) or "accuracy".
        evaluate: Validation passes at "rungs" and the end, or after all "epochs".
        pairing: Random numbers that trials share: "both", "subset" or "none".
        retrain: Best configurations retrained on all data, 0 for none.
        budget_epochs: Full-data epochs (over all trials) that the full search may cost; this one may cost ratio
            times that. None: as many samples as all trials could consume.
        time_budget_s: Wall seconds that the full search may take; this one may take ratio times that. None: no
            limit.
        place: Rungs at equal steps of "samples" or of "epochs" (in the logarithm), or "auto": samples, unless
            fewer than two halvings fit that way.
        fidelity, promote, anneal, levels: What a lower rung is and how a trial passes on, see
            `hpo.fidelity.FidelityOptions`.
        earlier: Folder of an earlier run whose results the searcher starts from; "" for none.

    Raises:
        UnknownNameError: search or scheduler unknown.
        OptionsError: Any other option out of range; all in one message.
    """

    search: str = "tpe"
    scheduler: str = "asha"
    trials: int = 16
    concurrency: int = 0
    workers: int = 1
    eta: int = 3
    score: Score = "loss"
    evaluate: str = "rungs"
    pairing: Pairing = "both"
    retrain: int = 3
    budget_epochs: float | None = None
    time_budget_s: float | None = None
    place: Place = "samples"
    fidelity: Mode = "prefix"
    promote: Promote = "auto"
    anneal: Anneal = "auto"
    levels: int | None = None
    earlier: str = ""

    def __post_init__(self) -> None:
        if self.search not in SEARCHERS:
            raise UnknownNameError.of("search", self.search, SEARCHERS)
        if self.scheduler not in SCHEDULERS:
            raise UnknownNameError.of("scheduler", self.scheduler, SCHEDULERS)
        faults = [
            f"{name}={value!r}, need one of {', '.join(allowed)}"
            for name, value, allowed in (
                ("score", self.score, get_args(Score)),
                ("evaluate", self.evaluate, EVALUATE),
                ("pairing", self.pairing, PAIRINGS),
                ("place", self.place, PLACES),
            )
            if value not in allowed
        ]
        for name, value, least in (
            ("trials", self.trials, 1),
            ("concurrency", self.concurrency, 0),
            ("workers", self.workers, 1),
            ("eta", self.eta, 2),
            ("retrain", self.retrain, 0),
        ):
            if value < least:
                faults.append(f"{name}={value}, need at least {least}")
        for name, limit in (("budget_epochs", self.budget_epochs), ("time_budget_s", self.time_budget_s)):
            if limit is not None and not limit > 0:
                faults.append(f"{name}={limit!r}, need a number > 0")
        if faults:
            raise OptionsError.of("SearchOptions", faults)
        _ = self.fidelity_options

    @property
    def fidelity_options(self) -> FidelityOptions:
        """The four options of the ladder as one checked object."""
        return FidelityOptions(mode=self.fidelity, promote=self.promote, anneal=self.anneal, levels=self.levels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A search over one data set.

    Attributes:
        name: Run name; the run's folder carries it.
        model: A name of the model zoo, or a callable ``(num_classes, input_shape) -> nn.Module``.
        plan: How each trial chooses its data.
        recipe: How each trial trains; the space overrides its fields.
        space: What is searched: Recipe field -> domain.
        search: Proposing, judging, paying.
        validation: Share of the training rows held out for judging, in (0, 1).
        seed: The seed of everything.

    Raises:
        SearchSpaceError: The space is empty or names a key that no Recipe has.
        OptionsError: name or validation out of range.
    """

    name: str
    model: str | ModelBuilder
    plan: SubsetPlan = field(default_factory=SubsetPlan)
    recipe: Recipe = field(default_factory=Recipe)
    space: Space
    search: SearchOptions = field(default_factory=SearchOptions)
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_space(self.space, Recipe.tunable() - {"epochs"})  # trials are compared at equal epochs
        faults = []
        if not self.name or self.name != Path(self.name).name or self.name.startswith("."):
            faults.append(f"name={self.name!r}, need a plain folder name")
        if not 0 < self.validation < 1:
            faults.append(f"validation={self.validation!r}, need a share in (0, 1)")
        if faults:
            raise OptionsError.of("Experiment", faults)

    @property
    def model_name(self) -> str:
        """The name by which `find_model` finds it (a builder without a name: that of its type)."""
        if isinstance(self.model, str):
            return self.model
        if (reference := getattr(self.model, "reference", None)) is not None:
            return str(reference)
        named = self.model if hasattr(self.model, "__qualname__") else type(self.model)
        return f"{named.__module__}:{named.__qualname__}"

    def on_full_data(self) -> Experiment:
        """Return the same search with every trial on all the data; there is no smaller ratio to begin with.

        Levels of a ladder that was laid out in rows or restarts mean nothing for the beginning of a training.
        """
        levels = self.search.levels if self.search.fidelity == "prefix" else None
        options = replace(self.search, fidelity="prefix", promote="auto", anneal="auto", levels=levels)
        return replace(self, plan=SubsetPlan.full(), search=options)

    def to_toml(self) -> str:
        """Return the experiment as TOML; a callable model is written as "module:name"."""
        plain: dict[str, Any] = {
            "name": self.name,
            "model": self.model_name,
            "validation": self.validation,
            "seed": self.seed,
        }
        for part in ("plan", "recipe", "search"):
            plain[part] = {k: v for k, v in asdict(getattr(self, part)).items() if v is not None}
        if not isinstance(self.plan.selector, str):
            raise OptionsError(
                f"A selector object ({self.plan.name}) cannot be written to TOML: give the plan 'module:name' of "
                "a function that makes it."
            )
        plain["space"] = space_to_plain(self.space)
        return tomli_w.dumps(plain)

    @classmethod
    def from_toml(cls, text: str) -> Experiment:
        """Read an experiment; what is left out keeps its default.

        Raises:
            OptionsError: Not TOML, an unknown key (lists the known ones), or a value out of range.
        """
        plain = read_toml("Experiment", text)
        refuse_unknown("experiment", plain, field_names(cls))
        if missing := sorted({"name", "model", "space"} - set(plain)):
            raise OptionsError.of("experiment", [f"{key!r} is missing" for key in missing])
        parts: dict[str, Any] = {
            k: v for k, v in plain.items() if k not in ("plan", "recipe", "search", "space", "model")
        }
        for part, kind in (("plan", SubsetPlan), ("recipe", Recipe), ("search", SearchOptions)):
            if part in plain:
                parts[part] = from_table(kind, part, plain[part])
        return cls(**parts, model=find_model(plain["model"]), space=space_from_plain(plain["space"]))


def find_model(reference: str) -> str | ModelBuilder:
    """Return the model of a name: the zoo's, "module:name" of a builder, or "nb101-<channels>x<cells>:<cell>".

    Raises:
        OptionsError: The module or the name in it is not to be found.
        ArchitectureError: The cell is none of NAS-Bench-101.
    """
    module, colon, name = reference.partition(":")
    if not colon:
        return reference
    if module.startswith("nb101-"):
        from raysubset.nas.cell_model import CellModel

        return CellModel.parse(reference)
    try:
        builder: ModelBuilder = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise OptionsError(f"model={reference!r} cannot be imported: {error}.") from error
    return builder
