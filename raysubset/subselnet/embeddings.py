"""The frozen encoder of architectures: any cell, also one never seen, to a short sequence of vectors.

A cell's vectors are the means of q(z_u | G), standardised over the vertices of reference cells, in the order of a
breadth-first search from the cell's input. An approximator reads one vector of what it makes of them:

    bfs_last   at the vertex found last, as the paper does; often not the cell's output
    output     at the cell's output
    mean       their mean over the vertices

Where a cell is made of p graphs (a genotype's two), the rows of all of them stand side by side, p times as wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import torch
from torch import Tensor

from raysubset.errors import DataError, UnknownNameError
from raysubset.subselnet.encoder import GraphEncoder
from raysubset.subselnet.space import NB101, EncodedSpace, encoded_space

Readout = Literal["bfs_last", "output", "mean"]

_FLAT = 1e-6  # a column that varies less than this, in its own units, is left at its scale


@dataclass(frozen=True, slots=True, eq=False)
class Standardisation:
    """Columns to mean 0 and standard deviation 1 over the rows it was made of.

    Attributes:
        mean: float32[d].
        scale: float32[d], > 0: the (biased) standard deviation, 1 where a column does not vary.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Self:
        """Measure float32[k, d]; sums in float64."""
        exact = rows.double()
        scale = exact.std(dim=0, correction=0)
        return cls(exact.mean(dim=0).float(), torch.where(scale > _FLAT, scale, 1.0).float())

    def apply(self, rows: Tensor) -> Tensor:
        """Standardise [..., d]."""
        return (rows - self.mean) / self.scale


@dataclass(frozen=True, slots=True, eq=False)
class CellEmbeddings:
    """B cells as an approximator takes them.

    Attributes:
        vectors: float32[B, N, p d], in the order of the search, padded rows 0.
        mask: bool[B, N]; a cell's V vertices take the first V rows.
        output: int64[B], the row of the cell's output vertex.
    """

    vectors: Tensor
    mask: Tensor
    output: Tensor

    def __len__(self) -> int:
        return len(self.output)

    def rows(self, which: Tensor | slice) -> CellEmbeddings:
        """Return the cells at int64[k] positions, in that order, repeats allowed; or a slice of them."""
        return CellEmbeddings(*(getattr(self, field.name)[which] for field in fields(self)))

    def cell(self, position: int) -> CellEmbeddings:
        """Return the one cell at ``position``, still with its axis."""
        return self.rows(torch.tensor([position]))

    def mean(self) -> Tensor:
        """Return float32[B, d], the mean over a cell's vertices."""
        return self.read(self.vectors, "mean")

    def read(self, values: Tensor, readout: Readout) -> Tensor:
        """Return [B, w], what ``readout`` takes of [B, N, w] values of the rows; see the module."""
        if readout == "mean":
            return (values * self.mask[:, :, None]).sum(dim=1) / self.mask.sum(dim=1, keepdim=True)
        place = self.output if readout == "output" else self.mask.sum(dim=1) - 1
        return values[torch.arange(len(values)), place]


@dataclass(frozen=True, slots=True, eq=False)
class ArchitectureEncoder:
    """A trained encoder, in evaluation mode, and the standardisation of its vectors.

    Attributes:
        network: Not trained any further.
        standardisation: Over the vertices of the reference cells.
        space: Whose cells it reads.
    """

    network: GraphEncoder
    standardisation: Standardisation
    space: EncodedSpace[Any] = NB101

    @classmethod
    def of(cls, network: GraphEncoder, reference: Sequence[Any], space: EncodedSpace[Any] = NB101) -> Self:
        """Freeze ``network``, its vectors standardised over the vertices of ``reference`` cells of the space.

        Raises:
            ArchitectureError: As `EncodedSpace.graphs`.
        """
        network.eval().requires_grad_(False)
        graphs = space.graphs(reference)
        mean, _ = network(graphs)
        return cls(network, Standardisation.of(mean[graphs.mask]), space)

    def referred_to(self, reference: Sequence[Any]) -> ArchitectureEncoder:
        """Return the same encoder, standardised over other cells: those an approximator is trained on."""
        return ArchitectureEncoder.of(self.network, reference, self.space)

    @torch.no_grad()
    def embed(self, cells: Sequence[Any]) -> CellEmbeddings:
        """Embed cells; isomorphic ones get equal vectors, each the same whatever else is asked for beside it.

        Raises:
            ArchitectureError: As `EncodedSpace.graphs`.

        Cost: about 0.5 ms a graph, 0.5 kB each.
        """
        graphs, parts = self.space.graphs(cells), self.space.parts
        mean, _ = self.network(graphs)
        vectors = self.standardisation.apply(mean) * graphs.mask[:, :, None]
        width = vectors.shape[2]
        ordered = vectors.gather(1, graphs.order[:, :, None].expand(-1, -1, width))
        output = (graphs.order == graphs.sizes[:, None] - 1).int().argmax(dim=1)
        by_part = ordered.view(len(cells), parts, -1, width).transpose(1, 2)
        return CellEmbeddings(by_part.flatten(2), graphs.mask[::parts], output[::parts])

    def state(self) -> dict[str, Any]:
        """Return numbers, strings and tensors alone: `torch.load` reads them with ``weights_only``."""
        network = self.network
        return {
            "form": network.form,
            "hidden": network.hidden,
            "width": network.width,
            "layers": len(network.layers),
            "weights": dict(network.state_dict()),
            "mean": self.standardisation.mean,
            "scale": self.standardisation.scale,
            "space": self.space.name,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make what `state` was taken of.

        Raises:
            DataError: Something is missing or does not fit.
        """
        try:
            space = encoded_space(state.get("space", NB101.name))  # fits made before there was another say nothing
            form, hidden, width, layers = (state[name] for name in ("form", "hidden", "width", "layers"))
            network = GraphEncoder(form, hidden, width, layers, len(space.operations))
            network.load_state_dict(state["weights"])
            standardisation = Standardisation(state["mean"], state["scale"])
        except (KeyError, TypeError, RuntimeError, UnknownNameError) as error:
            raise DataError(
                f"Not the state of an ArchitectureEncoder ({type(error).__name__}: {error})."
            ) from error
        network.eval().requires_grad_(False)
        return cls(network, standardisation, space)
