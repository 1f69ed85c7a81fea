"""A fit's folder: made, opened, described. What happens in it is `tuning.subselnet_fit`.

<root>/<name>/subselnet.toml      what was asked
              fit.json            on what, and what each stage came to, rewritten after every stage
              progress.jsonl      what is being done, a line a stage and a cell; only for who watches
              features-<key>/     of the rows
              encoder-<key>/      of architectures
              bank-<key>/         logits of the supervisors, a file that is mapped
              approximator-<key>/ and inductive-<key>/
              predictor/          the finished fit: what selectors read

A stage lies under the hash of all it was made from, so it is made once, also after a crash or a change of what
comes after it; the bank goes on at the cell where it stopped.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from raysubset.data.dataset import Dataset
from raysubset.data.split import stratified_split
from raysubset.errors import DataError, StorageError
from raysubset.models.catalog import build_model
from raysubset.report.fit_info import FIT_FILE, FitInfo
from raysubset.subselnet.folds import Folds, draw_folds
from raysubset.subselnet_experiment import SubSelNetExperiment
from raysubset.tuning.nas_run import SplitRows

EXPERIMENT_FILE = "subselnet.toml"


@dataclass(slots=True)
class SubSelNetRun:
    """A fit's folder, experiment and data.

    Attributes:
        folder: Where everything is kept.
        experiment: What was asked.
        data: The data set.
        rows: Of ``data.train``: those fitted on, and those no stage sees.
        folds: Cells.
        info: What is known so far; fit.json mirrors it.
    """

    folder: Path
    experiment: SubSelNetExperiment
    data: Dataset
    rows: SplitRows
    folds: Folds
    info: FitInfo

    def note(self, stage: str, **facts: Any) -> None:
        """Add what a stage came to and write it down."""
        self.info = replace(self.info, stages={**self.info.stages, stage: facts})
        self.info.write(self.folder)


def start_run(
    experiment: SubSelNetExperiment,
    data: Dataset,
    root: Path,
    *,
    command: str,
    asked: str,
    limit: int | None = None,
    shrink: int = 1,
) -> SubSelNetRun:
    """Make a fit's folder, or go on with the one of that name; what was made of the same options is kept.

    Args:
        experiment: What to fit.
        data: The data set.
        root: Folder of all runs.
        command: The command line that repeats the run.
        asked: Name or path by which `load_dataset` finds the data again.
        limit: Rows of each split that ``data`` was cut to.
        shrink: Side of the squares of pixels that its images were averaged over.

    Raises:
        DataError: A fit of that name is on other data, or of another space.
        OptionsError: The networks do not fit the data's inputs.
        StorageError: The folder cannot be written.
    """
    rows = SplitRows(*stratified_split(data.train.labels, experiment.validation, experiment.seed))
    folds = _folds(experiment)
    builder = experiment.cell_space.builder(str(folds.train[0]), experiment.size)
    build_model(builder, num_classes=data.num_classes, input_shape=data.input_shape, seed=0)  # refuses no image
    folder = root / experiment.name
    info = replace(_described(experiment, data, rows, command), data=asked, limit=limit, shrink=shrink)
    if (folder / FIT_FILE).exists():
        _check_same_data(FitInfo.read(folder), info)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / EXPERIMENT_FILE).write_text(experiment.to_toml(), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Cannot write the run's folder {folder}: {error.strerror or error}.") from error
    info.write(folder)
    return SubSelNetRun(folder, experiment, data, rows, folds, info)


def open_run(folder: Path, data: Dataset) -> SubSelNetRun:
    """Open a fit for what comes after it.

    Raises:
        StorageError: There is none.
        DataError: The data are not those it was fitted on.
    """
    info = FitInfo.read(folder)
    experiment = SubSelNetExperiment.from_toml((folder / EXPERIMENT_FILE).read_text(encoding="utf-8"))
    rows = SplitRows(*stratified_split(data.train.labels, experiment.validation, experiment.seed))
    folds = _folds(experiment)
    _check_same_data(info, _described(experiment, data, rows, info.command))
    return SubSelNetRun(folder, experiment, data, rows, folds, info)


def _folds(experiment: SubSelNetExperiment) -> Folds:
    sizes = (experiment.supervisors, experiment.checks, experiment.unseen)
    return draw_folds(*sizes, experiment.seed, experiment.cell_space)


def _check_same_data(kept: FitInfo, now: FitInfo) -> None:
    if kept.space != now.space:
        raise DataError(f"Fit {kept.name!r} is of space {kept.space!r}, not {now.space!r}. Choose another --name.")
    if (kept.fingerprint, kept.num_classes) != (now.fingerprint, now.num_classes):
        raise DataError(
            f"Fit {kept.name!r} is on data {kept.fingerprint} ({kept.dataset}, {kept.num_classes} classes); these "
            f"are {now.fingerprint} ({now.dataset}, {now.num_classes} classes). Choose another --name."
        )


def _described(experiment: SubSelNetExperiment, data: Dataset, rows: SplitRows, command: str) -> FitInfo:
    return FitInfo(
        name=experiment.name,
        seed=experiment.seed,
        space=experiment.space,
        data=data.name,
        dataset=data.name,
        dataset_source=data.source,
        dataset_note=data.note,
        fingerprint=data.fingerprint(),
        n_train=len(rows.train),
        n_validation=len(rows.validation),
        num_classes=data.num_classes,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        command=command,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in ("raysubset", "ray", "torch", "numpy")},
        },
    )
