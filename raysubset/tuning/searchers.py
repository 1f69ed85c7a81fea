"""The search as Ray Tune's searcher, and Tune's searchers as proposers of a search."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from raysubset.hpo.history import History, Point
from raysubset.tuning.jobs import Jobs

METRIC, MODE = "score", "min"  # what every trial reports: validation loss, or 1 - accuracy


class _WaitError(Exception):
    """A foreign searcher has nothing to propose before some trial ends."""


class TuneProposer:
    """A Tune searcher in the place of a proposer.

    It keeps a state of its own, which Tune saves with the experiment; what it proposed since the last snapshot is
    in the journal, but it has forgotten that after a crash.

    Args:
        searcher: Minimises "score" and knows its own space.
    """

    def __init__(self, searcher: Searcher) -> None:
        self.searcher = searcher

    def propose(self, history: History, draw: int, rung: int) -> Point | None:
        """Ask the searcher, under the name the trial will have."""
        point: Any = self.searcher.suggest(f"{draw:04d}")
        if point is None:
            raise _WaitError
        return None if point == Searcher.FINISHED else dict(point)


class SearchSource(Searcher):
    """Gives Tune the trials that the search starts. A trial's config is {"trial": name, "point": configuration}.

    Args:
        jobs: Of the search.
        hears: Hand reports to the search from here: a foreign scheduler decides, so ours hears nothing.

    Attributes:
        names: Tune's id of a trial -> the name it was started under.
    """

    def __init__(self, jobs: Jobs, hears: bool = False) -> None:
        super().__init__(metric=METRIC, mode=MODE)
        self._jobs, self._hears = jobs, hears
        self.names: dict[str, str] = {}
        proposer = jobs.search.proposer
        self._foreign = proposer.searcher if isinstance(proposer, TuneProposer) else None

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Accept what Tune says: the proposer already knows its space."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return a trial's config, None to be asked again, or FINISHED."""
        try:
            config = self._jobs.next_config()
        except _WaitError:
            return None
        if isinstance(config, dict):
            self.names[trial_id] = config["trial"]
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Hand a report on."""
        name = self.names[trial_id]
        if self._hears:
            self._jobs.heard(name, result)
        if self._foreign is not None:
            self._foreign.on_trial_result(name, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Hand a trial's end on."""
        name = self.names[trial_id]
        if self._hears or error:
            self._jobs.ended(name, None if error else result, failed=error)
        if self._foreign is not None:
            self._foreign.on_trial_complete(name, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Write a foreign searcher's state; ours is the journal."""
        state: dict[str, Any] = {"names": self.names, "foreign": None}
        if self._foreign is not None:
            with tempfile.TemporaryDirectory() as folder:
                inner = Path(folder) / "searcher"
                self._foreign.save(str(inner))
                state["foreign"] = inner.read_bytes()
        Path(checkpoint_path).write_bytes(pickle.dumps(state))

    def restore(self, checkpoint_path: str) -> None:
        """Read what `save` wrote."""
        state = pickle.loads(Path(checkpoint_path).read_bytes())
        self.names = state["names"]
        self._jobs.restored(self.names.values())
        if self._foreign is not None and state["foreign"] is not None:
            with tempfile.TemporaryDirectory() as folder:
                inner = Path(folder) / "searcher"
                inner.write_bytes(state["foreign"])
                self._foreign.restore(str(inner))
