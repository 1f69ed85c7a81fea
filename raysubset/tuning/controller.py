"""Ray Tune's controller, mended in two places: a trial is neither lost nor left waiting for ever.

A process that dies while it is handed a trial: with ``reuse_actors`` Tune hands a waiting trial to the process of
one that ended. If that process is dead by then (its node went away), the actor's failure and that of its call to
`reset` are both told to the trial: the first has it recovered, the second finds it waiting and gives it up, for a
running trial alone can be recovered. Were it not given up it would wait for ever, since it stays among those that
are being reset. Here such a trial counts as running before anybody hears of a failure, and is recovered once, as
if its process had died in training.

A bracket of Ray's HyperBand in which everybody waits: it is looked at only when one of its trials reports at a
milestone or, before the first halving, is removed. So nobody is called again where the last to be waited for is
still being saved when the others arrive, or ends by itself (its loss diverges, somebody stops it), or where one
report passes two milestones. The search would never end. Here such a bracket is processed after a step of Tune.

Tune (2.60) takes no controller from outside, so the class is put in its place for as long as `tune.run` lasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray.tune.tune
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import HyperBandForBOHB, HyperBandScheduler


class Controller(TuneController):
    """Recovers trials whose process died before they began in it, goes on with brackets that wait for nobody."""

    def _actor_failed(self, tracked_actor: Any, exception: Exception) -> None:
        trial = self._actor_to_trial[tracked_actor]
        if trial in self._resetting_trials:
            self._resetting_trials.remove(trial)
            self._unstage_trial_with_resources(trial)
            self._set_trial_status(trial, Trial.RUNNING)
        super()._actor_failed(tracked_actor, exception)

    def on_step_end(self) -> None:
        """Clean up as Tune does, then look for brackets in which everybody waits."""
        super().on_step_end()  # type: ignore[no-untyped-call]
        scheduler = self._scheduler_alg
        if not isinstance(scheduler, HyperBandScheduler) or isinstance(scheduler, HyperBandForBOHB):
            return  # BOHB's looks by itself when nothing runs, and must not be processed before it is filled
        for bracket in dict.fromkeys(scheduler._trial_info[trial][0] for trial in self._paused_trials):
            if everybody_waits(bracket):
                scheduler._process_bracket(self._wrapped(), bracket)  # type: ignore[no-untyped-call]


def everybody_waits(bracket: Any) -> bool:
    """Say whether all trials of a bracket of Ray's HyperBand are paused at its milestone, and none is to go on."""
    there = bracket.current_trials()
    waiting = all(trial.status == Trial.PAUSED for trial in there)
    return bool(waiting and bracket.cur_iter_done() and not bracket.trials_to_unpause.intersection(there))


@contextmanager
def mended_controller() -> Iterator[None]:
    """Have `tune.run` use it."""
    module: Any = ray.tune.tune
    before, module.TuneController = module.TuneController, Controller
    try:
        yield
    finally:
        module.TuneController = before
