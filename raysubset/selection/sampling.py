"""Sampling without replacement by importance: Gumbel-top-m.

    P_i = exp(V_i / T) / sum_j exp(V_j / T),        key_i = V_i / T - log(-log u_i)

The m largest keys are exactly m sequential draws without replacement proportional to P (Plackett-Luce) [1].
Nothing is exponentiated, so nothing underflows: ``numpy.random.choice(p=softmax(V))`` fails as soon as one
value stands 750 above the rest.

References:
    [1] Kool, van Hoof, Welling, 2019, "Stochastic beams and where to find them", arXiv:1903.06059.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raysubset.errors import BudgetError, OptionsError, SelectionError

Scale = Literal["none", "zscore", "rank"]
SCALES: tuple[Scale, ...] = ("none", "zscore", "rank")
RACE_FROM = 1_000_000  # rows from which the race is worth loading its code (a second, once a process)


def draw(
    values: ArrayLike,
    m: int,
    rng: np.random.Generator,
    temperature: float = 1.0,
    scale: Scale = "none",
    device: str = "cpu",
) -> NDArray[np.int64]:
    """Draw m of n rows as `gumbel_top_m` does; from `RACE_FROM` rows on by the race, with the same law.

    In both, a row's noise depends on the stream and the row alone, and the draw for m is part of the draw for
    m + 1; the two noises differ. Arguments and errors are those of `gumbel_top_m`, ``device`` is the torch device
    of the race's sweep. The race gives its rows in ascending order: sorting 10 million of them by their keys would
    take as long as the draw, and an epoch has an order of its own.

    Cost: That of `gumbel_top_m`, or of `raysubset.selection.kernels.race.race_top_m`.
    """
    importance = np.asarray(values)
    if len(importance) < RACE_FROM:
        return gumbel_top_m(importance, m, rng, temperature, scale)
    from raysubset.selection.kernels.race import race_top_m

    if scale != "none" or importance.dtype not in (np.float16, np.float32, np.float64):
        importance = rescale(_checked(importance, m), scale)
    return race_top_m(importance, m, rng, temperature, ordered=False, device=device)


def gumbel_top_m(
    values: ArrayLike, m: int, rng: np.random.Generator, temperature: float = 1.0, scale: Scale = "none"
) -> NDArray[np.int64]:
    """Draw m of n rows without replacement, proportional to exp(values / temperature).

    Args:
        values: Shape (n,), finite: the importance of each row.
        m: Rows to draw, 1 <= m <= n.
        rng: Source of n uniforms; row i always meets the i-th one, so equal streams pair two draws.
        temperature: T > 0; small is greedy, large is uniform.
        scale: "none" (the paper), "zscore" or "rank" (in [0, 1]) of the values before the division by T.

    Returns:
        int64[m] in drawing order. Ties have probability 0 and go to the lowest row.

    Raises:
        BudgetError: m outside [1, n].
        OptionsError: temperature <= 0 or scale unknown.
        SelectionError: A value is NaN or infinite.

    Cost: O(n + m log m) time, 16 n bytes.
    """
    importance = _checked(values, m)
    if not temperature > 0:
        raise OptionsError(f"temperature={temperature!r}, need a number > 0.")
    return _largest(gumbel_keys(rescale(importance, scale) / temperature, rng.random(len(importance))), m)


def top_m(values: ArrayLike, m: int, rng: np.random.Generator | None = None) -> NDArray[np.int64]:
    """Return the m rows of largest value (the deterministic mode).

    Args:
        values: Shape (n,), finite.
        m: Rows to return, 1 <= m <= n.
        rng: Breaks ties at random. Without it ties go to the lowest row, which on data sorted by class would
            drop whole classes: integer scores tie massively.

    Returns:
        int64[m], largest first.

    Raises:
        BudgetError: m outside [1, n].
        SelectionError: A value is NaN or infinite.
    """
    importance = _checked(values, m)
    if rng is None:
        return _largest(importance, m)
    shuffle = rng.permutation(len(importance))
    return shuffle[_largest(importance[shuffle], m)]


def gumbel_keys(values: NDArray[np.floating[Any]], uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values - log(-log u), the perturbed values whose order is a Plackett-Luce draw."""
    tiny = np.finfo(np.float64).tiny  # a uniform of exactly 0 is legal and must not become log(0)
    return np.asarray(values - np.log(-np.log(np.maximum(uniforms, tiny))), dtype=np.float64)


def rescale(values: NDArray[np.floating[Any]], scale: Scale) -> NDArray[np.float64]:
    """Bring importances to a common sharpness: as they are, z-scored, or mid-ranks in [0, 1]."""
    values64: NDArray[np.float64] = values.astype(np.float64)
    if scale == "none":
        return values64
    if scale == "zscore":
        spread = values64.std()
        return (values64 - values64.mean()) / spread if spread > 0 else np.zeros_like(values64)
    if scale == "rank":
        _, inverse, counts = np.unique(values64, return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - (counts + 1) / 2  # ties share their mean rank
        return np.asarray(middle[inverse] / max(len(values64) - 1, 1), dtype=np.float64)
    raise OptionsError(f"scale={scale!r}, need one of {', '.join(SCALES)}.")


def effective_support(values: ArrayLike, temperature: float = 1.0, scale: Scale = "none") -> float:
    """Return exp(entropy of P) / n in (0, 1]: 1 is uniform, 1/n a single row. Cost: O(n)."""
    logits = rescale(np.asarray(values, dtype=np.float64), scale) / temperature
    p = np.exp(logits - logits.max())
    p /= p.sum()
    return float(np.exp(-np.sum(p * np.log(np.maximum(p, np.finfo(np.float64).tiny)))) / len(p))


def class_quotas(labels: NDArray[np.int64], m: int) -> NDArray[np.int64]:
    """Split m rows over the classes in proportion to their counts, by largest remainder.

    Args:
        labels: Shape (n,), classes 0..C-1.
        m: Rows to hand out, 0 <= m <= n.

    Returns:
        int64[C], summing to m exactly, none above its class's count. Ties go to the lowest class.
    """
    counts = np.bincount(labels)
    quotas, remainder = np.divmod(m * counts, len(labels))  # integers: fractions would break ties by rounding
    order = np.argsort(-remainder, kind="stable")
    quotas[order[: m - int(quotas.sum())]] += 1
    return quotas


def _checked(values: ArrayLike, m: int) -> NDArray[np.floating[Any]]:
    importance = np.asarray(values)
    if not np.issubdtype(importance.dtype, np.floating):
        importance = importance.astype(np.float64)  # unsigned and bool cannot be negated
    n = len(importance)
    if not 1 <= m <= n:
        raise BudgetError(f"Cannot select m={m} of n={n} rows: need 1 <= m <= n.")
    if not np.isfinite(importance).all():
        bad = int(np.flatnonzero(~np.isfinite(importance))[0])
        raise SelectionError(f"Importance of row {bad} is {importance[bad]}; all {n} must be finite.")
    return importance


def _largest(keys: NDArray[np.floating[Any]], m: int) -> NDArray[np.int64]:
    """Rows of the m largest keys, largest first, ties to the lowest row; O(n + m log m)."""
    n = len(keys)
    if m < n:
        threshold = np.partition(keys, n - m)[n - m]
        above, level = np.flatnonzero(keys > threshold), np.flatnonzero(keys == threshold)
        rows = np.concatenate([above, level[: m - len(above)]])
    else:
        rows = np.arange(n)
    return rows[np.lexsort((rows, -keys[rows]))].astype(np.int64)
