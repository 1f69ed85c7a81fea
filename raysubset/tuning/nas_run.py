"""An architecture search's folder: made, opened, described. What happens in it is `tuning.nas_search`.

<root>/<name>/nas.toml            what was asked
              rows.npz            which rows train and which judge
              nas.json            what was found and what it cost, rewritten after every stage
              records.jsonl       one line an epoch of every training
              candidates.jsonl    one line a judged cell
              finalists.jsonl     one line a cell that was trained by itself after that
              supernet/           its weights
              alphas.jsonl        the architecture's probabilities by epoch (darts, gdas)
              cell.svg, cell.png  the found cell
              report.html         all of it, to look at
              tune/<stage>/       Ray Tune's own files and checkpoints

A stage that is finished already is read from these instead of run again.
"""

from __future__ import annotations

import platform
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
from raysubset.errors import DataError, RunExistsError, StorageError
from raysubset.models.catalog import build_model
from raysubset.nas.table import TableBench
from raysubset.nas_experiment import NasExperiment
from raysubset.report.nas_info import READING, NasInfo
from raysubset.runtime.architectures import supernet_builder
from raysubset.runtime.discretised import FittedPool
from raysubset.runtime.sides import check_sides
from raysubset.tuning.recorder import Listener

EXPERIMENT_FILE = "nas.toml"
ROWS_FILE = "rows.npz"


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

    def report(self) -> Path:
        """Write report.html from what is recorded so far."""
        from raysubset.report.html import write_report  # matplotlib: a second that only a report should cost

        return write_report(self.folder)

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
        DataError: A row judges and trains, occurs twice, or is none of the data's; or the selector's fit is of
            another space or of other rows.
        BudgetError: The plan's budget does not fit the rows, or the fit knows too few of them.
        OptionsError: The networks do not fit the data's inputs.
        StorageError: The folder cannot be written, or there is no fit where the selector wants one.
    """
    rows = split_rows(experiment, data) if rows is None else rows
    check_rows(rows, len(data.train))
    _check_budget(experiment, rows)
    _check_fit(experiment, data, rows)
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


def _check_fit(experiment: NasExperiment, data: Dataset, rows: SplitRows) -> None:
    """Refuse a fit of another space or of other rows before anything is made."""
    if experiment.reads_cells:
        ids = np.concatenate(rows)
        pool = FittedPool.of(experiment.plan, experiment.space, ids, data.train.labels[ids])
        pool.check_budget(experiment.plan, experiment.recipe.epochs)


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
        metric=READING if experiment.reads_cells else plan.metric if plan.selector == "asp" else "none",
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
