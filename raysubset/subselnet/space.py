"""What SubSelNet asks of a space of cells: graphs for its encoder, different cells, networks to learn from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from raysubset.errors import UnknownNameError
from raysubset.models.catalog import ModelBuilder
from raysubset.nas.space import NetworkSize
from raysubset.subselnet.graphs import CellGraphs
from raysubset.subselnet.graphs101 import Encoded101
from raysubset.subselnet.graphs_darts import EncodedDarts

CellT = TypeVar("CellT", bound=Hashable)


class EncodedSpace(Protocol[CellT]):
    """A set of cells that an encoder reads; ``str(cell)`` is what `parse` reads."""

    @property
    def name(self) -> str:
        """Short: "nb101" or "darts". A fit is of one space and says which."""
        ...

    @property
    def operations(self) -> tuple[str, ...]:
        """What a vertex may carry, in the order of the one-hot code."""
        ...

    @property
    def parts(self) -> int:
        """Graphs that a cell is made of, p; a cell's vectors are those of its parts side by side."""
        ...

    @property
    def least(self) -> NetworkSize:
        """The smallest network that any cell makes."""
        ...

    @property
    def twins(self) -> tuple[str, str] | None:
        """Two cells that an encoder blind to what neighbours carry cannot tell apart; None if there are none."""
        ...

    def parse(self, text: str) -> CellT:
        """Read a cell's name; raises `ArchitectureError` that says what is wrong, and of which space it may be."""
        ...

    def canonical(self, cell: CellT) -> CellT:
        """Return the one cell that stands for all those that differ in the numbering alone."""
        ...

    def check(self, cells: Sequence[CellT]) -> None:
        """Raise `ArchitectureError` if there is no cell, or one is none of the space; names its position."""
        ...

    def graphs(self, cells: Sequence[CellT]) -> CellGraphs:
        """Return p graphs a cell, cell by cell, after a `check`; nothing is ever cut to fit."""
        ...

    def draw(self, count: int, seed: int) -> tuple[CellT, ...]:
        """Draw different cells, canonical; a greater count begins with the same ones."""
        ...

    def parameters(self, cell: CellT) -> int:
        """Return a number that grows with that of the network's parameters: by it small and large are told."""
        ...

    def builder(self, cell: str, size: NetworkSize) -> ModelBuilder:
        """Return what builds the network of a cell from scratch; it can be pickled."""
        ...


NB101 = Encoded101()
ENCODED_SPACES: Mapping[str, EncodedSpace[Any]] = MappingProxyType(
    {space.name: space for space in (NB101, EncodedDarts())}
)


def encoded_space(name: str) -> EncodedSpace[Any]:
    """Return the space of that name.

    Raises:
        UnknownNameError: There is none; lists those there are.
    """
    if name not in ENCODED_SPACES:
        raise UnknownNameError.of("space", name, tuple(ENCODED_SPACES))
    return ENCODED_SPACES[name]


def space_key(name: str) -> dict[str, str]:
    """Return what a space adds to the hash of an artefact: nothing for NAS-Bench-101, which was alone at first."""
    return {} if name == NB101.name else {"space": name}


def any_cell(text: str) -> object:
    """Read a cell's name whose space is not said: a DARTS genotype has two cells and says so first.

    Raises:
        ArchitectureError: It is a cell of neither.
    """
    genotype = text.lstrip().startswith(("normal", "Genotype"))
    found: object = encoded_space("darts" if genotype else "nb101").parse(text)
    return found
