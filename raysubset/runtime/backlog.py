"""Back-pressure: how far a trial may run ahead of a selector that lags.

`record` does not wait, so a trial could send epoch after epoch into the mailbox of a selector that is busy. Here a
trial has at most one epoch under way: it waits with the second until the first has been taken in. What it asks for
is answered from all that it has recorded (see `runtime.client`): it is the trial that waits, never the memory that
is old. An epoch still under way when the next one is asked for is counted as stale; so is the time that trials
were held up in `record`.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import ray
from ray.util.metrics import Counter

STALE_EPOCHS = "raysubset_stale_epochs"
HELD_SECONDS = "raysubset_held_seconds"


class Backlog:
    """The records of one process's trials that its selector has not taken in yet, at most one a trial.

    Attributes:
        stale: Epochs that were still under way when the next was asked for.
        held_s: Seconds for which `sent` has waited.
    """

    def __init__(self) -> None:
        self.stale, self.held_s = 0, 0.0
        self._under_way: dict[str, ray.ObjectRef[Any]] = {}
        self._stale = Counter(STALE_EPOCHS, "Epochs not taken in when the next was asked for")
        self._held = Counter(HELD_SECONDS, "Seconds that trials waited to hand in an epoch")

    def sent(self, trial: str, record: ray.ObjectRef[Any]) -> None:
        """Take note of a record under way; wait for the trial's last one first.

        One that failed counts as taken in: the selector knows nothing of it, and says so when it is asked next.
        """
        if self._lags(trial):
            started = perf_counter()
            ray.wait([self._under_way[trial]])
            waited = perf_counter() - started
            self.held_s += waited
            self._held.inc(waited)
        self._under_way[trial] = record

    def asked(self, trial: str) -> None:
        """Take note that a trial asks for its next epoch: count the one that is still under way."""
        if self._lags(trial):
            self.stale += 1
            self._stale.inc()

    def _lags(self, trial: str) -> bool:
        """Say whether the trial's last record is still under way."""
        return trial in self._under_way and not ray.wait([self._under_way[trial]], timeout=0)[0]

    def settle(self, trial: str) -> None:
        """Wait until nothing of the trial is under way, well taken in or not."""
        if trial in self._under_way:
            ray.wait([self._under_way.pop(trial)])
