"""One epoch of training on weighted batches.

With weights 1 the trained weights equal, bit for bit, those of the loop in every PyTorch tutorial:

    optimizer.zero_grad()
    cross_entropy(model(inputs), targets, label_smoothing=s).backward()
    optimizer.step()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from raysubset.data.shard import Part
from raysubset.models.init import seeded
from raysubset.training.loss import SampleLoss, weighted_cross_entropy, weighted_mean
from raysubset.training.recipe import Recipe
from raysubset.training.schedule import lr_at
from raysubset.training.tally import BATCHES_PER_CHECK, EpochResult, LossTally
from raysubset.training.team import ALONE, Team


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
    tally = LossTally(epoch, 1 if device.type == "cpu" and team.size == 1 else BATCHES_PER_CHECK, team)
    with seeded(rng_seed, device):
        for batch in batches:
            lr = lr_at(recipe, progress(tally.samples))
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.zero_grad()  # frees the gradients, before the activations need the memory
            targets = batch.targets.to(device, non_blocking=True)
            weight = batch.weight.to(device, non_blocking=True)
            logits = forward(model, batch.inputs.to(device, non_blocking=True), recipe)
            if loss is None:
                objective, losses = weighted_cross_entropy(logits, targets, weight, recipe.label_smoothing)
            else:
                objective, losses = weighted_mean(loss, logits, targets, weight)
            if (part := batch.part) is not None:
                objective = objective * part.share
            tally.add(losses, lr, part)
            objective.backward()  # type: ignore[no-untyped-call]
            if recipe.gradient_clip:
                clip_grad_norm_(model.parameters(), recipe.gradient_clip)
            optimizer.step()
            if observer is not None:
                observer.observe(batch.index, logits.detach(), targets, losses)
    return tally.result()


def forward(model: nn.Module, inputs: Tensor, recipe: Recipe) -> Tensor:
    """Return logits of inputs on the model's device, float32 also when the model ran in bfloat16."""
    if recipe.channels_last and inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    if recipe.precision == "float32":
        logits: Tensor = model(inputs)
        return logits
    with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
        logits = model(inputs)
    return logits.float()
