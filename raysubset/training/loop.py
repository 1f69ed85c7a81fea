"""One epoch of training on weighted batches.

With weights 1 the trained weights equal, bit for bit, those of the loop in every PyTorch tutorial:

    optimizer.zero_grad()
    cross_entropy(model(inputs), targets, label_smoothing=s).backward()
    optimizer.step()
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raysubset.data.shard import Part
from raysubset.errors import DataError, NonFiniteLossError
from raysubset.models.init import seeded
from raysubset.training.loss import SampleLoss, weighted_cross_entropy, weighted_mean
from raysubset.training.recipe import Recipe
from raysubset.training.schedule import lr_at
from raysubset.training.team import ALONE, Team

# Each look at a loss stalls an accelerator, or the workers of a team: there so many are looked at together.
_BATCHES_PER_CHECK = 64


class BatchLike(Protocol):
    """What the loop reads of a batch of B samples; weights have mean 1 over the whole selection."""

    @property
    def inputs(self) -> Tensor: ...  # noqa: D102  float[B, ...]
    @property
    def targets(self) -> Tensor: ...  # noqa: D102  int64[B]
    @property
    def index(self) -> NDArray[np.int64]: ...  # noqa: D102  int64[B], global row ids, -1 for a stand-in
    @property
    def weight(self) -> Tensor: ...  # noqa: D102  float32[B]
    @property
    def part(self) -> Part | None: ...  # noqa: D102  of a batch that several workers train on; None: all of it


class Observer(Protocol):
    """Sees every trained batch: rows int64[B], logits float[B, K], targets int64[B], losses float[B].

    A row of -1 is a stand-in that fills up a worker's part of a batch; there is nothing to be learnt from it.
    """

    def observe(self, index: NDArray[np.int64], logits: Tensor, targets: Tensor, losses: Tensor) -> None:
        """Take in one batch; tensors are detached and stay on the model's device."""


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What an epoch came to.

    Attributes:
        samples: Samples trained on.
        mean_loss: Their mean loss as trained (smoothed, augmented, in training mode), each counted once whatever
            its weight.
    """

    samples: int
    mean_loss: float


def train_epoch(
    model: nn.Module,
    batches: Iterable[BatchLike],
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    *,
    epoch: int,
    progress: Callable[[int], float],
    rng_seed: int,
    observer: Observer | None = None,
    loss: SampleLoss | None = None,
    team: Team = ALONE,
) -> EpochResult:
    """Train ``model`` in place on ``batches``; it is left in training mode.

    Args:
        model: On the device where it shall train; batches are moved there.
        batches: One epoch's batches.
        optimizer: Over the model's parameters; its learning rate is set before every step.
        recipe: Schedule, label smoothing, precision and memory format.
        epoch: Only named in errors.
        progress: Maps samples done in this epoch to training progress in [0, 1], see `epoch_progress`.
        rng_seed: Dropout and its like draw from this; torch's global generators are restored afterwards.
        observer: Sees every batch after its step.
        loss: (logits, targets) -> float[B]; cross-entropy with the recipe's label smoothing unless given.
        team: Workers that train the same model, each on its part of every batch (their number of batches must be
            equal, and ``model`` what `Team.parallel` made). Progress, loss and samples are those of all of them.

    Raises:
        NonFiniteLossError: A NaN or infinite loss. On one CPU before the step it would have spoilt, on an
            accelerator or in a team at most 64 batches later (in all workers), always before this function
            returns.
        DataError: There was no batch.
        ModelError: ``loss`` is not per sample.
    """
    device = next(model.parameters()).device
    model.train()
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)
    tally = _LossTally(epoch, 1 if device.type == "cpu" and team.size == 1 else _BATCHES_PER_CHECK, team)
    with seeded(rng_seed, device):
        for batch in batches:
            lr = lr_at(recipe, progress(tally.samples))
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.zero_grad()  # frees the gradients, before the activations need the memory
            targets = batch.targets.to(device, non_blocking=True)
            weight = batch.weight.to(device, non_blocking=True)
            logits = _forward(model, batch.inputs.to(device, non_blocking=True), recipe)
            if loss is None:
                objective, losses = weighted_cross_entropy(logits, targets, weight, recipe.label_smoothing)
            else:
                objective, losses = weighted_mean(loss, logits, targets, weight)
            if (part := batch.part) is not None:
                objective = objective * part.share
            tally.add(losses, lr, part)
            objective.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if observer is not None:
                observer.observe(batch.index, logits.detach(), targets, losses)
    return tally.result()


def _forward(model: nn.Module, inputs: Tensor, recipe: Recipe) -> Tensor:
    """Return logits, float32 also when the model ran in bfloat16."""
    if recipe.channels_last and inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    if recipe.precision == "float32":
        logits: Tensor = model(inputs)
        return logits
    with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
        logits = model(inputs)
    return logits.float()


class _LossTally:
    """Adds up losses on the device and, over all workers, reads them ``every`` so many batches."""

    def __init__(self, epoch: int, every: int, team: Team) -> None:
        self.samples = 0
        self._epoch, self._every, self._team = epoch, every, team
        self._total, self._batches = 0.0, 0
        self._sums: list[Tensor] = []
        self._rates: list[float] = []

    def add(self, losses: Tensor, lr: float, part: Part | None) -> None:
        """Take in a batch's losses[B], trained at ``lr``; stand-ins are left out."""
        self._sums.append((losses if part is None else losses[: part.rows]).sum())
        self._rates.append(lr)
        self.samples += len(losses) if part is None else part.whole
        if len(self._sums) == self._every:
            self._read()

    def _read(self) -> None:
        """Move the sums of the last batches to the host, and stop at the first that is not finite."""
        totals = self._team.total(_to_host(self._sums))
        for batch, (total, lr) in enumerate(zip(totals, self._rates, strict=True), self._batches):
            if not math.isfinite(total):
                raise NonFiniteLossError(
                    f"The loss became {total} in epoch {self._epoch}, batch {batch}, at lr={lr:g}. Most likely "
                    "the learning rate is too high for this model and batch size; else an input is not finite."
                )
            self._total += total
        self._batches += len(self._sums)
        self._sums, self._rates = [], []

    def result(self) -> EpochResult:
        """Read what is left and return the epoch's result."""
        if self.samples == 0:
            raise DataError(f"Epoch {self._epoch} had no batch: nothing was trained.")
        self._read()
        return EpochResult(self.samples, self._total / self.samples)


def _to_host(sums: list[Tensor]) -> list[float]:
    """Return scalars as floats, in one transfer."""
    if len(sums) == 1:
        return [sums[0].item()]
    values: list[float] = torch.stack(sums).tolist() if sums else []
    return values
