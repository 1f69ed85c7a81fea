"""Networks and supernets of NAS-Bench-201 against sums written out here, and BatchNorm's statistics."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from raysubset.errors import DataError, OptionsError
from raysubset.models.head import last_linear
from raysubset.models.init import seeded
from raysubset.nas.batch_statistics import recalibrated
from raysubset.nas.cell201 import EDGES, OPS, Cell201
from raysubset.nas.network201 import FixedCell201, network201, network_cost
from raysubset.nas.space import NetworkSize
from raysubset.nas.supernet201 import BuildSupernet201, GumbelPaths, SearchCell201, SoftMixture, UniformPaths

SIZE, SHAPE = NetworkSize(4, 1), (3, 8, 8)
CELLS = [Cell201.of_code(code) for code in (0, 11297, 15624, 11718, 3906, 137, 9001)]


@pytest.fixture(autouse=True)
def _seed():  # type: ignore[no-untyped-def]
    with seeded(0):
        yield


def inputs(batch: int = 5) -> Tensor:
    return torch.randn(batch, *SHAPE)


def supernet(gates: str = "uniform") -> nn.Module:
    return BuildSupernet201(SIZE, gates)(10, SHAPE)


def explicit(modules: list[nn.ModuleList], terms: list[list[tuple[int, float]]], x: Tensor) -> Tensor:
    """Sum node by node, every operation on its own, "none" as zeros."""
    nodes = [x] + [torch.zeros_like(x) for _ in range(3)]
    for (node, source), operations, weighted in zip(EDGES, modules, terms, strict=True):
        for op, weight in weighted:
            if OPS[op] != "none":
                nodes[node] = nodes[node] + weight * operations[op - 1](nodes[source])
    return nodes[3]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: str(cell.code))
def test_a_path_of_a_search_cell_is_the_explicit_sum(cell: Cell201) -> None:
    searched, x = SearchCell201(4), torch.randn(5, 4, 8, 8)
    searched.terms = [[(op, None)] for op in cell.ops]
    expected = explicit(list(searched.edges), [[(op, 1.0)] for op in cell.ops], x)
    torch.testing.assert_close(searched(x), expected)


def test_a_soft_mixture_is_the_weighted_sum_of_all_operations() -> None:
    gates, searched, x = SoftMixture(), SearchCell201(4), torch.randn(5, 4, 8, 8)
    with torch.no_grad():
        gates.alpha.copy_(torch.randn(6, 5))
    searched.terms = gates.choose()
    weights = torch.softmax(gates.alpha, dim=1).tolist()
    expected = explicit(list(searched.edges), [list(enumerate(row)) for row in weights], x)
    torch.testing.assert_close(searched(x), expected)
    searched(x).square().sum().backward()  # type: ignore[no-untyped-call]
    assert gates.alpha.grad is not None
    assert (gates.alpha.grad != 0).any(dim=1).all()


def test_gumbel_paths_run_one_operation_with_weight_one_and_reach_alpha() -> None:
    gates = GumbelPaths()
    terms = gates.choose()
    assert [len(edge) for edge in terms] == [1] * 6
    assert all(weight is not None and float(weight.detach()) == pytest.approx(1.0) for ((_, weight),) in terms)
    sum(weight for ((_, weight),) in terms if weight is not None).backward()  # type: ignore[union-attr]
    assert gates.alpha.grad is not None
    assert (gates.alpha.grad != 0).any()


def test_gumbel_paths_are_drawn_by_the_softmax_of_alpha() -> None:
    gates = GumbelPaths()
    gates.set_progress(1.0)
    assert gates.tau == pytest.approx(0.1)
    with torch.no_grad():
        gates.alpha.copy_(torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5]).expand(6, 5))
    draws = torch.tensor([[op for ((op, _),) in gates.choose()] for _ in range(2000)])
    shares = torch.bincount(draws.flatten(), minlength=5) / draws.numel()
    expected = torch.softmax(gates.alpha[0], dim=0)
    assert ((shares - expected).abs() < 5 * (expected * (1 - expected) / draws.numel()).sqrt()).all()


def test_uniform_paths_are_uniform_and_drawn_from_torchs_generator() -> None:
    gates = UniformPaths()
    with seeded(7):
        first = [gates.choose() for _ in range(400)]
    with seeded(7):
        assert [gates.choose() for _ in range(400)] == first
    ops = torch.tensor([[op for ((op, _),) in terms] for terms in first])
    shares = torch.bincount(ops.flatten(), minlength=5) / ops.numel()
    assert ((shares - 0.2).abs() < 5 * (0.16 / ops.numel()) ** 0.5).all()


def test_a_training_step_touches_the_drawn_path_only() -> None:
    net = supernet().train()
    net(inputs()).sum().backward()
    cells = [module for module in net.modules() if isinstance(module, SearchCell201)]
    (terms,) = {tuple(op for ((op, _),) in cell.terms) for cell in cells}  # one path, in all cells
    for cell in cells:
        for edge, operations in enumerate(cell.edges):
            for op, operation in enumerate(operations, start=1):  # type: ignore[arg-type]
                used = any(parameter.grad is not None for parameter in operation.parameters())
                assert not used or op == terms[edge]


@pytest.mark.parametrize("gates", ["uniform", "soft", "gumbel"])
def test_evaluation_follows_the_path_and_changes_nothing(gates: str) -> None:
    net, x = supernet(gates).eval(), inputs()
    before = copy.deepcopy(net.state_dict())
    outputs = []
    for cell in (CELLS[1], CELLS[2], CELLS[1]):
        net.path = cell  # type: ignore[assignment]
        outputs.append(net(x))
    torch.testing.assert_close(outputs[0], outputs[2], rtol=0, atol=0)
    assert not torch.equal(outputs[0], outputs[1])
    assert before.keys() == net.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_an_unconnected_cell_says_the_same_of_every_image() -> None:
    net = supernet().eval()
    net.path = Cell201((0, 0, 0, 0, 0, 0))  # type: ignore[assignment]
    logits = net(inputs())
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits, logits[:1].expand_as(logits))
    fixed = network201(Cell201((3, 0, 3, 0, 0, 0)), 10, SHAPE, SIZE).train()
    fixed(inputs()).sum().backward()
    logits = fixed.eval()(inputs())
    torch.testing.assert_close(logits, logits[:1].expand_as(logits))


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: str(cell.code))
@pytest.mark.parametrize("size", [SIZE, NetworkSize(6, 2)])
def test_a_built_network_weighs_what_is_counted(cell: Cell201, size: NetworkSize) -> None:
    network = network201(cell, 7, (1, 10, 6), size)
    macs = []

    def count(module: nn.Module, _: object, out: Tensor) -> None:
        weight = module.weight.numel()  # type: ignore[operator, union-attr]
        macs.append(weight * (out[0, 0].numel() if isinstance(module, nn.Conv2d) else 1))

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    network.eval()(torch.zeros(1, 1, 10, 6))
    cost = network_cost(cell, 7, (1, 10, 6), size)
    assert cost.params == sum(parameter.numel() for parameter in network.parameters())
    fed = {0}  # a convolution whose source gets nothing does not run, but the benchmark counts it
    for (node, source), op in zip(EDGES, cell.ops, strict=True):
        fed |= {node} if OPS[op] != "none" and source in fed else set()
    assert sum(macs) == cost.flops if fed == {0, 1, 2, 3} else sum(macs) <= cost.flops


def test_the_fixed_cell_is_the_path_of_a_search_cell_with_the_same_weights() -> None:
    cell, searched, x = CELLS[1], SearchCell201(4), torch.randn(5, 4, 8, 8)
    fixed = FixedCell201(cell, 4)
    for (node, source), op, operations in zip(EDGES, cell.ops, searched.edges, strict=True):
        if OPS[op].startswith("nor_conv"):
            own = fixed.edges[f"{node}<-{source}"]
            own[1].load_state_dict(operations[op - 1][1].state_dict())  # type: ignore[index]
    searched.terms = [[(op, None)] for op in cell.ops]
    torch.testing.assert_close(fixed.train()(x), searched.train()(x))


def test_the_head_makes_the_logits_and_builders_are_equal_by_value() -> None:
    net = supernet("soft")
    assert last_linear(net, 10) is net.head
    assert BuildSupernet201(SIZE) == BuildSupernet201(NetworkSize(4, 1))


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(OptionsError, match="at least 4x4"):
        BuildSupernet201(SIZE)(10, (3, 3, 8))


# ---------------------------------------------------------------------- statistics


def test_recalibrated_statistics_are_means_over_the_batches() -> None:
    layer = nn.BatchNorm2d(3, affine=False, track_running_stats=False)
    batches = [torch.randn(6, 3, 4, 4) * 2 + 1 for _ in range(4)]
    x = torch.randn(2, 3, 4, 4)
    mean = torch.stack([b.mean(dim=(0, 2, 3)) for b in batches]).mean(dim=0)
    variance = torch.stack([b.transpose(0, 1).flatten(1).var(dim=1) for b in batches]).mean(dim=0)
    expected = (x - mean[:, None, None]) / (variance[:, None, None] + layer.eps).sqrt()
    model = nn.Sequential(layer, nn.Conv2d(3, 3, 1))
    by_batch = layer(x)
    with recalibrated(model, batches):
        torch.testing.assert_close(layer(x), expected)
        torch.testing.assert_close(layer(x[:1]), expected[:1])  # no longer of the batch
    torch.testing.assert_close(layer(x), by_batch)
    assert layer.running_mean is None
    assert not layer.track_running_stats


def test_recalibration_leaves_tracked_layers_and_modes_alone() -> None:
    net = supernet().train()
    extra = nn.Sequential(net, nn.BatchNorm1d(10))
    before = copy.deepcopy(extra[1].state_dict())
    net.path = CELLS[3]  # type: ignore[assignment]
    with recalibrated(extra, [inputs()]):
        assert not net.training
    assert net.training
    assert extra[1].training
    assert all(torch.equal(value, extra[1].state_dict()[name]) for name, value in before.items())
    assert not [name for name in net.state_dict() if "running" in name]


def test_recalibration_without_a_batch_is_refused_and_forgotten() -> None:
    net = supernet()
    with pytest.raises(DataError, match="no batch"), recalibrated(net, []):
        pass
    assert all(m.running_mean is None for m in net.modules() if isinstance(m, nn.BatchNorm2d))
