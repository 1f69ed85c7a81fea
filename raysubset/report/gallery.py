"""Pictures of rows: small images inside the page, as PNG data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, slots=True)
class Thumb:
    """One image.

    Attributes:
        source: A data URI.
        alt: What a reader who cannot see it should know.
        words: A line below it.
        width, height: Pixels of the image itself.
    """

    source: str
    alt: str
    words: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Gallery:
    """Images side by side under one heading; ``slug`` names it on the page."""

    slug: str
    title: str
    caption: str
    thumbs: tuple[Thumb, ...]


def thumb(image: NDArray[np.uint8], alt: str, words: str) -> Thumb:
    """Return an image for the page.

    Args:
        image: uint8[C, H, W], of 1 channel (grey) or 3 (red, green, blue).
        alt: See `Thumb`.
        words: See `Thumb`.
    """
    pixels: NDArray[Any] = image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="png", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Thumb(source, alt, words, image.shape[2], image.shape[1])
