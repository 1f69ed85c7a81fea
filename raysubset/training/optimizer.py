"""The optimiser a recipe names, as PyTorch has it.

All are built with ``foreach=True``: on a CPU a step takes about a quarter less time than the per-tensor default
and gives the same bits. ``fused=True`` would be three times faster still, but rounds differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from raysubset.errors import ModelError
from raysubset.training.recipe import Recipe


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return an optimiser over the trainable parameters of ``model``, in one group at the recipe's lr.

    Raises:
        ModelError: No parameter requires a gradient.

    Bytes: 4 per parameter for sgd with momentum, 8 for adam, 4 or 8 for rmsprop (allocated at the first step).
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ModelError(
            f"{type(model).__name__} has no parameter that requires a gradient: nothing to train. "
            "Were all of them frozen, or the layers kept in a plain list instead of an nn.ModuleList?"
        )
    return build_optimizer_over(parameters, recipe)


def build_optimizer_over(parameters: Sequence[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Return an optimiser over some parameters, see `build_optimizer`."""
    lr, momentum, decay = recipe.lr, recipe.momentum, recipe.weight_decay
    if recipe.optimizer == "adam":
        betas = (momentum, 0.999)
        return torch.optim.Adam(parameters, lr=lr, betas=betas, weight_decay=decay, foreach=True)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=lr, momentum=momentum, weight_decay=decay, foreach=True)
    return torch.optim.SGD(
        parameters, lr=lr, momentum=momentum, weight_decay=decay, nesterov=recipe.nesterov, foreach=True
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load moments and step counts; the hyper-parameters stay those the optimiser was built with.

    Args:
        optimizer: From `build_optimizer`.
        state: Its `state_dict`, or that of one of the same kind over the same parameters.
    """
    own = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(dict(state))
    for group, options in zip(optimizer.param_groups, own, strict=True):
        group.update(options)
