"""The evaluation network of DARTS: published sizes, cells written out, auxiliary head, drop path."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tolerances import of_share
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

from raysubset.errors import ModelError, OptionsError
from raysubset.models.head import last_linear
from raysubset.models.init import seeded
from raysubset.nas import darts_network
from raysubset.nas.darts_network import DartsNetwork, auxiliary_loss, drop_path
from raysubset.nas.genotype import DARTS_V1, DARTS_V2, Genotype
from raysubset.training.loop import train_epoch
from raysubset.training.recipe import Recipe

# Origin: Chen et al., 2019, P-DARTS, genotypes.py of github.com/chenxin061/pdarts.
PDARTS = Genotype.parse(
    "Genotype(normal=[('skip_connect', 0), ('dil_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3', 0), ('dil_conv_5x5', 4)], "
    "normal_concat=range(2, 6), reduce=[('avg_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_3x3', 0), "
    "('dil_conv_5x5', 2), ('max_pool_3x3', 0), ('dil_conv_3x3', 1), ('dil_conv_3x3', 1), ('dil_conv_5x5', 3)], "
    "reduce_concat=range(2, 6))"
)
SKIPS = Genotype.parse(
    "normal " + "skip_connect~0+skip_connect~1 " * 4 + "reduce " + "max_pool_3x3~0+skip_connect~1 " * 4
)


def small(
    genotype: Genotype = DARTS_V2, shape: tuple[int, ...] = (3, 8, 8), cells: int = 3, drop_path: float = 0.2,
    auxiliary: bool = True, seed: int = 0,
) -> DartsNetwork:  # fmt: skip
    with seeded(seed):
        return DartsNetwork(genotype, 5, shape, 4, cells, auxiliary, drop_path)


def batch(shape: tuple[int, ...] = (3, 8, 8), rows: int = 6) -> tuple[Tensor, Tensor]:
    with seeded(99):
        return torch.randn(rows, *shape), torch.randint(0, 5, (rows,))


def parameters(genotype: Genotype, auxiliary: bool, channels: int = 36, cells: int = 20) -> int:
    with torch.device("meta"):  # counts need no memory
        network = DartsNetwork(genotype, 10, (3, 32, 32), channels, cells, auxiliary)
    return sum(parameter.numel() for parameter in network.parameters())


def counted_by_hand(genotype: Genotype, C: int, L: int) -> int:
    """Convolutions k k / groups c_in c_out, two per BatchNorm channel; without auxiliary head."""
    two_ago = one_ago = 3 * C
    total = 27 * one_ago + 2 * one_ago
    for position in range(L):
        halves = position in (L // 3, 2 * L // 3)
        C *= 2 if halves else 1
        total += (two_ago + one_ago) * C + 4 * C  # a factorized reduction weighs as much as a 1x1 convolution
        for op, source in genotype.reduce if halves else genotype.normal:
            k = int(op[-1]) if op[-1].isdigit() else 0
            if op.startswith("sep_conv"):
                total += 2 * (k * k * C + C * C + 2 * C)
            elif op.startswith("dil_conv"):
                total += k * k * C + C * C + 2 * C
            elif op == "skip_connect" and halves and source < 2:
                total += C * C + 2 * C
        two_ago, one_ago = one_ago, 4 * C
    return total + one_ago * 10 + 10


# Origins, 36 channels, 20 cells, CIFAR-10: "param size = 3.349342MB" is what train.py of github.com/quark0/darts
# prints for DARTS_V2 (without auxiliary head); P-DARTS without and with: github.com/chenxin061/pdarts, issue 7.
# DARTS_V1 was found printed nowhere: counted by hand here.
@pytest.mark.parametrize(
    ("genotype", "auxiliary", "published"),
    [
        (DARTS_V2, False, 3_349_342),
        (PDARTS, False, 3_433_798),
        (PDARTS, True, 3_910_224),
        (DARTS_V1, False, 3_169_414),
    ],
)
def test_parameters_of_published_genotypes(genotype: Genotype, auxiliary: bool, published: int) -> None:
    assert parameters(genotype, auxiliary) == published
    if not auxiliary:
        assert counted_by_hand(genotype, 36, 20) == published


@pytest.mark.parametrize("cells", [1, 2, 3, 6])
@pytest.mark.parametrize("genotype", [DARTS_V1, DARTS_V2, PDARTS, SKIPS])
def test_parameters_counted_by_hand(genotype: Genotype, cells: int) -> None:
    assert parameters(genotype, False, 8, cells) == counted_by_hand(genotype, 8, cells)


@pytest.mark.parametrize("cells", [1, 3])
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 28, 28), (2, 8, 11)])
def test_logits_in_both_modes(shape: tuple[int, ...], cells: int) -> None:
    network, (inputs, targets) = small(PDARTS, shape, cells), batch(shape)
    logits = network(inputs)
    assert logits.shape == network.take_auxiliary_logits().shape == (6, 5)
    loss = auxiliary_loss(network)
    loss(network(inputs), targets).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(network(inputs)[1:3], network(inputs[1:3]))


class Times(nn.Module):
    """Stands in for an operation: multiplies, and halves the image."""

    def __init__(self, factor: float, stride: int) -> None:
        super().__init__()
        self.factor, self.stride = factor, stride

    def forward(self, inputs: Tensor) -> Tensor:
        return self.factor * inputs[:, :, :: self.stride, :: self.stride]


@pytest.mark.parametrize(("position", "stride"), [(0, 1), (1, 2)])
def test_a_cell_wires_its_pairs(position: int, stride: int) -> None:
    cell = small(PDARTS).cells[position]
    primes = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0]
    sources = [0, 1, 0, 1, 1, 3, 0, 4] if position == 0 else [0, 1, 0, 2, 0, 1, 1, 3]
    cell.first, cell.second = nn.Identity(), nn.Identity()
    cell.operations = nn.ModuleList(
        Times(prime, stride if source < 2 else 1) for prime, source in zip(primes, sources, strict=True)
    )
    a, b = torch.full((1, 1, 2, 2), 1.0), torch.full((1, 1, 2, 2), 100.0)
    if position == 0:
        n2, n3 = 2 * a + 3 * b, 5 * a + 7 * b
        n4 = 11 * b + 13 * n3
        n5 = 17 * a + 19 * n4
    else:
        n2 = 2 * a + 3 * b
        n3 = 5 * a + 7 * n2
        n4 = 11 * a + 13 * b
        n5 = 17 * b + 19 * n3
    expected = torch.cat((n2, n3, n4, n5), dim=1)[:, :, ::stride, ::stride]
    torch.testing.assert_close(cell(a, b, 0.0), expected)


def test_reductions_halve_the_image_and_double_the_channels() -> None:
    network, (inputs, _) = small(shape=(3, 16, 16), cells=6), batch((3, 16, 16))
    before_last = last = network.stem(inputs)
    shapes = []
    for cell in network.cells:
        before_last, last = last, cell(before_last, last, 0.0)
        shapes.append(tuple(last.shape[1:]))
    assert shapes == [(16, 16, 16)] * 2 + [(32, 8, 8)] * 2 + [(64, 4, 4)] * 2


def test_auxiliary_head_sees_the_published_windows_at_8x8() -> None:
    head = small().auxiliary
    assert head is not None
    with seeded(3):
        maps = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(head[1](maps), avg_pool2d(maps, 5, stride=3))
    for height, width in ((7, 7), (4, 4), (2, 3), (16, 5)):
        corners = head[1](torch.arange(float(height * width)).reshape(1, 1, height, width))[0, 0]
        assert corners.shape == (2, 2)
        assert corners.sum().item() == pytest.approx(4 * (height * width - 1) / 2)  # the four lie symmetrically


def test_auxiliary_logits_come_from_two_thirds_of_the_way() -> None:
    network, (inputs, _) = small(cells=6), batch()
    seen: list[Tensor] = []
    assert network.auxiliary is not None
    network.auxiliary.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    made: list[Tensor] = []
    network.cells[4].register_forward_hook(lambda _, __, out: made.append(out))
    network(inputs)
    assert seen[0] is made[0]
    torch.testing.assert_close(network.auxiliary(made[0]), network.take_auxiliary_logits())


def test_auxiliary_loss_written_out() -> None:
    network, (inputs, targets) = small(drop_path=0.0), batch()
    logits = network(inputs)
    auxiliary = network._auxiliary_logits
    assert auxiliary is not None
    losses = auxiliary_loss(network, label_smoothing=0.1)(logits, targets)
    expected = [
        cross_entropy(logits[i : i + 1], targets[i : i + 1], label_smoothing=0.1)
        + 0.4 * cross_entropy(auxiliary[i : i + 1], targets[i : i + 1], label_smoothing=0.1)
        for i in range(len(targets))
    ]
    torch.testing.assert_close(losses, torch.stack(expected))
    assert (losses > cross_entropy(logits, targets, reduction="none")).all()


def test_the_head_is_of_training_alone() -> None:
    network, (inputs, targets) = small(), batch()
    network.train()
    network(inputs)
    network.eval()
    logits = network(inputs)
    with pytest.raises(ModelError, match="no auxiliary logits"):  # those of the pass before are forgotten
        network.take_auxiliary_logits()
    torch.testing.assert_close(
        auxiliary_loss(network)(logits, targets), cross_entropy(logits, targets, reduction="none")
    )


@pytest.mark.slow
def test_the_ordinary_loop_trains_both_heads() -> None:
    network, (inputs, targets) = small(drop_path=0.0), batch()
    seen: list[Tensor] = []
    rows = SimpleNamespace(inputs=inputs, targets=targets, index=np.arange(6), weight=torch.ones(6), part=None)
    observer = SimpleNamespace(observe=lambda index, logits, targets, losses: seen.append(logits))
    before = [parameter.detach().clone() for parameter in network.parameters()]
    expected = copy.deepcopy(network)(inputs)
    result = train_epoch(
        network, [rows], torch.optim.SGD(network.parameters(), lr=0.1), Recipe(epochs=1), epoch=0,
        progress=lambda samples: 0.0, rng_seed=1, observer=observer, loss=auxiliary_loss(network),
    )  # fmt: skip
    assert result.samples == 6
    torch.testing.assert_close(seen[0], expected.detach())  # selection sees the main classifier's logits
    moved = [not old.equal(new) for old, new in zip(before, network.parameters(), strict=True)]
    assert all(moved)


def test_logits_are_taken_once() -> None:
    network, (inputs, targets) = small(), batch()
    logits = network(inputs)
    loss = auxiliary_loss(network)
    loss(logits, targets)
    with pytest.raises(ModelError, match="need auxiliary=True"):
        loss(logits, targets)
    without = small(auxiliary=False)
    with pytest.raises(ModelError, match="need auxiliary=True"):
        auxiliary_loss(without)(without(inputs), targets)


def test_a_network_with_logits_nobody_took_can_be_copied_and_pickled() -> None:
    network, (inputs, _) = small(), batch()
    network(inputs)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(other.eval()(inputs), network.eval()(inputs))


def test_selection_reads_the_input_of_the_main_classifier() -> None:
    network = small()
    assert last_linear(network, 5) is network.classifier
    assert sum(isinstance(module, nn.Linear) for module in network.modules()) == 2


def test_drop_path_zeroes_samples_and_keeps_the_mean() -> None:
    with seeded(11):
        dropped = drop_path(torch.full((20_000, 2, 1, 1), 3.0), 0.3)
    kept = dropped[:, 0, 0, 0] != 0
    assert dropped[:, 0].equal(dropped[:, 1])  # all channels of a sample together
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 3 / 0.7))
    assert abs(kept.double().mean().item() - 0.7) < of_share(0.7, 20_000)


def test_probability_grows_with_progress_and_spares_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []

    def spy(values: Tensor, probability: float) -> Tensor:
        calls.append(probability)
        return values

    monkeypatch.setattr(darts_network, "drop_path", spy)
    network, (inputs, _) = small(SKIPS, drop_path=0.4), batch()
    network(inputs)
    assert calls == []  # nothing before the first set_progress
    network.set_progress(0.25)
    network(inputs)
    # of three cells one is normal: identities; in the others pools and factorized reductions, eight each
    assert calls == [pytest.approx(0.1)] * 16
    network.set_progress(1.0)
    network(inputs)
    assert calls[16:] == [pytest.approx(0.4)] * 16
    network.eval()
    network(inputs)
    assert len(calls) == 32


def test_drop_path_draws_from_the_global_generator() -> None:
    network, (inputs, _) = small(), batch()
    network.set_progress(1.0)

    def logits(seed: int) -> Tensor:
        with seeded(seed), torch.no_grad():
            return network(inputs)  # type: ignore[no-any-return]

    assert logits(1).equal(logits(1))
    assert not logits(1).equal(logits(2))
    network.set_progress(0.0)
    assert logits(1).equal(logits(2))


def test_same_seed_same_weights() -> None:
    assert all(a.equal(b) for a, b in zip(small(seed=4).parameters(), small(seed=4).parameters(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"input_shape": (3, 7, 32)}, r"darts: image of 7x32, need at least 8x8"),
        ({"input_shape": (64,)}, r"need \(channels, height, width\)"),
        ({"channels": 0, "cells": -1}, r"channels=0, need at least 1; cells=-1, need at least 1"),
        ({"drop_path": 1.0}, r"drop_path=1.0, need \[0, 1\)"),
        ({"drop_path": float("nan")}, r"drop_path=nan"),
    ],
)
def test_says_what_is_out_of_range(arguments: dict[str, object], said: str) -> None:
    options: dict[str, object] = {"num_classes": 10, "input_shape": (3, 32, 32), "channels": 4, "cells": 3}
    with pytest.raises(OptionsError, match=said):
        DartsNetwork(DARTS_V2, **(options | arguments))  # type: ignore[arg-type]


@pytest.mark.parametrize("progress", [-0.1, 1.01, float("nan")])
def test_progress_is_a_share(progress: float) -> None:
    with pytest.raises(OptionsError, match=r"need \[0, 1\]"):
        small().set_progress(progress)
