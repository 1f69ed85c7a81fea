"""Expected improvement, and the search for the point that has most of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from raysubset.hpo.encode import Encoding, Vectors

RANDOM = 5_000  # points tried at random,
CLIMBS = 10  # and of those, as of the best known, how many are climbed from,
ROUNDS = 20  # in so many steps at most


def expected_improvement(
    mean: NDArray[np.float64], variance: NDArray[np.float64], best: float
) -> NDArray[np.float64]:
    """Return E[max(best - f, 0)] for f ~ N(mean, variance), float64[n]; without variance, what is certain."""
    from scipy.special import ndtr

    deviation = np.sqrt(variance)
    gain = best - mean
    ratio = np.divide(gain, deviation, out=np.zeros_like(gain), where=deviation > 0)
    density = np.exp(-0.5 * ratio**2) / np.sqrt(2 * np.pi)
    return np.where(deviation > 0, gain * ndtr(ratio) + deviation * density, np.maximum(gain, 0.0))


def best_new(
    worth: Callable[[Vectors], NDArray[np.float64]],
    encoding: Encoding,
    known: Vectors,
    rng: np.random.Generator,
) -> Vectors | None:
    """Search the space for the point that is worth most: at random, and by local search from the best seen.

    Args:
        worth: float64[n] of float64[n, d] vectors with NaN for inactive parameters.
        encoding: Of the space.
        known: float64[m, d] vectors that are not to be found again; those listed first are climbed from.
        rng: Draws candidates and steps.

    Returns:
        A full vector, float64[1, d], or None if every candidate is known. Ties go to the candidate drawn first.
    """
    candidates = encoding.sample(RANDOM, rng)
    values = worth(encoding.deactivate(candidates))
    best = np.argsort(-values, kind="stable")[:CLIMBS]
    tops = np.concatenate([candidates[best], encoding.fill(known[:CLIMBS], rng)])
    climbed, heights = _climb(worth, encoding, tops, rng)
    vectors, values = np.concatenate([climbed, candidates]), np.concatenate([heights, values])
    taken = set(_keys(known))
    order = np.argsort(-values, kind="stable")
    keys = _keys(encoding.deactivate(vectors[order]))
    return next((vectors[[row]] for row, key in zip(order, keys, strict=True) if key not in taken), None)


def _climb(
    worth: Callable[[Vectors], NDArray[np.float64]], encoding: Encoding, tops: Vectors, rng: np.random.Generator
) -> tuple[Vectors, NDArray[np.float64]]:
    """Move every vector to its best neighbour until none is better."""
    heights = worth(encoding.deactivate(tops))
    for _ in range(ROUNDS):
        near, origins = encoding.neighbours(tops, rng)
        values = worth(encoding.deactivate(near))
        order = np.argsort(values, kind="stable")
        step = dict(zip(origins[order].tolist(), order.tolist(), strict=True))  # the last of a row is its best
        better = [row for row, found in step.items() if values[found] > heights[row]]
        if not better:
            break
        chosen = [step[row] for row in better]
        tops[better], heights[better] = near[chosen], values[chosen]
    return tops, heights


def _keys(vectors: Vectors) -> Iterable[bytes]:
    """Yield one key a row, equal for equal points; a point read back from its value may be off by a rounding."""
    return (row.tobytes() for row in np.nan_to_num(vectors, nan=-1.0).round(9) + 0.0)  # + 0.0: -0.0 is 0.0
