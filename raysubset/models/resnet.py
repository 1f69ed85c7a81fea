"""ResNets for small images: the thin CIFAR family (8 to 56) and the wide one (18 to 101).

Both begin with one 3x3 convolution and no pooling. The thin family has three stages of 16, 32, 64 channels and
parameter-free shortcuts (option A of [1]: every second pixel, new channels zero); the wide one has four stages
of 64 to 512 (times 4 in a bottleneck) and 1x1 projections (option B). Parameters at 3 channels, 10 classes:

    ResNet     8        20        32        44        56          18          34          50         101
          75,290   269,722   464,154   658,586   853,018  11,173,962  21,282,122  23,520,842  42,512,970

References:
    [1] He, Zhang, Ren, Sun, 2016, doi:10.1109/CVPR.2016.90, section 4.2 (thin family), figure 5 (bottleneck).
    [2] He et al., 2015, doi:10.1109/ICCV.2015.123: the initial weights.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import pad, relu

from raysubset.models.shapes import image_shape


def thin_resnet(depth: int, num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """Return ResNet-``depth`` of three stages, depth = 6 n + 2, for float32[B, C, H, W]."""
    blocks, remainder = divmod(depth - 2, 6)
    assert remainder == 0, f"a thin ResNet has depth 6 n + 2, got {depth}"
    return ResNet(num_classes, input_shape, block=BasicBlock, stages=(blocks,) * 3, width=16, shortcut=PadShortcut)


def wide_resnet(
    block: type[BasicBlock] | type[Bottleneck],
    stages: tuple[int, ...],
    num_classes: int,
    input_shape: tuple[int, ...],
) -> nn.Module:
    """Return a ResNet of ``stages`` blocks a stage, 64 channels in the first, for float32[B, C, H, W]."""
    return ResNet(num_classes, input_shape, block=block, stages=stages, width=64, shortcut=Projection)


class ResNet(nn.Module):
    """Stem, stages that halve the image and double the channels, global average pool, one linear layer.

    Raises:
        OptionsError: ``input_shape`` is not (C, H, W).
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: tuple[int, ...],
        *,
        block: type[BasicBlock] | type[Bottleneck],
        stages: tuple[int, ...],
        width: int,
        shortcut: type[PadShortcut] | type[Projection],
    ) -> None:
        super().__init__()
        channels, _, _ = image_shape("resnet", input_shape)
        self.stem = nn.Sequential(_conv(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        blocks: list[nn.Module] = []
        incoming = width
        for stage, count in enumerate(stages):
            outgoing = width * 2**stage * block.expansion
            for position in range(count):
                stride = 2 if stage > 0 and position == 0 else 1
                same = stride == 1 and incoming == outgoing
                skip = nn.Identity() if same else shortcut(incoming, outgoing, stride)
                blocks.append(block(incoming, width * 2**stage, stride, skip))
                incoming = outgoing
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(incoming, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images [B, C, H, W] to logits [B, num_classes]."""
        features = self.blocks(self.stem(inputs)).mean(dim=(2, 3))
        logits: Tensor = self.head(features)
        return logits


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(self, incoming: int, width: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _conv(incoming, width, 3, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _conv(width, width, 3),
            nn.BatchNorm2d(width),
        )
        self.shortcut = shortcut

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, incoming, H, W] to [B, width, H / stride, W / stride]."""
        return relu(self.residual(inputs) + self.shortcut(inputs), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the 3x3 one carries the stride."""

    expansion: ClassVar[int] = 4

    def __init__(self, incoming: int, width: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        outgoing = width * self.expansion
        self.residual = nn.Sequential(
            _conv(incoming, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _conv(width, width, 3, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _conv(width, outgoing, 1),
            nn.BatchNorm2d(outgoing),
        )
        self.shortcut = shortcut

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, incoming, H, W] to [B, 4 width, H / stride, W / stride]."""
        return relu(self.residual(inputs) + self.shortcut(inputs), inplace=True)


class PadShortcut(nn.Module):
    """Option A: every ``stride``-th pixel, zeros in the new channels (half before, half after)."""

    def __init__(self, incoming: int, outgoing: int, stride: int) -> None:
        super().__init__()
        before = (outgoing - incoming) // 2
        self._stride = stride
        self._padding = (0, 0, 0, 0, before, outgoing - incoming - before)  # width, height, channels

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, incoming, H, W] to [B, outgoing, H / stride, W / stride]."""
        return pad(inputs[:, :, :: self._stride, :: self._stride], self._padding)


class Projection(nn.Sequential):
    """Option B: a 1x1 convolution and its BatchNorm."""

    def __init__(self, incoming: int, outgoing: int, stride: int) -> None:
        super().__init__(_conv(incoming, outgoing, 1, stride), nn.BatchNorm2d(outgoing))


def _conv(incoming: int, outgoing: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias (BatchNorm has one) that keeps the size but for the stride."""
    return nn.Conv2d(incoming, outgoing, kernel, stride, padding=kernel // 2, bias=False)
