"""BatchNorm statistics of one path of a supernet, measured afresh before it is judged (SPOS, section 3.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from raysubset.errors import DataError


@contextmanager
def recalibrated(model: nn.Module, batches: Iterable[Tensor]) -> Iterator[None]:
    """Give the BatchNorm layers the mean statistics of ``batches`` for as long as the block lasts.

    Layers that keep running statistics anyway are left alone. Variances are the mean of the batches' (unbiased)
    variances, as PyTorch's cumulative average has it.

    Args:
        model: On the device of the batches, its path chosen; it must take them in evaluation mode.
        batches: Inputs [B, C, H, W]; drawn from all training rows, not from a chosen part.

    Raises:
        DataError: There was no batch.

    Cost: one forward pass a batch; two vectors a layer.
    """
    layers = [
        module
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d) and not module.track_running_stats
    ]
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        device = next(model.parameters()).device
        for layer in layers:
            _begin(layer, device)
        seen = 0
        with torch.no_grad():
            for inputs in batches:
                model(inputs)
                seen += 1
        if seen == 0:
            raise DataError("Recalibration got no batch: there are no rows to measure BatchNorm's statistics on.")
        for layer in layers:
            layer.eval()
        yield
    finally:
        for layer in layers:
            _forget(layer)
        for module, mode in modes:
            module.training = mode


def _begin(layer: nn.BatchNorm2d, device: torch.device) -> None:
    """Let a layer average what it sees, from nothing."""
    layer.running_mean = torch.zeros(layer.num_features, device=device)
    layer.running_var = torch.ones(layer.num_features, device=device)
    layer.num_batches_tracked = torch.zeros((), dtype=torch.long, device=device)
    layer.track_running_stats, layer.momentum = True, None
    layer.train()


def _forget(layer: nn.BatchNorm2d) -> None:
    layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    layer.track_running_stats, layer.momentum = False, 0.1
