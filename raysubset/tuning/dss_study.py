"""Data subset selection for hyper-parameter tuning [1]: a search per way of choosing rows, then a full retraining.

TPE proposes 10 configurations; each trains on 5 % of the data, chosen by CRAIG, GLISTER, GRAD-MATCH or at random
after a warm start, or on all of it; the best is trained again on everything, from another seed.

What the paper leaves open, or what is done otherwise here:

    number of epochs   searched there, fixed here: trials are compared at the same cost, and the number of epochs
                       is what early stopping varies (``scheduler``)
    bottleneck blocks  searched there for ResNet-50, fixed here at its own 3, 4, 6, 3
    ranges             not printed; those of `SPACE`
    GRAD-MATCH         which variant is not said; per mini-batch here, as in its authors' AUTOMATA
    R, kappa           not printed; new rows every 20 epochs and a warm start of 0.5, as GRAD-MATCH does
    random             new rows as often, and the same warm start: only the choice of rows differs
    steering           GLISTER steers by a tenth of the training rows, held out; validation rows only judge

References:
    [1] Visalpara, Killamsetty, Iyer, 2021, "A data subset selection framework for efficient hyper-parameter tuning
        and automatic machine learning", SubSetML workshop at ICML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raysubset.experiment import Experiment, SearchOptions
from raysubset.hpo.space import Space, choice, loguniform, uniform
from raysubset.report.published import DSS_CLAIMS
from raysubset.selection.plan import SubsetPlan
from raysubset.training.recipe import Recipe
from raysubset.tuning.study_grid import Cell, Study

METHODS: Mapping[str, str] = {
    "full": "full",
    "adaptive-random": "random",
    "craig": "CRAIG",
    "glister": "GLISTER",
    "gradmatch-per-batch": "GRAD-MATCH (per batch)",
}
"""Selector -> what the paper calls it."""

CLAIMED = ("craig", "glister", "gradmatch-per-batch")  # what is said of speed and accuracy is said of these
CLAIMED_RATIO = 0.05

MODELS: Mapping[str, str] = {"cifar10": "resnet18", "cifar100": "resnet50", "mnist": "lenet"}
"""Data set -> the paper's model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DssSetting:
    """How large a study is.

    Attributes:
        model: Zoo name.
        epochs, trials: Of a search.
        batch_sizes: That are searched.
        select_every: R, epochs between selections.
        warm_start: kappa.
        ratio: Share of the data an epoch trains on, in (0, 1).
        scheduler: "none", as in the paper, or one that stops trials early.
        selectors: Besides training on everything.
        concurrency: Trials at a time, 0 for what the machine serves.
    """

    model: str = "lenet"
    epochs: int = 20
    trials: int = 10
    batch_sizes: tuple[int, ...] = (16, 32, 64)
    select_every: int = 5
    warm_start: float = 0.5
    ratio: float = CLAIMED_RATIO
    scheduler: str = "none"
    selectors: tuple[str, ...] = tuple(name for name in METHODS if name != "full")
    concurrency: int = 0


SMALL = DssSetting()


def paper_setting(data: str) -> DssSetting:
    """Return the paper's setting of a data set in `MODELS`, for a GPU."""
    return DssSetting(model=MODELS[data], epochs=200, batch_sizes=(64, 128, 256), select_every=20)


def space(batch_sizes: tuple[int, ...]) -> Space:
    """Return what the paper searches, less the number of epochs."""
    return {
        "lr": loguniform(1e-4, 1e-1),
        "momentum": uniform(0.5, 0.99),
        "optimizer": choice(["sgd", "adam", "rmsprop"]),
        "batch_size": choice(batch_sizes),
    }


def dss_study(
    name: str, data: str, setting: DssSetting, seeds: tuple[int, ...], *, augment: bool, published_for: str
) -> Study:
    """Return the study's grid: for each seed the search on everything, then one per selector.

    Args:
        name: Of the study.
        data: Key of the data set.
        setting: How large.
        seeds: One search of each kind a seed.
        augment: Crop and flip.
        published_for: The data set whose claims are shown.

    Raises:
        UnknownNameError, BudgetError, OptionsError: An option is wrong.
    """
    cells = [
        _cell(data, setting, selector, seed, augment, published_for)
        for seed in seeds
        for selector in dict.fromkeys(("full", *setting.selectors))
    ]
    return Study(name=name, cells=tuple(cells), notes=_notes(setting, published_for))


def _cell(data: str, setting: DssSetting, selector: str, seed: int, augment: bool, published_for: str) -> Cell:
    full = selector == "full"
    ratio = 1.0 if full else setting.ratio
    claim = DSS_CLAIMS[published_for] if selector in CLAIMED and ratio == CLAIMED_RATIO else None
    experiment = Experiment(
        name=_name(data, selector, ratio, seed),
        model=setting.model,
        plan=SubsetPlan.full() if full else _plan(setting, selector),
        recipe=Recipe(
            epochs=setting.epochs,
            batch_size=setting.batch_sizes[0],
            flip=0.5 if augment else 0.0,
            crop_padding=4 if augment else 0,
        ),
        space=space(setting.batch_sizes),
        search=SearchOptions(
            search="tpe",
            scheduler=setting.scheduler,
            trials=setting.trials,
            concurrency=setting.concurrency,
            retrain=1,
        ),
        seed=seed,
    )
    return Cell(
        method=METHODS.get(selector, selector),
        experiment=experiment,
        data=data,
        against="" if full else _name(data, "full", 1.0, seed),
        published=claim,
    )


def _name(data: str, selector: str, ratio: float, seed: int) -> str:
    return f"{data}-{selector.replace(':', '.')}-r{ratio:g}-s{seed}"


def _plan(setting: DssSetting, selector: str) -> SubsetPlan:
    return SubsetPlan(
        selector=selector,
        metric="random",
        ratio=setting.ratio,
        schedule="static",
        select_every=setting.select_every,
        warm_start=setting.warm_start,
    )


def _notes(setting: DssSetting, published_for: str) -> tuple[str, ...]:
    claim = DSS_CLAIMS[published_for]
    stopping = "no trial is stopped early" if setting.scheduler == "none" else f"stopped by {setting.scheduler}"
    return (
        f"{setting.trials} trials of {setting.epochs} epochs by TPE, {stopping}; the best one trained again on "
        "all data, from another seed, and tested once.",
        f"Rows chosen anew every {setting.select_every} epochs after a warm start of {setting.warm_start:g} "
        "(random too); the number of epochs is fixed, where the paper searches it.",
        "The full data's winner is trained again as well. Faster and fewer are against the full search of the "
        "same seed, without and with that last training; ± is a 95 % Student interval over seeds.",
        f"Published: {claim.where} ({claim.model} on {claim.dataset}, {claim.device}) has no table of numbers: 8x "
        f"to 10x and {claim.gap:+g} points are its text's, for CRAIG, GLISTER and GRAD-MATCH on 5 %.",
    )
