"""Ray Tune's controller, mended in one place: a process that dies while it is handed a trial costs no trial.

With ``reuse_actors`` Tune hands a waiting trial to the process of one that ended. If that process is dead by then
(its node went away), the actor's failure and that of its call to `reset` are both told to the trial: the first has
it recovered, the second finds it waiting and gives it up, for a running trial alone can be recovered. Were it not
given up it would wait for ever, since it stays among those that are being reset. Here such a trial counts as
running before anybody hears of a failure, and is recovered once, as if its process had died in training.

Tune (2.60) takes no controller from outside, so the class is put in its place for as long as `tune.run` lasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray.tune.tune
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial


class Controller(TuneController):
    """Recovers trials whose process died before they began in it."""

    def _actor_failed(self, tracked_actor: Any, exception: Exception) -> None:
        trial = self._actor_to_trial[tracked_actor]
        if trial in self._resetting_trials:
            self._resetting_trials.remove(trial)
            self._unstage_trial_with_resources(trial)
            self._set_trial_status(trial, Trial.RUNNING)
        super()._actor_failed(tracked_actor, exception)


@contextmanager
def mended_controller() -> Iterator[None]:
    """Have `tune.run` use it."""
    module: Any = ray.tune.tune
    before, module.TuneController = module.TuneController, Controller
    try:
        yield
    finally:
        module.TuneController = before
