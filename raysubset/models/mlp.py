"""A small multilayer perceptron, for feature vectors or inputs of any shape."""

from __future__ import annotations

from math import prod

from torch import nn

_HIDDEN = 128


def mlp(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """Return flatten, two hidden layers of 128 ReLU, logits: float32[B, *input_shape] to [B, num_classes]."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(input_shape), _HIDDEN),
        nn.ReLU(inplace=True),
        nn.Linear(_HIDDEN, _HIDDEN),
        nn.ReLU(inplace=True),
        nn.Linear(_HIDDEN, num_classes),
    )
