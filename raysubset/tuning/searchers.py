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
    in the journal, but it has forgotten that after a crash and hears no more of those trials.

    Args:
        searcher: Minimises "score" and knows its own space.

    Attributes:
        proposed: Names of the trials that it remembers.
    """

    def __init__(self, searcher: Searcher) -> None:
        self.searcher = searcher
        self.proposed: set[str] = set()

    def hear(self, trial: str, result: Mapping[str, Any]) -> None:
        """Hand a report on."""
        if trial in self.proposed:
            self.searcher.on_trial_result(trial, dict(result))

    def hear_end(self, trial: str, result: Mapping[str, Any] | None, error: bool) -> None:
        """Hand a trial's end on; one whose loss diverged has failed."""
        if trial in self.proposed:
            failed = error or (result is not None and result.get("status") == "failed")
            self.searcher.on_trial_complete(trial, None if result is None else dict(result), failed)

    def save(self) -> bytes:
        """Return the searcher's state."""
        with tempfile.TemporaryDirectory() as folder:
            inner = Path(folder) / "searcher"
            self.searcher.save(str(inner))
            return pickle.dumps((inner.read_bytes(), self.proposed))

    def restore(self, state: bytes) -> None:
        """Take on what `save` returned."""
        content, self.proposed = pickle.loads(state)
        with tempfile.TemporaryDirectory() as folder:
            inner = Path(folder) / "searcher"
            inner.write_bytes(content)
            self.searcher.restore(str(inner))

    def propose(self, history: History, draw: int, rung: int) -> Point | None:
        """Ask the searcher, under the name the trial will have."""
        point: Any = self.searcher.suggest(f"{draw:04d}")
        if point is None:
            raise _WaitError
        if point == Searcher.FINISHED:
            return None
        self.proposed.add(f"{draw:04d}")
        return dict(point)


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
        self._foreign = proposer if isinstance(proposer, TuneProposer) else None

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
            if not self._hears:
                self._jobs.told_to_wait()
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
            self._foreign.hear(name, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Hand a trial's end on."""
        name = self.names[trial_id]
        if self._hears or error:
            self._jobs.ended(name, None if error else result, failed=error)
        if self._foreign is not None:
            self._foreign.hear_end(name, result, error)

    def on_pause(self, trial_id: str) -> None:
        """Hear that Ray's scheduler for BOHB paused a trial; its searcher counts places by that."""
        self._pass_on("on_pause", trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Hear that it goes on."""
        self._pass_on("on_unpause", trial_id)

    def _pass_on(self, event: str, trial_id: str) -> None:
        name = self.names[trial_id]
        if self._foreign is not None and name in self._foreign.proposed:
            getattr(self._foreign.searcher, event, lambda _: None)(name)

    def save(self, checkpoint_path: str) -> None:
        """Write a foreign searcher's state; ours is the journal."""
        foreign = None if self._foreign is None else self._foreign.save()
        Path(checkpoint_path).write_bytes(pickle.dumps({"names": self.names, "foreign": foreign}))

    def restore(self, checkpoint_path: str) -> None:
        """Read what `save` wrote."""
        state = pickle.loads(Path(checkpoint_path).read_bytes())
        if self._foreign is not None and state["foreign"] is not None:
            self._foreign.restore(state["foreign"])  # first: it may refuse, and then nothing is restored
        self.names = state["names"]
        self._jobs.restored(self.names.values())
