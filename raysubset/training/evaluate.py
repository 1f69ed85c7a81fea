"""Loss and accuracy of a model on batches it is not trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from raysubset.errors import DataError
from raysubset.models.mode import evaluation_mode
from raysubset.training.team import ALONE, Team


class LabelledBatch(Protocol):
    """What evaluation reads of a batch of B samples."""

    @property
    def inputs(self) -> Tensor: ...  # noqa: D102  float[B, ...]
    @property
    def targets(self) -> Tensor: ...  # noqa: D102  int64[B]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well a model does.

    Attributes:
        loss: Mean cross-entropy in nats, without label smoothing; NaN or infinite if the model has diverged.
        accuracy: Share of samples whose highest logit is the label's, in [0, 1]; ties go to the lowest class.
        samples: Samples seen.
    """

    loss: float
    accuracy: float
    samples: int


def evaluate(model: nn.Module, batches: Iterable[LabelledBatch], team: Team = ALONE) -> Evaluation:
    """Evaluate ``model`` in evaluation mode; each module's mode is restored afterwards.

    Args:
        model: Maps inputs to logits[B, K]; batches are moved to its device.
        batches: Unweighted; every sample counts the same, also in a last, smaller batch.
        team: Workers that each bring batches of their own; all get the result over all.

    Raises:
        DataError: There was no batch.

    Cost: one forward pass a batch, one transfer at the end.
    """
    device = next(model.parameters()).device
    scores: list[Tensor] = []
    samples = 0
    with evaluation_mode(model):
        for batch in batches:
            inputs, targets = (tensor.to(device, non_blocking=True) for tensor in (batch.inputs, batch.targets))
            scores.append(_score(model, inputs, targets))
            samples += len(targets)
    if samples == 0:
        raise DataError("Evaluation got no batch: the validation split is empty, or its iterator was used up.")
    sums = torch.stack(scores).cpu().double().sum(dim=0).tolist()
    loss, hits, seen = team.total([*sums, samples])
    return Evaluation(loss / seen, hits / seen, int(seen))


@torch.inference_mode()
def _score(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return float32[2]: summed loss and number of hits of one batch.

    Only this runs in inference mode: tensors that a loader makes and keeps must stay usable in training.
    """
    logits: Tensor = model(inputs)
    hits = (logits.argmax(dim=1) == targets).sum()
    return torch.stack([cross_entropy(logits, targets, reduction="sum").float(), hits.float()])
