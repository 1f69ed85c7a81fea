"""Who proposes the next configuration, and whether there may be one.

`Admission` stands between Tune and the proposer: it numbers the trials, keeps to the concurrency, and admits a
trial only while the sample budget lasts. Results reach the proposer with the score of the last judged rung.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.hyperopt import HyperOptSearch

from raysubset.errors import UnknownNameError
from raysubset.hpo.budget import SampleLedger
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.space import Space, sample_space
from raysubset.seeds import generator, seed64
from raysubset.tuning.space import tune_space

METRIC, MODE = "score", "min"  # what every trial reports: validation loss, or 1 - accuracy


class RandomSearch(Searcher):
    """Independent draws from the space, the i-th from a stream of its own: the same whatever ran before."""

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(metric=METRIC, mode=MODE)
        self._space, self._seed, self._drawn = space, seed, 0

    def suggest(self, trial_id: str) -> Any:
        """Return the next configuration."""
        self._drawn += 1
        return sample_space(self._space, generator(self._seed, self._drawn, "search"))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn nothing."""

    def save(self, checkpoint_path: str) -> None:
        """Write the number of draws."""
        Path(checkpoint_path).write_text(str(self._drawn))

    def restore(self, checkpoint_path: str) -> None:
        """Read the number of draws."""
        self._drawn = int(Path(checkpoint_path).read_text())


class FixedPoints(RandomSearch):
    """Given configurations, one after the other."""

    def __init__(self, points: Sequence[Mapping[str, Any]]) -> None:
        super().__init__({}, 0)
        self._points = points

    def suggest(self, trial_id: str) -> Any:
        """Return the next point, or FINISHED."""
        if self._drawn >= len(self._points):
            return Searcher.FINISHED
        self._drawn += 1
        return dict(self._points[self._drawn - 1])


def make_searcher(name: str, space: Space, seed: int, trials: int) -> Searcher:
    """Return the proposer of that name.

    TPE draws a third of its trials at random first, at least 4 and at most 20: with hyperopt's constant 20, a
    search of 16 trials would never leave its random phase.

    Raises:
        UnknownNameError: Lists the known ones.
    """
    if name == "random":
        return RandomSearch(space, seed)
    if name == "tpe":
        return HyperOptSearch(
            space=HyperOptSearch.convert_search_space(tune_space(space)),
            metric=METRIC,
            mode=MODE,
            n_initial_points=min(20, max(4, trials // 3)),
            random_state_seed=seed64(seed, "tpe") % 2**32,
        )
    raise UnknownNameError.of("search", name, ("random", "tpe"))


class Admission(Searcher):
    """Numbers, limits and pays for the trials that a proposer suggests.

    A trial's Tune config is {"trial": "0007", "point": configuration}.

    Args:
        proposer: Any Tune searcher.
        trials: Trials at most.
        concurrency: Live trials at most.
        ledger: Samples spent and promised.
        rungs: Where trials are judged; a live trial has promised to reach its next rung.
    """

    def __init__(
        self, proposer: Searcher, *, trials: int, concurrency: int, ledger: SampleLedger, rungs: Rungs
    ) -> None:
        super().__init__(metric=METRIC, mode=MODE)
        self.proposer, self.ledger, self._rungs = proposer, ledger, rungs
        self._trials, self._concurrency = trials, concurrency
        self._names: dict[str, str] = {}
        self._live: set[str] = set()

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Accept what Tune says: the proposer already knows its space."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return a trial's config, None to be asked again, or FINISHED."""
        admitted = self.ledger.admits()
        if len(self._names) >= self._trials or (not admitted and not self._live):
            return Searcher.FINISHED
        if not admitted or len(self._live) >= self._concurrency:
            return None
        point: Any = self.proposer.suggest(trial_id)
        if point is None or point == Searcher.FINISHED:
            return point
        self._names[trial_id] = f"{len(self._names):04d}"
        self._live.add(trial_id)
        self.ledger.update(trial_id, 0, self._rungs.levels[0])
        return {"trial": self._names[trial_id], "point": point}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note what a live trial has spent and is heading for."""
        samples = int(result["samples_consumed"])
        levels = self._rungs.levels
        self.ledger.update(trial_id, samples, levels[min(self._rungs.reached(samples) + 1, len(levels) - 1)])
        self.proposer.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Close a trial's account and tell the proposer its score."""
        self._live.discard(trial_id)
        spent = int(result["samples_consumed"]) if result else self.ledger.spent.get(trial_id, 0)
        self.ledger.update(trial_id, spent, None)
        self.proposer.on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Write our state and the proposer's into one file."""
        with tempfile.TemporaryDirectory() as folder:
            inner = Path(folder) / "proposer"
            self.proposer.save(str(inner))
            state = {
                "names": self._names,
                "live": self._live,
                "spent": self.ledger.spent,
                "committed": self.ledger.committed,
                "proposer": inner.read_bytes(),
            }
        Path(checkpoint_path).write_bytes(pickle.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        """Read what `save` wrote; trials that were live are live again, as Tune runs them on."""
        state = pickle.loads(Path(checkpoint_path).read_bytes())
        self._names, self._live = state["names"], state["live"]
        self.ledger.spent, self.ledger.committed = state["spent"], state["committed"]
        with tempfile.TemporaryDirectory() as folder:
            inner = Path(folder) / "proposer"
            inner.write_bytes(state["proposer"])
            self.proposer.restore(str(inner))
