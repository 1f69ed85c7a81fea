"""The layer that makes the logits, found without asking anything of the model.

The gradient of the loss with respect to that layer is an outer product of its input and the residual p - y, so
its input is all that gradient-based selection needs to see.
"""

from __future__ import annotations

from torch import nn

from raysubset.errors import ModelError


def last_linear(model: nn.Module, num_classes: int | None = None) -> nn.Linear:
    """Return the last ``nn.Linear`` in the order in which modules were registered.

    Args:
        model: Any module.
        num_classes: If given, only layers with that many outputs count.

    Raises:
        ModelError: There is none; the message lists the linear layers that were found.

    Cost: one walk over the modules.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    matching = [layer for layer in layers.values() if num_classes in (None, layer.out_features)]
    if not matching:
        wanted = "nn.Linear" if num_classes is None else f"nn.Linear with {num_classes} outputs"
        found = ", ".join(f"{name or 'itself'} -> {layer.out_features}" for name, layer in layers.items())
        raise ModelError(
            f"{type(model).__name__} has no {wanted} (linear layers found: {found or 'none'}). Importance is "
            "computed from the input of the last nn.Linear, the one that makes the logits: end the model with "
            "one, or choose rows by a plan that reads no importance (selector 'random' or 'adaptive-random')."
        )
    return matching[-1]
