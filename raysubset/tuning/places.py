"""Gives back the places of teams that Ray Train has left behind.

Train sets places aside before it starts workers, and its cleaner learns of them afterwards. If a trial's process
dies between the two, they stay taken as long as the driver lives, and the teams of other trials wait for ever. So
for as long as a stage runs its places are looked at: those in which nobody is at two looks in a row are given
back, and when it is over, all.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.util import remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.state import list_actors, list_placement_groups
from ray.util.state.exception import RayStateApiException

from raysubset.runtime.session import Slots
from raysubset.tuning.conductor import TEAM

EVERY_S = 15.0  # workers are there a second after their places are
LIMIT = 10_000
Filters = list[tuple[str, str, str | bool | int | float]]


class Places(Callback):
    """Looks after the places of a stage's teams: groups of this job with as many bundles as a team has workers.

    Args:
        slots: Workers of a trial, and what each takes.
        folder: The stage's, where every run of Ray Train has one.
        every_s: Seconds between two looks.
    """

    def __init__(self, slots: Slots, folder: Path, every_s: float = EVERY_S) -> None:
        self._slots, self._folder, self._every_s = slots, folder, every_s
        context = ray.get_runtime_context()
        self._address, self._job = context.gcs_address, context.get_job_id()
        self._next = perf_counter() + every_s
        self._empty: set[str] = set()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look, if it is time to."""
        if perf_counter() >= self._next:
            self.look()
            self._next = perf_counter() + self._every_s

    def look(self) -> int:
        """Give back what was empty at the last look and still is; returns how many. Cost: about 50 ms."""
        try:
            taken, used = self._ours("CREATED"), self._used()
        except RayStateApiException:
            return 0  # the dashboard is busy; there is another look
        empty = taken - used
        abandoned = empty & self._empty
        for group in abandoned:
            _give_back(group)
        self._empty = empty - abandoned
        return len(abandoned)

    def give_back_all(self) -> None:
        """End of a stage: nobody needs a place any more, taken or waited for, nor the folders of dead teams."""
        for _ in range(2):  # a controller that is just being ended may ask once more
            with suppress(RayStateApiException):  # the dashboard is busy: they end with the driver
                for group in self._ours("CREATED") | self._ours("PENDING"):
                    _give_back(group)
            sleep(0.5)
        for left in self._folder.glob(f"{TEAM}*"):
            shutil.rmtree(left, ignore_errors=True)

    def _ours(self, state: str) -> set[str]:
        filters: Filters = [("state", "=", state), ("creator_job_id", "=", self._job)]
        groups = list_placement_groups(self._address, filters=filters, detail=True, limit=LIMIT)
        return {group.placement_group_id for group in groups if self._is_a_team_s(group.bundles or [])}

    def _is_a_team_s(self, bundles: list[dict[str, Any]]) -> bool:
        sizes = [bundle["unit_resources"].get("CPU", 0.0) for bundle in bundles]
        return len(sizes) == self._slots.workers and all(abs(size - self._slots.cpus) < 1e-4 for size in sizes)

    def _used(self) -> set[str]:
        filters: Filters = [("state", "!=", "DEAD"), ("job_id", "=", self._job)]
        actors = list_actors(self._address, filters=filters, detail=True, limit=LIMIT)
        return {actor.placement_group_id for actor in actors if actor.placement_group_id}


def _give_back(group: str) -> None:
    remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group))))
