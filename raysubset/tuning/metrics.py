"""Metrics of our own on Ray's Prometheus endpoint: every node's agent serves them, as ``ray_<name>``.

The driver reports what the records say and how much memory its actors take; trials report how far they ran ahead
of their selector (`runtime.backlog`). ``clusters/grafana.json`` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.util.metrics import Gauge

from raysubset.runtime.backlog import HELD_SECONDS, STALE_EPOCHS
from raysubset.runtime.resident import resident_bytes
from raysubset.tuning.progress import StageView
from raysubset.types import TrialRecord

SAMPLES_CONSUMED = "raysubset_samples_consumed"
SELECTION_SHARE = "raysubset_selection_share"
TRIALS = "raysubset_trials"
ACTOR_MEMORY = "raysubset_actor_memory_bytes"
METRICS = (SAMPLES_CONSUMED, SELECTION_SHARE, TRIALS, ACTOR_MEMORY, STALE_EPOCHS, HELD_SECONDS)

STATES = ("running", "stopped", "done", "failed")
LOOK_EVERY_S = 5.0  # Ray exports metrics every 10 s


class StageMetrics(Callback):
    """A `Listener` that keeps gauges of a stage: samples consumed, share of selection, trials by state.

    Ray's agent drops a gauge that nobody has set for some exports, so they are set again now and then.

    Args:
        run: Names the run in the metrics.
    """

    def __init__(self, run: str) -> None:
        keys = ("run", "stage")
        self._samples = Gauge(SAMPLES_CONSUMED, "Samples consumed by all trials of a stage", keys)
        self._share = Gauge(SELECTION_SHARE, "Share of the trials' seconds spent on selection", keys)
        self._trials = Gauge(TRIALS, "Trials of a stage, by state", (*keys, "state"))
        self._tags = {"run": run}
        self._view = StageView("", 1, 1.0)
        self._next_set = 0.0

    def stage_started(self, stage: str, trials: int, budget: float) -> None:
        """Begin at nothing."""
        self._view = StageView(stage, trials, budget)
        self._tags = {**self._tags, "stage": stage}
        self._set()

    def trial_started(self, trial: str) -> None:
        """Count a running trial."""
        self._view.status[trial] = "running"
        self._set()

    def recorded(self, record: TrialRecord) -> None:
        """Take in a report."""
        self._view.hear(record)
        self._set()

    def stage_ended(self) -> None:
        """Leave the last values, for as long as the agent keeps them."""

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Set the gauges again, if it is time."""
        if perf_counter() >= self._next_set:
            self._set()

    def _set(self) -> None:
        self._next_set = perf_counter() + LOOK_EVERY_S
        view = self._view
        self._samples.set(sum(view.spent.values()), self._tags)
        self._share.set(view.select_s / view.busy_s if view.busy_s else 0.0, self._tags)
        for state in STATES:
            self._trials.set(view.count(state), {**self._tags, "state": state})


class ActorMemory(Callback):
    """A gauge of the resident memory of the selectors and of the processes that trials run in.

    An actor answers between two of its own calls, so nobody waits: what it says is taken in at a later look.

    Args:
        run: Names the run in the metrics.
        selectors: Their actors.
    """

    def __init__(self, run: str, selectors: Sequence[ActorHandle[Any]]) -> None:
        self._gauge = Gauge(ACTOR_MEMORY, "Resident memory of an actor", ("run", "role", "actor"))
        self._run, self._selectors = run, tuple(selectors)
        self._asked: dict[ray.ObjectRef[Any], dict[str, str]] = {}
        self._next_look = perf_counter()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look, if it is time."""
        if perf_counter() < self._next_look:
            return
        self._next_look = perf_counter() + LOOK_EVERY_S
        self._take_in()
        for selector in self._selectors:
            self._ask(selector, "selector")
        for trial in trials:
            if trial.status == Trial.RUNNING and (actor := trial.temporary_state.ray_actor) is not None:
                self._ask(actor, "trial")

    def _take_in(self) -> None:
        """Set the gauges of those who answered; an actor that died since says nothing."""
        answered, _ = (
            ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0) if self._asked else ([], [])
        )
        for reference in answered:
            tags = self._asked.pop(reference)
            try:
                self._gauge.set(ray.get(reference), tags)
            except ray.exceptions.RayError:
                continue

    def _ask(self, actor: ActorHandle[Any], role: str) -> None:
        tags = {"run": self._run, "role": role, "actor": actor._actor_id.hex()}
        if tags not in self._asked.values():  # a long epoch: the last question still waits for its end
            self._asked[actor.__ray_call__.remote(resident_bytes)] = tags
