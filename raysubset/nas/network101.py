"""The network of a NAS-Bench-101 cell: a stem, three stacks of cells, global average pool, one linear layer.

Max-pooling halves the image between stacks, and the channels double. Inside a cell [1]:

- its output's channels are divided among the vertices that lead to it, the first ones get one more where they do
  not divide evenly; every other vertex has as many as the greatest of its successors;
- what enters a vertex is added up, cut to its channels; from the cell's input it comes through a 1x1 convolution;
- what enters the output is concatenated, and the cell's input, where it leads there, is added through a 1x1 one.

References:
    [1] Ying et al., 2019, arXiv:1902.09635, section 2 and appendix; github.com/google-research/nasbench,
        model_builder.py and base_ops.py: numbers of BatchNorm and of the initial weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from raysubset.errors import OptionsError
from raysubset.models.shapes import image_shape
from raysubset.nas.cell101 import Cell101
from raysubset.nas.space import NetworkSize

PAPER_SIZE = NetworkSize(channels=128, cells=3)
STACKS = 3

_BN_EPSILON = 1e-5  # as the benchmark's
_KERNEL = {"conv3x3-bn-relu": 3, "conv1x1-bn-relu": 1}
_TRUNCATED_SD = 0.87962566103423978  # of a standard normal cut off at two standard deviations


def network101(
    cell: Cell101, num_classes: int, input_shape: tuple[int, ...], size: NetworkSize = PAPER_SIZE
) -> nn.Module:
    """Build the cell's network for float32[B, C, H, W], its weights drawn from torch's global generator.

    BatchNorm takes a tenth of each batch into its running statistics. The benchmark takes 0.003, of which 640
    steps leave 15 % of what they began with: networks trained for minutes would be judged by statistics that never
    were theirs.

    Args:
        cell: Of every module.
        num_classes: Outputs.
        input_shape: (C, H, W) of one sample; any H, W >= 1.
        size: Channels of the first stack, cells of each; the stacks are always three.

    Raises:
        OptionsError: ``input_shape`` is not that of an image, or there are fewer channels than vertices that lead
            to the cell's output (at most 5).
    """
    return Network101(cell, num_classes, input_shape, size)


class Network101(nn.Module):
    """See `network101`."""

    def __init__(self, cell: Cell101, num_classes: int, input_shape: tuple[int, ...], size: NetworkSize) -> None:
        super().__init__()
        image_channels, _, _ = image_shape("NAS-Bench-101", input_shape)
        self.stem = ConvBnRelu(image_channels, size.channels, 3)
        modules: list[nn.Module] = []
        incoming = size.channels
        for stack in range(STACKS):
            if stack > 0:
                modules.append(nn.MaxPool2d(2, ceil_mode=True))
            for _ in range(size.cells):
                modules.append(CellModule(cell, incoming, size.channels * 2**stack))
                incoming = size.channels * 2**stack
        self.cells = nn.Sequential(*modules)
        self.head = nn.Linear(incoming, num_classes)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [B, C, H, W] to logits [B, num_classes]."""
        logits: Tensor = self.head(self.cells(self.stem(inputs)).mean(dim=(2, 3)))
        return logits


class CellModule(nn.Module):
    """One cell, from [B, incoming, H, W] to [B, outgoing, H, W]."""

    def __init__(self, cell: Cell101, incoming: int, outgoing: int) -> None:
        super().__init__()
        self._channels = vertex_channels(cell, incoming, outgoing)
        self._last = len(cell.ops) - 1
        self._interior = {  # vertex -> those before it that it adds up
            v: [s for s, t in cell.edges if t == v and s > 0] for v in range(1, self._last + 1)
        }
        widths = self._channels[:-1]
        self.ops = nn.ModuleDict({str(v): _operation(cell.ops[v], widths[v]) for v in range(1, self._last)})
        self.projections = nn.ModuleDict(
            {str(v): ConvBnRelu(incoming, self._channels[v], 1) for s, v in cell.edges if s == 0}
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map what enters the cell to what leaves it."""
        made: dict[int, Tensor] = {}
        for vertex in range(1, self._last):
            entering = [made[source][:, : self._channels[vertex]] for source in self._interior[vertex]]
            made[vertex] = self.ops[str(vertex)](_total([*entering, *self._projected(vertex, inputs)]))
        leaving = [made[source] for source in self._interior[self._last]]
        joined = [torch.cat(leaving, dim=1)] if leaving else []
        return _total([*joined, *self._projected(self._last, inputs)])

    def _projected(self, vertex: int, inputs: Tensor) -> list[Tensor]:
        """Return the cell's input as it enters a vertex; nothing if there is no such edge."""
        name = str(vertex)
        return [self.projections[name](inputs)] if name in self.projections else []


class ConvBnRelu(nn.Sequential):
    """Convolution without bias, BatchNorm, ReLU; height and width stay."""

    def __init__(self, incoming: int, outgoing: int, kernel: int) -> None:
        convolution = nn.Conv2d(incoming, outgoing, kernel, padding=kernel // 2, bias=False)
        sd = math.sqrt(1 / (incoming * kernel**2)) / _TRUNCATED_SD
        nn.init.trunc_normal_(convolution.weight, std=sd, a=-2 * sd, b=2 * sd)
        norm = nn.BatchNorm2d(outgoing, eps=_BN_EPSILON)
        super().__init__(convolution, norm, nn.ReLU(inplace=True))


class MaxPool(nn.Module):
    """The greatest of 3x3 pixels; height and width stay."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, C, H, W] to the same shape."""
        return max_pool2d(inputs, 3, stride=1, padding=1)


def vertex_channels(cell: Cell101, incoming: int, outgoing: int) -> tuple[int, ...]:
    """Return how many channels leave each of the V vertices.

    Args:
        cell: Pruned, as all are.
        incoming: Of the cell's input, vertex 0.
        outgoing: Of its output, the last vertex.

    Raises:
        OptionsError: Fewer channels than vertices that lead to the output.
    """
    last = len(cell.ops) - 1
    feeding = [source for source, target in cell.edges if target == last and source > 0]
    if outgoing < max(1, len(feeding)):
        raise OptionsError(
            f"{outgoing} channels cannot be divided among the {len(feeding)} vertices that lead to the output of "
            f"{cell}: need at least {max(1, len(feeding))}; 5 do for every cell."
        )
    channels = [incoming, *[0] * (last - 1), outgoing]
    for position, vertex in enumerate(feeding):
        channels[vertex] = outgoing // len(feeding) + (position < outgoing % len(feeding))
    for vertex in range(last - 1, 0, -1):
        if vertex not in feeding:
            channels[vertex] = max(channels[target] for source, target in cell.edges if source == vertex)
    return tuple(channels)


def parameter_count(
    cell: Cell101, num_classes: int = 10, image_channels: int = 3, size: NetworkSize = PAPER_SIZE
) -> int:
    """Return how many numbers `network101` trains, without building it; the benchmark's for CIFAR by default.

    Raises:
        OptionsError: As `network101`.

    Cost: about 0.4 ms.
    """
    count = _conv_parameters(image_channels, size.channels, 3)
    incoming = size.channels
    for stack in range(STACKS):
        outgoing = size.channels * 2**stack
        for _ in range(size.cells):
            count += _cell_parameters(cell, incoming, outgoing)
            incoming = outgoing
    return count + (incoming + 1) * num_classes


def _cell_parameters(cell: Cell101, incoming: int, outgoing: int) -> int:
    channels = vertex_channels(cell, incoming, outgoing)
    projected = (_conv_parameters(incoming, channels[target], 1) for source, target in cell.edges if source == 0)
    convolved = (
        _conv_parameters(width, width, _KERNEL[op])
        for op, width in zip(cell.ops, channels, strict=True)
        if op in _KERNEL
    )
    return sum(projected) + sum(convolved)


def _conv_parameters(incoming: int, outgoing: int, kernel: int) -> int:
    return incoming * outgoing * kernel**2 + 2 * outgoing  # BatchNorm's scale and shift


def _operation(op: str, channels: int) -> nn.Module:
    return ConvBnRelu(channels, channels, _KERNEL[op]) if op in _KERNEL else MaxPool()


def _total(tensors: list[Tensor]) -> Tensor:
    """Add up, never in place: a summand may be read again."""
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
