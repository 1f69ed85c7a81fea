"""One epoch of first-order DARTS: architecture and weights learn in turn, each from samples of its own.

    for each pair of batches:
        alpha <- alpha - Adam(grad_alpha mean(w l))      on the steering batch
        w     <- w - SGD(grad_w mean(w l))               on the training batch

(Liu, Simonyan, Yang, 2019, arXiv:1806.09055, algorithm 1 with xi = 0; in ASP both batches come from the proxy
subset that was chosen before the epoch, which makes three levels.) A step differentiates its own parameters only:
the other half of the backward pass would be thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import inf
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from raysubset.errors import OptionsError
from raysubset.models.init import seeded
from raysubset.training.loop import BatchLike, Observer, forward
from raysubset.training.loss import weighted_cross_entropy
from raysubset.training.recipe import Recipe
from raysubset.training.schedule import lr_at
from raysubset.training.tally import BATCHES_PER_CHECK, EpochResult, LossTally
from raysubset.training.team import ALONE


class ArchitectureModel(Protocol):
    """A network some of whose parameters say what it is made of."""

    def architecture_parameters(self) -> list[nn.Parameter]:
        """Return alpha."""
        ...

    def weight_parameters(self) -> list[nn.Parameter]:
        """Return all other parameters."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureRecipe:
    """How alpha learns; the defaults are those of DARTS.

    Attributes:
        lr: Of Adam, > 0, constant.
        momentum: beta_1, in [0, 1).
        weight_decay: L2 penalty, >= 0.

    Raises:
        OptionsError: A value out of range.
    """

    lr: float = 3e-4
    momentum: float = 0.5
    weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        faults = []
        if not 0 < self.lr < inf:
            faults.append(f"lr={self.lr!r}, need a finite number > 0")
        if not 0 <= self.momentum < 1:
            faults.append(f"momentum={self.momentum!r}, need a number in [0, 1)")
        if not 0 <= self.weight_decay < inf:
            faults.append(f"weight_decay={self.weight_decay!r}, need a finite number >= 0")
        if faults:
            raise OptionsError.of("ArchitectureRecipe", faults)

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Adam:
        """Return Adam over alpha."""
        betas = (self.momentum, 0.999)
        return torch.optim.Adam(parameters, lr=self.lr, betas=betas, weight_decay=self.weight_decay)


@dataclass(frozen=True, slots=True)
class BilevelResult:
    """What the two sides of an epoch came to.

    Attributes:
        weights, architecture: Samples and mean loss as trained.
    """

    weights: EpochResult
    architecture: EpochResult


def train_bilevel_epoch(
    model: nn.Module,
    batches: Iterable[BatchLike],
    steering: Iterable[BatchLike],
    optimizer: torch.optim.Optimizer,
    architecture: torch.optim.Optimizer,
    recipe: Recipe,
    *,
    epoch: int,
    progress: Callable[[int], float],
    rng_seed: int,
    observers: tuple[Observer | None, Observer | None] = (None, None),
) -> BilevelResult:
    """Train weights and architecture of ``model`` in place; it is left in training mode.

    Where one side has more batches than the other, its last ones stand alone.

    Args:
        model: On the device where it shall train.
        batches: The epoch's batches for the weights.
        steering: Those for alpha.
        optimizer: Over the weights; its learning rate is set before every step.
        architecture: Over alpha.
        recipe: Of the weights: schedule, label smoothing (both sides), gradient clipping, precision.
        epoch: Only named in errors.
        progress: Maps training samples done in this epoch to training progress in [0, 1].
        rng_seed: Whatever the model draws comes from this; torch's global generators are restored afterwards.
        observers: See every batch of the weights' and of alpha's side.

    Raises:
        NonFiniteLossError: A NaN or infinite loss on either side.
        DataError: A side had no batch.

    Cost: one forward and one backward pass a sample of either side.
    """
    device = next(model.parameters()).device
    model.train()
    every = 1 if device.type == "cpu" else BATCHES_PER_CHECK
    sides = (
        _Side(model, optimizer, recipe, LossTally(epoch, every, ALONE), observers[0], recipe.gradient_clip),
        _Side(model, architecture, recipe, LossTally(epoch, every, ALONE), observers[1], 0.0),
    )
    with seeded(rng_seed, device):
        for batch, steered in zip_longest(batches, steering):
            if steered is not None:
                sides[1].step(steered)
            if batch is not None:
                lr = lr_at(recipe, progress(sides[0].tally.samples))
                for group in optimizer.param_groups:
                    group["lr"] = lr
                sides[0].step(batch)
    return BilevelResult(sides[0].tally.result(), sides[1].tally.result())


@dataclass(frozen=True, slots=True)
class _Side:
    """The parameters of one optimiser, and the samples they learn from."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    recipe: Recipe
    tally: LossTally
    observer: Observer | None
    clip: float

    def step(self, batch: BatchLike) -> None:
        """Take one step on one batch; parameters that took no part in it keep still."""
        parameters: list[Tensor] = [p for group in self.optimizer.param_groups for p in group["params"]]
        device = parameters[0].device
        targets, weight = batch.targets.to(device, non_blocking=True), batch.weight.to(device, non_blocking=True)
        logits = forward(self.model, batch.inputs.to(device, non_blocking=True), self.recipe)
        objective, losses = weighted_cross_entropy(logits, targets, weight, self.recipe.label_smoothing)
        self.tally.add(losses, self.optimizer.param_groups[0]["lr"], None)
        gradients = torch.autograd.grad(objective, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        if self.clip:
            clip_grad_norm_(parameters, self.clip)
        self.optimizer.step()
        if self.observer is not None:
            self.observer.observe(batch.index, logits.detach(), targets, losses)
