"""What an edge of a DARTS cell may do, and what fits a cell's two inputs together (Liu, Simonyan, Yang [1]).

A separable convolution is a depthwise k x k one, then a 1x1 one, with nothing in between. Several of them that
read the same C channels (the edges that leave one node) are therefore one dense convolution of C to n C channels:

    y_io = sum_c p_ioc (d_ic * x_c) = sum_c (p_ioc d_ic) * x_c        i: which of the n, o, c: channels

That is three to ten times as fast on a CPU, where depthwise 5x5 and dilated convolutions are slow backwards.

References:
    [1] DARTS, ICLR 2019, arXiv:1806.09055, section 3.1 and appendix A.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

_KERNEL = {"sep_conv_3x3": 3, "sep_conv_5x5": 5, "dil_conv_3x3": 3, "dil_conv_5x5": 5}


def operation(name: str, channels: int, stride: Literal[1, 2], *, affine: bool, copies: int = 1) -> nn.Module:
    """Return an operation, or several side by side that read the same input.

    Args:
        name: One of `genotype.OPS` but "none", which needs no module.
        channels: C, in and out.
        stride: Of 2 halves the image (odd sides are rounded up).
        affine: Whether BatchNorm scales and shifts (True to train a cell, False to search for one). In a search
            pooling has a BatchNorm of its own: else its values would not be of one scale with the others'.
        copies: n, each with its own weights.

    Returns:
        float[B, C, H, W] to float[B, n C, H / stride, W / stride], copy by copy; to C channels where the copies
        have no weights to differ in.
    """
    wide = copies * channels
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine=affine, copies=copies)
    if name.endswith("pool_3x3"):
        return _pool(name, channels, stride, normalised=not affine)
    kernel = _KERNEL[name]
    if name.startswith("dil_conv"):
        first = Separable(channels, kernel, stride, dilation=2, copies=copies)
        return nn.Sequential(nn.ReLU(), first, nn.BatchNorm2d(wide, affine=affine))
    return nn.Sequential(
        nn.ReLU(),
        Separable(channels, kernel, stride, copies=copies),
        nn.BatchNorm2d(wide, affine=affine),
        nn.ReLU(inplace=True),
        _depthwise(wide, kernel, 1),
        nn.Conv2d(wide, wide, 1, groups=copies, bias=False),
        nn.BatchNorm2d(wide, affine=affine),
    )


def relu_conv_bn(incoming: int, outgoing: int, *, affine: bool) -> nn.Module:
    """Return ReLU, 1x1 convolution, BatchNorm: gives an input the cell's number of channels."""
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(incoming, outgoing, 1, bias=False), nn.BatchNorm2d(outgoing, affine=affine)
    )


class Separable(nn.Module):
    """Depthwise k x k and 1x1 convolutions from C to n C channels; n = 1 is done as two, more as one dense one."""

    def __init__(
        self, channels: int, kernel: int, stride: Literal[1, 2], *, dilation: int = 1, copies: int = 1
    ) -> None:
        super().__init__()
        self.copies = copies
        self.depthwise = _depthwise(copies * channels, kernel, stride, dilation)
        self.pointwise = nn.Conv2d(copies * channels, copies * channels, 1, groups=copies, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, n C, H / stride, W / stride]."""
        if self.copies == 1:
            alone: Tensor = self.pointwise(self.depthwise(inputs))
            return alone
        depthwise = self.depthwise
        side = depthwise.kernel_size
        kernels = depthwise.weight.view(self.copies, 1, -1, *side)  # (n, 1, C, k, k)
        mixes = self.pointwise.weight.view(self.copies, -1, kernels.shape[2], 1, 1)  # (n, C, C, 1, 1)
        dense = (mixes * kernels).flatten(0, 1)  # (n C, C, k, k)
        return conv2d(inputs, dense, None, depthwise.stride, depthwise.padding, depthwise.dilation)


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions of stride 2 (the second begins a pixel further on), BatchNorm: halves the image.

    Each makes half of the channels; the image is padded at its end to even sides, so that both see as many pixels.
    Pixels are taken first and convolved then: oneDNN's backward pass of a strided 1x1 convolution writes past its
    memory where pixels lie channels last and there are fewer than 16 (uxlfoundation/oneDNN, issue 6035).
    """

    def __init__(self, incoming: int, outgoing: int, *, affine: bool, copies: int = 1) -> None:
        super().__init__()
        self.copies = copies
        even = outgoing // 2
        self.even = nn.Conv2d(incoming, copies * even, 1, bias=False)
        self.odd = nn.Conv2d(incoming, copies * (outgoing - even), 1, bias=False)
        self.norm = nn.BatchNorm2d(copies * outgoing, affine=affine)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [B, incoming, H, W] to [B, n outgoing, H / 2, W / 2], sides rounded up."""
        active = inputs.relu()
        height, width = active.shape[2:]
        if height % 2 or width % 2:
            active = pad(active, (0, width % 2, 0, height % 2))
        halves = [self.even(active[:, :, ::2, ::2]), self.odd(active[:, :, 1::2, 1::2])]
        if self.copies > 1:
            halves = [half.view(len(half), self.copies, -1, *half.shape[2:]) for half in halves]
        normed: Tensor = self.norm(torch.cat(halves, dim=-3).flatten(1, -3))
        return normed


def _depthwise(channels: int, kernel: int, stride: int, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)


def _pool(name: str, channels: int, stride: int, *, normalised: bool) -> nn.Module:
    """Return 3x3 pooling; an average counts no pixel of the padding."""
    average = name == "avg_pool_3x3"
    pool = nn.AvgPool2d(3, stride, 1, count_include_pad=False) if average else nn.MaxPool2d(3, stride, 1)
    return nn.Sequential(pool, nn.BatchNorm2d(channels, affine=False)) if normalised else pool
