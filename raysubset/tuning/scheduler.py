"""Asynchronous halving for Ray Tune: a thin adapter over `hpo.halving`, with state of its own on disk.

Ray's ASHA places rungs at grace * eta^k only, records a report that passed two of them in the upper one and the
next report in the lower, draws brackets from numpy's global stream, and is not saved with the experiment.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from raysubset.hpo.halving import StoppingHalving
from raysubset.hpo.rungs import Rungs


class SampleHalving(FIFOScheduler):
    """Stops a trial at a rung when its score is not among the best 1/eta seen there.

    Args:
        rungs: In samples consumed.
        eta: Reduction factor.
        state_file: Written after every judgement, read when it exists (a resumed run).
    """

    def __init__(self, rungs: Rungs, eta: int, state_file: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._file = state_file
        if state_file.exists():
            self.core = StoppingHalving.from_json(json.loads(state_file.read_text()))
        else:
            self.core = StoppingHalving(rungs, eta)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept Tune's metric: ours is always the score, smaller is better."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Take back what a trial will do again: all of it, or what lies beyond its checkpoint.

        After a crash the state on disk may know more of a trial than its checkpoint does, or know a trial that was
        started after Tune's last snapshot and whose number is given anew.
        """
        if not trial.is_finished():  # type: ignore[no-untyped-call]
            saved = trial.latest_checkpoint_result
            self.core.forget(trial.config["trial"], saved.metrics["samples_consumed"] if saved else 0.0)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Judge a report that reached a rung with a score."""
        keep = self._judge(trial, result)
        return TrialScheduler.CONTINUE if keep else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Take in the last report, which Tune does not hand to `on_trial_result`."""
        self._judge(trial, result)

    def _judge(self, trial: Trial, result: dict[str, Any]) -> bool:
        if result.get("rung") is None:
            return True
        keep = self.core.keep(trial.config["trial"], int(result["samples_consumed"]), float(result["score"]))
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps(self.core.to_json()))
        draft.replace(self._file)
        return keep
