"""Shapes and sizes of the built-in networks."""

from __future__ import annotations

import pytest
import torch

from raysubset.errors import OptionsError
from raysubset.models.catalog import build_model, model_names
from raysubset.models.resnet import PadShortcut

# Origin: ASP, table 7 (appendix E.2), "Params(M)" at CIFAR-10, which lists thousands, cut off or rounded.
ASP_TABLE_7 = {
    "resnet18": 11_173,
    "resnet34": 21_282,
    "resnet101": 42_512,
    "resnet20": 269,
    "resnet44": 658,
    "resnet56": 853,
}

# Origin: counted by hand, layer by layer, at 3x32x32 and 10 classes (weights of convolutions k k c_in c_out, two
# per BatchNorm channel, linear c_in c_out + c_out). For the thin family, n blocks a stage:
#   432 + 32 + n (2 (16 16 9) + 64) + [4608 + 9216 + 128 + (n - 1)(18432 + 128)]
#   + [18432 + 36864 + 256 + (n - 1)(73728 + 256)] + 650
EXACT = {
    "resnet8": 75_290,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "resnet101": 42_512_970,
    "lenet": 62_006,  # 456 + 2,416 + 48,120 + 10,164 + 850
    "mlp": 411_146,  # 3072 128 + 128 + 128 128 + 128 + 128 10 + 10
}


def parameters(name: str, shape: tuple[int, ...] = (3, 32, 32), classes: int = 10) -> int:
    with torch.device("meta"):  # counts need no memory
        model = build_model(name, num_classes=classes, input_shape=shape, seed=0)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.slow
def test_every_model_has_the_parameters_counted_by_hand() -> None:
    assert set(EXACT) == set(model_names())
    assert {name: parameters(name) for name in EXACT} == EXACT


@pytest.mark.slow
def test_counts_match_the_published_table() -> None:
    for name, thousands in ASP_TABLE_7.items():
        assert abs(parameters(name) / 1000 - thousands) < 1, name


def test_lenet_on_mnist_is_the_classic_one() -> None:
    assert parameters("lenet", (1, 28, 28)) == 156 + 2_416 + 48_120 + 10_164 + 850  # = 61,706


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet", "mlp", "resnet8", "resnet20", "resnet18", "resnet50"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 16, 16), (2, 17, 40)])
def test_logits_have_one_row_a_sample(name: str, shape: tuple[int, ...]) -> None:
    model = build_model(name, num_classes=7, input_shape=shape, seed=0)
    logits = model(torch.zeros(2, *shape))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


def test_mlp_takes_feature_vectors() -> None:
    assert build_model("mlp", num_classes=3, input_shape=(5,), seed=0)(torch.zeros(4, 5)).shape == (4, 3)


@pytest.mark.parametrize(("name", "shape", "said"), [
    ("lenet", (1, 15, 28), "15x28, need at least 16x16"),
    ("lenet", (784,), r"\(784,\), need \(channels, height, width\)"),
    ("resnet8", (28, 28), r"\(28, 28\), need \(channels, height, width\)"),
    ("resnet8", (3, 0, 32), r"\(3, 0, 32\), need"),
])  # fmt: skip
def test_says_which_input_it_needs(name: str, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        build_model(name, num_classes=10, input_shape=shape, seed=0)


@pytest.mark.slow
def test_resnet_halves_the_image_twice_or_three_times() -> None:
    image = torch.zeros(1, 3, 32, 32)
    for name, shape in (("resnet8", (1, 64, 8, 8)), ("resnet18", (1, 512, 4, 4)), ("resnet50", (1, 2048, 4, 4))):
        model = build_model(name, num_classes=10, input_shape=(3, 32, 32), seed=0)
        assert model.blocks(model.stem(image)).shape == shape


def test_resnet_starts_with_kaiming_weights() -> None:
    model = build_model("resnet20", num_classes=10, input_shape=(3, 32, 32), seed=0)
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    widening = next(m for m in convolutions if (m.in_channels, m.out_channels) == (32, 64))
    # fan-out 64 3 3, fan-in half of it; 18,432 draws, so 3 % is 6 standard errors
    assert widening.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)


def test_pad_shortcut_keeps_even_pixels_and_adds_silent_channels() -> None:
    image = torch.arange(2 * 4 * 4, dtype=torch.float32).reshape(1, 2, 4, 4)
    out = PadShortcut(2, 4, 2)(image)
    assert out.shape == (1, 4, 2, 2)
    assert out[0, :, 0, 1].tolist() == [0.0, 2.0, 18.0, 0.0]
    assert out[0, 1].tolist() == [[0.0, 2.0], [8.0, 10.0]]
