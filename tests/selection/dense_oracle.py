"""Set functions by their definition, on dense float64 matrices: the oracle of the tests of greedy selection."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

Value = Callable[[list[int]], float]


def cosine_matrix(x: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = x.astype(np.float64)
    s = np.empty((len(x), len(x)))
    for i, a in enumerate(wide):
        for j, b in enumerate(wide):
            length = np.sqrt(a.dot(a)) * np.sqrt(b.dot(b))
            s[i, j] = 0.5 + 0.5 * (a.dot(b) / length if length else float(not a.any() and not b.any()))
    return s


def rbf_matrix(x: NDArray[np.floating], bandwidth: float | None) -> NDArray[np.float64]:
    wide = x.astype(np.float64)
    squared = ((wide[:, None, :] - wide[None, :, :]) ** 2).sum(axis=2)
    wide_of_two = squared.mean() if bandwidth is None else 2 * bandwidth**2
    return np.exp(-squared / (wide_of_two or 1.0))


def coverage(s: NDArray[np.float64]) -> Value:
    return lambda a: float(s[:, a].max(axis=1).sum()) if a else 0.0


def graph_cut(s: NDArray[np.float64], lam: float) -> Value:
    return lambda a: float(s[:, a].sum() - lam * s[np.ix_(a, a)].sum())


def log_determinant(s: NDArray[np.float64], ridge: float) -> Value:
    return lambda a: float(np.linalg.slogdet(s[np.ix_(a, a)] + ridge * np.eye(len(a)))[1]) if a else 0.0


def disparity_min(s: NDArray[np.float64]) -> Value:
    return lambda a: min((1 - s[i, j] for i, j in combinations(a, 2)), default=1.0)


def disparity_sum(s: NDArray[np.float64]) -> Value:
    return lambda a: float(sum(1 - s[i, j] for i, j in combinations(a, 2)))


def best_value(value: Value, n: int, k: int) -> float:
    return max(value(list(rows)) for rows in combinations(range(n), k))


def regrets(value: Value, picks: list[int], n: int) -> list[float]:
    """By how much each pick misses the best gain of its own step; 0 for a maximiser."""
    missed = []
    for step, pick in enumerate(picks):
        before = picks[:step]
        gains = {j: value([*before, j]) - value(before) for j in range(n) if j not in before}
        missed.append(max(gains.values()) - gains[pick])
    return missed


def farthest_first(x: NDArray[np.floating], k: int, start: int) -> list[int]:
    wide, picks = x.astype(np.float64), [start]
    while len(picks) < k:
        far = [min(np.linalg.norm(row - wide[p]) for p in picks) for row in wide]
        picks.append(max((j for j in range(len(wide)) if j not in picks), key=lambda j: (far[j], -j)))
    return picks


def is_ordered(values: list[float]) -> bool:
    return all(a >= b for a, b in pairwise(values))
