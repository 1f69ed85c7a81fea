"""The winner of a run, read back from its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from raysubset.data.batches import RowSource, evaluation_batches
from raysubset.data.transform import Transform
from raysubset.models.catalog import ModelBuilder, build_model
from raysubset.training.checkpoint import load_checkpoint
from raysubset.training.evaluate import Evaluation, evaluate


def load_model(
    folder: Path, model: str | ModelBuilder, num_classes: int, input_shape: tuple[int, ...]
) -> nn.Module:
    """Return the trained network of a checkpoint folder, in evaluation mode, on the CPU."""
    network = build_model(model, num_classes=num_classes, input_shape=input_shape, seed=0)
    network.load_state_dict(load_checkpoint(folder)["model"])
    return network.eval()


def test_model(
    folder: Path, model: str | ModelBuilder, num_classes: int, source: RowSource, transform: Transform
) -> Evaluation:
    """Judge a checkpoint's network on held-out rows, on a GPU where there is one."""
    rows, _ = source.rows(np.zeros(1, dtype=np.int64))
    network = load_model(folder, model, num_classes, rows.shape[1:])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return evaluate(network.to(device), evaluation_batches(source, transform, 512, device=device))
