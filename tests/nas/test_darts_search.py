"""The search network of DARTS against edges and operations added up one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from raysubset.errors import OptionsError
from raysubset.models.head import last_linear
from raysubset.models.init import seeded
from raysubset.nas.darts_operations import operation
from raysubset.nas.darts_search import DartsSupernet, reductions
from raysubset.nas.genotype import OPS, genotype_of

ROW = {
    (node, source): first + source for node, first in ((2, 0), (3, 2), (4, 5), (5, 9)) for source in range(node)
}


def small(cells: int = 3, channels: int = 2, shape: tuple[int, ...] = (3, 8, 8), seed: int = 0) -> DartsSupernet:
    with seeded(seed):
        return DartsSupernet(5, shape, channels=channels, cells=cells)


def batch(shape: tuple[int, ...] = (3, 8, 8), rows: int = 6) -> tuple[Tensor, Tensor]:
    with seeded(99):
        return torch.randn(rows, *shape), torch.randint(0, 5, (rows,))


def one_edge(fan: nn.Module, name: str, copy: int, copies: int, stride: int) -> nn.Module:
    """The operation of a single edge, with that edge's weights out of the fan's."""
    alone = operation(name, fan.channels, stride, affine=False).double()  # type: ignore[arg-type]
    weights = [parameter.detach().tensor_split(copies)[copy] for parameter in fan.operations[name].parameters()]
    for parameter, weight in zip(alone.parameters(), weights, strict=True):
        parameter.data.copy_(weight)
    return alone


def edge_by_edge(cell: nn.Module, before_last: Tensor, last: Tensor, probabilities: Tensor) -> Tensor:
    """A cell as the paper has it: a node is the sum over earlier nodes of the sum over operations."""
    states = [cell.first(before_last), cell.second(last)]
    for node in (2, 3, 4, 5):
        total = torch.zeros(())
        for source in range(node):
            targets = [target for target in (2, 3, 4, 5) if target > source]
            stride = 2 if cell.halves and source < 2 else 1
            for position, name in enumerate(OPS):
                if name == "none":
                    continue
                edge = one_edge(cell.fans[source], name, targets.index(node), len(targets), stride)
                total = total + probabilities[ROW[node, source], position] * edge(states[source])
        states.append(total)
    return torch.cat(states[2:], dim=1)


@pytest.mark.slow
@pytest.mark.parametrize("position", [0, 1, 2])  # a normal cell, a reduction, a reduction after one
def test_a_cell_is_the_sum_over_edges_and_operations(position: int) -> None:
    cell = small().cells[position].double()
    assert cell.halves == (position > 0)
    incoming = {0: (6, 6), 1: (6, 8), 2: (8, 16)}[position]
    with seeded(5):
        before_last = torch.randn(4, incoming[0], 16 if position == 2 else 8, 16 if position == 2 else 8).double()
        last = torch.randn(4, incoming[1], 8, 8).double()
        probabilities = torch.randn(14, 8).double().softmax(dim=1).requires_grad_()
    out = cell(before_last, last, probabilities)
    expected = edge_by_edge(cell, before_last, last, probabilities)
    torch.testing.assert_close(out, expected)
    weight = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).reshape(out.shape)
    ours = torch.autograd.grad((out * weight).sum(), probabilities)[0]
    theirs = torch.autograd.grad((expected * weight).sum(), probabilities)[0]
    torch.testing.assert_close(ours, theirs)
    assert ours[:, 1:].ne(0).all()
    assert ours[:, 0].eq(0).all()  # none adds nothing, and has its gradient through softmax alone


@pytest.mark.slow
def test_a_network_is_its_cells_one_after_the_other() -> None:
    network, (inputs, _) = small(cells=6), batch()
    before_last = last = network.stem(inputs)
    sides = []
    for position, cell in enumerate(network.cells):
        alpha = network.alpha_reduce if position in (2, 4) else network.alpha_normal
        before_last, last = last, cell(before_last, last, torch.exp(alpha) / torch.exp(alpha).sum(1, keepdim=True))
        sides.append((last.shape[1], last.shape[2]))
    assert sides == [(8, 8), (8, 8), (16, 4), (16, 4), (32, 2), (32, 2)]
    expected = network.classifier(last.flatten(2).mean(dim=2))
    torch.testing.assert_close(network(inputs), expected, rtol=1e-4, atol=1e-5)


def test_reductions_stand_at_a_third_and_two_thirds() -> None:
    assert {cells: sorted(reductions(cells)) for cells in (1, 2, 3, 5, 8, 20)} == {
        1: [0], 2: [0, 1], 3: [1, 2], 5: [1, 3], 8: [2, 5], 20: [6, 13],
    }  # fmt: skip


@pytest.mark.slow
def test_parameters_of_the_published_search_network() -> None:
    with torch.device("meta"):
        network = DartsSupernet(10, (3, 32, 32))
    # Origin: "param size = 1.930618MB", what train_search.py of github.com/quark0/darts prints; without alphas
    assert sum(parameter.numel() for parameter in network.weight_parameters()) == 1_930_618
    assert [tuple(alpha.shape) for alpha in network.architecture_parameters()] == [(14, 8), (14, 8)]


def test_every_parameter_is_a_weight_or_of_the_architecture() -> None:
    network = small()
    alphas = network.architecture_parameters()
    weights = network.weight_parameters()
    assert {id(p) for p in alphas} | {id(p) for p in weights} == {id(p) for p in network.parameters()}
    assert not {id(p) for p in alphas} & {id(p) for p in weights}
    assert len(weights) + 2 == len(list(network.parameters()))


@pytest.mark.parametrize("cells", [1, 2, 3])
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 8, 8), (2, 7, 9)])
def test_logits_and_gradients_of_small_networks(cells: int, shape: tuple[int, ...]) -> None:
    network, (inputs, targets) = small(cells=cells, shape=shape), batch(shape)
    logits = network(inputs)
    assert logits.shape == (6, 5)
    cross_entropy(logits, targets).backward()
    used = network.architecture_parameters() if cells > 1 else [network.alpha_reduce]
    if cells in (1, 2):  # all of their cells halve the image
        used = [network.alpha_reduce]
    assert all(alpha.grad is not None and alpha.grad.abs().sum() > 0 for alpha in used)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.weight_parameters())


def test_an_architecture_of_none_carries_nothing() -> None:
    network, (inputs, _) = small(cells=2), batch()
    with torch.no_grad():
        before = network(inputs)
        for alpha in network.architecture_parameters():
            alpha[:, 0] = 40.0
        logits = network(inputs)
    assert (before[0] - before[1]).abs().max() > 1e-3
    torch.testing.assert_close(logits, network.classifier.bias.expand_as(logits))


def test_alphas_begin_small_and_are_drawn_with_the_weights() -> None:
    first, again, other = small(seed=1), small(seed=1), small(seed=2)
    assert all(a.equal(b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not first.alpha_normal.equal(other.alpha_normal)
    assert not first.alpha_normal.equal(first.alpha_reduce)
    drawn = torch.cat([alpha.detach().ravel() for alpha in (*first.architecture_parameters(), other.alpha_normal)])
    assert drawn.std().item() == pytest.approx(1e-3, rel=0.2)  # 336 draws: 5 standard errors


def test_probabilities_are_softmax_and_detached() -> None:
    network = small()
    for shares, alpha in zip(network.probabilities(), network.architecture_parameters(), strict=True):
        powers = alpha.detach().double().exp()
        torch.testing.assert_close(shares.double(), powers / powers.sum(1, keepdim=True), rtol=1e-6, atol=0)
        assert not shares.requires_grad


def test_genotype_is_that_of_its_alphas() -> None:
    network = small()
    with torch.no_grad(), seeded(3):
        network.alpha_normal.normal_()
        network.alpha_reduce.normal_()
    expected = genotype_of(network.alpha_normal.detach().numpy(), network.alpha_reduce.detach().numpy())
    assert network.genotype() == expected
    assert network.genotype().normal != network.genotype().reduce


def test_selection_reads_the_input_of_the_classifier() -> None:
    network = small()
    assert last_linear(network, 5) is network.classifier


@pytest.mark.slow
def test_same_seed_same_training_and_alphas_move() -> None:
    def trained() -> DartsSupernet:
        network, (inputs, targets) = small(cells=2), batch()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        losses = []
        for _ in range(6):
            optimizer.zero_grad()
            loss = cross_entropy(network(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0]
        return network

    first, second = trained(), trained()
    assert all(a.equal(b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not first.alpha_reduce.equal(small(cells=2).alpha_reduce)


def test_evaluation_judges_every_image_by_itself() -> None:
    network, (inputs, _) = small(), batch()
    with torch.no_grad():
        network(inputs)
        network.eval()
        torch.testing.assert_close(network(inputs)[:2], network(inputs[:2]))


def test_says_which_input_it_needs() -> None:
    with pytest.raises(OptionsError, match=r"darts: input_shape=\(64,\), need \(channels, height, width\)"):
        DartsSupernet(10, (64,))
    with pytest.raises(
        OptionsError, match="DartsSupernet: channels=-2, need at least 1; cells=0, need at least 1"
    ):
        DartsSupernet(10, (3, 8, 8), channels=-2, cells=0)
