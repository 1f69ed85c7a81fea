"""Choosing inside a batch: of B candidates that went forward, the m that go backward.

    RHO-loss [1]            the m largest loss_i - irreducible_i
    Selective backprop [2]  m draws without replacement, proportional to
                            (share of the batch with loss <= loss_i)^power

Both pay one extra forward pass for every candidate; the training loop counts it.

References:
    [1] Mindermann et al., 2022, "Prioritized training on points that are learnable, worth learning, and not yet
        learnt", arXiv:2206.07137.
    [2] Jiang et al., 2019, "Accelerating deep learning by focusing on the biggest losers", arXiv:1910.00762.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError, SelectionError
from raysubset.selection.protocol import check_budget
from raysubset.selection.sampling import gumbel_top_m, top_m


class BatchChooser(Protocol):
    """Anything that chooses m of the B candidates of a batch."""

    def choose(
        self, rows: NDArray[np.int64], losses: NDArray[np.float32], m: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Choose m positions of a batch.

        Args:
            rows: int64[B], pool rows of the candidates.
            losses: float32[B], their losses now, finite.
            m: 1 <= m <= B.
            rng: The only source of randomness.

        Returns:
            int64[m], unique positions in [0, B).

        Raises:
            BudgetError: m outside [1, B].
            SelectionError: A loss is NaN or infinite (names its row), or rows and losses differ in number.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RhoLoss:
    """The m rows with the most loss that can still be learned, largest first; ties go to the lowest position.

    Attributes:
        irreducible: float32[n], the loss of each pool row under a model trained on other data, finite.

    Cost: O(B + m log m) a batch.
    """

    irreducible: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.irreducible.ndim != 1:
            raise SelectionError(f"Irreducible losses must have shape (n,), got {self.irreducible.shape}.")
        bad = np.flatnonzero(~np.isfinite(self.irreducible))
        if len(bad):
            raise SelectionError(
                f"The irreducible loss of row {bad[0]} is {self.irreducible[bad[0]]}, not finite."
            )

    def choose(
        self, rows: NDArray[np.int64], losses: NDArray[np.float32], m: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Choose m positions; see `BatchChooser.choose`.

        Raises:
            SelectionError: Also for a row without an irreducible loss.
        """
        _check_batch(rows, losses, m)
        if not 0 <= rows.min() <= rows.max() < len(self.irreducible):
            raise SelectionError(
                f"The batch holds rows {rows.min()}..{rows.max()}, irreducible losses are known for "
                f"{len(self.irreducible)} rows."
            )
        return top_m(losses.astype(np.float64) - self.irreducible[rows], m)


@dataclass(frozen=True, slots=True)
class SelectiveBackprop:
    """m rows, the likelier the higher their loss stands in the batch, in drawing order.

    Attributes:
        power: >= 0; 0 is uniform, large is the m largest losses.

    Cost: O(B log B) a batch.
    """

    power: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.power < np.inf:
            raise OptionsError.of("SelectiveBackprop", [f"power={self.power!r}, need a number >= 0"])

    def choose(
        self, rows: NDArray[np.int64], losses: NDArray[np.float32], m: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Choose m positions; see `BatchChooser.choose`."""
        _check_batch(rows, losses, m)
        share = np.searchsorted(np.sort(losses), losses, side="right") / len(losses)
        return gumbel_top_m(self.power * np.log(share), m, rng)


def _check_batch(rows: NDArray[np.int64], losses: NDArray[Any], m: int) -> None:
    if len(rows) != len(losses):
        raise SelectionError(f"The batch has {len(rows)} rows and {len(losses)} losses.")
    check_budget(m, len(rows))
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        raise SelectionError(f"The loss of row {rows[bad[0]]} is {losses[bad[0]]}; all must be finite.")
