"""ASP's tables of hyper-parameter searches [1]: four searches by ratio (3), and Hyper-Tune by metric (4).

    Random      random search, every trial to its end      BOHB        its density model, HyperBand's brackets
    HyperBand   random search, HyperBand's brackets        HyperTune   its surrogates, its choice of brackets

On subsets the ratio is dynamic, and the budget is ratio times that on full data. Table 4 shares its searches on
full CIFAR-10 with table 3: in a study of the same name they run once.

What the paper leaves open, or what is done otherwise here:

    budget   16 GPU days there, counted in time; in samples here, so that it is the same on every machine:
             16 days at 30 s for an epoch of ResNet-18 on CIFAR-10 (assumed) are 46,080 epochs
    space    not printed; Hyper-Tune's for ResNets, around the recipe of its appendix E.3
    winner   the best on validation data, trained again on everything from another seed, tested once
    rungs    stand in samples, and trials are compared there by validation loss

References:
    [1] Yao et al., "ASP: Automatic selection of proxy dataset for efficient AutoML", section 4.2, tables 3 and 4,
        appendix E.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from raysubset.experiment import Experiment, SearchOptions
from raysubset.hpo.rungs import max_halvings
from raysubset.report.published import Published, TableId, table_3, table_4
from raysubset.selection.plan import SubsetPlan
from raysubset.training.recipe import Recipe
from raysubset.tuning.presets import default_space
from raysubset.tuning.study_grid import Cell, Study

SEARCHES: Mapping[str, tuple[str, str]] = {
    "Random": ("random", "none"),
    "HyperBand": ("random", "hyperband"),
    "BOHB": ("bohb", "hyperband"),
    "HyperTune": ("hyper-tune", "hyper-tune"),
}
"""Row of the tables -> searcher, scheduler."""

RATIOS = (1.0, 0.3, 0.05)  # of table 3
METRICS = ("random", "loss", "entropy", "gradient", "prediction", "mixture")  # of table 4
METRIC_RATIO = 0.1

PRINTED_FOR = ("cifar10", "cifar100")
ETA = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AspSetting:
    """How large a table is.

    Attributes:
        model: Zoo name.
        epochs: Of a whole trial.
        budget_epochs: Epochs over all data that a search on full data may cost, all trials together.
        batch_sizes: That are searched.
        concurrency: Trials at a time, 0 for what the machine serves.
    """

    model: str = "lenet"
    epochs: int = 9
    budget_epochs: float = 144
    batch_sizes: tuple[int, ...] = (16, 32, 64)
    concurrency: int = 0


SMALL = AspSetting()
PAPER = AspSetting(model="resnet18", epochs=200, budget_epochs=46_080, batch_sizes=(64, 128, 256), concurrency=8)


def asp_table(
    table: TableId,
    name: str,
    data: Mapping[str, bool],
    setting: AspSetting,
    seeds: tuple[int, ...],
) -> Study:
    """Return a table's grid, seed by seed.

    Args:
        table: "T3" or "T4".
        name: Of the study.
        data: Keys of the data sets, and whether each is cropped and flipped.
        setting: How large.
        seeds: One search of each kind a seed.

    Raises:
        OptionsError: An option is wrong.
    """
    rows = _rows_3 if table == "T3" else _rows_4
    cells = [
        _cell(table, key, augment, setting, row, plan, seed)
        for seed in seeds
        for key, augment in data.items()
        for row, plan in rows()
    ]
    return Study(name=name, cells=tuple(cells), table=table, notes=_notes(table, setting))


def _rows_3() -> Iterator[tuple[str, SubsetPlan]]:
    for ratio in RATIOS:
        for search in SEARCHES:
            yield search, _plan("mixture", ratio)


def _rows_4() -> Iterator[tuple[str, SubsetPlan]]:
    for search in SEARCHES:
        yield search, SubsetPlan.full()
    for metric in METRICS:
        yield f"HT.-{metric.capitalize()}", _plan(metric, METRIC_RATIO)


def _plan(metric: str, ratio: float) -> SubsetPlan:
    return SubsetPlan.full() if ratio == 1 else SubsetPlan(metric=metric, ratio=ratio, schedule="dynamic")


def _cell(
    table: TableId, data: str, augment: bool, setting: AspSetting, row: str, plan: SubsetPlan, seed: int
) -> Cell:
    search = "HyperTune" if row.startswith("HT.-") else row
    searcher, scheduler = SEARCHES[search]
    experiment = Experiment(
        name=_name(data, row, plan.ratio, seed),
        model=setting.model,
        plan=plan,
        recipe=Recipe(
            epochs=setting.epochs,
            batch_size=setting.batch_sizes[0],
            lr_min=1e-5,
            flip=0.5 if augment else 0.0,
            crop_padding=4 if augment else 0,
        ),
        space=default_space(setting.batch_sizes),
        search=SearchOptions(
            search=searcher,
            scheduler=scheduler,
            trials=most_trials(setting, stops_early=scheduler != "none"),
            concurrency=setting.concurrency,
            eta=ETA,
            retrain=1,
            budget_epochs=setting.budget_epochs,
        ),
        seed=seed,
    )
    return Cell(
        method=row,
        experiment=experiment,
        data=data,
        against="" if plan.ratio == 1 else _name(data, search, 1.0, seed),
        published=_published(table, data, row, plan.ratio),
    )


def most_trials(setting: AspSetting, stops_early: bool) -> int:
    """Return the trials that the budget could begin if each ended at its first rung, so that it alone decides."""
    halvings = max_halvings(setting.epochs, ETA) if stops_early else 0
    return math.ceil(setting.budget_epochs / setting.epochs * float(ETA**halvings))


def _published(table: TableId, data: str, row: str, ratio: float) -> Published:
    """Other data than the paper's are shown beside its CIFAR-10."""
    if table == "T3":
        return table_3(row, ratio)
    return table_4(row, data if data in PRINTED_FOR else "cifar10")


def _name(data: str, row: str, ratio: float, seed: int) -> str:
    return f"{data}-{row.lower().replace('.', '')}-r{ratio:g}-s{seed}"


def _notes(table: TableId, setting: AspSetting) -> tuple[str, ...]:
    paper = table_3("Random", 1.0) if table == "T3" else table_4("Random", "cifar10")
    cost = " Its cost is per worker: the budget that was given, not a measurement." if table == "T4" else ""
    return (
        f"Trials of up to {setting.epochs} epochs; a search on full data may cost {setting.budget_epochs:g} "
        "epochs over all rows, one on subsets its ratio times that; the best is trained again on all data, from "
        "another seed, and tested once.",
        "To full, faster and fewer are against the same search (for HT.-... HyperTune) on full data with the same "
        "seed, faster and fewer without and with that last training; ± is a 95 % Student interval over seeds.",
        f"Published: {paper.where} ({paper.model}, {paper.device}, {paper.seeds} seeds); what its ± is, is not "
        f"said.{cost} Own and published numbers are subtracted only for the same data set and model.",
    )
