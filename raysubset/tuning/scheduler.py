"""The search as Ray Tune's scheduler: reports go in, continue, pause or stop comes out.

Tune's own schedulers judge at grace * eta^k only, cannot promote, and are not saved with the experiment.
"""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from raysubset.hpo.scheduler import Verdict
from raysubset.tuning.faults import Faults
from raysubset.tuning.jobs import Jobs

_DECISIONS = {
    Verdict.CONTINUE: TrialScheduler.CONTINUE,
    Verdict.PAUSE: TrialScheduler.PAUSE,
    Verdict.STOP: TrialScheduler.STOP,
}


class SearchScheduler(TrialScheduler):
    """Hands Tune's events to the search and its decisions to Tune.

    Args:
        jobs: Of the search.
        faults: Decides about broken trials.
    """

    _supports_buffered_results = False  # a report after the one that paused a trial would end it

    def __init__(self, jobs: Jobs, faults: Faults) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._jobs, self._faults = jobs, faults

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept Tune's metric: ours is always the score, smaller is better."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Meet a new or a restored trial."""
        self._jobs.added(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Judge a report."""
        return _DECISIONS[self._jobs.heard(trial.config["trial"], result)]

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Take in the last report, which Tune does not hand to `on_trial_result`."""
        self._jobs.ended(trial.config["trial"], result)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Have the fault judged, then wait: Tune adds the trial again, or tells the searcher that it is lost."""
        self._faults.met(trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Take in that a waiting trial was ended."""
        self._jobs.search.end(trial.config["trial"])

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return a promoted trial, else the first that never ran; end the losers once the search is over."""
        for trial in self._jobs.losers():
            tune_controller.stop_trial(trial)
        if (promoted := self._jobs.next_to_resume()) is not None:
            return promoted
        waiting = (trial for trial in tune_controller.get_trials() if trial.status == Trial.PENDING)
        return next(waiting, None)

    def debug_string(self) -> str:
        """Return a line for Tune's own display."""
        search = self._jobs.search
        return f"{type(search.scheduler).__name__}: {len(search.running)} running, {len(search.paused)} paused"
