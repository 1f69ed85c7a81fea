"""Partition and merge (GreeDi): one selection from parts that no worker needs to see whole.

    S_p = inner(part p, k),   p = 1..m;        S_merged = inner(S_1 + .. + S_m, k)

For facility location S_merged covers all rows, with the picks of the parts as its candidates, and the better of
S_merged and the best S_p is returned: at least (1 - 1/e)^2 / min(m, k) of the best f, and (1 - 1/e) / 2 in
expectation, as the parts are drawn at random [1, 2]. A selector that takes the k largest of some score gives the
same rows for every number of parts, as the k largest of all are among the k largest of their parts.

References:
    [1] Mirzasoleiman, Karbasi, Sarkar, Krause, 2013, "Distributed submodular maximization", NeurIPS.
    [2] Barbosa, Ene, Nguyen, Ward, 2015, "The power of randomization", arXiv:1502.02606.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError
from raysubset.selection.kernels.coverage import Cover
from raysubset.selection.protocol import Context, Selector, check_budget
from raysubset.types import Selection


@runtime_checkable
class CoverSelector(Selector, Protocol):
    """A selector whose rows cover the pool: `Craig`, `FacilityLocation`."""

    def cover(
        self, context: Context, k: int, rng: np.random.Generator, candidates: NDArray[np.int64] | None = None
    ) -> Cover:
        """Cover all rows by k of the candidates (all rows if None)."""
        ...

    def selection(self, found: Cover) -> Selection:
        """Return the picks of a cover as a selection."""
        ...


@dataclass(frozen=True, slots=True)
class GreeDi:
    """Another selector in each of several random parts, then once more among what they chose.

    Weights of a selector that is no cover are those of the last round, computed among the rows chosen before.

    Attributes:
        inner: The selector.
        shards: Parts m, >= 1; 1 is the inner selector itself.

    Cost: m times that of the inner selector on n / m rows, and once on m k rows; a cover n m k pairs in place of
    the latter, and n k m again to compare the parts.
    """

    inner: Selector
    shards: int = 2

    def __post_init__(self) -> None:
        if self.shards < 1:
            raise OptionsError.of("GreeDi", [f"shards={self.shards!r}, need a whole number >= 1"])

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`."""
        check_budget(k, context.pool_size)
        if self.shards == 1:
            return self.inner.select(context, k, rng)
        parts = split(context.pool_size, self.shards, rng)
        chosen = [
            np.sort(part[self.inner.select(context.restrict(part), min(k, len(part)), rng).indices])
            for part in parts
        ]
        if isinstance(self.inner, CoverSelector):
            return self.inner.selection(_better_cover(self.inner, context, k, rng, chosen))
        union = np.sort(np.concatenate(chosen))
        merged = self.inner.select(context.restrict(union), min(k, len(union)), rng)
        return Selection.weighted(
            union[merged.indices], merged.weights.astype(np.float64) * merged.scale, context.pool_size
        )

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection (0 if the inner selector has no cost model).

        Args:
            n: Rows.
            k: Rows to choose.
            c: Width of the residuals.
            h: Width of the features.
        """
        price = getattr(self.inner, "flops", None)
        if price is None or self.shards == 1:
            return float(price(n, k, c, h)) if price else 0.0
        part, union = -(-n // self.shards), min(n, self.shards * k)
        # a cover's merge meets n * union pairs twice, one-sided: as many products as for that many rows squared
        last = int(2 * np.sqrt(n * union)) if isinstance(self.inner, CoverSelector) else union
        return self.shards * float(price(part, min(k, part), c, h)) + float(price(last, k, c, h))


def split(n: int, shards: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Cut n rows at random into parts whose sizes differ by one at most, each ascending; none is empty."""
    order = rng.permutation(n).astype(np.int64)
    return [np.sort(part) for part in np.array_split(order, min(shards, n))]


def _better_cover(
    inner: CoverSelector, context: Context, k: int, rng: np.random.Generator, chosen: list[NDArray[np.int64]]
) -> Cover:
    """Greedy among all picks, or one part's own picks, whichever covers all rows at less cost."""
    merged = inner.cover(context, k, rng, np.sort(np.concatenate(chosen)))
    alone = [inner.cover(context, k, rng, picks) for picks in chosen if len(picks) >= k]
    return min([merged, *alone], key=lambda found: float(found.costs[-1]))
