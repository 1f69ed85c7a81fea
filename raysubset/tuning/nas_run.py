"""An architecture search from data to a cell: train a supernet, judge candidates, ask the table, draw, retrain.

<root>/<name>/nas.toml            what was asked
              rows.npz            which rows train and which judge
              nas.json            what was found and what it cost, rewritten after every stage
              records.jsonl       one line an epoch of every training
              candidates.jsonl    one line a judged cell
              supernet/           its weights
              alphas.jsonl        the architecture's probabilities by epoch (darts, gdas)
              cell.svg, cell.png  the found cell
              tune/<stage>/       Ray Tune's own files and checkpoints

A stage that is finished already is read from these instead of run again.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.data.dataset import Dataset
from raysubset.data.split import stratified_split
from raysubset.errors import DataError, OptionsError, RunExistsError, StorageError
from raysubset.models.catalog import build_model
from raysubset.nas.pictures import cell_pictures
from raysubset.nas.space import CellSpace
from raysubset.nas.strategies import AgingEvolution, Evolution, Listed, Strategy, draw_distinct, random_search
from raysubset.nas.table import TableBench
from raysubset.nas_experiment import NasExperiment
from raysubset.report.agreement import agreement
from raysubset.report.cell_figure import draw_cells
from raysubset.report.nas_info import NasInfo, RankAgreement, TableVerdict
from raysubset.runtime.architectures import derived_cell, final_builder, find_space, supernet_builder
from raysubset.runtime.judges import Judgement
from raysubset.runtime.place import place
from raysubset.runtime.session import Slots, cluster_slots, ray_session
from raysubset.runtime.sides import check_sides
from raysubset.runtime.store import store_split
from raysubset.selection.plan import SubsetPlan
from raysubset.training.checkpoint import load_checkpoint, save_checkpoint
from raysubset.tuning.judging import CANDIDATES_FILE, CandidateLog, JudgePool, chunk_size
from raysubset.tuning.nas_stage import train_stage
from raysubset.tuning.nas_trainable import FinalTraining, NasSetting
from raysubset.tuning.recorder import Listener
from raysubset.tuning.stage import CHECKPOINT_EVERY_S

EXPERIMENT_FILE = "nas.toml"
ROWS_FILE = "rows.npz"
SUPERNET_FOLDER = "supernet"
CUTOUT = 16  # pixels: half an image of 32


class SplitRows(NamedTuple):
    """Rows that train and rows that judge: int64[], disjoint."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


@dataclass(slots=True)
class NasRun:
    """A search's folder, experiment and data.

    Attributes:
        folder: Where everything is kept.
        experiment: What was asked.
        data: The data set.
        info: What is known so far; nas.json mirrors it.
        rows: Of ``data.train``: those that train and those that judge (or steer alpha).
        listener: Follows the trainings.
        table: A benchmark table of the space, or None.
        compared: Cells, drawn at random, whose scores are compared with the table's; 0 for none.
        concurrency: Judges at a time, 0 for as many as the cluster serves.
    """

    folder: Path
    experiment: NasExperiment
    data: Dataset
    info: NasInfo
    listener: Listener
    rows: SplitRows
    table: TableBench | None = None
    compared: int = 200
    concurrency: int = 0

    def note(self, **changes: Any) -> None:
        """Change what is known and write it down."""
        self.info = replace(self.info, **changes)
        self.info.write(self.folder)


def create_nas_run(
    experiment: NasExperiment,
    data: Dataset,
    root: Path,
    listener: Listener,
    *,
    command: str,
    rows: SplitRows | None = None,
) -> NasRun:
    """Make a new search's folder; nothing is left behind if the experiment does not fit the data.

    Args:
        experiment: What to search.
        data: The data set.
        root: Folder of all runs.
        listener: Follows the trainings.
        command: The command line that repeats the run.
        rows: Rows that train and rows that judge, e.g. a benchmark's own split; None: a stratified draw.

    Raises:
        RunExistsError: The name is taken.
        DataError: A row judges and trains, occurs twice, or is none of the data's.
        BudgetError: The plan's budget does not fit the rows.
        OptionsError: The networks do not fit the data's inputs.
        StorageError: The folder cannot be written.
    """
    rows = split_rows(experiment, data) if rows is None else rows
    check_rows(rows, len(data.train))
    _check_budget(experiment, rows)
    if experiment.trains_supernet:
        builder = supernet_builder(experiment)
        build_model(builder, num_classes=data.num_classes, input_shape=data.input_shape, seed=0)
    folder = root / experiment.name
    if folder.exists():
        raise RunExistsError(
            f"Run {experiment.name!r} exists in {root}. Go on with it by --resume, or choose another --name."
        )
    info = _describe(experiment, data, len(rows.train), len(rows.validation), command)
    try:
        folder.mkdir(parents=True)
        (folder / EXPERIMENT_FILE).write_text(experiment.to_toml(), encoding="utf-8")
        np.savez_compressed(folder / ROWS_FILE, train=rows.train, validation=rows.validation)
    except OSError as error:
        raise StorageError(f"Cannot write the run's folder {folder}: {error.strerror or error}.") from error
    info.write(folder)
    return NasRun(folder, experiment, data, info, listener, rows)


def open_nas_run(folder: Path, data: Dataset, listener: Listener) -> NasRun:
    """Open a search to go on with it.

    Raises:
        StorageError: There is no such run.
        DataError: The data are not those it began with.
    """
    info = NasInfo.read(folder)
    if info.fingerprint != (now := data.fingerprint()):
        raise DataError(f"Run {info.name!r} began on data {info.fingerprint} ({info.dataset}); these are {now}.")
    experiment = NasExperiment.from_toml((folder / EXPERIMENT_FILE).read_text(encoding="utf-8"))
    with np.load(folder / ROWS_FILE) as kept:
        rows = SplitRows(kept["train"], kept["validation"])
    return NasRun(folder, experiment, data, info, listener, rows)


def check_rows(rows: SplitRows, n: int) -> None:
    """Refuse a split that would judge by what was trained on.

    Raises:
        DataError: A row is on both sides or twice on one, lies outside [0, n), or a side is empty.
    """
    for side, index in zip(rows._fields, rows, strict=True):
        if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer) or len(index) == 0:
            raise DataError(f"The {side} rows must be integers[k], at least one, got {index.dtype}{index.shape}.")
        if index.min() < 0 or index.max() >= n:
            raise DataError(f"The {side} rows span [{index.min()}, {index.max()}], allowed [0, {n}).")
        if len(np.unique(index)) < len(index):
            raise DataError(f"The {side} rows repeat: {len(index)} given, {len(np.unique(index))} distinct.")
    if len(both := np.intersect1d(rows.train, rows.validation)):
        raise DataError(
            f"Validation overlaps train in {len(both)} rows, {both[0]} among them: a cell would be judged by rows "
            "its weights were trained on."
        )


def _check_budget(experiment: NasExperiment, rows: SplitRows) -> None:
    plan, epochs = experiment.plan.resolved("full"), experiment.recipe.epochs
    if experiment.is_bilevel:
        check_sides(experiment.split, len(rows.train), len(rows.validation), plan.ratio)
    plan.timetable(len(rows.train), epochs)


def split_rows(experiment: NasExperiment, data: Dataset) -> SplitRows:
    """Return which rows train and which judge, ascending, disjoint: stratified, fixed by the seed."""
    return SplitRows(*stratified_split(data.train.labels, experiment.validation, experiment.seed))


def _describe(experiment: NasExperiment, data: Dataset, n_train: int, n_validation: int, command: str) -> NasInfo:
    plan = experiment.plan
    return NasInfo(
        name=experiment.name,
        space=experiment.space,
        algo=experiment.algo,
        dataset=data.name,
        dataset_source=data.source,
        dataset_note=data.note,
        n_train=n_train,
        n_validation=n_validation,
        selector=plan.name,
        metric=plan.metric if plan.selector == "asp" else "none",
        ratio=plan.ratio,
        seed=experiment.seed,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        command=command,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        fingerprint=data.fingerprint(),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in ("raysubset", "ray", "torch", "numpy")},
        },
    )


def search_architecture(run: NasRun) -> NasInfo:
    """Run the search to its end, or go on with it.

    Raises:
        OptionsError: The search reads a table and there is none, or the table lacks cells.
        SearchFailedError: The supernet diverged.
        InterruptedRunError: Stopped before its end; go on with the same folder.
    """
    experiment = run.experiment
    if experiment.candidates.objective == "table" and not experiment.trains_supernet:
        _choose(run, _by_table(run))
        return run.info
    with ray_session():
        slots = cluster_slots(run.concurrency)
        setting = place_rows(run, slots)
        if experiment.trains_supernet:
            _search_supernet(run, setting, slots)
        else:
            pool = JudgePool(setting, None, slots, chunk_size(experiment))
            try:
                _choose(run, pool.judge)
            finally:
                pool.close()
        if experiment.retrain_epochs:
            _retrain(run, setting, slots)
    return run.info


def place_rows(run: NasRun, slots: Slots) -> NasSetting:
    """Put the rows into the object store; returns all that trainings and judges share."""
    rows, held_out, transform = place(run.data, *run.rows)
    device = "cuda" if slots.gpus > 0 else "cpu"
    return NasSetting(run.experiment, rows, held_out, transform, run.data.num_classes, device, CHECKPOINT_EVERY_S)


def _search_supernet(run: NasRun, setting: NasSetting, slots: Slots) -> None:
    experiment, kept = run.experiment, run.folder / SUPERNET_FOLDER
    if not kept.exists():
        trained = train_stage("supernet", setting, slots, run.folder, run.listener, _planned_samples(run))
        last = trained.last
        run.note(
            supernet_wall_s=last.finished_s,
            supernet_train_s=trained.train_s,
            supernet_samples=last.samples_consumed,
            supernet_epochs=last.equiv_epochs,
        )
        save_checkpoint(kept, {"model": load_checkpoint(trained.checkpoint)["model"]})
    weights = load_checkpoint(kept)["model"]
    if experiment.is_bilevel:
        network = build_model(
            supernet_builder(experiment),
            num_classes=run.data.num_classes,
            input_shape=run.data.input_shape,
            seed=0,
        )
        network.load_state_dict(weights)
        _found(run, derived_cell(network), None)
        return
    pool = JudgePool(setting, weights, slots, chunk_size(experiment))
    try:
        _choose(run, pool.judge)
        _compare(run, pool.judge)
    finally:
        pool.close()


def _planned_samples(run: NasRun) -> int:
    experiment, info = run.experiment, run.info
    n = info.n_train + (info.n_validation if experiment.is_bilevel else 0)
    plan = experiment.plan.resolved("full")
    return int(plan.timetable(n, experiment.recipe.epochs).costs.sum())


# ---------------------------------------------------------------------- candidates

Judging = Callable[[Sequence[str]], Iterable[Judgement]]


def _choose(run: NasRun, judge: Judging) -> None:
    """Judge what the strategy proposes; the best is what was found, of equals the first."""
    experiment = run.experiment
    log = CandidateLog.open(run.folder / CANDIDATES_FILE)
    strategy = _strategy(experiment)
    judged: list[Judgement] = []
    while cells := strategy.ask():
        named = {str(cell): cell for cell in cells}
        found = log.judged(list(named), judge)
        strategy.tell({named[one.cell]: one.score for one in found})
        judged += found
    best = max(judged, key=lambda one: one.score)
    run.note(judged=len(judged), judged_s=log.judged_s, judged_samples=sum(one.samples for one in judged))
    _found(run, best.cell, best.score)


def _strategy(experiment: NasExperiment) -> Strategy[Any]:
    """Return what proposes cells.

    Raises:
        OptionsError: An exhaustive search of a space that nobody has listed.
    """
    space: CellSpace[Any] = find_space(experiment.space)
    options, seed = experiment.candidates, experiment.seed
    population = min(options.population, options.count)
    if experiment.algo == "evolution":
        sample = min(10, population)
        return AgingEvolution(space, seed, candidates=options.count, population=population, sample=sample)
    if experiment.algo in ("rsps", "random") or options.strategy == "random":
        return random_search(space, options.count, seed)
    if options.strategy == "evolution":
        parents = max(1, min(10, population // 2))
        return Evolution(space, seed, candidates=options.count, population=population, parents=parents)
    if not isinstance(space, Iterable):
        raise OptionsError(f"strategy='exhaustive': the cells of {experiment.space!r} cannot be listed.")
    return Listed(space)


def _by_table(run: NasRun) -> Judging:
    """Judge by the table's validation accuracy after the fewest epochs known: nothing is trained."""
    if (table := run.table) is None:
        raise OptionsError("objective='table' needs --table FILE, a benchmark of the space's cells.")
    if not table.epochs_known:
        raise OptionsError(f"objective='table': {table.source} has no validation accuracies.")
    epochs = table.epochs_known[0]

    def judge(cells: Sequence[str]) -> Iterable[Judgement]:
        for cell in cells:
            accuracy = table.valid(cell, epochs)
            yield Judgement(cell, accuracy, accuracy, float("nan"), 0.0)

    return judge


def _compare(run: NasRun, judge: Judging) -> None:
    """Judge a random draw of cells too, and see how well their scores rank the table's test accuracies."""
    if run.table is None or run.compared < 2:
        return
    space = find_space(run.experiment.space)
    cells = [str(cell) for cell in draw_distinct(space, run.compared, run.experiment.seed, "compared")]
    log = CandidateLog.open(run.folder / "compared.jsonl")
    scores = [one.score for one in log.judged(cells, judge)]
    found = agreement(scores, [run.table.test(cell) for cell in cells])
    low, high = (None, None) if found.interval is None else (found.interval.low, found.interval.high)
    run.note(agreement=RankAgreement(found.tau, low, high, len(cells)))


# ---------------------------------------------------------------------- what was found


def _found(run: NasRun, cell: str, score: float | None) -> None:
    """Write down the cell, what the table says of it, and its picture."""
    verdict = None
    if (table := run.table) is not None:
        valid = table.valid(cell) if table.epochs_known else None
        best = table.test(table.best)
        verdict = TableVerdict(
            data=table.data,
            valid=valid,
            test=table.test(cell),
            rank=table.rank(cell),
            cells=len(table.cells()),
            best_test=best,
            median_test=table.median_test,
        )
    run.note(cell=cell, score=score, table=verdict)
    pictures = cell_pictures(find_space(run.experiment.space).parse(cell), run.experiment.name)
    for kind in ("svg", "png"):
        draw_cells(run.folder / f"cell.{kind}", pictures)


def _retrain(run: NasRun, setting: NasSetting, slots: Slots) -> None:
    """Train the found DARTS network on all rows, with cutout, auxiliary head and drop path; test it once.

    Raises:
        DataError: There are no test rows.
    """
    if run.data.test is None:
        raise DataError(f"{run.data.name} has no test rows to judge the retrained network by.")
    rows = place(run.data, np.arange(len(run.data.train)), run.rows.validation)
    final = replace(
        setting,
        train=rows.train,
        validation=store_split(run.data.test),
        transform=rows.transform,
        final=final_training(run.experiment, str(run.info.cell)),
    )
    planned = len(run.data.train) * run.experiment.retrain_epochs
    trained = train_stage("retrain", final, slots, run.folder, run.listener, planned)
    last = trained.last
    run.note(
        retrained={
            "epochs": last.epoch,
            "wall_s": last.finished_s,
            "test_accuracy": float(last.val_accuracy or 0.0),
        }
    )


def final_training(experiment: NasExperiment, genotype: str) -> FinalTraining:
    """Return how a found genotype is trained from scratch: on everything, with cutout."""
    builder = final_builder(genotype, experiment.retrain_channels, experiment.retrain_cells)
    recipe = replace(experiment.recipe, epochs=experiment.retrain_epochs, cutout=CUTOUT)
    return FinalTraining(builder, recipe, SubsetPlan.full())
