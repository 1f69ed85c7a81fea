"""An epoch's subset as the batches that a model is trained on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from raysubset.data.batches import Batch, RowSource, epoch_batches
from raysubset.data.shard import WHOLE, Shard
from raysubset.data.transform import Transform
from raysubset.proxy.stream import EpochSubset
from raysubset.training.candidates import candidate_batch_size, chosen_batches


def subset_batches(
    source: RowSource,
    subset: EpochSubset,
    transform: Transform,
    model: nn.Module | None,
    *,
    batch_size: int,
    seed: int,
    device: torch.device | str = "cpu",
    channels_last: bool = False,
    shard: Shard = WHOLE,
) -> Iterator[Batch]:
    """Yield the batches of an epoch; where rows are chosen inside batches, the chosen part of each.

    Args:
        source: The pool.
        subset: The epoch's rows, or its candidates.
        transform: Applied on the device.
        model: The network being trained; needed where rows are chosen inside batches.
        batch_size: Rows trained on a batch.
        seed: Of order, augmentation and choices.
        device: Where the tensors go.
        channels_last: Memory format of image batches.
        shard: The worker that asks; it gets its part of every batch.

    Cost: see `epoch_batches`, and a forward pass a candidate.
    """
    candidates, chooser = len(subset.selection), subset.chooser
    size = batch_size if chooser is None else candidate_batch_size(batch_size, subset.size, candidates)
    batches = epoch_batches(
        source,
        subset.selection,
        transform,
        batch_size=size,
        seed=seed,
        epoch=subset.epoch,
        device=device,
        channels_last=channels_last,
        shard=shard,
    )
    if chooser is None or model is None:
        return batches
    return chosen_batches(model, batches, chooser, subset.size, candidates, seed, subset.epoch)
