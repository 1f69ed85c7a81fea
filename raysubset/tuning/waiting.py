"""Says what trials wait for, where none can start: not for workers that are still importing."""

from __future__ import annotations

import warnings
from time import perf_counter
from typing import Any, cast

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.util import placement_group_table

from raysubset.errors import WaitingWarning
from raysubset.runtime.session import Slots

PATIENCE_S = 60.0  # a worker's imports take some ten seconds on a busy machine


class Waiting(Callback):
    """Warns once if no trial of a stage has started after a minute.

    Args:
        slots: Resources of a trial.
        patience_s: Seconds before the warning.
    """

    def __init__(self, slots: Slots, patience_s: float = PATIENCE_S) -> None:
        self._slots, self._until = slots, perf_counter() + patience_s
        self._others = _granted()
        self._over = False

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look at the trials, until one has started."""
        if self._over or not trials:
            return
        started = any(trial.status != Trial.PENDING for trial in trials)
        if not started and (perf_counter() < self._until or _granted() - self._others):
            return  # what was granted since the stage began is ours: a worker is being started
        self._over = True
        if not started:
            free = ray.available_resources()  # type: ignore[no-untyped-call]
            slots = self._slots
            needs = f"{slots.workers * slots.cpus:g} CPU"
            if slots.gpus:
                needs += f" and {slots.workers * slots.gpus:g} GPU"
            warnings.warn(
                f"No trial has started yet: each needs {needs}, and {free.get('CPU', 0):g} CPU and "
                f"{free.get('GPU', 0):g} GPU of the cluster are free. Other jobs may hold the rest.",
                WaitingWarning,
                stacklevel=2,
            )


def _granted() -> set[str]:
    """Return the placement groups whose resources are held."""
    table = cast("dict[str, dict[str, Any]]", placement_group_table())
    return {name for name, group in table.items() if group["state"] == "CREATED"}
