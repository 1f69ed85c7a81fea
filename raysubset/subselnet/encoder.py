"""A variational autoencoder of cells: one short vector for every vertex, from which the cell can be read back.

The encoder passes messages along edges both ways (A + A^T); which way an edge leads shows only by what its ends
carry. Four times, with the vectors of all neighbours summed up,

    concat:  h_u <- MLP( [ h_u ; sum_v h_v ] )              the paper's Update(h_u, sum of EdgeEmb(h_v)) [1, eq. 4]
    gin:     h_u <- MLP( (1 + eps) h_u + sum_v h_v )        arch2vec's [2]; eps is learned and begins at 0

With eps = 0 two neighbours that have all other neighbours in common get equal sums whatever they carry, so "gin"
cannot say which of the two is the convolution; "concat" can. It is here to be compared with, no more.

Two linear maps give mean and log standard deviation of q(z_u | G). From z the decoder reads what a vertex carries
(linear, softmax) and which of two vertices leads to the later one (sigmoid of z_u . z_v). Trained is

    mean cross entropy of vertices + of pairs + kl_weight * KL(q || N(0, I)) a vertex.

Padded slots take no part: not in BatchNorm's statistics, not in any mean, and their vectors are 0.

References:
    [1] Jain, Nandy, Aggarwal, Tendulkar, Iyer, De, 2023, arXiv:2409.12255, section 4 and appendix.
    [2] Yan, Zheng, Ao, Zeng, Zhang, 2020, "Does unsupervised architecture representation learning help neural
        architecture search?", arXiv:2006.06936.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, dropout, one_hot

from raysubset.subselnet.graphs import PAD, CellGraphs

Form = Literal["concat", "gin"]


class ConcatLayer(nn.Module):
    """A vertex beside its neighbours' sum: [M, incoming] twice to [M, hidden]."""

    def __init__(self, incoming: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(2 * incoming, hidden), nn.BatchNorm1d(hidden), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU())

    def forward(self, vertices: Tensor, messages: Tensor) -> Tensor:
        """Map vertices and the sums of their neighbours."""
        updated: Tensor = self.second(self.first(torch.cat([vertices, messages], dim=1)))
        return updated


class GinLayer(nn.Module):
    """A vertex added to its neighbours' sum: [M, incoming] twice to [M, hidden]."""

    def __init__(self, incoming: int, hidden: int) -> None:
        super().__init__()
        self.epsilon = nn.Parameter(torch.zeros(()))
        self.first = nn.Sequential(nn.Linear(incoming, hidden), nn.BatchNorm1d(hidden), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU())

    def forward(self, vertices: Tensor, messages: Tensor) -> Tensor:
        """Map vertices and the sums of their neighbours."""
        updated: Tensor = self.second(self.first((1 + self.epsilon) * vertices + messages))
        return updated


class GraphEncoder(nn.Module):
    """Cells to mean and log standard deviation of every vertex' vector.

    Weights are drawn from torch's global generator.

    Args:
        form: "concat" or "gin".
        hidden: Width between layers.
        width: d, of a vertex' vector.
        layers: Rounds of messages, >= 1.
        codes: What a vertex may carry, so many operations; NAS-Bench-101 has five.
    """

    def __init__(
        self, form: Form = "concat", hidden: int = 128, width: int = 16, layers: int = 4, codes: int = 5
    ) -> None:
        super().__init__()
        self.form, self.hidden, self.width, self.codes = form, hidden, width, codes
        self.begin: nn.Module
        if form == "concat":
            self.begin = nn.Sequential(nn.Linear(codes, width), nn.ReLU(), nn.Linear(width, width))
            entering = width
        else:
            self.begin, entering = nn.Identity(), codes
        layer = ConcatLayer if form == "concat" else GinLayer
        self.layers = nn.ModuleList(layer(hidden if k else entering, hidden) for k in range(layers))
        self.mean = nn.Linear(hidden, width)
        self.log_sd = nn.Linear(hidden, width)

    def forward(self, graphs: CellGraphs) -> tuple[Tensor, Tensor]:
        """Return mu and s, float32[B, N, width] in the graphs' numbering, 0 in padded slots."""
        slots = graphs.mask.flatten().nonzero().squeeze(1)
        undirected = graphs.adjacency + graphs.adjacency.transpose(1, 2)
        vertices = self.begin(one_hot(graphs.operations.flatten()[slots], self.codes).float())
        for layer in self.layers:
            padded = _padded(vertices, slots, graphs.mask)
            vertices = layer(vertices, (undirected @ padded).flatten(0, 1)[slots])
        return _padded(self.mean(vertices), slots, graphs.mask), _padded(self.log_sd(vertices), slots, graphs.mask)


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """What a `GraphVae` makes of B cells.

    Attributes:
        mean, log_sd: float32[B, N, width], of q.
        operations: float32[B, N, codes] logits of what a vertex carries.
        edges: float32[B, N, N] logits, symmetric; those above the diagonal count.
    """

    mean: Tensor
    log_sd: Tensor
    operations: Tensor
    edges: Tensor


class GraphVae(nn.Module):
    """The encoder and its decoder; in training z is drawn, in evaluation it is the mean.

    Noise and dropout come from torch's global generator.

    Args:
        encoder: Cells to q(z | G).
        dropout: Share of z that the decoder does not see in training, in [0, 1).
    """

    def __init__(self, encoder: GraphEncoder, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder, self.dropout = encoder, dropout
        self.operations = nn.Linear(encoder.width, encoder.codes)

    def forward(self, graphs: CellGraphs) -> Reconstruction:
        """Encode, draw, decode."""
        mean, log_sd = self.encoder(graphs)
        z = mean
        if self.training:
            z = mean + torch.exp(log_sd) * torch.randn_like(mean)
            z = dropout(z, self.dropout)
        return Reconstruction(mean, log_sd, self.operations(z), z @ z.transpose(1, 2))


@dataclass(frozen=True, slots=True, eq=False)
class VaeLoss:
    """The terms of the loss, scalars in nats.

    Attributes:
        operations: Mean cross entropy of a vertex.
        edges: Mean binary cross entropy of a pair of vertices.
        divergence: KL(q || N(0, I)) a vertex, its mean over cells.
        total: What is trained: operations + edges + kl_weight * divergence.
    """

    operations: Tensor
    edges: Tensor
    divergence: Tensor
    total: Tensor


def vae_loss(made: Reconstruction, graphs: CellGraphs, kl_weight: float) -> VaeLoss:
    """Return the loss of a batch; see the module.

    Args:
        made: Of these graphs.
        graphs: What should have come out.
        kl_weight: Of the divergence, >= 0; without the other two terms mu tells nothing about a cell.
    """
    pairs = vertex_pairs(graphs)
    operations = cross_entropy(made.operations.flatten(0, 1), graphs.operations.flatten(), ignore_index=PAD)
    edges = binary_cross_entropy_with_logits(made.edges[pairs], graphs.adjacency[pairs])
    mean, log_sd = made.mean, made.log_sd
    of_vertex = -0.5 * (1 + 2 * log_sd - mean**2 - torch.exp(2 * log_sd)).sum(dim=2)  # 0 in padded slots
    divergence = (of_vertex.sum(dim=1) / graphs.sizes).mean()
    return VaeLoss(operations, edges, divergence, operations + edges + kl_weight * divergence)


def vertex_pairs(graphs: CellGraphs) -> Tensor:
    """Return bool[B, N, N]: the pairs u < v of vertices, between which there may be an edge."""
    return torch.triu(graphs.mask[:, :, None] & graphs.mask[:, None, :], diagonal=1)


def _padded(vertices: Tensor, slots: Tensor, mask: Tensor) -> Tensor:
    """Return [M, w] vertices as [B, N, w], zero in padded slots."""
    padded = vertices.new_zeros(mask.numel(), vertices.shape[1]).index_copy(0, slots, vertices)
    return padded.view(*mask.shape, -1)
