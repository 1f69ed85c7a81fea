"""The discretised-cell reading of SubSelNet for DARTS: a supernet's subset follows the genotype it stands for.

The paper [1] trains "the network at hand" of a DARTS search on the subset that its sampler returns for that
architecture. But a search trains one network of all operations at once, and no encoder of cells reads that. Here

    1. before each epoch alpha is discretised, as at the end of a search: a genotype;
    2. a fit of SubSelNet in the DARTS space foresees the losses of a network of that genotype, and its sampler
       draws the epoch's rows by them, among all rows that the fit knows;
    3. a row trains the weights or alpha, whichever side it is on for good;
    4. both learn in turn from their part, as DARTS does everywhere.

A subset depends on the seed and the genotype alone: while the genotype stays, so do the rows, and a genotype that
comes back brings its rows back. Rows that the fit held out are never chosen.

References:
    [1] Jain, Nandy, Aggarwal, Tendulkar, Iyer, De, 2023, arXiv:2409.12255, section 5 and appendix D.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from raysubset.data.batches import RowSource
from raysubset.errors import BudgetError, DataError, SelectorError
from raysubset.nas.genotype import Genotype
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.stream import EpochSubset, StreamSpec
from raysubset.proxy.tally import Tally
from raysubset.report.nas_info import READING
from raysubset.runtime.sides import Joined, SideSubset, part_of
from raysubset.seeds import generator
from raysubset.selection.outputs import Outputs
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.subselnet.selector import fitted_rows, open_predictor
from raysubset.subselnet.space import EncodedSpace
from raysubset.types import Selection


class GenotypeModel(Protocol):
    """A network whose alpha stands for a genotype."""

    def genotype(self) -> Genotype:
        """Return it as of now."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FittedPool:
    """The rows of a fit, and where a search has them.

    Attributes:
        known: The fit's n rows with their labels: what its selector chooses from.
        places: int64[n], where each stands among the search's rows, the weights' side first.
        rows: Of the search, both sides.
        space: Of the fit's cells.
    """

    known: Context
    places: NDArray[np.int64]
    rows: int
    space: EncodedSpace[Any]

    @classmethod
    def of(cls, plan: SubsetPlan, space: str, ids: NDArray[np.int64], labels: NDArray[np.int64]) -> Self:
        """Find the rows of the plan's fit in a search.

        Args:
            plan: Its selector's option ``fitted`` names the fit.
            space: That is searched.
            ids: int64[N], which rows of the data set the search has, the weights' side first.
            labels: int64[N], theirs.

        Raises:
            StorageError: There is no finished fit.
            DataError: It is of another space, or of rows that the search has not, or knows with other labels.
        """
        folder = Path(plan.options["fitted"])
        predictor, fitted = open_predictor(folder), fitted_rows(folder)
        predictor.check_space(space)
        order = np.argsort(ids)
        places = order[np.minimum(np.searchsorted(ids, fitted, sorter=order), len(ids) - 1)]
        same = (ids[places] == fitted) & (labels[places] == predictor.labels)
        if not same.all():
            raise DataError(
                f"The fit in {folder} is of {len(fitted)} rows, {int((~same).sum())} of which this search of "
                f"{len(ids)} rows has not, or with another label: it serves new architectures, not new data. Were "
                "--data or --limit others when it was fitted, or are rows left out here?"
            )
        return cls(Context(len(fitted), predictor.labels), places, len(ids), predictor.space)

    def check_budget(self, plan: SubsetPlan, epochs: int) -> None:
        """Refuse epochs that are larger than the fit.

        Raises:
            BudgetError: There is one.
        """
        most = int(plan.timetable(self.rows, epochs).sizes.max())
        if most > self.known.pool_size:
            raise BudgetError(
                f"ratio={plan.ratio:g} of {self.rows} rows is {most}, and the fit knows {self.known.pool_size} of "
                "them: it held out the others. Take a smaller ratio, or a fit with a smaller --validation."
            )


class DiscretisedSides:
    """`Sides` whose subset is that of the genotype as of now.

    Args:
        weights, architecture: Rows of the two sides.
        spec: Plan, epochs and seed.
        fitted: The fit's rows among them.
        genotype: What alpha stands for at the moment of the call.

    Raises:
        BudgetError: An epoch is larger than the fit.
    """

    def __init__(
        self,
        weights: RowSource,
        architecture: RowSource,
        spec: StreamSpec,
        fitted: FittedPool,
        genotype: Callable[[], Genotype],
    ) -> None:
        fitted.check_budget(spec.plan, spec.epochs)
        self._pool, self._border = Joined(weights, architecture), len(weights)
        self.pools: tuple[RowSource, ...] = (self._pool,)
        self._spec, self._fitted, self._genotype = spec, fitted, genotype
        self._sizes = spec.plan.timetable(len(self._pool), spec.epochs).sizes
        self._cell, self._rows = "", np.zeros(0, dtype=np.int64)
        self._tally: Tally | None = None

    def weight_samples(self, sizes: Sequence[NDArray[np.int64]]) -> int:
        """See `Sides`; what falls to the weights is their share of the rows, on average."""
        return max(1, round(int(sizes[0].sum()) * self._border / len(self._pool)))

    def observe(self, epoch: int, outputs: Sequence[Outputs]) -> None:
        """Refuse: the fit foresees, and no pass over the rows is made.

        Raises:
            SelectorError: Always.
        """
        raise SelectorError(f"The {READING} looks at the genotype alone, not at what the model says of rows.")

    def next(self, epoch: int) -> tuple[SideSubset, SideSubset]:
        """See `Sides`. Cost: that of a prediction and of the sampler where the genotype has changed.

        Raises:
            BudgetError: All rows of the genotype's subset are on one side.
        """
        cell = str(self._fitted.space.canonical(self._genotype()))
        size = int(self._sizes[epoch])
        if (cell, size) != (self._cell, len(self._rows)):
            self._cell, self._rows = cell, self._choose(cell, size)
        on_weights = self._rows < self._border
        if on_weights.all() or not on_weights.any():
            raise BudgetError(
                f"Epoch {epoch}: all {len(self._rows)} rows that were chosen for the genotype are on one side. "
                "Take a larger ratio, or more rows."
            )
        chosen = Selection.uniform(self._rows, len(self._pool))
        subset = EpochSubset(epoch, chosen, READING, len(chosen))
        if self._tally is not None:
            self._tally.count("pool", self._spec, subset)
        one, two = (
            SideSubset(self._pool, part_of(subset, np.flatnonzero(side))) for side in (on_weights, ~on_weights)
        )
        return one, two

    def _choose(self, cell: str, k: int) -> NDArray[np.int64]:
        """Return int64[k], rows of the search that the fit's sampler draws for a cell."""
        plan = replace(self._spec.plan, options={**self._spec.plan.options, "cell": cell})
        rng = generator(self._spec.seed, "discretised-cell", cell)
        return self._fitted.places[plan.compose().select(self._fitted.known, k, rng).indices]

    def record(self, epoch: int, signals: tuple[EpochSignals, EpochSignals]) -> None:
        """Forget: what the passes showed steers nothing here."""

    def watch(self, counted: Mapping[str, Any] | None = None) -> None:
        """See `Sides`."""
        self._tally = Tally(self._pool.labels, counted)

    def counted(self) -> dict[str, Any] | None:
        """See `Sides`."""
        return None if self._tally is None else self._tally.state()

    def state(self) -> dict[str, Any]:
        """See `Sides`."""
        return {"cell": self._cell, "rows": self._rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Sides`."""
        self._cell, self._rows = str(state["cell"]), np.asarray(state["rows"], dtype=np.int64)
