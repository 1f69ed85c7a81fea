"""What a forward pass costs, counted instead of timed: the same on every machine, however busy."""

from __future__ import annotations

import torch
from torch import nn

from raysubset.models.mode import evaluation_mode


def forward_flops(model: nn.Module, input_shape: tuple[int, ...]) -> float:
    """Return the floating-point operations of one row's forward pass (matrix products and convolutions).

    A training step takes about three times as many: the backward pass is two products for each one forward.

    Cost: one forward pass of two rows of zeros.
    """
    from torch.utils.flop_counter import FlopCounterMode  # brings triton, a tenth of a second

    parameter = next(model.parameters())
    rows = torch.zeros((2, *input_shape), dtype=parameter.dtype, device=parameter.device)
    with evaluation_mode(model), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(rows)
    return float(counter.get_total_flops()) / 2
