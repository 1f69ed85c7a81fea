"""What a search over architectures asks of a space."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from torch import nn

CellT = TypeVar("CellT", bound=Hashable)


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """How a cell is stacked to a network.

    Attributes:
        channels: Of the first stage, C >= 1; every stage doubles them.
        cells: Of each stage, N >= 1.
    """

    channels: int
    cells: int


class CellSpace(Protocol[CellT]):
    """A set of cells; equal cells are equal objects, and ``str(cell)`` is what `parse` reads."""

    @property
    def name(self) -> str:
        """Short, for tables: "nb201", "nb101", "darts"."""
        ...

    def draw(self, rng: np.random.Generator) -> CellT:
        """Draw a cell."""
        ...

    def mutate(self, cell: CellT, rng: np.random.Generator, rate: float | None = None) -> CellT:
        """Return another cell near ``cell``.

        Args:
            cell: The parent.
            rng: Where the change is drawn from.
            rate: Probability with which each decision is drawn anew; None: exactly one is changed.
        """
        ...

    def cross(self, first: CellT, second: CellT, rng: np.random.Generator) -> CellT:
        """Return a cell each decision of which is one parent's, with equal chances."""
        ...

    def parse(self, text: str) -> CellT:
        """Read a cell's name; raises `ArchitectureError` that names the position of what is wrong."""
        ...

    def network(
        self, cell: CellT, num_classes: int, input_shape: tuple[int, ...], size: NetworkSize | None = None
    ) -> nn.Module:
        """Build the network to be trained from scratch; without a size that of the space's paper."""
        ...
