"""What an image network asks of its input."""

from __future__ import annotations

from raysubset.errors import OptionsError


def image_shape(model: str, input_shape: tuple[int, ...], smallest: int = 1) -> tuple[int, int, int]:
    """Return (channels, height, width) of one sample.

    Args:
        model: Who asks, for the message.
        input_shape: Shape of one sample, without the batch.
        smallest: Least height and width.

    Raises:
        OptionsError: Not three positive numbers, or an image smaller than ``smallest``.
    """
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise OptionsError.of(
            model,
            [f"input_shape={input_shape}, need (channels, height, width); 'mlp' takes inputs of any shape"],
        )
    channels, height, width = input_shape
    if min(height, width) < smallest:
        raise OptionsError.of(model, [f"image of {height}x{width}, need at least {smallest}x{smallest}"])
    return channels, height, width
