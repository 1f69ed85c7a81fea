"""Rows by their distance to the prototype of their cluster: prototypical (easy) or far from it (hard)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError, SelectionError
from raysubset.selection.protocol import Context, check_budget
from raysubset.selection.sampling import class_quotas
from raysubset.types import Selection

Keep = Literal["hard", "easy"]
INITS = 4  # k-means++ starts, the best of which counts
ROUNDS = 30  # of Lloyd's algorithm, that a start usually takes: for the cost model


@dataclass(frozen=True, slots=True)
class Prototypes:
    """k-means in feature space; the rows farthest from ("hard") or closest to ("easy") their own centroid [1].

    Hard rows pay where data are plentiful, easy ones where the budget is small [1]. Each class keeps at least
    ``floor`` of its proportional quota, so that no class disappears.

    Attributes:
        keep: "hard" or "easy".
        clusters: For k-means; None takes the number of classes. More than there are distinct rows are not made.
        floor: Share in [0, 1] of the largest-remainder quota that every class gets; 0 lets classes vanish.

    Cost: k-means, O(n d clusters) a round, then O(n log n). Ties go to the lowest row.

    References:
        [1] Sorscher, Geirhos, Shekhar, Ganguli, Morcos, 2022, "Beyond neural scaling laws", NeurIPS, section 6.
    """

    keep: Keep = "hard"
    clusters: int | None = None
    floor: float = 0.5

    def __post_init__(self) -> None:
        faults = []
        if self.keep not in ("hard", "easy"):
            faults.append(f"keep={self.keep!r}, need 'hard' or 'easy'")
        if self.clusters is not None and self.clusters < 1:
            faults.append(f"clusters={self.clusters!r}, need a number >= 1, or None for the number of classes")
        if not 0 <= self.floor <= 1:
            faults.append(f"floor={self.floor!r}, need a share in [0, 1]")
        if faults:
            raise OptionsError.of("Prototypes", faults)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The pool has no features, or they are not finite; or it has no labels, and ``floor`` or
                ``clusters=None`` need them.
        """
        check_budget(k, context.pool_size)
        features = context.need_features("Prototypes")
        labels = context.need_labels("Prototypes") if self.floor > 0 else None
        clusters = self.clusters or len(np.unique(context.need_labels("Prototypes")))
        assignment = cluster(features, clusters, rng)
        difficulty = prototype_distances(features, assignment)
        return Selection.uniform(keep_rows(difficulty, k, self.keep, labels, self.floor), context.pool_size)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection; see `Selector`."""
        clusters = c if self.clusters is None else self.clusters
        return float(INITS * ROUNDS) * n * clusters * (2 * h + 3)


def cluster(features: NDArray[Any], clusters: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return int64[n], the k-means cluster of each row; seeded from ``rng``."""
    from sklearn.cluster import KMeans  # a second to import

    count = _distinct(features, clusters)
    if count == 1:
        return np.zeros(len(features), dtype=np.int64)
    kmeans = KMeans(count, n_init=INITS, random_state=int(rng.integers(1 << 31)))
    return np.asarray(kmeans.fit_predict(features), dtype=np.int64)


def prototype_distances(features: NDArray[Any], assignment: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64[n], Euclidean distances to the mean of the own cluster.

    Args:
        features: float[n, d].
        assignment: int64[n], clusters 0..C-1; empty ones are allowed.
    """
    distances = np.zeros(len(features))
    by_cluster = np.argsort(assignment, kind="stable")
    for members in np.split(by_cluster, np.cumsum(np.bincount(assignment))[:-1]):
        if len(members):
            rows = features[members].astype(np.float64)
            distances[members] = np.linalg.norm(rows - rows.mean(axis=0), axis=1)
    return distances


def keep_rows(
    difficulty: NDArray[np.float64],
    k: int,
    keep: Keep,
    labels: NDArray[np.int64] | None = None,
    floor: float = 0.0,
) -> NDArray[np.int64]:
    """Return int64[k], the most (or least) difficult rows, best first; ties go to the lowest row.

    Args:
        difficulty: float64[n].
        k: Rows to keep, 1 <= k <= n.
        keep: "hard" for the most difficult, "easy" for the least.
        labels: int64[n], or None where ``floor`` is 0.
        floor: Share of its quota that each class gets first, rounded down: never more than the class has.

    Raises:
        SelectionError: A floor is asked for without labels.
    """
    order = np.argsort(-difficulty if keep == "hard" else difficulty, kind="stable")
    first = np.zeros(len(order), dtype=bool)  # by place in ``order``
    if floor > 0:
        if labels is None:
            raise SelectionError(f"A floor of {floor} of each class's quota needs labels, and there are none.")
        least = np.floor(floor * class_quotas(labels, k)).astype(np.int64)
        ranked = labels[order]
        for label in np.flatnonzero(least):
            first[np.flatnonzero(ranked == label)[: least[label]]] = True
    rest = np.flatnonzero(~first)[: k - int(first.sum())]
    first[rest] = True
    return order[first].astype(np.int64)


def _distinct(features: NDArray[Any], most: int) -> int:
    """Count distinct rows, up to ``most``."""
    left, found = np.arange(len(features)), 0
    while len(left) and found < most:
        left = left[(features[left] != features[left[0]]).any(axis=1)]
        found += 1
    return found
