"""Plackett-Luce by brute force: nothing here shares code with what it judges."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def chances(logits: Vector, b: int) -> dict[tuple[int, ...], float]:
    """Return the probability of every ordered draw of b rows, pick by pick."""
    found = {}
    for order in permutations(range(len(logits)), b):
        left, probability = set(range(len(logits))), 1.0
        for row in order:
            probability /= sum(math.exp(logits[j] - logits[row]) for j in left)
            left.remove(row)
        found[order] = probability
    return found


def exact(logits: Vector, losses: Vector, b: int, weight: float) -> float:
    """Return E[sum of losses] - weight * entropy over every ordered draw."""
    drawn = chances(logits, b)
    return sum(p * (sum(losses[row] for row in order) + weight * math.log(p)) for order, p in drawn.items())


def raced(logits: Vector, b: int, rng: np.random.Generator) -> list[int]:
    """Draw by a race of exponential clocks: row i rings after Exp(1) / w_i; the b first."""
    times = np.log(rng.exponential(size=len(logits))) - logits
    return np.argsort(times)[:b].tolist()


def objective(logits: Vector, losses: Vector, b: int, weight: float, rng: np.random.Generator) -> float:
    """Return one draw's estimate: every pick's expected loss less its weighted entropy, from a softmax each."""
    left, value = np.ones(len(logits), dtype=bool), 0.0
    for row in raced(logits, b, rng):
        p = np.exp(logits[left] - logits[left].max())
        p /= p.sum()
        value += float(p @ losses[left] + weight * (p[p > 0] @ np.log(p[p > 0])))
        left[row] = False
    return value
