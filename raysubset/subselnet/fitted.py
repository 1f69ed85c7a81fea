"""A trained approximator on the instances it was made for: what selectors ask, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysubset.errors import DataError
from raysubset.subselnet.approximator import APPROXIMATORS, Approximator, ApproximatorShape, Instances, Kind
from raysubset.subselnet.embeddings import CellEmbeddings, Standardisation


@dataclass(frozen=True, slots=True, eq=False)
class FittedApproximator:
    """An approximator, the features' standardisation, and n instances prepared for any cell.

    It speaks of the instances it was trained on alone: for new architectures, not for new data.

    Attributes:
        kind: Of ``network``.
        network: In evaluation mode, not trained any further.
        standardisation: Of the features.
        log_mean: float32[n, C], the log of the trained networks' mean (residual alone), else None.
        instances: Prepared; 4 n (hidden + C) bytes.
    """

    kind: Kind
    network: Approximator
    standardisation: Standardisation
    log_mean: Tensor | None
    instances: Instances

    @classmethod
    @torch.no_grad()
    def on(
        cls,
        kind: Kind,
        network: Approximator,
        standardisation: Standardisation,
        log_mean: Tensor | None,
        features: NDArray[np.float32],
    ) -> Self:
        """Freeze ``network`` and prepare the instances of float32[n, d] ``features`` (as they came)."""
        network.eval().requires_grad_(False)
        columns = standardisation.apply(torch.from_numpy(np.asarray(features, dtype=np.float32)))
        if log_mean is not None:
            columns = torch.cat([columns, log_mean], dim=1)
        return cls(kind, network, standardisation, log_mean, network.instances(columns))

    @torch.no_grad()
    def log_probabilities(self, cell: CellEmbeddings) -> NDArray[np.float32]:
        """Return log q, float32[n, C], of one cell, which may never have been trained.

        Raises:
            DataError: ``cell`` has not one row.

        Cost: n hidden (hidden + C) multiplications: about 15 ms for n = 4000.
        """
        if len(cell) != 1:
            raise DataError(f"An approximator predicts for one cell at a time, got the embeddings of {len(cell)}.")
        return np.asarray(self.network.all_instances(cell, self.instances).numpy())

    def losses(self, cell: CellEmbeddings, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return -log q[y], float32[n] >= 0 in nats, of one cell.

        Args:
            cell: One row.
            labels: int64[n] in [0, C).

        Raises:
            DataError: ``cell`` has not one row, or there is not one label in range for each instance.
        """
        log_q = self.log_probabilities(cell)
        n, num_classes = log_q.shape
        if labels.shape != (n,) or labels.min() < 0 or labels.max() >= num_classes:
            raise DataError(
                f"Losses need {n} labels in [0, {num_classes}), got shape {labels.shape} with values in "
                f"[{labels.min(initial=0)}, {labels.max(initial=0)}]."
            )
        return -log_q[np.arange(n), labels]

    def state(self) -> dict[str, Any]:
        """Return numbers, strings and tensors alone: `torch.load` reads them with ``weights_only``."""
        return {
            "kind": self.kind,
            "shape": asdict(self.network.shape),
            "weights": dict(self.network.state_dict()),
            "mean": self.standardisation.mean,
            "scale": self.standardisation.scale,
            "log_mean": self.log_mean,
            "size": len(self.instances.projected),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], features: NDArray[np.float32]) -> Self:
        """Make what `state` was taken of.

        Args:
            state: From `state`.
            features: float32[n, d], those it was trained with; they are not kept in the state.

        Raises:
            DataError: Something is missing or does not fit, or the features have another shape.
        """
        try:
            kind, size = state["kind"], state["size"]
            network = APPROXIMATORS[kind](ApproximatorShape(**state["shape"]))
            network.load_state_dict(state["weights"])
            standardisation = Standardisation(state["mean"], state["scale"])
            log_mean = state["log_mean"]
        except (KeyError, TypeError, RuntimeError) as error:
            raise DataError(f"Not the state of a FittedApproximator ({type(error).__name__}: {error}).") from error
        if features.shape != (size, len(standardisation.mean)):
            raise DataError(
                f"The approximator was trained on features of shape {(size, len(standardisation.mean))}, these "
                f"have {features.shape}: are they of other rows, or of another embedding?"
            )
        return cls.on(kind, network, standardisation, log_mean, features)
