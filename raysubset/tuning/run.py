"""A run's folder: made, opened, described. What happens in it is `tuning.session`.

<root>/<name>/experiment.toml    what was asked
              run.json           what was found and what it cost, rewritten after every stage
              records.jsonl      one line a report, all stages
              selections.npz     which rows were chosen, and some of them as images
              report.html        all of it, to look at
              model/             the winner, retrained on all data
              tune/<stage>/      Ray Tune's own files and the trials' checkpoints
"""

from __future__ import annotations

import platform
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from raysubset.data.split import judging_split
from raysubset.errors import DataError, OptionsError, RunExistsError, SlowSelectorWarning, StorageError
from raysubset.experiment import Experiment
from raysubset.hpo.fidelity import warn_if_shallow
from raysubset.models.catalog import build_model, width_of
from raysubset.models.head import last_linear
from raysubset.report.run_info import RunInfo
from raysubset.runtime.affordable import affordable
from raysubset.runtime.place import AnyDataset
from raysubset.tuning.opening import earlier_history, stage_ladder, stage_ledger
from raysubset.tuning.recorder import Listener
from raysubset.tuning.stage import CHECKPOINT_EVERY_S
from raysubset.tuning.task import for_task, task_of

EXPERIMENT_FILE = "experiment.toml"


@dataclass(slots=True)
class Run:
    """A run's folder, experiment and data; its stages are run by a `tuning.session.Session`.

    Attributes:
        folder: Where everything is kept.
        experiment: What was asked, ``first_epoch`` resolved.
        data: The data set.
        info: What is known so far; run.json mirrors it.
        listener: Follows the stages.
        searcher, scheduler: Tune objects in place of the named ones, or None.
        checkpoint_every_s: Seconds of work that a fault may cost a trial.
    """

    folder: Path
    experiment: Experiment
    data: AnyDataset
    info: RunInfo
    listener: Listener
    searcher: Searcher | None = None
    scheduler: TrialScheduler | None = None
    checkpoint_every_s: float = CHECKPOINT_EVERY_S

    def report(self) -> Path:
        """Write report.html from what is recorded so far."""
        from raysubset.report.html import write_report  # matplotlib: a second that only a report should cost

        return write_report(self.folder)

    def note(self, **changes: Any) -> None:
        """Change what is known and write it down."""
        self.info = replace(self.info, **changes)
        self.info.write(self.folder)


def create_run(
    experiment: Experiment,
    data: AnyDataset,
    root: Path,
    listener: Listener,
    *,
    command: str,
    settings: Mapping[str, Any],
) -> Run:
    """Make a new run's folder; nothing is left behind if the experiment does not fit the data.

    Raises:
        RunExistsError: The name is taken.
        BudgetError: The plan's budget does not fit the data, or no trial could be judged.
        OptionsError: The targets are numbers, and something asked for needs classes.
        SearchSpaceError: The earlier run has nothing for this search.
        UnknownNameError: The model has no such name.
        ModelError: The model cannot be built, or has no last nn.Linear to learn the rows' importance from.
        StorageError: The folder cannot be written.

    Warns:
        SlowSelectorWarning: The selector would cost more than it saves; adaptive random takes its place.
        FewRungsWarning: Trials can be stopped fewer than twice before their end.
    """
    train, validation = split_rows(experiment, data)
    experiment = _resolved(experiment, data, len(train))
    ladder = stage_ladder(experiment, len(train))
    stage_ledger(experiment, len(train), ladder.rungs)
    if experiment.search.scheduler != "none":
        warn_if_shallow(ladder)
    earlier_history(experiment, ladder)
    folder = root / experiment.name
    if folder.exists():
        raise RunExistsError(
            f"Run {experiment.name!r} exists in {root}. Go on with it by --resume, or choose another --name."
        )
    info = _describe(experiment, data, len(train), len(validation), command, settings)
    try:
        folder.mkdir(parents=True)
        (folder / EXPERIMENT_FILE).write_text(experiment.to_toml(), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Cannot write the run's folder {folder}: {error.strerror or error}.") from error
    info.write(folder)
    return Run(folder, experiment, data, info, listener)


def open_run(folder: Path, data: AnyDataset, listener: Listener, experiment: Experiment | None = None) -> Run:
    """Open an existing run to go on with it.

    Args:
        folder: Of the run.
        data: The data set; it must be the one the run began with.
        listener: Follows the stages.
        experiment: In place of the one on disk, where the model is a callable that cannot be imported by name.

    Raises:
        StorageError: There is no such run.
        OptionsError: ``experiment`` is not the run's; says what differs.
        DataError: The data are not those of the run.
    """
    info = RunInfo.read(folder)
    asked = (folder / EXPERIMENT_FILE).read_text(encoding="utf-8")
    if (began := info.settings.get("fingerprint")) != (now := data.fingerprint()):
        raise DataError(
            f"Run {info.name!r} began on data {began} ({info.dataset}); these are {now} ({data.name})."
        )
    if experiment is None:
        experiment = Experiment.from_toml(asked)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SlowSelectorWarning)  # it was said when the run began
            experiment = _resolved(experiment, data, info.n_train)
        if differences := _differences(tomllib.loads(asked), tomllib.loads(experiment.to_toml())):
            raise OptionsError(
                f"Run {info.name!r} in {folder.parent} is another search: {'; '.join(differences)}. Go on with it "
                "as it was, or choose another name."
            )
    return Run(folder, experiment, data, info, listener)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> list[str]:
    """Name the settings that are not what they were, down to the leaves."""
    found = []
    for key in dict.fromkeys((*before, *now)):
        was, is_now = before.get(key), now.get(key)
        if isinstance(was, Mapping) and isinstance(is_now, Mapping):
            found += _differences(was, is_now, f"{where}{key}.")
        elif was != is_now:
            found.append(f"{where}{key} was {was!r}, is {is_now!r}")
    return found


def _resolved(experiment: Experiment, data: AnyDataset, n: int) -> Experiment:
    """Decide what a search decides by itself.

    No full first epoch, which would swallow the lower rungs; adaptive random in place of a selector that would
    cost more than it saves; nothing that needs classes where the targets are numbers.
    """
    experiment = for_task(experiment, data)
    plan = experiment.plan.resolved("scheduled")
    network = build_model(experiment.model, num_classes=data.num_classes, input_shape=data.input_shape, seed=0)
    if plan.is_adaptive or plan.habits.evidence == "model":
        last_linear(network, width_of(data.num_classes))
    return replace(experiment, plan=affordable(plan, network, data.input_shape, n, experiment.recipe.epochs))


def split_rows(experiment: Experiment, data: AnyDataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which rows train and which validate, ascending: stratified, fixed by the seed, never subset."""
    return judging_split(data.train.labels, experiment.validation, experiment.seed)


def _describe(
    experiment: Experiment,
    data: AnyDataset,
    n_train: int,
    n_validation: int,
    command: str,
    settings: Mapping[str, Any],
) -> RunInfo:
    plan, search = experiment.plan, experiment.search
    packages = ("raysubset", "ray", "torch", "numpy", "hyperopt")
    return RunInfo(
        name=experiment.name,
        dataset=data.name,
        dataset_source=data.source,
        dataset_note=data.note,
        n_train=n_train,
        n_validation=n_validation,
        n_test=0 if data.test is None else len(data.test),
        model=experiment.model_name,
        selector=plan.name,
        metric=plan.metric if plan.selector == "asp" else "none",
        ratio=plan.ratio,
        schedule=plan.schedule,
        budget=plan.budget,
        first_epoch=plan.first_epoch,
        search=search.search,
        scheduler=search.scheduler,
        score=search.score,
        task=task_of(data),
        trials=search.trials,
        epochs=experiment.recipe.epochs,
        seed=experiment.seed,
        device=_device(),
        command=command,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), **{name: version(name) for name in packages}},
        settings={**settings, "fingerprint": data.fingerprint(), "experiment": experiment.to_toml()},
    )


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
