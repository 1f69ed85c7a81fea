"""Tasks that replay what was measured: an earlier run's trials, or the table of NAS-Bench-201.

References:
    [1] Dong, Yang, 2020, "NAS-Bench-201", arXiv:2001.00326.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import DataError
from raysubset.hpo.history import Point
from raysubset.hpo.space import Space, choice
from raysubset.nas.cell201 import EDGES, OPS, Cell201

# ---------------------------------------------------------------------- an earlier run


@dataclass(frozen=True, slots=True)
class RecordedTrial:
    """What is known of one trial.

    Attributes:
        point: Its configuration.
        samples: Samples consumed where it was judged, ascending.
        losses: Its validation losses there, inf where it failed.
        whole: It was trained to its end.
    """

    point: Point
    samples: Sequence[int]
    losses: Sequence[float]
    whole: bool


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """Recorded trials, read as steps: a loss holds from where it was measured to where the next one was.

    Before its first measurement a trial has that loss, and after its last one that, so a trial that was stopped
    early stays where it stood: judged later than the record goes, it looks worse than it would have become. Where
    two trials had the same configuration, the first that was judged speaks for both.

    Attributes:
        epoch_costs: int64[N], samples of each epoch of a whole trial.
        trials: At least one of them judged.

    Raises:
        DataError: No trial has a loss.
    """

    epoch_costs: NDArray[np.int64]
    trials: Sequence[RecordedTrial]
    _of: Mapping[Hashable, RecordedTrial] = field(init=False)
    _best: float = field(init=False)

    def __post_init__(self) -> None:
        judged: dict[Hashable, RecordedTrial] = {}
        for trial in self.trials:
            if len(trial.losses):
                judged.setdefault(_key(trial.point), trial)
        if not judged:
            raise DataError(f"Nothing to replay: none of the {len(self.trials)} recorded trials was judged.")
        object.__setattr__(self, "_of", judged)
        ends = (trial.losses[-1] for trial in judged.values() if trial.whole)
        object.__setattr__(self, "_best", min(ends, default=math.inf))

    @property
    def points(self) -> list[Point]:
        """The configurations that can be replayed, in the order of their record, each once."""
        return [trial.point for trial in self._of.values()]

    @property
    def cut_short(self) -> int:
        """How many of them were not trained to their end."""
        return sum(not trial.whole for trial in self._of.values())

    def loss(self, point: Point, trial: str, epoch: int) -> float:
        """See `Task`."""
        recorded = self._of[_key(point)]
        consumed = int(self.epoch_costs[:epoch].sum())
        return recorded.losses[max(0, bisect_right(recorded.samples, consumed) - 1)]

    def regret(self, point: Point) -> float | None:
        """Return the last loss less the least of all trials trained to their end; None for one that was not."""
        recorded = self._of[_key(point)]
        return recorded.losses[-1] - self._best if recorded.whole and math.isfinite(self._best) else None


def _key(point: Point) -> Hashable:
    return tuple(sorted(point.items()))


# ---------------------------------------------------------------------- NAS-Bench-201

CELL_SPACE: Space = {f"{node}<-{source}": choice(OPS) for node, source in EDGES}
"""One operation for each of the cell's six edges: 15,625 architectures."""


def cell_of(point: Point) -> Cell201:
    """Return the cell that a point of `CELL_SPACE` is."""
    return Cell201(tuple(OPS.index(str(point[edge])) for edge in CELL_SPACE))  # type: ignore[arg-type]  # six


@dataclass(frozen=True, slots=True, eq=False)
class NasBench201:
    """The table as a task: validation accuracies at a few epochs, joined to curves.

    A curve is linear in log(1 + epochs), from chance at epoch 0 over what the table knows; after the last epoch
    known it is flat. It is read at samples / rows epochs, whichever rows those samples were, so a search over the
    table is a test of schedulers and searchers, not of subsets. Below the first epoch known the ranking is that of
    this epoch. There is no noise.

    Attributes:
        epoch_costs: int64[N], samples of each epoch.
        rows: Samples of an epoch of the table's own trainings.
        knots: Epochs at which validation accuracies are known, ascending from 0.
        curves: Name of a cell -> validation accuracy in [0, 1] at each knot.
        test: The same -> test accuracy in [0, 1] after a whole training; regret is measured in it.

    Raises:
        DataError: No cells, knots not ascending from 0, or a cell without an accuracy in [0, 1] for each of them.
    """

    epoch_costs: NDArray[np.int64]
    rows: int
    knots: tuple[int, ...]
    curves: Mapping[str, tuple[float, ...]]
    test: Mapping[str, float]
    _log_knots: NDArray[np.float64] = field(init=False)
    _best: float = field(init=False)

    def __post_init__(self) -> None:
        if not self.curves or len(self.knots) < 2 or self.knots[0] != 0 or (np.diff(self.knots) <= 0).any():
            raise DataError(
                f"NAS-Bench-201: need cells and two or more epochs ascending from 0, got {len(self.curves)} cells "
                f"and epochs {', '.join(map(str, self.knots)) or 'none'}."
            )
        for cell, curve in self.curves.items():
            known = (*curve, self.test.get(cell, math.nan))
            if len(curve) != len(self.knots) or not all(0 <= accuracy <= 1 for accuracy in known):
                raise DataError(
                    f"NAS-Bench-201: cell {cell} has accuracies {known}; need {len(self.knots)} validation "
                    "accuracies and the test accuracy, all shares in [0, 1]."
                )
        object.__setattr__(self, "_log_knots", np.log1p(self.knots))
        object.__setattr__(self, "_best", max(self.test[cell] for cell in self.curves))

    def loss(self, point: Point, trial: str, epoch: int) -> float:
        """Return 1 - validation accuracy.

        Raises:
            DataError: The table does not know the cell.
        """
        trained = int(self.epoch_costs[:epoch].sum()) / self.rows
        return 1 - float(np.interp(math.log1p(trained), self._log_knots, self.curves[self._cell(point)]))

    def regret(self, point: Point) -> float:
        """Return the table's best test accuracy less this cell's."""
        return self._best - self.test[self._cell(point)]

    def _cell(self, point: Point) -> str:
        cell = str(cell_of(point))
        if cell not in self.curves:
            raise DataError(f"NAS-Bench-201: the table of {len(self.curves):,} cells has no {cell}.")
        return cell
