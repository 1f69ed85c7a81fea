"""SubSelNet among the selectors: one subset of the data for one architecture, from a fit on the same data.

    SubsetPlan(selector="subselnet", options={"fitted": "runs/cifar", "cell": "conv3x3-bn-relu~0+output~1"})

The choice depends on the architecture alone, neither on the trial nor on its model's state: it is made once, and a
search serves it to every trial.

References:
    [1] Jain, Nandy, Aggarwal, Tendulkar, Iyer, De, 2023, "Efficient data subset selection to generalize training
        across models: transductive and inductive networks", NeurIPS, arXiv:2409.12255.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import DataError, OptionsError, StorageError
from raysubset.selection.protocol import Context, check_budget
from raysubset.subselnet.predictor import SAMPLERS, ArchitecturePredictor, Sampler
from raysubset.subselnet.space import any_cell
from raysubset.training.checkpoint import load_checkpoint
from raysubset.types import Selection

PREDICTOR_FOLDER = "predictor"


@dataclass(frozen=True, slots=True)
class SubSelNet:
    """Chooses for a cell of the fit's space, also one that was never trained.

    Attributes:
        fitted: Folder of a fit (`raysubset subselnet fit`); where selectors run on other machines, one that they
            mount too.
        cell: Name of the NAS-Bench-101 cell or DARTS genotype that is trained; an architecture search fills it in
            for each of its cells.
        sampler: "transductive", "inductive", "hybrid" or "gibbs", see `subselnet.samplers` and `.funnel`; or
            "gibbs-per-class", the closed form within each class, which served unseen cells best where we measured.
        entropy: lambda > 0 of all but the inductive one, which was trained with its own.
        steps: Of the transductive optimisation, >= 1.
        candidates: Of the hybrid: rows that its inductive stage lets through, in multiples of those chosen.

    Raises:
        OptionsError: A value out of range, or no fit named.
        ArchitectureError: ``cell`` is of neither space.

    Cost: a pass of the approximator over the rows and the sampler's; the fit is read once a process.
    """

    fitted: str = ""
    cell: str = ""
    sampler: Sampler = "gibbs-per-class"
    entropy: float = 0.3
    steps: int = 100
    candidates: float = 4.0

    def __post_init__(self) -> None:
        faults = []
        if not self.fitted:
            faults.append("fitted='', need the folder of a fit (`raysubset subselnet fit` makes one)")
        if self.sampler not in SAMPLERS:
            faults.append(f"sampler={self.sampler!r}, need one of {', '.join(SAMPLERS)}")
        if not 0 < self.entropy < math.inf:
            faults.append(f"entropy={self.entropy!r}, need a finite weight > 0 in nats of loss")
        if self.steps < 1:
            faults.append(f"steps={self.steps}, need at least 1")
        if not self.candidates >= 1:
            faults.append(f"candidates={self.candidates!r}, need at least 1 (times the rows chosen)")
        if faults:
            raise OptionsError.of("SubSelNet", faults)
        if self.cell:
            any_cell(self.cell)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            StorageError: There is no fit in ``fitted``.
            ArchitectureError: The cell is of another space than the fit.
            DataError: The fit is of other rows.
            SelectionError: The pool has no labels.
        """
        check_budget(k, context.pool_size)
        if not self.cell:
            raise OptionsError("SubSelNet: cell='', need the name of the cell that is trained.")
        predictor = open_predictor(Path(self.fitted))
        predictor.check_pool(context)
        seen = predictor.predict(predictor.parse(self.cell))
        chosen = predictor.sampler(self.sampler, seen, self.entropy, self.steps, self.candidates)
        return chosen.select(predictor.context(seen), k, rng)


def open_predictor(folder: Path) -> ArchitecturePredictor:
    """Return the fit in a folder.

    Raises:
        StorageError: There is none, or it is damaged.
        DataError: What is there is no fit.
    """
    kept = folder / PREDICTOR_FOLDER
    try:
        stamp = max(part.stat().st_mtime_ns for part in kept.iterdir())
    except (OSError, ValueError) as error:
        raise StorageError(
            f"There is no finished fit in {folder}: {kept} is missing. `raysubset subselnet fit` makes one."
        ) from error
    return _opened(kept, stamp)


def fitted_rows(folder: Path) -> NDArray[np.int64]:
    """Return int64[n], which of the data set's training rows the fit in a folder is of, in the pool's order.

    Raises:
        StorageError: There is no fit, or it is damaged.
    """
    rows: NDArray[np.int64] = load_checkpoint(folder / PREDICTOR_FOLDER)["rows"]
    return rows


@lru_cache(maxsize=4)
def _opened(kept: Path, _stamp: int) -> ArchitecturePredictor:  # a fit that is replaced has another stamp
    state = load_checkpoint(kept)
    try:
        return ArchitecturePredictor.from_state(state, state["features"], state["labels"])
    except KeyError as error:
        raise DataError(f"{kept} holds no fit of SubSelNet: {error} is missing.") from error
