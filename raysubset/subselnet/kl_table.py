"""What an approximator is worth on cells never trained, beside predictors that ignore the architecture.

Every figure is a mean over all instances for one cell, so that columns can be compared cell by cell: the spread
between cells is far greater than that of paired differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import DataError
from raysubset.seeds import generator
from raysubset.subselnet.embeddings import CellEmbeddings
from raysubset.subselnet.fitted import FittedApproximator
from raysubset.subselnet.supervision import InstanceMeans, Supervision, divergences, log_targets


@dataclass(frozen=True, slots=True, eq=False)
class KlTable:
    """Mean KL(p || q) over the instances, in nats, of every unseen cell: float64[k] each, in one order.

    Attributes:
        cells: Their names.
        model: Of the approximator.
        permuted: Of the same with another unseen cell's embedding: as low only if no cell is told from another.
        class_prior, label_conditional, per_instance: Of B0, B1 and B2, see `raysubset.subselnet.supervision`.
    """

    cells: tuple[str, ...]
    model: NDArray[np.float64]
    permuted: NDArray[np.float64]
    class_prior: NDArray[np.float64]
    label_conditional: NDArray[np.float64]
    per_instance: NDArray[np.float64]


def kl_table(
    fitted: FittedApproximator,
    embeddings: CellEmbeddings,
    supervision: Supervision,
    labels: NDArray[np.int64],
    training: NDArray[np.int64],
    unseen: NDArray[np.int64],
    seed: int,
) -> KlTable:
    """Judge an approximator by cells that it was not trained on, beside those that ignore the architecture.

    Args:
        fitted: Trained on ``training``.
        embeddings: One row for each row of the bank.
        supervision: The bank.
        labels: int64[n].
        training: Bank rows, of which the baselines are the means.
        unseen: Bank rows, at least two: each is once given the embedding of another.
        seed: The experiment's; names who is given whose.

    Raises:
        DataError: Fewer than two unseen cells, or one that was trained on.

    Cost: two predictions a cell; a few times 4 n C bytes.
    """
    if len(unseen) < 2 or np.isin(unseen, training).any():
        raise DataError(
            f"Unseen cells are at least two and none of those trained on; got {len(unseen)}, "
            f"{int(np.isin(unseen, training).sum())} of them trained on."
        )
    means = InstanceMeans.over(supervision, training)
    baselines: dict[str, Any] = {
        "class_prior": means.class_prior(),
        "label_conditional": means.label_conditional(labels),
        "per_instance": means.per_instance(),
    }
    circle = generator(seed, "approximator", "permuted").permutation(len(unseen))
    other = np.empty_like(unseen)
    other[circle] = unseen[np.roll(circle, 1)]
    columns: dict[str, list[float]] = {name: [] for name in ("model", "permuted", *baselines)}
    for cell, stranger in zip(unseen.tolist(), other.tolist(), strict=True):
        log_p = log_targets(supervision, cell)
        for name, log_q in baselines.items():
            columns[name].append(float(divergences(log_p, log_q).mean()))
        for name, given in (("model", cell), ("permuted", stranger)):
            log_q = fitted.log_probabilities(embeddings.cell(given))
            columns[name].append(float(divergences(log_p, log_q).mean()))
    names = tuple(supervision.cells[cell] for cell in unseen)
    return KlTable(names, **{name: np.array(values) for name, values in columns.items()})


def mean_kl(fitted: FittedApproximator, embeddings: CellEmbeddings, supervision: Supervision, cell: int) -> float:
    """Return the mean KL(p || q) over all instances, in nats, of the cell in bank row ``cell``."""
    log_q = fitted.log_probabilities(embeddings.cell(cell))
    return float(divergences(log_targets(supervision, cell), log_q).mean())
