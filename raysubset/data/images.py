"""Encoded images -> one uint8[n, C, H, W] array.

Greyscale stays one channel as long as every image is grey; the first colour image makes all of them RGB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from os import cpu_count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raysubset.errors import DataError

Encoded = bytes | Path  # the content of an image file, or where it lies
GREY_MODES = frozenset({"1", "L", "LA"})
REFUSED_MODES = ("I", "F")  # 16- and 32-bit images would be clipped to 8 bits: "I", "I;16", "I;16B", "F"
PIECE = 64  # images a thread decodes at a time
# Below this size decoding is mostly Python that holds the GIL: two threads took 10-11 s for CIFAR-10's 50,000
# images of 32 x 32, one took 7-9 s.
THREADED_PIXELS = 128 * 128
THREADS = min(8, cpu_count() or 1)


class ImageTable(NamedTuple):
    """What a reader returns.

    Attributes:
        images: uint8[n, C, H, W].
        labels: int64[n].
        classes: Class names, or numbers when the source has no names.
        encoding: Format of the first image as Pillow names it, e.g. "PNG" or "JPEG" (which is lossy).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    encoding: str


def decode_images(
    count: int, chunks: Iterable[Sequence[Encoded]], where: Callable[[int], str]
) -> tuple[NDArray[np.uint8], str]:
    """Decode ``count`` images of one size.

    Args:
        count: Images in all chunks together, at least 1.
        chunks: Encoded images in row order; one chunk at a time is held.
        where: Names a row for error messages, e.g. "train.parquet, row 17".

    Returns:
        uint8[count, C, H, W] with C = 1 if all are grey, else 3 (alpha is dropped), and the first one's format.

    Raises:
        DataError: An image is corrupt, has more than 8 bits a channel, or differs in size from the first.

    Cost: count * C * H * W bytes and one chunk; about 0.15 ms for a 32 x 32 JPEG on one core.
    """
    out, encoding, start = np.empty((0, 1, 0, 0), dtype=np.uint8), "", 0
    with ThreadPoolExecutor(THREADS) as pool:
        for chunk in chunks:
            if not encoding:
                out, encoding = _allocate(count, chunk[0], where(start))
            threaded = out.shape[2] * out.shape[3] >= THREADED_PIXELS
            run = pool.map if threaded else map
            pieces = range(0, len(chunk), PIECE)
            if any(list(run(partial(_decode_piece, out, chunk, start, where), pieces))):
                out = np.repeat(out, 3, axis=1)  # exact for the grey rows so far: RGB of grey is three copies
                list(run(partial(_decode_piece, out, chunk, start, where), pieces))
            start += len(chunk)
    return out, encoding


def image_form(encoded: Encoded, place: str) -> tuple[int, int, int]:
    """Return (C, H, W) of an image from its header; its pixels are not decoded.

    Raises:
        DataError: See `decode_images`.
    """
    try:
        image = Image.open(BytesIO(encoded) if isinstance(encoded, bytes) else encoded)
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, struct.error, zlib.error, ...
        raise DataError(f"{place}: not a readable image ({error}).") from error
    return natural_channels(image, place), image.height, image.width


def decode_images_as(
    form: tuple[int, ...], count: int, chunks: Iterable[Sequence[Encoded]], where: Callable[[int], str]
) -> NDArray[np.uint8]:
    """Decode ``count`` images whose form is known; see `decode_images`.

    Args:
        form: (C, H, W). With C = 3 grey images become three equal channels.
        count: Images in all chunks together.
        chunks: Encoded images in row order.
        where: Names a row for error messages.

    Raises:
        DataError: Also where a colour image meets C = 1.
    """
    out, start = np.empty((count, *form), dtype=np.uint8), 0
    for chunk in chunks:
        for first in range(0, len(chunk), PIECE):
            if _decode_piece(out, chunk, start, where, first):
                colour = next(i for i in range(first, len(chunk)) if image_form(chunk[i], where(start + i))[0] > 1)
                raise DataError(
                    f"{where(start + colour)}: a colour image, and the first one is grey. Say channels=3 to have "
                    "all of them in colour."
                )
        start += len(chunk)
    return out


def _allocate(count: int, first: Encoded, place: str) -> tuple[NDArray[np.uint8], str]:
    image = _open(first, place)
    channels = natural_channels(image, place)
    return np.empty((count, channels, image.height, image.width), dtype=np.uint8), image.format or "unknown"


def _decode_piece(
    out: NDArray[np.uint8], chunk: Sequence[Encoded], start: int, where: Callable[[int], str], first: int
) -> bool:
    """Decode chunk[first : first + PIECE] into ``out``; True if a colour image met a one-channel ``out``."""
    channels, height, width = out.shape[1:]
    for i, encoded in enumerate(chunk[first : first + PIECE], start=start + first):
        image = _open(encoded, where(i))
        if image.size != (width, height):
            raise DataError(
                f"{where(i)}: image is {image.width} x {image.height} pixels (width x height), the first one is "
                f"{width} x {height}. All images of a set must have one size."
            )
        if natural_channels(image, where(i)) > channels:
            return True
        out[i] = to_pixels(image, channels)
    return False


def to_pixels(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    """Return the image as uint8[channels, H, W]: grey for 1 channel, RGB for 3."""
    mode = "L" if channels == 1 else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels[np.newaxis] if channels == 1 else pixels.transpose(2, 0, 1)


def natural_channels(image: Image.Image, place: str) -> int:
    """Return 1 for a grey image, 3 for a colour one.

    Raises:
        DataError: The image has more than 8 bits a channel.
    """
    if image.mode.startswith(REFUSED_MODES):
        raise DataError(f"{place}: image has mode {image.mode}, allowed are 8 bits a channel.")
    return 1 if image.mode in GREY_MODES else 3


def _open(encoded: Encoded, place: str) -> Image.Image:
    try:
        image = Image.open(BytesIO(encoded) if isinstance(encoded, bytes) else encoded)
        image.load()
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, struct.error, zlib.error, ...
        raise DataError(f"{place}: not a readable image ({error}).") from error
    return image
