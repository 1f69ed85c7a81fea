"""ProxyMemory: what is remembered of every sample, one vector per metric.

All four vectors are filled from one forward pass, so the metric may change from epoch to epoch without mixing
units. A sample outside the epoch's subset keeps its stale value exactly; softmax is shift-invariant, so as the
active values fall the stale ones come back by themselves. An unseen sample counts as the largest seen value:
0 would mean "easiest" to the loss metrics, and the sample would starve.

In float16 the values keep 11 binary digits (an error of 2^-11 of the value at most, 0.05 %) and 13 n bytes do
instead of 21 n. What lies beyond 65,504 is kept as that, and the count of predictions stands still at 2,048 either
way.

References:
    [1] ASP, Algorithm 1 (V), sections 3.1-3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import SelectorError
from raysubset.selection.plan import MemoryType

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
    """A value of each row for gradient, loss, entropy, prediction; seen; last_epoch. 21 n bytes, 13 n in float16.

    ``prediction`` counts +1 for every presentation answered wrongly and -1 for every right one.
    ``rejected`` counts non-finite measurements; those leave the old value in place.

    Args:
        n: Rows.
        dtype: What a value is kept in, "float32" or "float16".
        metrics: Those that are kept, of `REMEMBERED`.
        dated: Keep ``last_epoch`` (4 n bytes).
    """

    def __init__(
        self, n: int, dtype: MemoryType = "float32", metrics: Sequence[str] = REMEMBERED, *, dated: bool = True
    ) -> None:
        self.dtype: MemoryType = dtype
        self.values: dict[str, NDArray[np.float16] | NDArray[np.float32]] = {
            name: np.zeros(n, np.dtype(dtype)) for name in metrics
        }
        self.seen: NDArray[np.bool_] = np.zeros(n, dtype=bool)
        self.last_epoch: NDArray[np.int32] | None = np.full(n, -1, dtype=np.int32) if dated else None
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
        for name, values in self.values.items():
            if name == "prediction":
                values[rows] += np.where(signals.correct[finite], -1, 1).astype(values.dtype)
            else:
                limit = np.finfo(values.dtype).max
                values[rows] = np.clip(getattr(signals, name)[finite], -limit, limit)
        self.seen[rows] = True
        if self.last_epoch is not None:
            self.last_epoch[rows] = epoch

    def measured(self, metric: str) -> NDArray[np.float32]:
        """Return float32[n] for one metric, 0 where not seen; a copy only where values are kept in float16."""
        return self.values[metric].astype(np.float32, copy=False)

    def importance(self, metric: str) -> NDArray[np.float32]:
        """Return float32[n] for one metric; unseen rows stand at the largest seen value. Cost: O(n)."""
        values = self.measured(metric)
        if self.seen.all():
            return values
        ceiling = values[self.seen].max() if self.seen.any() else np.float32(0)
        return np.where(self.seen, values, ceiling)

    def state(self) -> dict[str, Any]:
        """Return copies of all arrays and the counter, ready for a checkpoint."""
        return {
            **{name: values.copy() for name, values in self.values.items()},
            "seen": self.seen.copy(),
            **({} if self.last_epoch is None else {"last_epoch": self.last_epoch.copy()}),
            "rejected": self.rejected,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], dtype: MemoryType | None = None) -> ProxyMemory:
        """Rebuild a memory from `state`, in the type it was kept in or in another."""
        metrics = [name for name in REMEMBERED if name in state]
        dated = "last_epoch" in state
        memory = cls(len(state["seen"]), dtype or state[metrics[0]].dtype.name, metrics, dated=dated)
        for name, values in memory.values.items():
            limit = np.finfo(values.dtype).max
            values[:] = np.clip(state[name], -limit, limit)
        memory.seen[:] = state["seen"]
        if memory.last_epoch is not None:
            memory.last_epoch[:] = state["last_epoch"]
        memory.rejected = int(state["rejected"])
        return memory
