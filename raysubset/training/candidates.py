"""Rows chosen inside candidate batches while training: a forward pass over all, a training step on some.

References:
    [1] Mindermann et al., 2022, "Prioritized training on points that are learnable", arXiv:2206.07137.
    [2] Jiang et al., 2019, "Accelerating deep learning by focusing on the biggest losers", arXiv:1910.00762.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from raysubset.data.batches import Batch
from raysubset.errors import NonFiniteLossError
from raysubset.models.mode import evaluation_mode
from raysubset.seeds import generator
from raysubset.selection.batchwise import BatchChooser


def candidate_batch_size(batch_size: int, size: int, candidates: int) -> int:
    """Return how many candidates a batch needs so that ``batch_size`` of them are trained on."""
    return max(batch_size, -(-batch_size * candidates // size))


def chosen_batches(
    model: nn.Module,
    candidates: Iterable[Batch],
    chooser: BatchChooser,
    size: int,
    total: int,
    seed: int,
    epoch: int,
) -> Iterator[Batch]:
    """Yield the chosen part of each candidate batch; losses are the model's at that moment, in evaluation mode.

    Args:
        model: Being trained; its modes are given back before each yield.
        candidates: Batches of ``total`` rows in all.
        chooser: Picks positions by loss.
        size: Rows to yield in all, by cumulative rounding; a part of a single row waits for the next batch, since
            BatchNorm cannot train on one.
        total: Candidates.
        seed: Of the draws.
        epoch: Keys them, with the batch's number.

    Raises:
        NonFiniteLossError: A candidate's loss is not finite.

    Cost: one forward pass a candidate.
    """
    offered = given = 0
    for number, batch in enumerate(candidates):
        offered += len(batch)
        m = min((2 * size * offered + total) // (2 * total) - given, len(batch))
        if m < 2 and size > 1:
            continue
        with evaluation_mode(model), torch.inference_mode():
            losses = cross_entropy(model(batch.inputs), batch.targets, reduction="none").float().cpu().numpy()
        if not np.isfinite(losses).all():
            row = int(batch.index[np.flatnonzero(~np.isfinite(losses))[0]])
            raise NonFiniteLossError(
                f"The loss of candidate row {row} is not finite in epoch {epoch}. Most likely the training has "
                "diverged: the learning rate is too high for this model and batch size."
            )
        positions = chooser.choose(batch.index, losses, m, generator(seed, epoch, "candidates", number))
        given += m
        yield _part(batch, positions)


def _part(batch: Batch, positions: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Batch:
    at = torch.from_numpy(positions).to(batch.inputs.device)
    return Batch(batch.inputs[at], batch.targets[at], batch.index[positions], batch.weight[at])
