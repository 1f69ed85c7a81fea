"""All watched runs, looked at together, under one version number that grows with every change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

from raysubset.dashboard.run import RunDigest
from raysubset.dashboard.view import detail, summary
from raysubset.errors import OptionsError, UnknownNameError
from raysubset.report.requests import STOP_RUN, StopRequest, ask


class Board:
    """The watched runs. Several threads may ask.

    Args:
        folders: Of the runs, at least one.

    Attributes:
        boot: Names this board: versions of another one mean nothing to it.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.boot = uuid4().hex[:12]
        self.runs = {str(number): RunDigest(folder, str(number)) for number, folder in enumerate(folders)}
        self._version, self._lock = 0, Lock()
        self.look()

    def look(self) -> int:
        """Take in what is new in all runs; returns the version."""
        with self._lock:
            news = [run.look(self._version + 1) for run in self.runs.values()]
            self._version += any(news)
            return self._version

    def run(self, key: str) -> RunDigest:
        """Return a run.

        Raises:
            UnknownNameError: There is none of that key.
        """
        if key not in self.runs:
            raise UnknownNameError.of("run", key, self.runs)
        return self.runs[key]

    def overview(self, key: str) -> dict[str, Any]:
        """Return the summaries of all runs, for the first screen of the page of run ``key``.

        Raises:
            UnknownNameError: No such run.
        """
        self.look()
        with self._lock:
            self.run(key)
            return {"key": key, "runs": [summary(run) for run in self.runs.values()]}

    def changes(
        self, key: str, stage: str = "", shown: str = "", boot: str = "", since: int = 0
    ) -> dict[str, Any]:
        """Return what changed after a version: summaries of the runs, and one stage of one run in detail.

        Args:
            key: Of the run to show.
            stage: Of it; "" for the one that matters most now.
            shown: The stage that the asker shows: of another one everything is told.
            boot: Of the board that ``since`` is a version of; of another one everything is told.
            since: The version that the asker has, 0 for nothing.

        Returns:
            ``runs``: summaries of those that changed. ``detail``, where it changed. ``whole`` is True where
            everything is told and what was told before is void.

        Raises:
            UnknownNameError: No such run.
        """
        version = self.look()
        with self._lock:
            run = self.run(key)
            chosen = run.stages.get(stage) or run.current
            whole = boot != self.boot or since < run.reset or not 0 < since <= version
            since = 0 if whole else since
            told: dict[str, Any] = {"boot": self.boot, "version": version, "whole": whole}
            turned = chosen is not None and chosen.stage != shown
            told["runs"] = [
                summary(one, chosen if one is run else None)
                for one in self.runs.values()
                if whole or one.version > since or (one is run and turned)
            ]
            if chosen is not None and (whole or turned or run.version > since):
                told["detail"] = detail(run, chosen, 0 if turned else since)
            return told

    def stop(self, key: str, stage: str = "", trial: str = "") -> None:
        """Ask the driver of a run to stop a trial, or, without one, the run.

        Raises:
            UnknownNameError: No such run, stage or trial.
            OptionsError: Nothing drives the run, or that trial does not run or cannot be stopped alone.
            StorageError: The request cannot be written.
        """
        self.look()
        with self._lock:
            run = self.run(key)
            if run.state != "running":
                raise OptionsError(
                    f"Run {run.name!r} cannot be stopped: it is {run.state}, no driver would hear it."
                )
            if trial:
                _check_trial(run, stage, trial)
            ask(run.folder, StopRequest(stage, trial) if trial else STOP_RUN)


def _check_trial(run: RunDigest, stage: str, trial: str) -> None:
    if stage not in run.stages:
        raise UnknownNameError.of("stage", stage, run.stages)
    trials = run.stages[stage].trials
    if trial not in trials:
        raise UnknownNameError.of("trial", trial, list(trials)[-50:])
    if not run.can_stop(stage):
        raise OptionsError(f"Stage {stage!r} needs all of its trials: stop the run instead, it can be resumed.")
    if (status := trials[trial].status) not in ("running", "waiting"):
        raise OptionsError(f"Trial {trial!r} has ended already: {status}.")
