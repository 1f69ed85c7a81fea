"""ProxyMemory: what is remembered of every sample, one vector per metric.

All four vectors are filled from one forward pass, so the metric may change from epoch to epoch without mixing
units. A sample outside the epoch's subset keeps its stale value exactly; softmax is shift-invariant, so as the
active values fall the stale ones come back by themselves. An unseen sample counts as the largest seen value:
0 would mean "easiest" to the loss metrics, and the sample would starve.

References:
    [1] ASP, Algorithm 1 (V), sections 3.1-3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import SelectorError

MEASURED: tuple[str, ...] = ("gradient", "loss", "entropy")
REMEMBERED: tuple[str, ...] = (*MEASURED, "prediction")


@dataclass(frozen=True, slots=True, eq=False)
class EpochSignals:
    """The signals of one epoch's samples, arrays of one length.

    Attributes:
        index: int64[k] pool rows, unique.
        loss, entropy, gradient: float32[k].
        correct: bool[k].
    """

    index: NDArray[np.int64]
    loss: NDArray[np.float32]
    entropy: NDArray[np.float32]
    gradient: NDArray[np.float32]
    correct: NDArray[np.bool_]


class ProxyMemory:
    """float32[n] for each of gradient, loss, entropy, prediction; seen; last_epoch. 21 n bytes.

    ``prediction`` counts +1 for every presentation answered wrongly and -1 for every right one.
    ``rejected`` counts non-finite measurements; those leave the old value in place.
    """

    def __init__(self, n: int) -> None:
        self.values: dict[str, NDArray[np.float32]] = {name: np.zeros(n, np.float32) for name in REMEMBERED}
        self.seen: NDArray[np.bool_] = np.zeros(n, dtype=bool)
        self.last_epoch: NDArray[np.int32] = np.full(n, -1, dtype=np.int32)
        self.rejected = 0

    def __len__(self) -> int:
        return len(self.seen)

    def record(self, epoch: int, signals: EpochSignals) -> None:
        """Overwrite the measured rows, count the predictions.

        Args:
            epoch: 0-based epoch the signals come from.
            signals: Unique rows in [0, n); a row with any non-finite value is rejected whole.

        Raises:
            SelectorError: A row lies outside the memory.

        Cost: O(k).
        """
        rows = signals.index
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise SelectorError(f"Signals name rows {rows.min()}..{rows.max()} of a memory of {len(self)}.")
        finite = np.isfinite(signals.loss) & np.isfinite(signals.entropy) & np.isfinite(signals.gradient)
        self.rejected += int(len(rows) - finite.sum())
        rows = rows[finite]
        for name in MEASURED:
            self.values[name][rows] = getattr(signals, name)[finite]
        self.values["prediction"][rows] += np.where(signals.correct[finite], -1, 1).astype(np.float32)
        self.seen[rows] = True
        self.last_epoch[rows] = epoch

    def importance(self, metric: str) -> NDArray[np.float32]:
        """Return float32[n] for one metric; unseen rows stand at the largest seen value. Cost: O(n)."""
        values = self.values[metric]
        if self.seen.all():
            return values
        ceiling = values[self.seen].max() if self.seen.any() else np.float32(0)
        return np.where(self.seen, values, ceiling)

    def state(self) -> dict[str, Any]:
        """Return copies of all arrays and the counter, ready for a checkpoint."""
        return {
            **{name: values.copy() for name, values in self.values.items()},
            "seen": self.seen.copy(),
            "last_epoch": self.last_epoch.copy(),
            "rejected": self.rejected,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ProxyMemory:
        """Rebuild a memory from `state`."""
        memory = cls(len(state["seen"]))
        for name in REMEMBERED:
            memory.values[name][:] = state[name]
        memory.seen[:] = state["seen"]
        memory.last_epoch[:] = state["last_epoch"]
        memory.rejected = int(state["rejected"])
        return memory
