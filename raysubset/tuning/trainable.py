"""One trial under Ray Tune: a class Trainable whose process is reused from trial to trial."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from ray import tune
from ray.actor import ActorHandle
from ray.tune.result import SHOULD_CHECKPOINT

from raysubset.data.transform import Transform
from raysubset.errors import NonFiniteLossError
from raysubset.experiment import Experiment
from raysubset.hpo.fidelity import Ladder
from raysubset.hpo.pairing import trial_seeds
from raysubset.proxy.service import SelectorService
from raysubset.runtime.client import RaySelector
from raysubset.runtime.ladder import AnyTrial, make_trial
from raysubset.runtime.store import StoredSplit
from raysubset.runtime.trial import EpochReport, TrialSpec
from raysubset.training.checkpoint import load_checkpoint, save_checkpoint
from raysubset.training.evaluate import Evaluation
from raysubset.tuning.evidence import StoredEvidence


@dataclass(frozen=True, slots=True)
class StageSetting:
    """What all trials of a stage share; travels once, through the object store.

    Attributes:
        stage: Its name; trial ids at the selector begin with it.
        experiment: Plan, recipe, seed and options of this stage.
        train, validation: Blocks in the object store.
        transform: The data's statistics.
        selector: The selector actor.
        evidence: What all trials know of the training rows.
        num_classes: Width of the models' output.
        ladder: The segments of a trial, and where it is evaluated.
        gpu: Train on the GPU that Ray assigned.
        checkpoint_every_s: Seconds between checkpoints: what a fault may cost.
        keep_final: Checkpoint the finished trial (its model is wanted afterwards).
    """

    stage: str
    experiment: Experiment
    train: StoredSplit
    validation: StoredSplit
    transform: Transform
    selector: ActorHandle[SelectorService]
    evidence: StoredEvidence
    num_classes: int
    ladder: Ladder
    gpu: bool
    checkpoint_every_s: float
    keep_final: bool


class SubsetTrainable(tune.Trainable):
    """One epoch a step: train on a subset, evaluate where a decision needs it, report samples as the cost."""

    def setup(self, config: dict[str, Any], setting: StageSetting) -> None:  # type: ignore[override]
        """Open the data of this node and build the first trial."""
        torch.set_num_threads(1)  # two processes beat two threads; this process is ours
        self._setting = setting
        self._train, self._validation = setting.train.open(), setting.validation.open()
        self._client = RaySelector(setting.selector, setting.evidence.context, setting.evidence.key)
        self._trial = self._build(config)

    def _build(self, config: dict[str, Any]) -> AnyTrial:
        setting, experiment = self._setting, self._setting.experiment
        self._rung, self._score, self._saved_at = -1, math.inf, perf_counter()
        spec = TrialSpec(
            trial=f"{experiment.name}/{setting.stage}/{config['trial']}",
            model=experiment.model,
            recipe=experiment.recipe.with_config(config["point"]),
            plan=experiment.plan,
            seeds=trial_seeds(experiment.seed, config["trial"], experiment.search.pairing),
            num_classes=setting.num_classes,
            device="cuda" if setting.gpu else "cpu",
        )
        return make_trial(spec, setting.ladder, self._train, self._validation, setting.transform, self._client)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial in the same process."""
        self._trial.close()
        self._trial = self._build(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; a diverged trial ends with its reason and an infinite score."""
        try:
            report = self._trial.run_epoch()
        except NonFiniteLossError as error:
            return self._failure(error)
        rung = self._setting.ladder.rungs.reached(report.samples_consumed, report.epoch)
        reached = rung > self._rung
        due = reached or self._trial.done or self._setting.experiment.search.evaluate == "epochs"
        started = perf_counter()
        evaluation = self._trial.evaluate() if due else None
        eval_s = perf_counter() - started
        if evaluation is not None:
            self._score = self._scored(evaluation)
            if self._setting.experiment.plan.shares_memory and math.isfinite(evaluation.loss):
                self._client.rate(self._trial.spec.trial, evaluation.loss)
        self._rung = max(rung, self._rung)
        return {
            **self._fields(report, evaluation, eval_s),
            "rung": rung if reached else None,
            "status": "done" if self._trial.done else "running",
            "reason": "",
            "done": self._trial.done,
            SHOULD_CHECKPOINT: self._checkpoint_due(),
        }

    def _scored(self, evaluation: Evaluation) -> float:
        score = evaluation.loss if self._setting.experiment.search.score == "loss" else 1.0 - evaluation.accuracy
        return score if math.isfinite(score) else math.inf

    def _fields(self, report: EpochReport, evaluation: Evaluation | None, eval_s: float) -> dict[str, Any]:
        return {
            "score": self._score,
            "epoch": report.epoch,
            "epochs": self._trial.planned_epochs,
            "samples_consumed": report.samples_consumed,
            "equiv_epochs": report.samples_consumed / len(self._train),
            "ratio": report.ratio,
            "metric_used": report.metric_used,
            "train_loss": report.train_loss,
            "train_s": report.train_s,
            "select_s": report.select_s,
            "eval_s": eval_s,
            "val_loss": None if evaluation is None else evaluation.loss,
            "val_accuracy": None if evaluation is None else evaluation.accuracy,
        }

    def _failure(self, error: NonFiniteLossError) -> dict[str, Any]:
        """End the trial with the worst score there is; the memory keeps what it knew before."""
        self._score = math.inf
        report = EpochReport(self._trial.epoch + 1, self._trial.samples_consumed, 0.0, "none", math.nan, 0.0, 0.0)
        return {
            **self._fields(report, None, 0.0),
            "rung": None,
            "status": "failed",
            "reason": str(error),
            "done": True,
        }

    def _checkpoint_due(self) -> bool:
        if self._trial.done:
            return self._setting.keep_final
        return perf_counter() - self._saved_at >= self._setting.checkpoint_every_s

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write weights, optimiser, memory, place and rung."""
        state = {**self._trial.state(), "rung": self._rung, "score": self._score}
        save_checkpoint(Path(checkpoint_dir), state)
        self._saved_at = perf_counter()

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        """Go on from a checkpoint."""
        state = load_checkpoint(Path(checkpoint_dir))
        self._trial.restore(state)
        self._rung, self._score = int(state["rung"]), float(state["score"])

    def cleanup(self) -> None:
        """Let the selector forget the last trial."""
        self._trial.close()
