"""Networks of single cells: trained on rows, then asked what they think of each of them."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from raysubset.data.batches import RowSource, evaluation_batches
from raysubset.data.transform import Transform
from raysubset.hpo.pairing import trial_seeds
from raysubset.models.catalog import ModelBuilder
from raysubset.models.mode import evaluation_mode
from raysubset.nas.space import NetworkSize
from raysubset.proxy.service import SelectorService
from raysubset.runtime.trial import EVALUATION_BATCH, Trial, TrialSpec
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.subselnet.space import NB101, encoded_space
from raysubset.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class CellTraining:
    """How the network of a cell is trained from scratch.

    Attributes:
        cell: Its name.
        size: Of its network.
        recipe: Training options.
        plan: How it chooses its data.
        num_classes: Of the task.
        seed: Of its initial weights, order and draws; equal for all methods that are compared on a cell.
        device: Where to compute.
        space: Of the cell.
    """

    cell: str
    size: NetworkSize
    recipe: Recipe
    plan: SubsetPlan
    num_classes: int
    seed: int
    device: str = "cpu"
    space: str = NB101.name

    @property
    def builder(self) -> ModelBuilder:
        """What builds the cell's network; it can be pickled."""
        return encoded_space(self.space).builder(self.cell, self.size)


@dataclass(frozen=True, slots=True, eq=False)
class SupervisorOutput:
    """What a trained network thinks of the rows it was trained on.

    Attributes:
        logits: float32[n, C], in the rows' order, in evaluation mode and without augmentation.
        accuracy: On the same rows.
        seconds: Wall time of training and asking.
    """

    logits: NDArray[np.float32]
    accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class TrainedCell:
    """A cell's network at the end of its training.

    Attributes:
        model: The network.
        train_s, select_s: Seconds of its epochs, and of choosing their rows.
        samples: Consumed.
    """

    model: nn.Module
    train_s: float
    select_s: float
    samples: int


def train_cell(training: CellTraining, train: RowSource, transform: Transform) -> TrainedCell:
    """Train a cell's network to its end.

    Args:
        training: What and how.
        train: The rows.
        transform: Their statistics.

    Raises:
        NonFiniteLossError: It diverged.
    """
    spec = TrialSpec(
        "cell",
        training.builder,
        training.recipe,
        training.plan.resolved("scheduled"),
        trial_seeds(training.seed, training.cell),
        training.num_classes,
        training.device,
    )
    trial = Trial(spec, train, train, transform, SelectorService(Context(len(train), train.labels)))
    try:
        epochs = []
        while not trial.done:
            epochs.append(trial.run_epoch())
    finally:
        trial.close()
    train_s, select_s = (sum(getattr(epoch, name) for epoch in epochs) for name in ("train_s", "select_s"))
    return TrainedCell(trial.model, train_s, select_s, trial.samples_consumed)


def supervise(training: CellTraining, train: RowSource, transform: Transform) -> SupervisorOutput:
    """Train a cell's network and ask it about every row.

    Raises:
        NonFiniteLossError: It diverged.

    Cost: the recipe's epochs and one forward pass; 4 n C bytes.
    """
    started = perf_counter()
    trained = train_cell(training, train, transform)
    logits = row_logits(trained.model, train, transform, training.device)
    accuracy = float((logits.argmax(axis=1) == train.labels).mean())
    return SupervisorOutput(logits, accuracy, perf_counter() - started)


def row_logits(model: nn.Module, source: RowSource, transform: Transform, device: str) -> NDArray[np.float32]:
    """Return float32[n, C] of all rows in order, in evaluation mode."""
    batches = evaluation_batches(source, transform, EVALUATION_BATCH, device)
    with evaluation_mode(model), torch.inference_mode():
        found = [model(batch.inputs).float().cpu().numpy() for batch in batches]
    return np.concatenate(found)
