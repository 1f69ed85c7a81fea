"""Who proposes configurations: pure functions of a space, a seed and a history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from raysubset.hpo.history import History, Point
from raysubset.hpo.space import Space, sample_space
from raysubset.seeds import generator


class Proposer(Protocol):
    """Proposes the next configuration. It has options and no state: what it knows stands in the history."""

    def propose(self, history: History, draw: int, rung: int) -> Point | None:
        """Return a configuration, or None if there is none left.

        Args:
            history: What was tried, with fidelities.
            draw: How many configurations this search has started, the key of every random draw made here.
            rung: Where the new trial will be judged first (0 but for brackets that start higher).
        """
        ...


@dataclass(frozen=True, slots=True)
class RandomProposer:
    """Independent draws; the i-th comes from a stream of its own, so it is the same whatever ran before."""

    space: Space
    seed: int

    def propose(self, history: History, draw: int, rung: int) -> Point:
        """Draw a configuration."""
        return sample_space(self.space, generator(self.seed, draw, "search"))


@dataclass(frozen=True, slots=True)
class ListedPoints:
    """Given configurations, one after the other."""

    points: Sequence[Point]

    def propose(self, history: History, draw: int, rung: int) -> Point | None:
        """Return the next point, None after the last."""
        return dict(self.points[draw]) if draw < len(self.points) else None
