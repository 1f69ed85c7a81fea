"""What a selector is given and what it must return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import BudgetError, SelectionError
from raysubset.types import Selection


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What is known about the pool when rows are chosen: arrays, never a network.

    Attributes:
        pool_size: n, rows that may be chosen.
        labels: int64[n] class of each row, or None where the task has none.
        signals: metric name -> float32[n] importance, finite.
    """

    pool_size: int
    labels: NDArray[np.int64] | None = None
    signals: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def restrict(self, rows: NDArray[np.int64]) -> Context:
        """Return the context of a part of the pool; row i of it is ``rows[i]`` of this one."""
        return replace(
            self,
            pool_size=len(rows),
            labels=None if self.labels is None else self.labels[rows],
            signals={name: values[rows] for name, values in self.signals.items()},
        )

    def signal(self, name: str) -> NDArray[np.float32]:
        """Return the importances of one metric.

        Raises:
            SelectionError: Nobody measured that metric; the message lists the measured ones.
        """
        if name not in self.signals:
            known = ", ".join(sorted(self.signals)) or "none"
            raise SelectionError(f"Metric {name!r} was not measured for this pool. Measured: {known}.")
        return self.signals[name]


class Selector(Protocol):
    """Anything that chooses k rows. Selectors hold options only; what changes comes in the context."""

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows of the pool.

        Args:
            context: The pool.
            k: Rows to choose, 1 <= k <= context.pool_size.
            rng: The only source of randomness; equal streams and contexts give equal selections.

        Returns:
            A Selection of at most k rows over ``context.pool_size``.

        Raises:
            BudgetError: k outside [1, pool_size].
        """
        ...


def check_budget(k: int, pool_size: int) -> None:
    """Refuse a k that the pool cannot serve.

    Raises:
        BudgetError: k outside [1, pool_size].
    """
    if not 1 <= k <= pool_size:
        raise BudgetError(
            f"Cannot select k={k} of n={pool_size} rows: need 1 <= k <= n. "
            f"If k came from a ratio, {k / max(pool_size, 1):.4g} of the pool was asked for."
        )
