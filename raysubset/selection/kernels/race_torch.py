"""The sweep of the race in torch, on any device; `raysubset.selection.kernels.race` says what it computes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysubset.selection.kernels.gumbel import leading_words, log, uniforms


def sweep(
    values: NDArray[np.float32] | NDArray[np.float64],
    first: int,
    k0: int,
    k1: int,
    sharpness: float,
    threshold: float,
    largest: float,
    device: str,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (positions int64[s], keys float64[s]) of the keys above the threshold, in row order."""
    scaled = torch.tensor(values, device=device).double() * sharpness
    skip, n = first & 7, len(values)
    words = torch.stack(
        leading_words(torch.arange(first >> 3, (first + n + 7) >> 3, device=device), k0, k1), dim=1
    )
    leading = torch.stack([words & 0xFFFF, words >> 16], dim=2).flatten()[skip : skip + n]
    rounding = 2.0**-50 * (1 + abs(threshold) + sharpness * largest)
    # 1 - u >= leading / 2^16, and a key above the threshold t needs 1 - u < exp(v / T - t).
    ruled_out = leading >= torch.exp(scaled - (threshold - rounding)) * 65536.0
    positions = torch.nonzero(~ruled_out).flatten()
    u = uniforms(positions + first, leading[positions], k0, k1, _float_of)
    keys = scaled[positions] - log(-log(u, _bits_of, _float_of), _bits_of, _float_of)
    above = keys > threshold
    return positions[above].cpu().numpy(), keys[above].cpu().numpy()


def _bits_of(x: Tensor) -> Tensor:
    return x.view(torch.int64)


def _float_of(bits: Tensor) -> Tensor:
    return bits.view(torch.float64)
