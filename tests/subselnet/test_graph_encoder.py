"""The graph autoencoder: padding takes no part, closed twins are told apart, the loss against sums by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from raysubset.models.init import seeded
from raysubset.nas.cell101 import Cell101
from raysubset.subselnet.encoder import Form, GraphEncoder, GraphVae, Reconstruction, vae_loss
from raysubset.subselnet.graphs import CellGraphs
from raysubset.subselnet.graphs101 import cell_graphs, training_cells

C3, MP = "conv3x3-bn-relu", "maxpool3x3"
COMPLETE = ((0, 1, 1, 1), (0, 0, 1, 1), (0, 0, 0, 1), (0, 0, 0, 0))
TWINS = (
    Cell101(COMPLETE, ("input", C3, MP, "output")),
    Cell101(COMPLETE, ("input", MP, C3, "output")),
)


def encoder(form: Form = "concat", seed: int = 0) -> GraphEncoder:
    with seeded(seed):
        return GraphEncoder(form)


def cut(graphs: CellGraphs, size: int) -> CellGraphs:
    """The same cells with fewer padded slots."""
    return CellGraphs(
        graphs.operations[:, :size],
        graphs.adjacency[:, :size, :size],
        graphs.mask[:, :size],
        graphs.order[:, :size],
        graphs.sizes,
    )


@pytest.mark.parametrize("form", ["concat", "gin"])
@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_nothing(form: Form, training: bool) -> None:
    network, graphs = encoder(form).train(training), cell_graphs(TWINS)
    network.layers[0].first[1].running_mean.fill_(0.3)  # as if it had been trained
    padded, _ = network(graphs)
    bare, _ = network(cut(graphs, 4))
    assert (padded[:, 4:] == 0).all()
    torch.testing.assert_close(padded[:, :4], bare, rtol=0, atol=0)


def test_batch_statistics_are_of_vertices_alone() -> None:
    network, cells = encoder().train(), training_cells(20, 1)
    graphs, seen = cell_graphs(cells), []
    network.layers[0].first[1].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    network(graphs)
    assert len(seen[0]) == sum(len(cell.ops) for cell in cells)


def test_messages_pass_both_ways_and_are_summed() -> None:
    """One layer against a loop over vertices."""
    with seeded(3):
        network = GraphEncoder("concat", hidden=8, width=4, layers=1).eval()
    cell = TWINS[0]
    graphs = cell_graphs([cell])
    mean, log_sd = network(graphs)
    begun = network.begin(torch.eye(5)[graphs.operations[0, :4]])
    edges = {tuple(edge) for edge in graphs.adjacency[0].nonzero().tolist()}
    for u in range(4):
        neighbours = [v for v in range(4) if (u, v) in edges or (v, u) in edges]
        heard = torch.stack([begun[v] for v in neighbours]).sum(dim=0)
        x = torch.cat([begun[u], heard])[None]
        for linear, norm, _ in (network.layers[0].first, network.layers[0].second):
            x = torch.relu((linear(x) - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps))
        torch.testing.assert_close(mean[0, u], network.mean(x)[0])
        torch.testing.assert_close(log_sd[0, u], network.log_sd(x)[0])


def test_closed_twins_are_blind_spots_of_gin_and_of_it_alone() -> None:
    graphs = cell_graphs(TWINS)
    blind, _ = encoder("gin")(graphs)  # in training mode: the batch's statistics keep differences from shrinking
    seeing, _ = encoder("concat")(graphs)
    torch.testing.assert_close(blind[0, 1], blind[0, 2], rtol=0, atol=1e-5)  # the convolution and the pool
    torch.testing.assert_close(blind[0], blind[1], rtol=0, atol=1e-5)
    assert (seeing[0, 1] - seeing[0, 2]).abs().max() > 1e-2
    assert (seeing[0] - seeing[1]).abs().max() > 1e-2


def test_loss_against_loops() -> None:
    graphs = cell_graphs([TWINS[0], Cell101(((0, 1), (0, 0)), ("input", "output"))])
    rng = np.random.default_rng(0)
    mean, log_sd = (torch.from_numpy(rng.normal(size=(2, 7, 3)).astype(np.float32)) for _ in range(2))
    mean, log_sd = mean * graphs.mask[:, :, None], log_sd * graphs.mask[:, :, None]
    ops = torch.from_numpy(rng.normal(size=(2, 7, 5)).astype(np.float32))
    edges = torch.from_numpy(rng.normal(size=(2, 7, 7)).astype(np.float32))
    loss = vae_loss(Reconstruction(mean, log_sd, ops, edges), graphs, 0.1)

    op_terms, edge_terms, kls = [], [], []
    for b, size in enumerate((4, 2)):
        kl = 0.0
        for u in range(size):
            row = ops[b, u].tolist()
            code = int(graphs.operations[b, u])
            op_terms.append(math.log(sum(map(math.exp, row))) - row[code])
            for v in range(u + 1, size):
                chance = 1 / (1 + math.exp(-float(edges[b, u, v])))
                edge_terms.append(-math.log(chance if graphs.adjacency[b, u, v] else 1 - chance))
            for k in range(3):
                mu, sd = float(mean[b, u, k]), math.exp(float(log_sd[b, u, k]))  # s is the log of sd, not of sd^2
                kl += 0.5 * (sd**2 + mu**2 - 1) - math.log(sd)
        kls.append(kl / size)
    assert float(loss.operations) == pytest.approx(np.mean(op_terms), rel=1e-5)
    assert float(loss.edges) == pytest.approx(np.mean(edge_terms), rel=1e-5)
    assert float(loss.divergence) == pytest.approx(np.mean(kls), rel=1e-5)
    assert float(loss.total) == pytest.approx(
        np.mean(op_terms) + np.mean(edge_terms) + 0.1 * np.mean(kls), rel=1e-5
    )


def test_noise_has_the_standard_deviation_that_is_said_and_none_in_evaluation() -> None:
    vae, graphs = GraphVae(encoder()), cell_graphs(TWINS * 200)
    torch.nn.init.zeros_(vae.encoder.log_sd.weight)
    torch.nn.init.constant_(vae.encoder.log_sd.bias, math.log(2.0))
    torch.nn.init.zeros_(vae.encoder.mean.weight)
    torch.nn.init.zeros_(vae.encoder.mean.bias)
    with seeded(1), torch.no_grad():
        dot = vae.train()(graphs).edges[:, 0, 1]  # of two independent N(0, 4 I) in 16 dimensions: sd 4 * 4
        assert float(dot.std()) == pytest.approx(16.0, rel=0.2)
        assert (vae.eval()(graphs).edges == 0).all()


def test_decoder_dropout_hides_its_share() -> None:
    graphs, shown = cell_graphs(TWINS * 100), []
    vae = GraphVae(encoder(), dropout=0.3).train()
    vae.operations.register_forward_hook(lambda _, inputs, __: shown.append(inputs[0]))
    with seeded(2):
        vae(graphs)
    assert float((shown[0][graphs.mask] == 0).float().mean()) == pytest.approx(0.3, abs=0.03)
