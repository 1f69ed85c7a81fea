"""Batches of random images, made as plain as can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    inputs: Tensor
    targets: Tensor
    index: NDArray[np.int64]
    weight: Tensor
    part: None = None


MakeBatches = Callable[..., list[Batch]]


@pytest.fixture
def make_batches() -> MakeBatches:
    def make(*sizes: int, shape: tuple[int, ...] = (1, 16, 16), classes: int = 10, seed: int = 0) -> list[Batch]:
        generator = torch.Generator().manual_seed(seed)
        starts = np.cumsum((0, *sizes))
        return [
            Batch(
                torch.randn(size, *shape, generator=generator),
                torch.randint(classes, (size,), generator=generator),
                np.arange(start, start + size),
                torch.ones(size),
            )
            for start, size in zip(starts, sizes, strict=False)
        ]

    return make
