"""Philox4x32-10: random words as a function of a counter and a key, without a state.

Ten rounds of two 32 x 32 -> 64-bit products, each followed by a permutation of the four words [1]. Any word of any
counter costs the same, in any order, on any worker; BigCrush finds no flaw in seven rounds of it [1].

The function is written in operators alone, on 64-bit signed integers that hold 32-bit words: the same lines run on
Python ints, on numpy and torch arrays, and compiled, and all give the known answers of [2].

References:
    [1] Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3", doi:10.1145/2063384.2063405.
    [2] Random123, tests/kat_vectors.
"""

from __future__ import annotations

from typing import Any


def philox4x32(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> tuple[Any, Any, Any, Any]:
    """Return the four words of a counter (c0 lowest) under a key (k0, k1).

    Args:
        c0: Lowest word of the counter, in [0, 2^32): an int, or an int64 array or tensor.
        c1: Its second word, of the same shape.
        c2: Its third word.
        c3: Its highest word.
        k0: Low word of the key, an int in [0, 2^32).
        k1: High word of the key.

    Returns:
        Four words in [0, 2^32), of the kind that went in. Cost: 150 operations a counter.
    """
    for _ in range(10):
        p, q = c0 * 0xD2511F53, c2 * 0xCD9E8D57  # may wrap to a negative number; the masks below make up for it
        c0, c1 = (q >> 32) & 0xFFFFFFFF ^ c1 ^ k0, q & 0xFFFFFFFF
        c2, c3 = (p >> 32) & 0xFFFFFFFF ^ c3 ^ k1, p & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3
