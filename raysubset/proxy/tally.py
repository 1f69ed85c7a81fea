"""What a selector handed out, counted while it does: how often each row, which classes when, which rows are hard.

    times[i]             subsets that row i was in, over all trials and epochs
    by_class[e, c]       rows of class c in the subsets of epoch e, over all trials
    watched[e, j]        of 400 rows drawn once: subsets of epoch e that the j-th of them was in
    rank_sum, rank_weight    sums of w r and of w over trials: r the rank in [0, 1] of the row's remembered loss
                         among all rows the trial has seen, w the epochs it recorded since it was last heard

Bounded whatever the number of trials: 24 n bytes, and some 2 kB an epoch. A (trial, epoch) counts once however
often it is asked for. Epochs are those of a trial's stream; of a ladder of levels each begins at 0 again. Subsets
whose rows are chosen inside batches are not known here and only counted as such.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.proxy.memory import ProxyMemory
from raysubset.proxy.stream import EpochSubset, StreamSpec
from raysubset.seeds import generator
from raysubset.selection.sampling import rescale

WATCHED = 400  # rows followed epoch by epoch: as many as a figure has room for
RANKED_BY = "loss"


class Tally:
    """Counts over all trials of a stage.

    Args:
        labels: int64[n] of the pool; they may lie in shared memory.
        counted: What an earlier tally of the same pool ended with (`state`), to count on from there. Its ranks are
            left out: memories that are heard anew tell them again.
    """

    def __init__(self, labels: NDArray[np.int64], counted: Mapping[str, Any] | None = None) -> None:
        n, self._labels = len(labels), labels
        self._classes = int(labels.max()) + 1
        self._rows = np.sort(generator(0, "watched").permutation(n)[:WATCHED])
        self._place = np.full(n, -1, dtype=np.int32)
        self._place[self._rows] = np.arange(len(self._rows))
        self._times = np.zeros(n, dtype=np.uint32)
        self._subsets: defaultdict[int, int] = defaultdict(int)
        self._by_class: dict[int, NDArray[np.int64]] = {}
        self._watched: dict[int, NDArray[np.uint32]] = {}
        self._rank_sum, self._rank_weight = np.zeros(n), np.zeros(n)
        self._in_batch = 0
        self._counted: dict[tuple[str, int], int] = {}
        self._heard: dict[str, int] = {}
        if counted is not None:
            self._count_on(counted)

    def _count_on(self, counted: Mapping[str, Any]) -> None:
        self._times, self._in_batch = np.array(counted["times"], dtype=np.uint32), int(counted["in_batch"])
        for place, epoch in enumerate(np.asarray(counted["epochs"]).tolist()):
            self._subsets[epoch] = int(counted["subsets"][place])
            self._by_class[epoch] = np.array(counted["by_class"][place], dtype=np.int64)
            self._watched[epoch] = np.array(counted["watched"][place], dtype=np.uint32)

    def so_far(self) -> Tally:
        """Return a tally that has counted the same and heard nothing; counting goes on in both."""
        return Tally(self._labels, self.state())

    def count(self, trial: str, spec: StreamSpec, subset: EpochSubset) -> None:
        """Count a subset that was handed out, unless it is counted already.

        Cost: O(k), 3.5 ms for 64,000 of 1.28 million rows.
        """
        stream, epoch = (trial, spec.seed), subset.epoch
        if epoch <= self._counted.get(stream, -1):
            return
        self._counted[stream] = epoch
        if subset.chooser is not None:
            self._in_batch += 1
            return
        rows = subset.selection.indices
        if epoch not in self._by_class:
            self._by_class[epoch] = np.zeros(self._classes, dtype=np.int64)
            self._watched[epoch] = np.zeros(len(self._rows), dtype=np.uint32)
        self._subsets[epoch] += 1
        self._times[rows] += 1
        self._by_class[epoch] += np.bincount(self._labels[rows], minlength=self._classes)
        places = self._place[rows]
        self._watched[epoch][places[places >= 0]] += 1

    def hear(self, trial: str, epochs: int, memory: ProxyMemory) -> None:
        """Take in how hard a trial found each row.

        Args:
            trial: Its id.
            epochs: Those it has recorded; it weighs by those since it was last heard.
            memory: What it remembers.

        Cost: One sort: 6 ms for 54,000 rows, 0.3 s for 1.28 million; nothing where there is nothing new.
        """
        weight = epochs - self._heard.get(trial, 0)
        if weight <= 0 or RANKED_BY not in memory.values or not memory.seen.any():
            return
        self._heard[trial] = epochs
        seen = memory.seen
        self._rank_sum[seen] += weight * rescale(memory.measured(RANKED_BY)[seen], "rank")
        self._rank_weight[seen] += weight

    def state(self) -> dict[str, Any]:
        """Return all counts as arrays; those of several selectors add up (epochs by their numbers)."""
        epochs = sorted(self._by_class)
        return {
            "times": self._times.copy(),
            "epochs": np.array(epochs, dtype=np.int64),
            "subsets": np.array([self._subsets[epoch] for epoch in epochs], dtype=np.int64),
            "by_class": _stacked([self._by_class[epoch] for epoch in epochs], self._classes, np.int64),
            "watched_rows": self._rows,
            "watched": _stacked([self._watched[epoch] for epoch in epochs], len(self._rows), np.uint32),
            "rank_sum": self._rank_sum.astype(np.float32),
            "rank_weight": self._rank_weight.astype(np.float32),
            "in_batch": np.int64(self._in_batch),
        }


def _stacked(lines: list[Any], width: int, dtype: Any) -> NDArray[Any]:
    return np.stack(lines).astype(dtype) if lines else np.zeros((0, width), dtype=dtype)
