"""The k rows of largest or smallest score: one selector for EL2N, GraNd, forgetting, AUM and uncertainty.

Selection via proxy [1] is this selector on the signals of a small model, the core-set baseline on those of a
pre-trained one. Unlearned rows (forgetting infinite) and the most uncertain come first; a row's rank never depends
on its place in the pool, since ties are broken at random.

References:
    [1] Coleman et al., 2020, "Selection via proxy", arXiv:1906.11829.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import OptionsError, SelectionError
from raysubset.selection import scores
from raysubset.selection.gradients import check_rows
from raysubset.selection.protocol import Context, check_budget
from raysubset.selection.sampling import top_m
from raysubset.types import Selection

TRACED: tuple[str, ...] = ("forgetting", "aum")  # need the history of a training run


@dataclass(frozen=True, slots=True)
class TopScore:
    """k rows of extreme score, ties at random.

    Attributes:
        signal: Name of a signal in the context; "entropy", "least-confidence", "margin", "loss", "el2n" and
            "grand" are computed from logits, labels and gradients where the context does not hold them.
        lowest: Take the smallest instead of the largest (AUM: the hardest).

    Cost: O(n + k log k) time and 16 n bytes, plus O(n c) of both where the score is computed.
    """

    signal: str
    lowest: bool = False

    def __post_init__(self) -> None:
        if not self.signal:
            raise OptionsError.of("TopScore", ["signal='', need the name of a signal"])

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows, most extreme first; see `Selector.select`.

        Raises:
            SelectionError: The signal is neither measured nor computable here, or NaN (names its row).
        """
        check_budget(k, context.pool_size)
        values = finite_order(measured(context, self.signal))
        return Selection.uniform(top_m(-values if self.lowest else values, k, rng), context.pool_size)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection; see `Selector`."""
        return 5.0 * n * c + 2.0 * n * h + 4.0 * n + k * math.log2(k + 1.0)


def measured(context: Context, name: str) -> NDArray[np.floating]:
    """Return a signal [n] of the context, or compute it from logits, labels and gradients.

    Raises:
        SelectionError: Neither is possible; the message says what is missing.
    """
    if name in context.signals:
        return context.signal(name)
    if name in _COMPUTED:
        return _COMPUTED[name](context)
    if name in TRACED:
        raise SelectionError(
            f"Signal {name!r} needs a training trace: it is counted while a model trains (TrainingTrace), not "
            f"from one model's outputs. Measured: {', '.join(sorted(context.signals)) or 'none'}."
        )
    known = sorted({*context.signals, *_COMPUTED})
    raise SelectionError(f"Signal {name!r} was not measured for this pool. Known here: {', '.join(known)}.")


def finite_order(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return float64[n] in the same order with infinities at the ends of the finite range.

    Raises:
        SelectionError: A value is NaN (names its row).
    """
    if np.isnan(values).any():
        row = int(np.flatnonzero(np.isnan(values))[0])
        raise SelectionError(f"The score of row {row} is nan; none of {len(values)} may be.")
    return np.nan_to_num(values.astype(np.float64))


def _logits(context: Context, name: str) -> NDArray[np.float32]:
    if context.logits is None:
        raise SelectionError(f"Signal {name!r} was not measured, and to compute it this pool has no logits.")
    check_rows("logits", context.logits)
    if len(context.logits) != context.pool_size:
        raise SelectionError(f"Got {len(context.logits)} logit rows for a pool of {context.pool_size}.")
    return context.logits


_COMPUTED: dict[str, Callable[[Context], NDArray[np.float64]]] = {
    "entropy": lambda context: scores.entropy(scores.softmax(_logits(context, "entropy"))),
    "least-confidence": lambda context: scores.least_confidence(
        scores.softmax(_logits(context, "least-confidence"))
    ),
    "margin": lambda context: scores.margin(scores.softmax(_logits(context, "margin"))),
    "loss": lambda context: scores.loss(_logits(context, "loss"), context.need_labels("Signal 'loss'")),
    "el2n": lambda context: scores.el2n(
        scores.softmax(_logits(context, "el2n")), context.need_labels("Signal 'el2n'")
    ),
    "grand": lambda context: context.need_gradients("Signal 'grand'").norms(),
}
