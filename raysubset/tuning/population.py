"""Population-based schedulers of Ray Tune beside a searcher.

PBT and PB2 refuse a `SearchGenerator`, since most searchers would not follow configurations that change while a
trial runs. Ours only starts trials, so for those schedulers the same generator is handed over in a wrapping of its
own. A member that goes on from another's state copies that one's whole configuration, its name too, and gets its
own back here: under one name, two trials would share a stream of subsets and write the same records.
"""

from __future__ import annotations

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining, TrialScheduler
from ray.tune.search import ConcurrencyLimiter, SearchAlgorithm, Searcher
from ray.tune.search.search_generator import SearchGenerator

from raysubset.errors import OptionsError
from raysubset.tuning.searchers import SearchSource


def check_foreign(searcher: object, scheduler: object) -> None:
    """Refuse parts of Ray Tune's under which a search would wait for ever.

    Raises:
        OptionsError: A `ConcurrencyLimiter` (it counts paused trials as running), or a population that changes in
            rounds (a round ends when all have consumed the same samples; epochs need not end there).
    """
    if isinstance(searcher, ConcurrencyLimiter):
        raise OptionsError(
            f"search=ConcurrencyLimiter({type(searcher.searcher).__name__}) counts paused trials as running; a "
            f"search could wait for ever. Give the searcher itself, and concurrency={searcher.max_concurrent}."
        )
    if isinstance(scheduler, PopulationBasedTraining) and scheduler._synch:
        raise OptionsError(
            f"scheduler={type(scheduler).__name__}(synch=True): its rounds end when all members have consumed the "
            "same number of samples, which epochs of a subset need not hit. Give synch=False."
        )


def search_algorithm(source: Searcher, scheduler: TrialScheduler) -> Searcher | SearchAlgorithm:
    """Return the source in the form in which the scheduler takes it."""
    return Starts(source) if isinstance(scheduler, PopulationBasedTraining) else source


def checkpoints_kept(scheduler: TrialScheduler) -> int:
    """Return how many checkpoints a trial keeps: others may go on from those of a population's member.

    One for all the rest would do, but deleting it after every save costs more than keeping two (47 ms against 30).
    """
    return 4 if isinstance(scheduler, PopulationBasedTraining) else 2


def name_keepers(source: SearchSource, scheduler: TrialScheduler) -> list[Callback]:
    """Return who keeps the trials' names apart; nobody has to where no scheduler mixes configurations."""
    return [OwnNames(source)] if isinstance(scheduler, PopulationBasedTraining) else []


class OwnNames(Callback):
    """Gives every trial its own name back before Tune starts workers anew. Cost: O(trials) a step of Tune.

    Args:
        source: Knows under which name each trial was started.
    """

    def __init__(self, source: SearchSource) -> None:
        self._source = source

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look at all trials."""
        for trial in trials:
            name = self._source.names[trial.trial_id]
            if trial.config["trial"] != name:
                trial.set_config({**trial.config, "trial": name})  # type: ignore[no-untyped-call]


class Starts(SearchAlgorithm):
    """A search generator under another type; every call goes to it."""

    def __init__(self, source: Searcher) -> None:
        self._inner = SearchGenerator(source)

    @property
    def metric(self) -> str:
        """The metric of the source."""
        return str(self._inner.metric)

    @property
    def total_samples(self) -> int:
        """Trials at most."""
        return int(self._inner.total_samples)

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:  # noqa: D102
        return bool(self._inner.set_search_properties(metric, mode, config, **spec))

    def add_configurations(self, experiments: Any) -> None:  # noqa: D102
        self._inner.add_configurations(experiments)

    def next_trial(self) -> Trial | None:  # noqa: D102
        return self._inner.next_trial()  # type: ignore[no-any-return, no-untyped-call]

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:  # noqa: D102
        self._inner.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: D102
        self._inner.on_trial_complete(trial_id, result, error)

    def is_finished(self) -> bool:  # noqa: D102
        return self._inner.is_finished()

    def has_checkpoint(self, dirpath: str) -> bool:  # noqa: D102
        return self._inner.has_checkpoint(dirpath)  # type: ignore[no-any-return]

    def save_to_dir(self, dirpath: str, **kwargs: Any) -> None:  # noqa: D102
        self._inner.save_to_dir(dirpath, **kwargs)

    def restore_from_dir(self, dirpath: str) -> None:  # noqa: D102
        self._inner.restore_from_dir(dirpath)
