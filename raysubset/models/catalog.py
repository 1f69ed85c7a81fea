"""Models by name, or built by the caller, always with the initial weights that the seed names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import nn

from raysubset.errors import ModelError, OptionsError, UnknownNameError
from raysubset.models.init import seeded
from raysubset.models.lenet import LeNet
from raysubset.models.mlp import mlp
from raysubset.models.resnet import BasicBlock, Bottleneck, thin_resnet, wide_resnet
from raysubset.seeds import seed64

ModelBuilder = Callable[[int, tuple[int, ...]], nn.Module]

_BUILDERS: Mapping[str, ModelBuilder] = {
    "lenet": LeNet,
    "mlp": mlp,
    **{f"resnet{depth}": partial(thin_resnet, depth) for depth in (8, 20, 32, 44, 56)},
    "resnet18": partial(wide_resnet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": partial(wide_resnet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": partial(wide_resnet, Bottleneck, (3, 4, 6, 3)),
    "resnet101": partial(wide_resnet, Bottleneck, (3, 4, 23, 3)),
}


def model_names() -> tuple[str, ...]:
    """Return the names `build_model` knows, sorted."""
    return tuple(sorted(_BUILDERS))


def width_of(num_classes: int) -> int:
    """Return how many outputs a model has: one a class, or 1 in a regression (no classes)."""
    return num_classes or 1


def build_model(
    model: str | ModelBuilder, *, num_classes: int, input_shape: tuple[int, ...], seed: int
) -> nn.Module:
    """Build a model on the CPU; equal arguments give equal weights, whatever was drawn before.

    Args:
        model: A name of `model_names`, or a callable ``(outputs, input_shape) -> nn.Module``.
        num_classes: Outputs, at least 2; or 0 in a regression, for which the builder is asked for 1 output.
        input_shape: Shape of one sample, without the batch: (channels, height, width) for images.
        seed: Names the initial weights: the stream is ``(seed, "init")``. Torch's global generator is restored.

    Raises:
        UnknownNameError: No model has that name; lists the known ones.
        OptionsError: One class or fewer than none, or an input the model cannot take.
        ModelError: The callable returned something else than an ``nn.Module``.
    """
    if isinstance(model, str) and model not in _BUILDERS:
        raise UnknownNameError.of("model", model, _BUILDERS)
    if num_classes != 0 and num_classes < 2:
        raise OptionsError.of("build_model", [f"num_classes={num_classes}, need at least 2, or 0 in a regression"])
    builder = _BUILDERS[model] if isinstance(model, str) else model
    with seeded(seed64(seed, "init")):
        built = builder(width_of(num_classes), input_shape)
    if not isinstance(built, nn.Module):
        raise ModelError(
            f"The model builder {builder!r} returned {type(built).__name__}, need an nn.Module. It is called as "
            "builder(num_classes, input_shape), in a regression with 1."
        )
    return built
