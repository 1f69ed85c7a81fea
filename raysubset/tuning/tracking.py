"""Whoever else follows a run: TensorBoard always, MLflow and Weights & Biases by one option.

All are `Listener`s fed from our own records, in the driver. None may cost a search its life: one that fails is
dropped with a warning. They are told a trial's configuration and what its records say, nothing of the environment.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from raysubset.errors import OptionsError, TrackingWarning, UnknownNameError
from raysubset.tuning.recorder import Listener
from raysubset.types import TrialRecord

TRACKERS = ("mlflow", "wandb")  # each the name of a package, and of the extra that installs it
_SCALARS = (
    "train_loss",
    "val_loss",
    "val_accuracy",
    "val_rmse",
    "val_r2",
    "ratio",
    "equiv_epochs",
    "samples_consumed",
    "epoch",
    "rung",
    "train_s",
    "select_s",
    "eval_s",
)


class Tracked:
    """A `Listener` that lets others listen too.

    Args:
        listener: Hears everything first; its errors are the run's.
        others: Hear the same; one that raises is told nothing more.
    """

    def __init__(self, listener: Listener, others: Sequence[Listener]) -> None:
        self._listener, self._others = listener, list(others)

    def stage_started(self, stage: str, trials: int, budget: float) -> None:
        """Pass it on."""
        self._listener.stage_started(stage, trials, budget)
        self._tell("stage_started", stage, trials, budget)

    def trial_started(self, trial: str) -> None:
        """Pass it on."""
        self._listener.trial_started(trial)
        self._tell("trial_started", trial)

    def recorded(self, record: TrialRecord) -> None:
        """Pass it on."""
        self._listener.recorded(record)
        self._tell("recorded", record)

    def stage_ended(self) -> None:
        """Pass it on."""
        self._listener.stage_ended()
        self._tell("stage_ended")

    def _tell(self, event: str, *facts: object) -> None:
        for other in list(self._others):
            try:
                getattr(other, event)(*facts)
            except Exception as error:
                self._others.remove(other)
                name = type(other).__name__
                told = f"{type(error).__name__}: {error}".partition("\n")[0]
                warnings.warn(f"{name} is told no more of this stage: {told}", TrackingWarning, stacklevel=2)


def check_trackers(names: Sequence[str]) -> None:
    """Refuse what cannot be had before anything is done.

    Raises:
        UnknownNameError: No such tracker.
        OptionsError: Its package is not installed; says how to install it.
    """
    for name in names:
        if name not in TRACKERS:
            raise UnknownNameError.of("tracker", name, TRACKERS)
    if missing := [name for name in names if find_spec(name) is None]:
        raise OptionsError.of(
            "track",
            [f"{name!r} needs a package that is missing: pip install 'raysubset[{name}]'" for name in missing],
        )


def followed(listener: Listener, names: Sequence[str], run: str, folder: Path) -> Listener:
    """Return the listener with trackers beside it.

    Args:
        listener: The run's own.
        names: Of `TRACKERS`.
        run: The run's name; trackers file its trials under it.
        folder: The run's folder; what trackers keep on the disk goes there.

    Raises:
        UnknownNameError, OptionsError: See `check_trackers`.
    """
    check_trackers(names)
    others: list[Listener] = []
    if "mlflow" in names:
        from raysubset.tuning.mlflow_runs import MlflowRuns

        others.append(MlflowRuns(run, folder))
    if "wandb" in names:
        from raysubset.tuning.wandb_runs import WandbRuns

        others.append(WandbRuns(run, folder))
    return Tracked(listener, others) if others else listener


def scalars(record: TrialRecord) -> dict[str, float]:
    """Return the numbers of a record that were measured and are finite."""
    values = {name: getattr(record, name) for name in _SCALARS}
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}
