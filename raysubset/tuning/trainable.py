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
    """One epoch a step: train on a subset, evaluate where a decision needs it, report samples as the cost.

    A trial begins with its first step, or with the state that it goes on from, not when Tune names it: Tune starts
    a process for a trial, and if another becomes free meanwhile runs it there. Both would open the trial at the
    selector, and the one that is not used would take away what the other had recorded.
    """

    def setup(self, config: dict[str, Any], setting: StageSetting) -> None:  # type: ignore[override]
        """Open the data of this node."""
        torch.set_num_threads(1)  # two processes beat two threads; this process is ours
        self._setting = setting
        self._runner = _runner(setting)
        self._next: dict[str, Any] | None = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial in the same process."""
        self._next = new_config
        return True

    def _begun(self) -> TrialRunner | TeamRunner:
        if self._next is not None:
            self._runner.become(self._next)
            self._next, self._saved_at = None, perf_counter()
        return self._runner

    def step(self) -> dict[str, Any]:
        """Train one epoch; see `TrialRunner.step`."""
        report = self._begun().step()
        return {**report, SHOULD_CHECKPOINT: self._checkpoint_due(report)}

    def _checkpoint_due(self, report: dict[str, Any]) -> bool:
        if report["done"]:
            return self._setting.keep_final and report["status"] != "failed"
        return perf_counter() - self._saved_at >= self._setting.checkpoint_every_s

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write weights, optimiser, memory, place and rung."""
        save_checkpoint(Path(checkpoint_dir), self._begun().state())
        self._saved_at = perf_counter()

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        """Go on from a checkpoint."""
        self._begun().restore(load_checkpoint(Path(checkpoint_dir)))

    def cleanup(self) -> None:
        """Let the selector forget the last trial, and the training workers go."""
        self._runner.close()


def _runner(setting: StageSetting) -> TrialRunner | TeamRunner:
    if setting.slots.workers == 1:
        return TrialRunner(setting)
    from raysubset.tuning.team import TeamRunner  # the State API: half a second that only a team should cost

    return TeamRunner(setting)
