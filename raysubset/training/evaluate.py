"""Loss of a model on batches it is not trained on, with its accuracy on classes, or RMSE and R2 on numbers.

R2 = 1 - sum (y - z)^2 / sum (y - mean y)^2      over the rows that are judged, whatever was trained on
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from raysubset.errors import DataError
from raysubset.models.mode import evaluation_mode
from raysubset.training.loss import squared_error
from raysubset.training.team import ALONE, Team

NO_SPREAD = 1e-13  # of sum y^2: what is left of it by rounding, where all targets are equal


class LabelledBatch(Protocol):
    """What evaluation reads of a batch of B samples."""

    @property
    def inputs(self) -> Tensor: ...  # noqa: D102  float[B, ...]
    @property
    def targets(self) -> Tensor: ...  # noqa: D102  int64[B] classes, or float32[B]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well a model does.

    Attributes:
        loss: Mean cross-entropy in nats, without label smoothing, or mean squared error in squared units of the
            targets; NaN or infinite if the model has diverged.
        accuracy: Share of samples whose highest logit is the label's, in [0, 1]; ties go to the lowest class. NaN
            where the targets are numbers.
        samples: Samples seen.
        rmse: Root of the mean squared error, in units of the targets; NaN for classes.
        r2: Share of the targets' variance that is explained, at most 1, below 0 where their mean would do better;
            NaN for classes, and where all targets are equal.
    """

    loss: float
    accuracy: float
    samples: int
    rmse: float = math.nan
    r2: float = math.nan


def evaluate(model: nn.Module, batches: Iterable[LabelledBatch], team: Team = ALONE) -> Evaluation:
    """Evaluate ``model`` in evaluation mode; each module's mode is restored afterwards.

    Args:
        model: Maps inputs to logits[B, K], or to one number a sample; batches are moved to its device.
        batches: Unweighted; every sample counts the same, also in a last, smaller batch.
        team: Workers that each bring batches of their own; all get the result over all.

    Raises:
        DataError: There was no batch.
        ModelError: The targets are numbers, and the model gives more than one a sample.

    Cost: one forward pass a batch, one transfer at the end.
    """
    device = next(model.parameters()).device
    scores: list[Tensor] = []
    samples, numbers = 0, False
    with evaluation_mode(model):
        for batch in batches:
            inputs, targets = (tensor.to(device, non_blocking=True) for tensor in (batch.inputs, batch.targets))
            numbers = targets.is_floating_point()
            scores.append(_errors(model, inputs, targets) if numbers else _score(model, inputs, targets))
            samples += len(targets)
    if samples == 0:
        raise DataError("Evaluation got no batch: the validation split is empty, or its iterator was used up.")
    sums = torch.stack(scores).cpu().double().sum(dim=0).tolist()
    if numbers:
        return _of_numbers(*team.total([*sums, samples]))
    loss, hits, seen = team.total([*sums, samples])
    return Evaluation(loss / seen, hits / seen, int(seen))


def _of_numbers(squares: float, total: float, total_squares: float, seen: float) -> Evaluation:
    """Put a regression's sums together: of squared errors, of targets, of squared targets."""
    loss, spread = squares / seen, total_squares - total * total / seen
    r2 = 1.0 - squares / spread if spread > NO_SPREAD * total_squares else math.nan
    return Evaluation(loss, math.nan, int(seen), math.sqrt(loss) if loss >= 0 else math.nan, r2)


@torch.inference_mode()
def _score(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return float32[2]: summed loss and number of hits of one batch.

    Only this runs in inference mode: tensors that a loader makes and keeps must stay usable in training.
    """
    logits: Tensor = model(inputs)
    hits = (logits.argmax(dim=1) == targets).sum()
    return torch.stack([cross_entropy(logits, targets, reduction="sum").float(), hits.float()])


@torch.inference_mode()
def _errors(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return float64[3] of one batch: sums of squared errors, targets and squared targets."""
    errors, numbers = squared_error(model(inputs).double(), targets.double()), targets.double()
    return torch.stack([errors.sum(), numbers.sum(), numbers.square().sum()])
