"""Ray Tune's controller, mended in two places: a trial is neither lost nor left waiting for ever.

A process that dies while it is handed a trial: with ``reuse_actors`` Tune hands a waiting trial to the process of
one that ended. If that process is dead by then (its node went away), the actor's failure and that of its call to
`reset` are both told to the trial: the first has it recovered, the second finds it waiting and gives it up, for a
running trial alone can be recovered. Were it not given up it would wait for ever, since it stays among those that
are being reset. Here such a trial counts as running before anybody hears of a failure, and is recovered once, as
if its process had died in training.

A bracket of Ray's HyperBand that ends while a trial is being saved: it stops the trials that wait, but this one
waits only when it is saved. Nobody would call it again, and the search would never end. Here it is stopped then.

Tune (2.60) takes no controller from outside, so the class is put in its place for as long as `tune.run` lasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray.tune.tune
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import HyperBandScheduler, TrialScheduler


class Controller(TuneController):
    """Recovers trials whose process died before they began in it, stops those whose bracket is over."""

    def _actor_failed(self, tracked_actor: Any, exception: Exception) -> None:
        trial = self._actor_to_trial[tracked_actor]
        if trial in self._resetting_trials:
            self._resetting_trials.remove(trial)
            self._unstage_trial_with_resources(trial)
            self._set_trial_status(trial, Trial.RUNNING)
        super()._actor_failed(tracked_actor, exception)

    def _on_saving_result(self, trial: Trial, checkpoint_value: Any) -> None:
        super()._on_saving_result(trial, checkpoint_value)
        if trial.status == Trial.PAUSED and bracket_is_over(self._scheduler_alg, trial):
            self.stop_trial(trial)  # type: ignore[no-untyped-call]


def bracket_is_over(scheduler: TrialScheduler, trial: Trial) -> bool:
    """Say whether a trial belongs to a bracket of Ray's HyperBand in which nobody runs any more."""
    if not isinstance(scheduler, HyperBandScheduler):
        return False
    bracket, _ = scheduler._trial_info[trial]
    over: bool = bracket.finished()
    return over


@contextmanager
def mended_controller() -> Iterator[None]:
    """Have `tune.run` use it."""
    module: Any = ray.tune.tune
    before, module.TuneController = module.TuneController, Controller
    try:
        yield
    finally:
        module.TuneController = before
