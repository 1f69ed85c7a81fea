"""The search network of DARTS: every edge of every cell does all operations at once, in learnt shares [1].

    edge e:  sum_o softmax(alpha_e)_o o(x)     alpha float[14, 8]: one of all normal, one of all reduction cells

The edges that leave one node are computed together (see `darts_operations`): pooling and skips, which have no
weights, once for all of them. Results are those of the edges computed one by one, but for rounding.

References:
    [1] Liu, Simonyan, Yang, DARTS, ICLR 2019, arXiv:1806.09055, equation 2, section 3.1.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from raysubset.errors import OptionsError
from raysubset.models.shapes import image_shape
from raysubset.nas.darts_operations import FactorizedReduce, operation, relu_conv_bn
from raysubset.nas.genotype import EDGES, INPUTS, NODES, NONE, OPS, Genotype, genotype_of

STEM = 3  # the stem has so many times the channels of the first cells
_INITIAL_SPREAD = 1e-3  # of alpha: all operations begin nearly equal
_LEAVING = tuple(
    [row for row, (_, source) in enumerate(EDGES) if source == node] for node in range(INPUTS + NODES - 1)
)  # rows of alpha by the node that the edges leave


class DartsSupernet(nn.Module):
    """All architectures of the DARTS space in one network; logits float32[B, num_classes] of images.

    Weights and alphas are drawn from torch's global generator (`models.init.seeded` names a seed).

    Args:
        num_classes: Outputs.
        input_shape: (channels, height, width) of an image.
        channels: C of the first cells; doubled by each reduction.
        cells: L of all; those at L // 3 and 2 L // 3 halve the image.

    Raises:
        OptionsError: ``input_shape`` is not (channels, height, width), no channels or no cells.

    Cost: with C = 4, L = 3 and 32 images of 16x16 forward and backward take 0.35 s of one CPU core (edge by
    edge 0.85 s), 0.2 s where the weights need no gradient, as in a step of alpha.
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, ...], channels: int = 16, cells: int = 8) -> None:
        super().__init__()
        colours, _, _ = image_shape("darts", input_shape)
        check_size("DartsSupernet", channels, cells)
        self.alpha_normal = nn.Parameter(_INITIAL_SPREAD * torch.randn(len(EDGES), len(OPS)))
        self.alpha_reduce = nn.Parameter(_INITIAL_SPREAD * torch.randn(len(EDGES), len(OPS)))
        before_last = last = STEM * channels
        self.stem = nn.Sequential(nn.Conv2d(colours, last, 3, padding=1, bias=False), nn.BatchNorm2d(last))
        stages = reductions(cells)
        self.cells = nn.ModuleList()
        for position in range(cells):
            channels *= 2 if position in stages else 1
            cell = _SearchCell(before_last, last, channels, position in stages, position - 1 in stages)
            self.cells.append(cell)
            before_last, last = last, NODES * channels
        self.classifier = nn.Linear(last, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [B, C, H, W] to logits [B, num_classes]."""
        normal, reduce = self.alpha_normal.softmax(dim=1), self.alpha_reduce.softmax(dim=1)
        before_last = last = self.stem(inputs.contiguous(memory_format=torch.channels_last))
        for cell in self.cells:
            before_last, last = last, cell(before_last, last, reduce if cell.halves else normal)
        logits: Tensor = self.classifier(last.mean(dim=(2, 3)))
        return logits

    def architecture_parameters(self) -> list[nn.Parameter]:
        """Return alpha of the normal and of the reduction cells, float32[14, 8] each."""
        return [self.alpha_normal, self.alpha_reduce]

    def weight_parameters(self) -> list[nn.Parameter]:
        """Return all other parameters."""
        alphas = {id(alpha) for alpha in self.architecture_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in alphas]

    def probabilities(self) -> tuple[Tensor, Tensor]:
        """Return softmax(alpha) of the normal and of the reduction cells, float32[14, 8] each, on the CPU."""
        return self.alpha_normal.detach().softmax(dim=1).cpu(), self.alpha_reduce.detach().softmax(dim=1).cpu()

    def genotype(self) -> Genotype:
        """Return the strongest cells, see `genotype_of`."""
        normal, reduce = (alpha.detach().cpu().numpy() for alpha in self.architecture_parameters())
        return genotype_of(normal, reduce)


def check_size(network: str, channels: int, cells: int) -> None:
    """Raise `OptionsError` in the name of a network that has no channels or no cells."""
    faults = [f"{name}={value}, need at least 1" for name, value in (("channels", channels), ("cells", cells))
              if value < 1]  # fmt: skip
    if faults:
        raise OptionsError.of(network, faults)


def reductions(cells: int) -> frozenset[int]:
    """Return which of so many cells halve the image: L // 3 and 2 L // 3 (one and the same if L = 1)."""
    return frozenset((cells // 3, 2 * cells // 3))


class _SearchCell(nn.Module):
    """Two inputs, four nodes that each read all before them, the nodes' channels side by side as output."""

    def __init__(self, before_last: int, last: int, channels: int, halves: bool, halved_before: bool) -> None:
        super().__init__()
        self.halves = halves
        self.first = (
            FactorizedReduce(before_last, channels, affine=False)
            if halved_before
            else relu_conv_bn(before_last, channels, affine=False)
        )
        self.second = relu_conv_bn(last, channels, affine=False)
        self.fans = nn.ModuleList(
            _Fan(channels, len(rows), 2 if halves and source < INPUTS else 1)
            for source, rows in enumerate(_LEAVING)
        )

    def forward(self, before_last: Tensor, last: Tensor, probabilities: Tensor) -> Tensor:
        """Map the last two cells' outputs and softmax(alpha) [14, 8] to [B, 4 C, H, W]."""
        states = [self.first(before_last), self.second(last)]
        nodes: dict[int, Tensor] = {}
        for source, (fan, rows) in enumerate(zip(self.fans, _LEAVING, strict=True)):
            parts = fan(states[source], probabilities[rows]).unbind(1)
            for row, part in zip(rows, parts, strict=True):
                node, _ = EDGES[row]
                nodes[node] = nodes[node] + part if node in nodes else part
            if source >= INPUTS - 1:  # the next node has all its edges
                states.append(nodes[source + 1])
        return torch.cat(states[INPUTS:], dim=1)


class _Fan(nn.Module):
    """The n edges that leave one node, each a mixture of all operations."""

    def __init__(self, channels: int, edges: int, stride: Literal[1, 2]) -> None:
        super().__init__()
        self.channels = channels
        self.operations = nn.ModuleDict(
            {
                name: operation(name, channels, stride, affine=False, copies=edges)
                for name in OPS
                if name != OPS[NONE]
            }
        )

    def forward(self, state: Tensor, probabilities: Tensor) -> Tensor:
        """Map the node [B, C, H, W] and its edges' probabilities [n, 8] to [B, n, C, H', W']."""
        mixed: Tensor | None = None
        for name, module in self.operations.items():
            made = module(state)
            by_edge = made.view(len(made), -1, self.channels, *made.shape[2:])  # 1 for all edges, or n
            share = probabilities[:, OPS.index(name), None, None, None]
            mixed = by_edge * share if mixed is None else torch.addcmul(mixed, by_edge, share)
        assert mixed is not None, "there are seven operations"
        return mixed
