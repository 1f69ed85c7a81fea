"""A scout: a model trained beforehand, so that rows can be chosen by what it learned and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysubset.data.batches import RowSource, epoch_batches
from raysubset.data.transform import Transform
from raysubset.models.catalog import ModelBuilder, build_model
from raysubset.proxy.observe import observe
from raysubset.seeds import seed64
from raysubset.selection.outputs import Outputs
from raysubset.selection.protocol import Context
from raysubset.selection.scores import TrainingTrace
from raysubset.selection.timing import FORWARD_SHARE
from raysubset.training.loop import train_epoch
from raysubset.training.optimizer import build_optimizer
from raysubset.training.recipe import Recipe
from raysubset.training.schedule import epoch_progress
from raysubset.types import Selection


@dataclass(frozen=True, slots=True)
class Scouting:
    """How to scout.

    Attributes:
        model: Zoo name or builder.
        recipe: How it trains.
        models: Scouts of different initial weights; scores are means over them.
        num_classes: Width of the output.
        seed: Of weights, order and augmentation.
        device: Where to train.
    """

    model: str | ModelBuilder
    recipe: Recipe
    models: int
    num_classes: int
    seed: int
    device: str = "cpu"

    def describe(self) -> str:
        """Say it in words."""
        name = self.model if isinstance(self.model, str) else getattr(self.model, "__qualname__", "a model")
        many = f"{self.models} x " if self.models > 1 else ""
        return f"{many}{name} after {self.recipe.epochs} epochs"


def scout(
    how: Scouting, train: RowSource, transform: Transform, rows: NDArray[np.int64] | None = None
) -> tuple[Context, int]:
    """Train the scouts and return what they say of every row, and the samples that took.

    Args:
        how: Models and recipe.
        train: The pool.
        transform: The data's statistics.
        rows: int64[], train on these alone; None for all.

    Returns:
        A context with labels, the first scout's logits, features and gradients, and the signals el2n, grand,
        forgetting and aum (means over the scouts; forgetting and aum only where they saw every row).
    """
    trained = np.arange(len(train)) if rows is None else rows
    traces, outputs = [], []
    for number in range(how.models):
        trace, seen = _one_scout(replace(how, seed=seed64(how.seed, "scout", number)), train, transform, trained)
        traces.append(trace)
        outputs.append(seen)
    gradients = [seen.gradients(train.labels) for seen in outputs]
    signals = {
        "el2n": _mean([np.linalg.norm(each.residuals, axis=1) for each in gradients]),
        "grand": _mean([each.norms() for each in gradients]),
    }
    if rows is None:
        learned = [trace.signals() for trace in traces]
        signals |= {name: _mean([each[name] for each in learned]) for name in ("forgetting", "aum")}
    samples = how.models * (how.recipe.epochs * len(trained) + round(len(train) * FORWARD_SHARE))
    first = outputs[0]
    context = Context(len(train), train.labels, signals, first.features, gradients[0], first.logits)
    return context, samples


def _mean(values: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    return np.asarray(np.mean(values, axis=0), dtype=np.float32)


def _one_scout(
    how: Scouting, train: RowSource, transform: Transform, rows: NDArray[np.int64]
) -> tuple[TrainingTrace, Outputs]:
    recipe, shape = how.recipe, train.rows(np.zeros(1, dtype=np.int64))[0].shape[1:]
    model = build_model(how.model, num_classes=how.num_classes, input_shape=shape, seed=seed64(how.seed, "init"))
    model.to(how.device)
    optimizer = build_optimizer(model, recipe)
    augment = replace(transform, flip=recipe.flip, crop_padding=recipe.crop_padding, cutout=recipe.cutout)
    trace, total = _Trace(len(train)), recipe.epochs * len(rows)
    for epoch in range(recipe.epochs):
        batches = epoch_batches(
            train,
            Selection.uniform(rows, len(train)),
            augment,
            batch_size=recipe.batch_size,
            seed=how.seed,
            epoch=epoch,
            device=how.device,
        )
        progress = epoch_progress(recipe, epoch=epoch, consumed=epoch * len(rows), planned=total)
        train_epoch(
            model,
            batches,
            optimizer,
            recipe,
            epoch=epoch,
            progress=progress,
            rng_seed=seed64(how.seed, epoch, "layers"),
            observer=trace,
        )
    return trace.kept, observe(model, train, transform, device=how.device)


class _Trace:
    """Feeds the training passes to a `TrainingTrace`."""

    def __init__(self, n: int) -> None:
        self.kept = TrainingTrace(n)

    def observe(self, index: NDArray[np.int64], logits: Tensor, targets: Tensor, losses: Tensor) -> None:
        """Take in one batch: was each row right, and by what margin."""
        with torch.no_grad():
            own = logits.gather(1, targets[:, None]).squeeze(1)
            others = logits.scatter(1, targets[:, None], -torch.inf).max(dim=1).values
            correct = logits.argmax(dim=1) == targets
        self.kept.record(index, correct.cpu().numpy(), (own - others).float().cpu().numpy())
