"""Search spaces as vectors, for the models that learn from points.

A vector has one float for every parameter, in the order of the space's keys: a number as its place in [0, 1] of
its range (of the logarithm where the range is logarithmic), a choice as the index of its option, NaN where the
parameter is inactive. An integer v owns [v - 1/2, v + 1/2] of its range, so that all integers have equal shares.
But for that, vectors are those of ConfigSpace [1], which keeps only 13 decimals of a value and of a range's ends.

A *full* vector has a value for inactive parameters too: what they would be if a parent changed.

References:
    [1] Lindauer et al., 2019, "BOAH: a tool suite for multi-fidelity Bayesian optimization", arXiv:1908.06756.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raysubset.hpo.history import Point
from raysubset.hpo.space import Choice, Integer, Space, Uniform, Value, active_part

Vectors = NDArray[np.float64]

STEP = 0.2  # standard deviation of a number's step to a neighbour, as in SMAC
STEPS = 4  # neighbours along a number


class Encoding:
    """Translates between points and vectors.

    Args:
        space: A space that `check_space` accepts.

    Attributes:
        names: Parameters in the order of the columns.
        levels: int64[d], options of a choice, 0 for a number.

    Cost: about 10 microseconds a column and call, plus 1 a value.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.names = tuple(space)
        self.levels = np.array([len(d.options) if isinstance(d, Choice) else 0 for d in space.values()])
        self._conditions = _conditions(space)

    def to_vectors(self, points: Sequence[Point]) -> Vectors:
        """Return float64[n, d], NaN where a point lacks a parameter.

        Raises:
            SearchSpaceError: A value is none of its choice's options.
        """
        vectors = np.full((len(points), len(self.names)), np.nan)
        for column, (name, domain) in enumerate(self.space.items()):
            rows = [row for row, point in enumerate(points) if name in point]
            if isinstance(domain, Choice):
                vectors[rows, column] = [domain.index(points[row][name]) for row in rows]
            else:
                vectors[rows, column] = _places(domain, np.array([points[row][name] for row in rows], np.float64))
        return vectors

    def to_points(self, vectors: Vectors) -> list[dict[str, Value]]:
        """Return the points of full vectors: active parameters only, plain values."""
        columns: dict[str, list[Value]] = {}
        for (name, domain), places in zip(self.space.items(), vectors.T, strict=True):
            if isinstance(domain, Choice):
                columns[name] = [domain.options[int(index)] for index in places]
            else:
                kind = int if isinstance(domain, Integer) else float
                columns[name] = [kind(value) for value in _values(domain, places)]
        return [
            active_part(self.space, {name: columns[name][row] for name in self.names})
            for row in range(len(vectors))
        ]

    def snap(self, vectors: Vectors) -> Vectors:
        """Return full vectors with numbers inside [0, 1] and integers in the middle of what they own."""
        snapped = np.where(self.levels > 0, vectors, vectors.clip(0.0, 1.0))
        for column, domain in enumerate(self.space.values()):
            if isinstance(domain, Integer):
                snapped[:, column] = _places(domain, _values(domain, snapped[:, column]))
        return snapped

    def deactivate(self, vectors: Vectors) -> Vectors:
        """Return the vectors with NaN where a parameter is inactive."""
        vectors = vectors.copy()
        for child, parent, allowed in self._conditions:
            vectors[~np.isin(vectors[:, parent], allowed), child] = np.nan
        return vectors

    def fill(self, vectors: Vectors, rng: np.random.Generator) -> Vectors:
        """Return full vectors: NaN becomes a draw."""
        return np.where(np.isnan(vectors), self.sample(len(vectors), rng), vectors)

    def sample(self, count: int, rng: np.random.Generator) -> Vectors:
        """Draw full vectors, float64[count, d], distributed as `sample_space` draws points."""
        draws = rng.random((count, len(self.names)))
        return self.snap(np.where(self.levels > 0, np.floor(draws * self.levels), draws))

    def neighbours(self, vectors: Vectors, rng: np.random.Generator) -> tuple[Vectors, NDArray[np.int64]]:
        """Return full vectors that differ in one active parameter, and the row each comes from.

        All other options of a choice, and a few steps along a number; a step of an integer may come to nothing.
        """
        active = ~np.isnan(self.deactivate(vectors))
        found, origins = [], []
        for column, levels in enumerate(self.levels):
            rows = np.flatnonzero(active[:, column])
            for turn in range(1, levels) if levels else range(STEPS):
                moved = vectors[rows]
                if levels:
                    moved[:, column] = (moved[:, column] + turn) % levels
                else:
                    moved[:, column] += STEP * rng.standard_normal(len(rows))
                found.append(moved)
                origins.append(rows)
        return self.snap(np.concatenate(found)), np.concatenate(origins)

    def features(self, vectors: Vectors) -> Vectors:
        """Return what a regressor sees, float64[n, D]: a column for each number and for each option of a choice.

        An inactive number stands in the middle and an inactive choice nowhere (all zeros): they say nothing.
        """
        columns: list[NDArray[np.float64]] = []
        for place, levels in zip(vectors.T, self.levels, strict=True):
            if levels:
                columns.extend((place == option).astype(np.float64) for option in range(levels))
            else:
                columns.append(np.where(np.isnan(place), 0.5, place))
        return np.stack(columns, axis=1)

    def from_features(self, features: Vectors) -> Vectors:
        """Return the full vectors nearest to features; a choice takes its largest column, the first on ties."""
        columns, start = [], 0
        for levels in self.levels:
            width = max(1, levels)
            block = features[:, start : start + width]
            columns.append(block.argmax(axis=1).astype(np.float64) if levels else block[:, 0])
            start += width
        return self.snap(np.stack(columns, axis=1))


def _scale(domain: Uniform | Integer) -> tuple[float, float]:
    """Return the ends of what [0, 1] stands for."""
    half = 0.5 if isinstance(domain, Integer) else 0.0
    low, high = domain.low - half, domain.high + half
    return (float(np.log(low)), float(np.log(high))) if domain.log else (low, high)


def _places(domain: Uniform | Integer, values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = _scale(domain)
    return ((np.log(values) if domain.log else values) - low) / (high - low)


def _values(domain: Uniform | Integer, places: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = _scale(domain)
    values = low + (high - low) * places
    values = np.exp(values) if domain.log else values
    return np.clip(np.rint(values) if isinstance(domain, Integer) else values, domain.low, domain.high)


def _conditions(space: Space) -> list[tuple[int, int, list[int]]]:
    """Return (child's column, parent's column, the parent's indices); a parent comes before its children."""

    def depth(name: str) -> int:
        return max((1 + depth(parent) for parent, _ in space[name].given), default=0)

    column = {name: place for place, name in enumerate(space)}
    found = []
    for name in sorted(space, key=depth):
        for parent, values in space[name].given:
            decides = space[parent]
            assert isinstance(decides, Choice)  # check_space has seen to it
            found.append((column[name], column[parent], [decides.index(value) for value in values]))
    return found
