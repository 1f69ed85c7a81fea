"""Operations of the DARTS space against convolutions written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d

from raysubset.models.init import seeded
from raysubset.nas.darts_operations import FactorizedReduce, Separable, operation, relu_conv_bn
from raysubset.nas.genotype import OPS

CHOSEN = [op for op in OPS if op != "none"]
WEIGHTED = [op for op in CHOSEN if "pool" not in op]
SHAPE = {"sep_conv_3x3": (3, 1), "sep_conv_5x5": (5, 1), "dil_conv_3x3": (3, 2), "dil_conv_5x5": (5, 2)}


def images(channels: int, side: int = 8, batch: int = 3) -> Tensor:
    with seeded(7):
        return torch.randn(batch, channels, side, side, dtype=torch.float64)


def normed(values: Tensor) -> Tensor:
    """BatchNorm of a batch, without scale and shift."""
    mean = values.mean(dim=(0, 2, 3), keepdim=True)
    spread = (values - mean).square().mean(dim=(0, 2, 3), keepdim=True)
    return (values - mean) / (spread + 1e-5).sqrt()


def apart(module: nn.Module, copies: int) -> list[list[Tensor]]:
    """The weights of each copy, in the order in which the module has them."""
    weights = [parameter.detach() for parameter in module.parameters()]
    return [[weight.tensor_split(copies)[copy] for weight in weights] for copy in range(copies)]


def depthwise_then_1x1(inputs: Tensor, depthwise: Tensor, pointwise: Tensor, stride: int, dilation: int) -> Tensor:
    """A channel at a time, then every output as a weighted sum of the channels."""
    side = depthwise.shape[-1]
    channels = [
        conv2d(inputs[:, c : c + 1], depthwise[c : c + 1], stride=stride, padding=dilation * (side // 2),
               dilation=dilation)
        for c in range(len(depthwise))
    ]  # fmt: skip
    return torch.cat(
        [sum(pointwise[o, c] * one for c, one in enumerate(channels)) for o in range(len(pointwise))], 1
    )


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (3, 2), (5, 2)])
def test_separable_is_depthwise_then_1x1_of_each_copy(
    kernel: int, dilation: int, stride: int, copies: int
) -> None:
    with seeded(0):
        module = Separable(4, kernel, stride, dilation=dilation, copies=copies).double()  # type: ignore[arg-type]
    inputs = images(4)
    expected = [depthwise_then_1x1(inputs, *weights, stride, dilation) for weights in apart(module, copies)]
    torch.testing.assert_close(module(inputs), torch.cat(expected, dim=1))


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", SHAPE)
def test_convolutions_written_out(name: str, stride: int, copies: int) -> None:
    with seeded(1):
        module = operation(name, 3, stride, affine=False, copies=copies).double()  # type: ignore[arg-type]
    inputs, dilation = images(3), SHAPE[name][1]
    expected = []
    for weights in apart(module, copies):
        out = normed(depthwise_then_1x1(inputs.relu(), weights[0], weights[1], stride, dilation))
        if name.startswith("sep_conv"):
            out = normed(depthwise_then_1x1(out.relu(), weights[2], weights[3], 1, 1))
        expected.append(out)
    assert all(len(weights) == (4 if name.startswith("sep") else 2) for weights in apart(module, copies))
    torch.testing.assert_close(module(inputs), torch.cat(expected, dim=1))


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("channels", [4, 3])  # an odd number is split 1 and 2
def test_factorized_reduce_takes_every_other_pixel_twice(channels: int, copies: int) -> None:
    with seeded(2):
        module = FactorizedReduce(2, channels, affine=False, copies=copies).double()
    inputs = images(2)
    active = inputs.clamp(min=0)
    expected = []
    for even, odd in apart(module, copies):
        assert (len(even), len(odd)) == (channels // 2, channels - channels // 2)
        first = torch.einsum("oc,bchw->bohw", even[:, :, 0, 0], active[:, :, 0::2, 0::2])
        second = torch.einsum("oc,bchw->bohw", odd[:, :, 0, 0], active[:, :, 1::2, 1::2])
        expected.append(normed(torch.cat((first, second), dim=1)))
    torch.testing.assert_close(module(inputs), torch.cat(expected, dim=1))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("side", [8, 7, 2, 1])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", CHOSEN)
def test_shapes(name: str, stride: int, side: int, affine: bool) -> None:
    module = operation(name, 4, stride, affine=affine).double()  # type: ignore[arg-type]
    half = side if stride == 1 else -(-side // 2)
    assert module(images(4, side)).shape == (3, 4, half, half)


@pytest.mark.parametrize("name", CHOSEN)
def test_copies_differ_only_if_they_have_weights(name: str) -> None:
    for stride in (1, 2):
        made = operation(name, 4, stride, affine=False, copies=3).double()(images(4))  # type: ignore[arg-type]
        shared = "pool" in name or (name == "skip_connect" and stride == 1)
        assert made.shape[1] == (4 if shared else 12)


# Counted by hand at 8 channels: depthwise 8 k k, 1x1 64, BatchNorm 16; a factorized reduction has 2 * 8 * 4.
@pytest.mark.parametrize(
    ("name", "stride", "weights", "norms"),
    [
        ("max_pool_3x3", 1, 0, 0),
        ("avg_pool_3x3", 2, 0, 0),
        ("skip_connect", 1, 0, 0),
        ("skip_connect", 2, 64, 16),
        ("sep_conv_3x3", 1, 2 * (72 + 64), 32),
        ("sep_conv_5x5", 2, 2 * (200 + 64), 32),
        ("dil_conv_3x3", 2, 72 + 64, 16),
        ("dil_conv_5x5", 1, 200 + 64, 16),
    ],
)
def test_parameters_counted_by_hand(name: str, stride: int, weights: int, norms: int) -> None:
    for affine, expected in ((True, weights + norms), (False, weights)):
        module = operation(name, 8, stride, affine=affine)  # type: ignore[arg-type]
        assert sum(parameter.numel() for parameter in module.parameters()) == expected
    copied = operation(name, 8, stride, affine=False, copies=3)  # type: ignore[arg-type]
    assert sum(parameter.numel() for parameter in copied.parameters()) == 3 * weights


def test_an_average_counts_no_padding() -> None:
    ones = torch.ones(1, 1, 4, 4)
    assert operation("avg_pool_3x3", 1, 1, affine=True)(ones).eq(1).all()
    corner = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert operation("avg_pool_3x3", 1, 2, affine=True)(corner)[0, 0, 0, 0] == (0 + 1 + 4 + 5) / 4
    assert operation("max_pool_3x3", 1, 2, affine=True)(-1 - corner)[0, 0, 0, 0] == -1  # padding is no maximum


def test_pools_are_normalised_in_a_search_alone() -> None:
    inputs = 100 + images(2)
    for name in ("max_pool_3x3", "avg_pool_3x3"):
        plain = operation(name, 2, 1, affine=True).double()(inputs)
        assert plain.mean() > 90
        torch.testing.assert_close(operation(name, 2, 1, affine=False).double()(inputs), normed(plain))


@pytest.mark.parametrize("name", CHOSEN)
def test_the_input_is_left_as_it_was(name: str) -> None:
    for stride, copies in ((1, 1), (2, 2)):
        inputs = images(4)
        kept = inputs.clone()
        operation(name, 4, stride, affine=False, copies=copies).double()(inputs)  # type: ignore[arg-type]
        assert inputs.equal(kept)


def test_an_input_is_brought_to_the_cells_channels() -> None:
    with seeded(3):
        module = relu_conv_bn(4, 6, affine=True).double()
    inputs = images(4)
    weight = next(module.parameters()).detach()
    mixed = torch.einsum("oc,bchw->bohw", weight[:, :, 0, 0], inputs.clamp(min=0))
    torch.testing.assert_close(module(inputs), batch_norm(mixed, None, None, training=True))
    assert sum(parameter.numel() for parameter in module.parameters()) == 24 + 12


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_begin_alike_whether_alone_or_side_by_side(name: str) -> None:
    def spreads(copies: int) -> list[float]:
        with seeded(4):
            module = operation(name, 64, 2, affine=False, copies=copies)
        return [parameter.abs().max().item() for parameter in module.parameters()]

    # uniform in +-1 / sqrt(fan-in), thousands of draws: the greatest is within 1 % of the bound
    assert spreads(1) == pytest.approx(spreads(3), rel=0.02)
