"""One trial under Ray Tune: a class Trainable whose process is reused from trial to trial."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from raysubset.training.checkpoint import load_checkpoint, save_checkpoint
from raysubset.tuning.runner import StageSetting, TrialRunner

if TYPE_CHECKING:
    from raysubset.tuning.team import TeamRunner


class SubsetTrainable(tune.Trainable):
    """One epoch a step: train on a subset, evaluate where a decision needs it, report samples as the cost."""

    def setup(self, config: dict[str, Any], setting: StageSetting) -> None:  # type: ignore[override]
        """Open the data of this node, or gather the training workers, and begin the first trial."""
        torch.set_num_threads(1)  # two processes beat two threads; this process is ours
        self._setting = setting
        self._runner = _runner(setting)
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        self._runner.become(config)
        self._saved_at = perf_counter()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial in the same process."""
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch; see `TrialRunner.step`."""
        report = self._runner.step()
        return {**report, SHOULD_CHECKPOINT: self._checkpoint_due(report)}

    def _checkpoint_due(self, report: dict[str, Any]) -> bool:
        if report["done"]:
            return self._setting.keep_final and report["status"] != "failed"
        return perf_counter() - self._saved_at >= self._setting.checkpoint_every_s

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write weights, optimiser, memory, place and rung."""
        save_checkpoint(Path(checkpoint_dir), self._runner.state())
        self._saved_at = perf_counter()

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        """Go on from a checkpoint."""
        self._runner.restore(load_checkpoint(Path(checkpoint_dir)))

    def cleanup(self) -> None:
        """Let the selector forget the last trial, and the training workers go."""
        self._runner.close()


def _runner(setting: StageSetting) -> TrialRunner | TeamRunner:
    if setting.slots.workers == 1:
        return TrialRunner(setting)
    from raysubset.tuning.team import TeamRunner  # the State API: half a second that only a team should cost

    return TeamRunner(setting)
