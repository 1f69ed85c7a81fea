"""The network of a NAS-Bench-101 cell: channels, parameters and outputs against the definition, written again."""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from tolerances import AUTOGRAD, PROPERTY
from torch import Tensor, nn
from torch.nn import functional

from raysubset.errors import OptionsError
from raysubset.models.catalog import build_model
from raysubset.models.head import last_linear
from raysubset.nas.cell101 import OPS, Cell101
from raysubset.nas.network101 import PAPER_SIZE, CellModule, MaxPool, network101, parameter_count, vertex_channels
from raysubset.nas.space import NetworkSize
from raysubset.nas.space101 import Space101
from raysubset.seeds import generator

C3, C1, MP = OPS
SMALL = NetworkSize(channels=7, cells=1)

# Origin: the benchmark's documentation: the first record of its file and the cell of its README (notebook output
# "trainable_parameters: 2694282").
DOCUMENTED = {
    f"{C3}~0+{MP}~1+{C3}~2+{C3}~0+{C1}~0~3~4+output~2~5": 8_555_530,
    f"{C3}~0+{C1}~0+{MP}~0+{C3}~0+{C3}~4+output~1~2~3~5": 2_694_282,
}
# Origin: counted by the provider of a list of 2,020 cells; a few of each kind.
COUNTED = {
    f"{C1}~0+{MP}~1+{MP}~2+{MP}~3+{MP}~0~3~4+output~4~5": 1_143_306,
    f"{C3}~0+{MP}~0+{C3}~2+{MP}~1~2~3+output~1~3~4": 2_669_881,
    f"{C1}~0+{C3}~1+{C3}~2+output~0~3": 21_384_074,
    f"{C3}~0+{MP}~0~1+{MP}~0~1~2+output~0~1~3": 4_518_282,
}

# Origin: nasbench/tests/model_builder_test.py: edges, incoming, outgoing -> channels of every vertex.
CHANNELS = [
    ("01 12 23", 8, 16, (8, 16, 16, 16)),
    ("01", 1, 5, (1, 5)),
    ("01 02 13 23 34", 16, 8, (16, 8, 8, 8, 8)),
    ("01 02 13 23", 8, 15, (8, 8, 7, 15)),
    ("01 02 03 14 24 34", 8, 8, (8, 3, 3, 2, 8)),
    ("01 02 03 14 24 34", 8, 15, (8, 5, 5, 5, 15)),
    ("01 12 13 24 34", 8, 9, (8, 5, 5, 4, 9)),
    ("01 03 12 14 23 34", 8, 15, (8, 8, 7, 7, 15)),
]


def cell_of(edges: str) -> Cell101:
    pairs = [(int(pair[0]), int(pair[1])) for pair in edges.split()]
    last = max(target for _, target in pairs)
    matrix = [[int((s, t) in pairs) for t in range(last + 1)] for s in range(last + 1)]
    return Cell101.of(matrix, ["input", *[C3] * (last - 1), "output"])


@st.composite
def cells(draw: st.DrawFn) -> Cell101:
    return Space101().draw(generator(draw(st.integers(0, 10_000)), "cells"))


def size_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def on_meta(cell: Cell101, classes: int, shape: tuple[int, ...], size: NetworkSize) -> nn.Module:
    with torch.device("meta"):  # counts need no memory
        return network101(cell, classes, shape, size)


# ---------------------------------------------------------------------- channels


@pytest.mark.parametrize(("edges", "incoming", "outgoing", "known"), CHANNELS)
def test_channels_are_the_benchmarks(edges: str, incoming: int, outgoing: int, known: tuple[int, ...]) -> None:
    assert vertex_channels(cell_of(edges), incoming, outgoing) == known


@PROPERTY
@given(cells(), st.integers(1, 20), st.integers(5, 40))
def test_channels_follow_their_definition(cell: Cell101, incoming: int, outgoing: int) -> None:
    found = vertex_channels(cell, incoming, outgoing)
    last = len(cell.ops) - 1
    feeding = [v for v in range(1, last) if cell.matrix[v][last]]

    @cache
    def wide(vertex: int) -> int:
        if vertex in feeding:  # dealt out one by one, as cards
            return sum(1 for card in range(outgoing) if feeding[card % len(feeding)] == vertex)
        return max(wide(after) for after in range(vertex + 1, last) if cell.matrix[vertex][after])

    assert found == (incoming, *(wide(v) for v in range(1, last)), outgoing)
    assert all(found[s] >= found[t] for s, t in cell.edges if s > 0 and t < last), "cutting never has to add"


def test_too_few_channels() -> None:
    five = cell_of("01 02 03 04 16 26 36 46")
    assert vertex_channels(five, 9, 4) == (9, 1, 1, 1, 1, 4)
    with pytest.raises(OptionsError, match="3 channels cannot be divided among the 4 vertices .* at least 4"):
        network101(five, 10, (3, 8, 8), NetworkSize(channels=3, cells=1))
    with pytest.raises(OptionsError, match="0 channels .* at least 1"):
        parameter_count(Cell101.parse("output~0"), size=NetworkSize(channels=0, cells=1))


# ---------------------------------------------------------------------- parameters


@pytest.mark.parametrize(("name", "known"), list((DOCUMENTED | COUNTED).items()))
def test_parameters_are_the_benchmarks(name: str, known: int) -> None:
    assert parameter_count(Cell101.parse(name)) == known


def test_the_documented_networks_have_as_many() -> None:
    for name, known in DOCUMENTED.items():
        assert size_of(on_meta(Cell101.parse(name), 10, (3, 32, 32), PAPER_SIZE)) == known


@PROPERTY
@given(cells(), st.integers(5, 12), st.integers(1, 2), st.integers(1, 3))
def test_counting_is_what_building_gives(cell: Cell101, channels: int, per_stack: int, colours: int) -> None:
    size = NetworkSize(channels, per_stack)
    assert size_of(on_meta(cell, 4, (colours, 8, 8), size)) == parameter_count(cell, 4, colours, size)


def test_every_count_of_the_file_of_cells() -> None:
    path = Path(os.environ.get("RAYSUBSET_DATA", "")) / "nasbench101" / "cells.parquet"
    if not path.is_file():
        pytest.skip("$RAYSUBSET_DATA/nasbench101/cells.parquet is not there")
    rows = parquet.read_table(path).to_pylist()
    counts = [parameter_count(Cell101.of(row["adjacency"], row["ops"])) for row in rows]
    assert len(rows) == 2_020
    assert counts == [row["params"] for row in rows]


# ---------------------------------------------------------------------- what it computes


def recursive_output(module: CellModule, cell: Cell101, inputs: Tensor) -> Tensor:
    """A cell's output from its weights and the definition, vertex by vertex from the end."""
    last = len(cell.ops) - 1
    channels = vertex_channels(cell, inputs.shape[1], inputs.shape[1])
    state = module.state_dict()

    def conv_bn_relu(name: str, values: Tensor) -> Tensor:
        weight = state[f"{name}.0.weight"]
        values = functional.conv2d(values, weight, padding=weight.shape[-1] // 2)
        mean, variance = values.mean((0, 2, 3), keepdim=True), values.var((0, 2, 3), correction=0, keepdim=True)
        scale, shift = (state[f"{name}.1.{part}"][:, None, None] for part in ("weight", "bias"))
        return ((values - mean) / (variance + 1e-5).sqrt() * scale + shift).clamp(min=0)

    @cache
    def value(vertex: int) -> Tensor:
        entering = [value(s)[:, : channels[vertex]] for s in range(1, vertex) if cell.matrix[s][vertex]]
        if cell.matrix[0][vertex]:
            entering.append(conv_bn_relu(f"projections.{vertex}", inputs))
        total = torch.stack(entering).sum(0)
        if cell.ops[vertex] != MP:
            return conv_bn_relu(f"ops.{vertex}", total)
        padded = functional.pad(total, (1, 1, 1, 1), value=-torch.inf)
        return padded.unfold(2, 3, 1).unfold(3, 3, 1).amax((-1, -2))

    parts = [value(v) for v in range(1, last) if cell.matrix[v][last]]
    direct = [conv_bn_relu(f"projections.{last}", inputs)] if cell.matrix[0][last] else []
    return sum([torch.cat(parts, 1)] if parts else [], start=sum(direct, start=torch.zeros(())))


@PROPERTY
@given(cells(), st.integers(5, 9))
def test_a_cell_computes_what_its_definition_says(cell: Cell101, channels: int) -> None:
    torch.manual_seed(0)
    module = CellModule(cell, channels, channels)
    inputs = torch.randn(3, channels, 5, 4)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    assert torch.allclose(module(inputs), recursive_output(module, cell, inputs), rtol=AUTOGRAD, atol=AUTOGRAD)


def test_the_stacks_halve_the_image_and_double_the_channels() -> None:
    network = build_model(
        partial(network101, Cell101.parse(next(iter(DOCUMENTED))), size=NetworkSize(8, 2)),
        num_classes=4,
        input_shape=(3, 9, 6),
        seed=0,
    )
    shapes: list[tuple[int, ...]] = []
    for module in network.modules():
        if isinstance(module, CellModule):
            module.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    assert network(torch.zeros(2, 3, 9, 6)).shape == (2, 4)
    assert shapes == [(8, 9, 6)] * 2 + [(16, 5, 3)] * 2 + [(32, 3, 2)] * 2, "half, rounded up"


def test_logits_come_from_the_last_linear_layer() -> None:
    network = network101(Cell101.parse(f"{C3}~0+output~0~1"), 6, (1, 8, 8), SMALL)
    network.eval()
    images = torch.randn(2, 1, 8, 8)
    seen: list[Tensor] = []
    last_linear(network, 6).register_forward_hook(lambda _, given, out: seen.extend([given[0], out]))
    logits = network(images)
    assert torch.equal(logits, seen[1])
    features = network.cells(network.stem(images))
    assert torch.allclose(seen[0], features.flatten(2).mean(2), rtol=AUTOGRAD)


@pytest.mark.parametrize("name", ["output~0", f"{C3}~0+output~1", *DOCUMENTED])
def test_every_weight_learns(name: str) -> None:
    builder = partial(network101, Cell101.parse(name), size=SMALL)
    network = build_model(builder, num_classes=3, input_shape=(3, 8, 8), seed=1)
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))  # of others a ReLU may die
    functional.cross_entropy(network(images), torch.tensor([0, 1, 2] * 2)).backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


def test_numbers_of_the_benchmark() -> None:
    """BatchNorm and initial weights: variance 1 / fan-in, cut at two standard deviations of the uncut normal."""
    network = build_model(
        partial(network101, Cell101.parse(f"{C3}~0+output~1"), size=NetworkSize(32, 1)),
        num_classes=10,
        input_shape=(3, 8, 8),
        seed=0,
    )
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum, norm.affine) for norm in norms} == {(1e-5, 0.1, True)}
    weights = next(m.weight for m in network.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 128)
    sd = (1 / weights[0].numel()) ** 0.5
    assert weights.std().item() == pytest.approx(sd, rel=0.02)  # 147,456 draws: 0.1 % is a standard error
    assert weights.abs().max().item() <= 2 * sd / 0.8796
    assert weights.abs().max().item() > 1.95 * sd / 0.8796
    assert not any(m.bias is not None for m in network.modules() if isinstance(m, nn.Conv2d))
    assert not network.head.bias.any()
    assert network.head.weight.abs().max().item() <= (6 / (128 + 10)) ** 0.5


def test_pooling_keeps_the_size_and_the_greatest() -> None:
    image = torch.arange(12.0).reshape(1, 1, 3, 4) - 20
    assert MaxPool()(image)[0, 0].tolist() == [[-15, -14, -13, -13], [-11, -10, -9, -9], [-11, -10, -9, -9]]


def test_the_same_seed_gives_the_same_network() -> None:
    builder = partial(network101, Cell101.parse(f"{C3}~0+output~0~1"), size=SMALL)
    one, two, other = (
        build_model(builder, num_classes=3, input_shape=(1, 6, 6), seed=seed).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["stem.0.weight"], other["stem.0.weight"])


def test_needs_images() -> None:
    with pytest.raises(OptionsError, match=r"NAS-Bench-101: input_shape=\(784,\), need"):
        network101(Cell101.parse("output~0"), 10, (784,))
