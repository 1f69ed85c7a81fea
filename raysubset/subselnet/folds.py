"""Which cells are trained to supervise, which choose between states, and which no stage ever sees trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from raysubset.errors import OptionsError
from raysubset.seeds import generator
from raysubset.subselnet.space import NB101, EncodedSpace

DRAWN_FOR_ONE = 15  # cells drawn for each that is kept: enough for even steps from small to large


@dataclass(frozen=True, slots=True)
class Folds:
    """Different graphs; the two first folds are supervisors.

    Attributes:
        train: Cells that the approximator and the inductive sampler learn from.
        checks: Cells that choose their states.
        unseen: Cells of the evaluation.
    """

    train: tuple[Any, ...]
    checks: tuple[Any, ...]
    unseen: tuple[Any, ...]

    @property
    def supervisors(self) -> tuple[Any, ...]:
        """Return the cells whose networks are trained by the fit, in the bank's order."""
        return self.train + self.checks


def draw_folds(train: int, checks: int, unseen: int, seed: int, space: EncodedSpace[Any] = NB101) -> Folds:
    """Draw cells from the smallest to the largest, in even steps of rank by number of parameters.

    Args:
        train: Cells of that fold, >= 1.
        checks: The same, >= 1.
        unseen: The same, >= 0.
        seed: The experiment's; no two cells are isomorphic.
        space: Whose cells.

    Raises:
        OptionsError: More than can be drawn.

    Cost: about 10 ms a cell.
    """
    count = train + checks + unseen
    if train < 1 or checks < 1 or unseen < 0:
        raise OptionsError(f"Folds of {train}, {checks} and {unseen} cells: need at least 1, 1 and 0.")
    drawn = space.draw(DRAWN_FOR_ONE * count, seed)
    pool = sorted(drawn, key=lambda cell: (space.parameters(cell), str(cell)))
    kept = [pool[round(place)] for place in np.linspace(0, len(pool) - 1, count)]
    order = generator(seed, "folds").permutation(count)
    mixed = [kept[number] for number in order]
    return Folds(tuple(mixed[:train]), tuple(mixed[train : train + checks]), tuple(mixed[train + checks :]))
