"""Supernets of NAS-Bench-201: all operations on every edge, the weights shared by all cells.

In training each forward pass lets one gate an edge decide what runs:

    UniformPaths     one operation an edge, drawn uniformly (SPOS [1]; RSPS [2] is the same with a random search)
    SoftMixture      the softmax(alpha)-weighted sum of all (DARTS [3], first order)
    GumbelPaths      one operation, drawn by Gumbel-softmax, weighted so that alpha gets a gradient (GDAS [4])

What is drawn comes from torch's global CPU generator, as dropout does, so `training.loop` keys it by seed and
epoch. All cells of a forward pass share the gates. In evaluation the network is that of `Supernet201.path`.

BatchNorm of the operations is not affine, and none keeps running statistics: those of a mixture of paths fit no
path. A path is judged by the statistics of its batches, or by `nas.batch_statistics.recalibrated` ones.

References:
    [1] Guo et al., 2020, "Single path one-shot neural architecture search", arXiv:1904.00420.
    [2] Li, Talwalkar, 2019, "Random search and reproducibility for NAS", arXiv:1902.07638.
    [3] Liu, Simonyan, Yang, 2019, "DARTS", arXiv:1806.09055.
    [4] Dong, Yang, 2019, "Searching for a robust neural architecture in four GPU hours", arXiv:1910.04465.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from raysubset.errors import ModelError
from raysubset.nas.cell201 import EDGES, NONE, OPS, Cell201
from raysubset.nas.network201 import Skeleton201, operation
from raysubset.nas.space import NetworkSize

DENSEST = Cell201((OPS.index("nor_conv_3x3"),) * 6)
Terms = Sequence[tuple[int, Tensor | None]]
"""What an edge adds up: (operation, its weight, None for 1)."""


class Gates(Protocol):
    """Decides, once a forward pass, what runs on each edge."""

    def choose(self) -> Sequence[Terms]:
        """Return the terms of each of `EDGES`."""
        ...


class UniformPaths(nn.Module):
    """One operation an edge, each with probability 1/5."""

    def choose(self) -> Sequence[Terms]:
        """Draw a path."""
        return [[(op, None)] for op in torch.randint(len(OPS), (len(EDGES),)).tolist()]


class SoftMixture(nn.Module):
    """All operations, weighted by softmax(alpha)."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(1e-3 * torch.randn(len(EDGES), len(OPS)))

    def choose(self) -> Sequence[Terms]:
        """Weigh all operations; "none" only takes its share of the softmax."""
        weights = self.alpha.softmax(dim=1)
        return [[(op, weights[edge, op]) for op in range(len(OPS))] for edge in range(len(EDGES))]


class GumbelPaths(nn.Module):
    """One operation an edge, drawn by Gumbel-softmax at temperature ``tau``.

    Its weight is 1 in the forward pass and has the gradient of the soft sample (straight through); the operations
    that were not drawn do not run.

    Attributes:
        tau: Temperature > 0; the search lowers it from 10 to 0.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(1e-3 * torch.randn(len(EDGES), len(OPS)))
        self.tau = 10.0

    def choose(self) -> Sequence[Terms]:
        """Draw a path."""
        uniform = torch.rand(self.alpha.shape).clamp_min(torch.finfo(torch.float32).tiny)
        noise = -torch.log(-torch.log(uniform)).to(self.alpha.device)
        soft = ((self.alpha.log_softmax(dim=1) + noise) / self.tau).softmax(dim=1)
        drawn = soft.argmax(dim=1).tolist()
        return [[(op, 1 - soft[edge, op].detach() + soft[edge, op])] for edge, op in enumerate(drawn)]

    def set_progress(self, progress: float) -> None:
        """Lower the temperature linearly, from 10 at 0 to 0.1 at 1."""
        self.tau = 10.0 + (0.1 - 10.0) * progress


class SearchCell201(nn.Module):
    """Four of the five operations as modules on each edge; "none" adds nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(
            nn.ModuleList(
                operation(op, channels, affine=False, tracked=False) for op in range(len(OPS)) if op != NONE
            )
            for _ in EDGES
        )
        self.terms: Sequence[Terms] = ()

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, C, H, W] to the same shape, along ``terms``; zeros where nothing arrives."""
        nodes: list[Tensor | None] = [inputs, None, None, None]
        for (node, source), operations, terms in zip(EDGES, self.edges, self.terms, strict=True):
            if (value := nodes[source]) is None:
                continue
            for op, weight in terms:
                if op == NONE:
                    continue
                term = operations[op - 1](value)  # type: ignore[index]  # a ModuleList
                term = term if weight is None else weight * term
                before = nodes[node]
                nodes[node] = term if before is None else before + term
        output = nodes[-1]
        return inputs.new_zeros(inputs.shape) if output is None else output


class Supernet201(Skeleton201):
    """All 15,625 networks in one.

    Attributes:
        path: The cell that is evaluated, None for what the gates choose; training does not look at it.
    """

    def __init__(
        self, num_classes: int, input_shape: tuple[int, ...], size: NetworkSize, gates: Gates | None = None
    ) -> None:
        super().__init__(num_classes, input_shape, size, SearchCell201, tracked=False)
        self.gates = UniformPaths() if gates is None else gates
        self.path: Cell201 | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [B, C, H, W] to logits [B, num_classes]."""
        if self.training or self.path is None:
            terms = self.gates.choose()
        else:
            terms = [[(op, None)] for op in self.path.ops]
        for part in self.body:
            if isinstance(part, SearchCell201):
                part.terms = terms
        logits: Tensor = super().forward(inputs)
        return logits

    def architecture_parameters(self) -> list[nn.Parameter]:
        """Return alpha, [6, 5]; nothing where paths are drawn uniformly."""
        return [parameter for name, parameter in self.named_parameters() if name.startswith("gates.")]

    def weight_parameters(self) -> list[nn.Parameter]:
        """Return all others."""
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("gates.")]

    def probabilities(self) -> dict[str, list[list[float]]]:
        """Return softmax(alpha) by edge, for records; empty where paths are drawn uniformly."""
        alphas = self.architecture_parameters()
        return {"cell": alphas[0].softmax(dim=1).tolist()} if alphas else {}

    def derived(self) -> Cell201:
        """Return the cell of the strongest operation on each edge, "none" among them; ties to the lower.

        Raises:
            ModelError: Paths are drawn uniformly: there is nothing to derive a cell from.
        """
        if not (alphas := self.architecture_parameters()):
            raise ModelError("This supernet has no alpha; choose its cell by evaluating paths.")
        return Cell201(tuple(alphas[0].argmax(dim=1).tolist()))


@dataclass(frozen=True, slots=True)
class BuildSupernet201:
    """A model builder for `build_model`: equal builders, equal networks.

    Where paths are drawn, the first path evaluated is that of 3x3 convolutions only, until another is set: what a
    forward pass costs does not depend on a draw.

    Attributes:
        size: Channels of the first stage, cells a stage.
        gates: "uniform" (SPOS, RSPS), "soft" (DARTS) or "gumbel" (GDAS).
    """

    size: NetworkSize
    gates: str = "uniform"

    def __call__(self, num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
        """Build it; initial weights and alphas come from torch's global generator."""
        gates = {"uniform": UniformPaths, "soft": SoftMixture, "gumbel": GumbelPaths}[self.gates]
        supernet = Supernet201(num_classes, input_shape, self.size, gates())
        supernet.path = None if self.gates == "soft" else DENSEST
        return supernet
