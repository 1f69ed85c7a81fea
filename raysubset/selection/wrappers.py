"""PerClass: another selector inside each class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import NothingToMatchError, OptionsError
from raysubset.selection.protocol import Context, Selector, check_budget
from raysubset.selection.sampling import class_quotas
from raysubset.types import Selection


@dataclass(frozen=True, slots=True)
class PerClass:
    """Another selector inside each class, with quotas by largest remainder (their sum is exactly k).

    Classes are independent: each draws from a stream of its own, so threads change nothing but the time. A class
    in which there is nothing to match (a perfect fit) is left out, unless that holds for all.

    Attributes:
        inner: Chooses inside a class.
        threads: Classes at a time; kernels release Python's lock.

    Cost: that of the inner selector, plus O(n).
    """

    inner: Selector
    threads: int = 1

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise OptionsError(f"PerClass(threads={self.threads}): need at least 1.")

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`. Classes are put together by their raw weights.

        Raises:
            SelectionError: The pool has no labels.
        """
        check_budget(k, context.pool_size)
        labels = context.need_labels("per_class")
        by_class = np.argsort(labels, kind="stable")
        members = np.split(by_class, np.cumsum(np.bincount(labels))[:-1])
        keys = rng.integers(2**63, size=(len(members), 2), dtype=np.uint64)
        quotas = class_quotas(labels, k).tolist()
        jobs = [job for job in zip(members, quotas, keys, strict=True) if job[1]]
        parts = self._run([partial(self._in_class, context, *job) for job in jobs])
        chosen = [(job[0], part) for job, part in zip(jobs, parts, strict=True) if isinstance(part, Selection)]
        if not chosen:
            raise next(part for part in parts if isinstance(part, NothingToMatchError))
        rows = np.concatenate([members[part.indices] for members, part in chosen])
        if all(part.unbiased for _, part in chosen):
            raw = np.concatenate([part.weights for _, part in chosen])
            return Selection(rows, raw, context.pool_size, unbiased=True)
        weights = [part.weights.astype(np.float64) * part.scale for _, part in chosen]
        return Selection.weighted(rows, np.concatenate(weights), context.pool_size)

    def _run(self, jobs: list[partial[Selection | NothingToMatchError]]) -> list[Selection | NothingToMatchError]:
        if self.threads == 1:
            return [job() for job in jobs]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(lambda job: job(), jobs))

    def _in_class(
        self, context: Context, members: NDArray[np.int64], quota: int, key: NDArray[np.uint64]
    ) -> Selection | NothingToMatchError:
        rng = np.random.Generator(np.random.Philox(key=key))
        try:
            return self.inner.select(context.restrict(members), quota, rng)
        except NothingToMatchError as nothing:
            return nothing

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Return the floating-point operations over c classes of equal size; 0 where the inner one names none."""
        price = getattr(self.inner, "flops", None)
        return 0.0 if price is None else c * float(price(-(-n // c), -(-k // c), c, h))
