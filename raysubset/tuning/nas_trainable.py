"""The training of a supernet (or of a found network) under Ray Tune: one trial, one epoch a step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from raysubset.data.transform import Transform
from raysubset.errors import NonFiniteLossError
from raysubset.models.catalog import ModelBuilder
from raysubset.nas_experiment import NasExperiment
from raysubset.runtime.architectures import (
    EpochTrial,
    SearchRows,
    open_network,
    open_supernet,
    probabilities_of,
)
from raysubset.runtime.resident import peak_bytes
from raysubset.runtime.store import StoredSplit
from raysubset.runtime.trial import EpochReport, Trial
from raysubset.selection.plan import SubsetPlan
from raysubset.training.checkpoint import load_checkpoint, save_checkpoint
from raysubset.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class FinalTraining:
    """A network that is trained from scratch, on all rows."""

    builder: ModelBuilder
    recipe: Recipe
    plan: SubsetPlan


@dataclass(frozen=True, slots=True)
class NasSetting:
    """What the trial needs; travels once, through the object store.

    Attributes:
        experiment: What is searched.
        train, validation: Blocks in the object store.
        transform: Statistics of the training rows.
        num_classes: Of the task.
        device: "cuda" on the GPU that Ray assigns, or "cpu".
        checkpoint_every_s: Seconds of work that a fault may cost.
        ids: int64[n], which rows of the data set these are, the training ones first.
        final: Train this network instead of the supernet.
    """

    experiment: NasExperiment
    train: StoredSplit
    validation: StoredSplit
    transform: Transform
    num_classes: int
    device: str
    checkpoint_every_s: float
    ids: NDArray[np.int64] | None = None
    final: FinalTraining | None = None

    def open(self) -> SearchRows:
        """Open the data of this node."""
        rows = (self.train.open(), self.validation.open())
        return SearchRows(*rows, self.transform, self.num_classes, self.device, self.ids)


class NasTrainable(tune.Trainable):
    """One epoch a step; checkpoints every so many seconds and at the end."""

    def setup(self, config: dict[str, Any], setting: NasSetting) -> None:  # type: ignore[override]
        """Open the data and build the network; gather evidence where the plan wants some."""
        torch.set_num_threads(1)  # two processes beat two threads; this process is ours
        self._setting = setting
        rows = setting.open()
        self._rows = len(rows.train) + (len(rows.validation) if setting.experiment.is_bilevel else 0)
        self._trial: EpochTrial
        if (final := setting.final) is None:
            self._trial, self._evidence = open_supernet(setting.experiment, rows)
        else:
            self._rows = len(rows.train)
            self._trial = open_network(setting.experiment, final.builder, final.recipe, final.plan, rows)
            self._evidence = 0
        self._saved_at = perf_counter()

    def step(self) -> dict[str, Any]:
        """Train one epoch; a training that diverged ends with its reason."""
        try:
            report = self._trial.run_epoch()
        except NonFiniteLossError as error:
            return self._fields(_broken(self._trial), "failed", str(error))
        fields = self._fields(report, "done" if self._trial.done else "running", "")
        if self._trial.done and isinstance(self._trial, Trial) and self._setting.final is not None:
            started = perf_counter()
            judged = self._trial.evaluate()
            fields |= {"val_loss": judged.loss, "val_accuracy": judged.accuracy}
            fields["eval_s"] = perf_counter() - started
        due = self._trial.done or perf_counter() - self._saved_at >= self._setting.checkpoint_every_s
        return {**fields, SHOULD_CHECKPOINT: due}

    def _fields(self, report: EpochReport, status: str, reason: str) -> dict[str, Any]:
        consumed = report.samples_consumed + self._evidence
        return {
            "epoch": report.epoch,
            "epochs": self._trial.planned_epochs,
            "samples_consumed": consumed,
            "equiv_epochs": consumed / self._rows,
            "ratio": report.ratio,
            "metric_used": report.metric_used,
            "train_loss": report.train_loss,
            "train_s": report.train_s,
            "select_s": report.select_s,
            "eval_s": 0.0,
            "val_loss": None,
            "val_accuracy": None,
            "rung": None,
            "node": ray.get_runtime_context().get_node_id(),
            "peak_bytes": peak_bytes(),
            "status": status,
            "reason": reason,
            "done": status != "running",
            "probabilities": probabilities_of(self._trial.model),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write weights, optimisers, memories and place."""
        save_checkpoint(Path(checkpoint_dir), self._trial.state())
        self._saved_at = perf_counter()

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        """Go on from a checkpoint."""
        self._trial.restore(load_checkpoint(Path(checkpoint_dir)))

    def cleanup(self) -> None:
        """Let go of the trial."""
        self._trial.close()


def _broken(trial: EpochTrial) -> EpochReport:
    return EpochReport(trial.epoch + 1, trial.samples_consumed, 0.0, "none", math.nan, 0.0, 0.0)
