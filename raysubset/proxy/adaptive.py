"""What a stream learns about its own training: what each metric's rows repay, and how much the ranking changes.

Both come from the training passes that are made anyway. A share of every epoch's rows (the plan's ``probe``, or
all of them where it was drawn blindly or took everything) is drawn uniformly. Such a row that was met before has
an old loss in memory and a new one now, and neither meeting was chosen for the value that it brought: the old
value was measured after its row was chosen, the new one is drawn uniformly. So what it gained is not the
regression to the mean of rows that a metric has just chosen for a high old value. (A little of the opposite is
left: of two rows met together, the one that chance gave the higher value is met again sooner.)

    gain      (old - new) / deviation of the old, cut to [-3, 3]
    rate      sum of gains / sum of the log samples trained since, over the rows that one metric chose when they
              were met last
    change    1 - Spearman's rank correlation of old and new

Gains have the same scale for any loss at any stage. Learning curves are power laws of the samples, so a row that
was not met for long has gained more whoever chose it; hence a rate, per log sample. Rows of the probe count as
chosen at random, whoever chose the rest.

Cost: O(n) an epoch for the uniform draw, O(k log k) for k rows met again. State: n + 16 N bytes, and 30 numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import SelectorError
from raysubset.proxy.memory import EpochSignals, ProxyMemory
from raysubset.selection.bandit import MetricBandit
from raysubset.selection.mixture import METRICS
from raysubset.selection.pacing import Pacing
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.timing import Timetable

ENOUGH = 10  # rows, for a mean with a variance
CUT = 3.0


class Adaptation:
    """What has been served and learnt so far, for a plan with an adaptive metric or schedule.

    Args:
        plan: The stream's.
        table: Its timetable; the sizes are those planned.
        n: Rows of the pool.
    """

    def __init__(self, plan: SubsetPlan, table: Timetable, n: int) -> None:
        epochs = len(table.sizes)
        self._plan, self._table, self._n = plan, table, n
        self._bandit = MetricBandit(epochs)
        self._pacing = Pacing(table.sizes, n, min(2, n))
        self._sizes = np.zeros(epochs, dtype=np.int64)
        self._arms = np.zeros(epochs, dtype=np.int64)  # of `METRICS`; everything and blind draws count as random
        self._chosen_by = np.full(n, -1, dtype=np.int8)  # when met last; -1: not met in this training

    def metric(self, rng: np.random.Generator) -> str:
        """Return what chooses next."""
        return self._bandit.choose(rng, self._plan.metrics)

    def size(self, epoch: int) -> int:
        """Return how many rows ``epoch`` takes: as planned, or as the ranking's change says."""
        if self._plan.schedule != "adaptive":
            return int(self._table.sizes[epoch])
        return self._pacing.size(epoch, int(self._sizes[:epoch].sum()))

    def served(self, epoch: int, metric: str, size: int) -> None:
        """Note an epoch's rows as they are handed out; noting them again changes nothing."""
        self._sizes[epoch] = size
        self._arms[epoch] = METRICS.index(metric) if metric in METRICS else 0

    def informed_size(self, epoch: int) -> int:
        """Return how many rows an epoch took that was chosen by memory; 0: all were drawn uniformly."""
        return int(self._sizes[epoch]) if self._arms[epoch] else 0

    def learn(
        self, epoch: int, memory: ProxyMemory, signals: EpochSignals, probe: NDArray[np.int64] | None
    ) -> None:
        """Learn from an epoch's signals, before ``memory`` takes them in.

        Args:
            epoch: They come from.
            memory: Of the epochs before.
            signals: Of the rows trained on.
            probe: Rows drawn uniformly; None: all were.
        """
        if self._sizes[epoch] == 0:  # recorded but not served: by whom its rows were chosen is not known
            return
        finite = np.isfinite(signals.loss) & np.isfinite(signals.entropy) & np.isfinite(signals.gradient)
        rows, losses = signals.index[finite], signals.loss[finite].astype(np.float64)
        uniform = np.ones(len(rows), dtype=bool) if probe is None else np.isin(rows, probe)
        chosen_by = self._chosen_by[rows]
        met = uniform & (chosen_by >= 0)
        self._chosen_by[rows] = np.where(uniform, 0, self._arms[epoch])
        if met.sum() >= ENOUGH:
            assert memory.last_epoch is not None  # a stream's memory is dated
            old, new = memory.measured("loss")[rows[met]].astype(np.float64), losses[met]
            logs = self._log_samples()
            waits = logs[epoch] - logs[memory.last_epoch[rows[met]]]
            self._bandit.learn(_rates(old, new, waits, chosen_by[met]))
            self._pacing.learn(_change(old, new))

    def _log_samples(self) -> NDArray[np.float64]:
        """Return float64[N], the logarithm of the samples trained until the middle of each epoch."""
        return np.log(np.maximum(np.cumsum(self._sizes) - self._sizes / 2, 1))

    def state(self) -> dict[str, Any]:
        """Return all of it, ready for a checkpoint."""
        return {
            "sizes": self._sizes.copy(),
            "arms": self._arms.copy(),
            "chosen_by": self._chosen_by.copy(),
            "bandit": self._bandit.state(),
            "pacing": self._pacing.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a `state`.

        Raises:
            SelectorError: It is of another number of epochs, or of metrics.
        """
        if len(state["sizes"]) != len(self._sizes):
            raise SelectorError(f"The saved stream has {len(state['sizes'])} epochs, this one {len(self._sizes)}.")
        self._sizes, self._arms = np.array(state["sizes"]), np.array(state["arms"])
        self._chosen_by = np.array(state["chosen_by"])
        self._bandit.restore(state["bandit"])
        self._pacing.restore(state["pacing"])


def _rates(
    old: NDArray[np.float64],
    new: NDArray[np.float64],
    waits: NDArray[np.float64],
    chosen_by: NDArray[np.int8],
) -> dict[str, tuple[float, float]]:
    """Return metric -> rate of its rows and the rate's variance, of the metrics with enough rows."""
    spread = old.std()
    if not spread > 0:
        return {}
    gains = np.clip((old - new) / spread, -CUT, CUT)
    told = {}
    for arm, metric in enumerate(METRICS):
        of = chosen_by == arm
        if of.sum() >= ENOUGH:
            wait = waits[of].mean()
            rate = gains[of].mean() / wait
            told[metric] = (float(rate), float((gains[of] - rate * waits[of]).var(ddof=1) / (of.sum() * wait**2)))
    return told


def _change(old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """Return 1 - Spearman's rho, in [0, 2]; ties share their mean rank, and with one of them constant rho is 0."""
    from scipy.stats import rankdata  # 0.7 s to import, in every training process; fixed schedules need no ranks

    ranks = np.stack([rankdata(old), rankdata(new)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norm = float(np.sqrt((ranks**2).sum(axis=1).prod()))
    return 1.0 - float(ranks[0] @ ranks[1]) / norm if norm > 0 else 1.0
