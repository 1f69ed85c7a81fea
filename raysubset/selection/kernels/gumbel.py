"""Gumbel noise as a function of a row's number and a key, the same bits on every backend and device.

    noise_i = -log(-log u_i),   u_i = 1 - b_i / 2^52,   b_i = 52 bits of Philox4x32-10, the last of them 1

The leading 16 bits of row i are half a word of block i // 8, so that a sweep over all rows needs one block for
eight of them; the other bits come from a block of its own. The leading bits bound 1 - u from below, hence a sweep
can rule a row out before the rest is known.

The logarithm is written out: those of numpy, torch and the C libraries differ in the last place, and workers on
different machines must agree on every key. Functions here are made of operators alone and run on tensors and
compiled alike; ``bits_of`` and ``float_of`` reinterpret float64 as int64 and back.
"""

from __future__ import annotations

from typing import Any

from raysubset.selection.kernels.philox import philox4x32


def leading_words(blocks: Any, k0: int, k1: int) -> tuple[Any, Any, Any, Any]:
    """Return the words of int64 blocks: rows 8 b, 8 b + 1, ... have their low and high halves in turn."""
    return philox4x32(blocks & 0xFFFFFFFF, (blocks >> 32) & 0xFFFFFFFF, blocks & 0, blocks & 0, k0, k1)


def uniforms(rows: Any, leading: Any, k0: int, k1: int, float_of: Any) -> Any:
    """Return float64 uniforms in [2^-52, 1 - 2^-52] of int64 rows >= 0 with their leading 16 bits (int64)."""
    first, second, _, _ = philox4x32(rows & 0xFFFFFFFF, (rows >> 32) & 0xFFFFFFFF, rows & 0 | 1, rows & 0, k0, k1)
    return 2.0 - float_of((leading << 36) | (first << 4) | (second >> 28) | 0x3FF0000000000001)


def log(x: Any, bits_of: Any, float_of: Any) -> Any:
    """Return log x of normal float64 x > 0, within four units of the last place.

    x = 2^e m with m in [sqrt(1/2), sqrt(2)), and log m = 2 atanh(s), s = (m - 1) / (m + 1), by its series; the
    first term left out is below 2.4e-17 of the sum.
    """
    shifted = bits_of(x) + 0x00095F619980C433  # carries into the exponent where the fraction is sqrt(2) or more
    exponent = float_of((shifted >> 52) & 0x7FF | 0x4330000000000000) - 4503599627371519.0  # 2^52 + 1023
    fraction = float_of((shifted & 0xFFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD)
    s = (fraction - 1.0) / (fraction + 1.0)
    z = s * s
    series = z * (1 / 19) + (1 / 17)
    series = series * z + (1 / 15)
    series = series * z + (1 / 13)
    series = series * z + (1 / 11)
    series = series * z + (1 / 9)
    series = series * z + (1 / 7)
    series = series * z + (1 / 5)
    series = series * z + (1 / 3)
    return exponent * 0.6931471805599453 + (s + s) * (series * z + 1.0)
