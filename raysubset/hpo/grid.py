"""Grid search: every combination of a few values of every parameter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product

import numpy as np

from raysubset.errors import OptionsError
from raysubset.hpo.history import History, Point
from raysubset.hpo.space import Choice, Domain, Integer, Space, Value, active_part


@dataclass(frozen=True, slots=True)
class GridProposer:
    """The cartesian product, the last parameter of the space turning fastest.

    Attributes:
        space: All its choices are taken whole.
        steps: Values of a number, >= 2, both ends among them: equally spaced, in the logarithm where the range is
            logarithmic. Integers are rounded, so a short range has fewer.

    Raises:
        OptionsError: Fewer than two steps.
    """

    space: Space
    steps: int = 3

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise OptionsError(f"GridProposer: steps={self.steps!r}, need at least 2: both ends of a range.")

    def propose(self, history: History, draw: int, rung: int) -> Point | None:
        """Return combination number ``draw``, None after the last. Cost: O(draw)."""
        return next(islice(self.points(), draw, None), None)

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield all combinations, each once: of those that differ in inactive parameters only, the first."""
        ticks = {name: _ticks(domain, self.steps) for name, domain in self.space.items()}
        for values in product(*ticks.values()):
            point = dict(zip(ticks, values, strict=True))
            active = active_part(self.space, point)
            if all(name in active or point[name] is ticks[name][0] for name in ticks):
                yield active


def _ticks(domain: Domain, steps: int) -> list[Value]:
    if isinstance(domain, Choice):
        return list(domain.options)
    spaced = (np.geomspace if domain.log else np.linspace)(domain.low, domain.high, steps).tolist()
    if isinstance(domain, Integer):
        return list(dict.fromkeys(round(tick) for tick in spaced))
    return [min(max(tick, domain.low), domain.high) for tick in spaced]
