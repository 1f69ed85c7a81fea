"""The network of NAS-Bench-201: a stem, three stages of equal cells, a residual block of stride 2 between stages.

The macro skeleton is the same for a cell that was chosen and for a supernet's cell of all operations; BatchNorm of
the parts that every cell shares is affine. Parameters and multiply-adds of a cell are sums over its edges, so all
15,625 cost one addition each (`network_cost`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from raysubset.models.shapes import image_shape
from raysubset.nas.cell201 import EDGES, NONE, OPS, Cell201
from raysubset.nas.space import NetworkSize

PAPER_SIZE = NetworkSize(channels=16, cells=5)
STAGES = 3


class Skeleton201(nn.Module):
    """Stem, stages, head; what a cell is, is left to the caller.

    Args:
        num_classes: Outputs.
        input_shape: (C, H, W).
        size: Channels of the first stage, cells a stage.
        make_cell: channels -> a module that keeps shape.
        tracked: BatchNorm keeps running statistics; without, it normalises every batch by itself.

    Raises:
        OptionsError: ``input_shape`` is no image of at least 4 x 4.
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, ...],
        size: NetworkSize,
        make_cell: Callable[[int], nn.Module],
        *,
        tracked: bool = True,
    ) -> None:
        super().__init__()
        channels, _, _ = image_shape("nb201", input_shape, smallest=2 ** (STAGES - 1))
        width = size.channels
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), batch_norm(width, tracked=tracked)
        )
        self.body = nn.ModuleList()
        for stage in range(STAGES):
            if stage > 0:
                self.body.append(ResidualReduction(width, 2 * width, tracked))
                width *= 2
            self.body.extend(make_cell(width) for _ in range(size.cells))
        self.last = nn.Sequential(batch_norm(width, tracked=tracked), nn.ReLU(inplace=True))
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [B, C, H, W] to logits [B, num_classes]."""
        features = self.stem(inputs)
        for part in self.body:
            features = part(features)
        logits: Tensor = self.head(self.last(features).mean(dim=(2, 3)))
        return logits


class ReluConvBn(nn.Sequential):
    """ReLU, a convolution without bias, BatchNorm."""

    def __init__(
        self,
        incoming: int,
        outgoing: int,
        kernel: int,
        stride: int = 1,
        *,
        affine: bool = True,
        tracked: bool = True,
    ) -> None:
        super().__init__(
            nn.ReLU(),  # not in place: other edges read the same input
            nn.Conv2d(incoming, outgoing, kernel, stride, padding=kernel // 2, bias=False),
            batch_norm(outgoing, affine=affine, tracked=tracked),
        )


class ResidualReduction(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, beside an average-pooled 1x1 projection."""

    def __init__(self, incoming: int, outgoing: int, tracked: bool) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            ReluConvBn(incoming, outgoing, 3, stride=2, tracked=tracked),
            ReluConvBn(outgoing, outgoing, 3, tracked=tracked),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(incoming, outgoing, 1, bias=False)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, incoming, H, W] to [B, outgoing, ceil(H / 2), ceil(W / 2)]."""
        summed: Tensor = self.residual(inputs) + self.shortcut(inputs)
        return summed


def batch_norm(channels: int, *, affine: bool = True, tracked: bool = True) -> nn.BatchNorm2d:
    """Return BatchNorm over ``channels``; untracked, it uses the batch's own statistics in evaluation too."""
    return nn.BatchNorm2d(channels, affine=affine, track_running_stats=tracked)


def operation(op: int, channels: int, *, affine: bool = True, tracked: bool = True) -> nn.Module:
    """Return the operation of that position in `OPS`; "none" has no module.

    Raises:
        ValueError: It is "none".
    """
    match OPS[op]:
        case "skip_connect":
            return nn.Identity()
        case "nor_conv_1x1":
            return ReluConvBn(channels, channels, 1, affine=affine, tracked=tracked)
        case "nor_conv_3x3":
            return ReluConvBn(channels, channels, 3, affine=affine, tracked=tracked)
        case "avg_pool_3x3":
            return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        case name:
            raise ValueError(f"operation {name!r} makes no module: it adds nothing to a sum")


class FixedCell201(nn.Module):
    """A cell whose operations are chosen: each node is the sum of its edges."""

    def __init__(self, cell: Cell201, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleDict(
            {f"{node}<-{source}": operation(op, channels) for (node, source), op in _edges(cell)}
        )
        self._sources = [[source for (node, source), _ in _edges(cell) if node == target] for target in range(4)]

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, C, H, W] to the same shape; zeros where nothing arrives."""
        nodes: list[Tensor | None] = [inputs]
        for node in range(1, 4):
            terms = [
                self.edges[f"{node}<-{source}"](value)
                for source in self._sources[node]
                if (value := nodes[source]) is not None
            ]
            nodes.append(sum(terms[1:], terms[0]) if terms else None)
        output = nodes[-1]
        return inputs.new_zeros(inputs.shape) if output is None else output


def _edges(cell: Cell201) -> list[tuple[tuple[int, int], int]]:
    """Return the edges that carry something, with their operations."""
    return [(edge, op) for edge, op in zip(EDGES, cell.ops, strict=True) if op != NONE]


def network201(
    cell: Cell201, num_classes: int, input_shape: tuple[int, ...], size: NetworkSize = PAPER_SIZE
) -> nn.Module:
    """Return the network of a cell for images [B, C, H, W], to be trained from scratch."""
    return Skeleton201(num_classes, input_shape, size, lambda channels: FixedCell201(cell, channels))


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """What a network weighs and what a forward pass of one image takes.

    Attributes:
        params: Trainable parameters.
        flops: Multiply-adds of convolutions and the linear layer, as the benchmark counts them (pooling and
            BatchNorm are free).
    """

    params: int
    flops: int


def network_cost(
    cell: Cell201,
    num_classes: int = 10,
    input_shape: tuple[int, ...] = (3, 32, 32),
    size: NetworkSize = PAPER_SIZE,
) -> NetworkCost:
    """Count parameters and multiply-adds of a cell's network without building it; O(1)."""
    channels, height, width = image_shape("nb201", input_shape, smallest=2 ** (STAGES - 1))
    convs = [kernel * kernel for op in cell.ops if (kernel := {2: 1, 3: 3}.get(op))]
    c, pixels = size.channels, height * width
    params = channels * 9 * c + 2 * c
    flops = channels * 9 * c * pixels
    for stage in range(STAGES):
        if stage > 0:
            height, width = -(-height // 2), -(-width // 2)
            pixels = height * width
            weights = 9 * c * 2 * c + 9 * (2 * c) ** 2 + c * 2 * c
            params, flops, c = params + weights + 8 * c, flops + weights * pixels, 2 * c
        params += size.cells * sum(kernel * c * c + 2 * c for kernel in convs)
        flops += size.cells * sum(kernel * c * c * pixels for kernel in convs)
    return NetworkCost(params + 2 * c + c * num_classes + num_classes, flops + c * num_classes)
