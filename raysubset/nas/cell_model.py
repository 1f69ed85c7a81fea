"""A NAS-Bench-101 cell as a model to train: something that is named, pickled, and builds the network."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

from torch import nn

from raysubset.errors import ArchitectureError, OptionsError
from raysubset.nas.cell101 import Cell101
from raysubset.nas.network101 import network101
from raysubset.nas.space import NetworkSize

PREFIX = "nb101-"
_REFERENCE = re.compile(r"nb101-(\d+)x(\d+):(.+)")


@dataclass(frozen=True, slots=True)
class CellModel:
    """A `raysubset.models.catalog.ModelBuilder` of one cell.

    Attributes:
        cell: Its name.
        size: Of its network.

    Raises:
        ArchitectureError: ``cell`` is none of the space.
        OptionsError: The size has no channels or cells.
    """

    cell: str
    size: NetworkSize
    _parsed: Cell101 = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.size.channels < 1 or self.size.cells < 1:
            raise OptionsError(f"A cell's network needs channels and cells of at least 1, got {self.size}.")
        object.__setattr__(self, "_parsed", Cell101.parse(self.cell))

    def __call__(self, num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
        """Build the network; see `network101`."""
        return network101(self._parsed, num_classes, input_shape, self.size)

    @property
    def reference(self) -> str:
        """What `parse` reads: "nb101-<channels>x<cells>:<cell>"."""
        return f"{PREFIX}{self.size.channels}x{self.size.cells}:{self.cell}"

    @classmethod
    def parse(cls, reference: str) -> Self:
        """Read a reference.

        Raises:
            ArchitectureError: It is none, or its cell is none of the space.
        """
        if (found := _REFERENCE.fullmatch(reference)) is None:
            raise ArchitectureError(
                f"Model {reference!r}: need nb101-<channels>x<cells>:<cell>, for example "
                "nb101-8x1:conv3x3-bn-relu~0+output~1."
            )
        channels, cells, cell = found.groups()
        return cls(cell, NetworkSize(int(channels), int(cells)))
