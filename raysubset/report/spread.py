"""Some of many: evenly spaced ones, the first and the last among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")


def spread(items: Sequence[_T], most: int) -> list[_T]:
    """Return at most ``most`` of the items, in order; of a ranking the best and the worst stay."""
    if len(items) <= most:
        return list(items)
    return [items[place] for place in np.unique(np.linspace(0, len(items) - 1, most).astype(int))]
