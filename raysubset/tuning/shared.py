"""What the trials of a run have told each other of the rows, kept in the run's storage over its sessions.

The selector holds it; should the selector die, the trials that live give back what they were told. Against the
death of the driver it is written to disk now and then, and at the end of a stage.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.tune import Callback
from ray.tune.experiment import Trial

from raysubset.proxy.service import SelectorService
from raysubset.runtime.failure import SelectorLostError
from raysubset.runtime.saved import SavedState

SHARED_FOLDER = "shared"
SAVE_EVERY_S = 20.0  # what a killed driver may cost; writing 32 contributions of 54,000 rows takes 10 ms


class SharedKeeper(Callback):
    """Saves the shared memory when trials end, at most every 20 seconds.

    Args:
        selector: Its actor; what an earlier session left is given to it at once.
        folder: The run's, a path or a URI.

    Raises:
        StorageError: What an earlier session left is damaged, or cannot be reached.
    """

    def __init__(self, selector: ActorHandle[SelectorService], folder: Path | str) -> None:
        self._selector, self._saved = selector, SavedState(f"{folder}/{SHARED_FOLDER}")
        self._saved_at = perf_counter()
        if (state := self._saved.load()) is not None:
            answer_of(selector.restore_shared.remote(state))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Save if it is time."""
        if perf_counter() - self._saved_at >= SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Write what is shared now."""
        state: dict[str, Any] = answer_of(self._selector.shared_state.remote())
        self._saved.save(state)
        self._saved_at = perf_counter()


def answer_of(reference: Any) -> Any:
    """Wait for the selector's answer.

    Raises:
        SelectorLostError: It died and its restarts are spent.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayActorError as error:
        raise SelectorLostError(f"The selector actor is gone and did not come back: {error}") from error
