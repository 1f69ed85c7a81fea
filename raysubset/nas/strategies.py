"""How the cells to be judged are proposed: all, at random, by evolution.

A strategy is asked for a round of cells, none of them judged before, and told their scores; an empty round ends
the search. Rounds do not depend on how many workers judge them, so the same seed makes the same search everywhere.

References:
    [1] Guo et al., 2020, arXiv:1904.00420, algorithm 1 (evolution over a supernet).
    [2] Real et al., 2019, doi:10.1609/aaai.v33i01.33014780, algorithm 1 (aging evolution).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, Protocol

import numpy as np

from raysubset.errors import OptionsError
from raysubset.nas.space import CellSpace, CellT
from raysubset.seeds import generator

PATIENCE = 100  # draws of one child; in a small space all that is near may have been judged


class Strategy(Protocol[CellT]):
    """Proposes cells, round by round."""

    def ask(self) -> list[CellT]:
        """Return the next cells to be judged, distinct and new; none when the search is over."""
        ...

    def tell(self, scores: Mapping[CellT, float]) -> None:
        """Hear the scores of the last round, higher is better."""
        ...


class Listed(Generic[CellT]):
    """Every cell that is given, in rounds of at most ``round_size``."""

    def __init__(self, cells: Iterable[CellT], round_size: int = 1000) -> None:
        self._waiting = list(dict.fromkeys(cells))
        self._round_size = round_size

    def ask(self) -> list[CellT]:
        """Return the next of them."""
        taken, self._waiting = self._waiting[: self._round_size], self._waiting[self._round_size :]
        return taken

    def tell(self, scores: Mapping[CellT, float]) -> None:
        """Nothing is learnt."""


def draw_distinct(space: CellSpace[CellT], count: int, seed: int, purpose: str) -> list[CellT]:
    """Draw ``count`` different cells from the stream (seed, purpose).

    Raises:
        OptionsError: The space does not seem to have that many.
    """
    rng = generator(seed, purpose)
    drawn: dict[CellT, None] = {}
    for _ in range(PATIENCE * count):
        if len(drawn) == count:
            break
        drawn[space.draw(rng)] = None
    if len(drawn) < count:
        raise OptionsError(
            f"{count} different cells asked for; {space.name} gave {len(drawn)} in {PATIENCE} each."
        )
    return list(drawn)


def random_search(space: CellSpace[CellT], candidates: int, seed: int) -> Listed[CellT]:
    """Propose so many different cells, drawn at random."""
    return Listed(draw_distinct(space, candidates, seed, "random-search"))


class Evolution(Generic[CellT]):
    """A population of which the best of all times are crossed and mutated, generation by generation [1].

    Args:
        space: Where cells come from.
        seed: Of all draws.
        candidates: Cells judged altogether.
        population: Of a generation; the last may be smaller.
        parents: The best so many so far breed.
        rate: Probability with which a mutation draws each decision anew.

    Raises:
        OptionsError: An option out of range.
    """

    def __init__(
        self,
        space: CellSpace[CellT],
        seed: int,
        *,
        candidates: int = 1000,
        population: int = 50,
        parents: int = 10,
        rate: float = 0.1,
    ) -> None:
        faults = []
        if not 1 <= parents <= population:
            faults.append(f"parents={parents}, need 1..population={population}")
        if candidates < 1:
            faults.append(f"candidates={candidates}, need at least 1")
        if not 0 < rate <= 1:
            faults.append(f"rate={rate!r}, need a probability in (0, 1]")
        if faults:
            raise OptionsError.of("Evolution", faults)
        self._space, self._seed, self._candidates = space, seed, candidates
        self._population, self._parents, self._rate = population, parents, rate
        self._scores: dict[CellT, float] = {}
        self._generation = 0

    def ask(self) -> list[CellT]:
        """Return a generation: half of it crossed, half mutated; drawn where no new child is found that way."""
        size = min(self._population, self._candidates - len(self._scores))
        rng = generator(self._seed, self._generation, "evolution")
        best = sorted(self._scores, key=lambda cell: -self._scores[cell])[: self._parents]  # ties to the earlier
        children: list[CellT] = []
        for number in range(size):
            ways = (
                [self._drawn]
                if not best
                else [self._crossed if number < size // 2 else self._mutated, self._drawn]
            )
            tried = (way(best, rng) for way in ways for _ in range(PATIENCE))
            new = next((cell for cell in tried if cell not in self._scores and cell not in children), None)
            if new is None:
                break
            children.append(new)
        self._generation += 1
        return children

    def _drawn(self, best: Sequence[CellT], rng: np.random.Generator) -> CellT:
        return self._space.draw(rng)

    def _crossed(self, best: Sequence[CellT], rng: np.random.Generator) -> CellT:
        one, two = (int(number) for number in rng.integers(len(best), size=2))
        return self._space.cross(best[one], best[two], rng)

    def _mutated(self, best: Sequence[CellT], rng: np.random.Generator) -> CellT:
        return self._space.mutate(best[int(rng.integers(len(best)))], rng, self._rate)

    def tell(self, scores: Mapping[CellT, float]) -> None:
        """Remember a generation."""
        self._scores.update(scores)


class AgingEvolution(Generic[CellT]):
    """The best of a sample is mutated by one decision; whoever is oldest dies [2].

    Args:
        space: Where cells come from.
        seed: Of all draws.
        candidates: Cells judged altogether.
        population: Alive at a time, P.
        sample: Of which the best breeds, S.
        brood: Children of a round: what may be judged at the same time.

    Raises:
        OptionsError: An option out of range.
    """

    def __init__(
        self,
        space: CellSpace[CellT],
        seed: int,
        *,
        candidates: int = 1000,
        population: int = 50,
        sample: int = 10,
        brood: int = 10,
    ) -> None:
        faults = []
        if not 1 <= sample <= population:
            faults.append(f"sample={sample}, need 1..population={population}")
        if candidates < 1 or brood < 1:
            faults.append(f"candidates={candidates}, brood={brood}, need at least 1")
        if faults:
            raise OptionsError.of("AgingEvolution", faults)
        self._space, self._seed, self._candidates = space, seed, candidates
        self._population, self._sample, self._brood = population, sample, brood
        self._alive: deque[tuple[CellT, float]] = deque(maxlen=population)
        self._seen: set[CellT] = set()
        self._round = 0

    def ask(self) -> list[CellT]:
        """Return the founders, or a brood."""
        left = self._candidates - len(self._seen)
        self._round += 1
        if not self._seen:
            return draw_distinct(self._space, min(self._population, left), self._seed, "founders")
        rng = generator(self._seed, self._round, "aging-evolution")
        brood: dict[CellT, None] = {}
        for _ in range(PATIENCE * self._brood):
            if len(brood) == min(self._brood, left):
                break
            alive = list(self._alive)
            picked = [alive[i] for i in rng.choice(len(alive), size=min(self._sample, len(alive)), replace=False)]
            child = self._space.mutate(max(picked, key=lambda member: member[1])[0], rng)
            if child not in self._seen:
                brood[child] = None
        return list(brood)

    def tell(self, scores: Mapping[CellT, float]) -> None:
        """Let a brood live; as many of the oldest die."""
        self._alive.extend(scores.items())
        self._seen.update(scores)
