"""Approximators: a cell's vectors and an instance's features to what the trained network would predict.

    q(c | m, x) = softmax( head( [ x ; z_m ] ) ),    head: two hidden layers, dropout before each ReLU

They differ in how a vector z_m is made of the cell's rows H, and in nothing else:

    attention      z = what is read off norm(u + MLP(u)),  u = norm(H + Wc softmax(Q K^T / sqrt k) V)  [1, eq. 5]
    lstm           z = what is read off the states of an LSTM over the rows
    feed-forward   z = what is read off H itself
    residual       as attention, but the head also sees log p of the mean of the trained networks for the instance,
                   and its output is added to that: an extension that begins at the best predictor without a cell

The mean stands in the last C columns of the residual's features. The head's first layer is linear in x and z, so
for all instances and many cells its part of x is computed once.

References:
    [1] Jain, Nandy, Aggarwal, Tendulkar, Iyer, De, 2023, arXiv:2409.12255, section 4; table 3 compares the first
        three. Released code gives the others far smaller heads; here all have the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, log_softmax

from raysubset.subselnet.embeddings import CellEmbeddings, Readout

Kind = Literal["attention", "feed-forward", "lstm", "residual"]


@dataclass(frozen=True, slots=True)
class ApproximatorShape:
    """What an approximator is built for.

    Attributes:
        features: Columns of an instance; of the residual's, with the C of the mean.
        num_classes: C.
        width: d, of a cell's vectors, even.
        hidden: Width of the head's two hidden layers.
        dropout: In [0, 1).
        readout: Which vector stands for the cell.
    """

    features: int
    num_classes: int
    width: int = 16
    hidden: int = 256
    dropout: float = 0.3
    readout: Readout = "bfs_last"


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """n instances, as far as they can be worked out without a cell.

    Attributes:
        projected: float32[n, hidden], their part of the head's first layer.
        offset: float32[n, C] logits that any cell's are added to; 0 but for the residual.
    """

    projected: Tensor
    offset: Tensor


class Approximator(nn.Module):
    """What all have in common: the head. Weights are drawn from torch's global generator."""

    def __init__(self, shape: ApproximatorShape) -> None:
        super().__init__()
        self.shape = shape
        self.first = nn.Linear(shape.features + shape.width, shape.hidden)
        self.rest = nn.Sequential(
            nn.Dropout(shape.dropout),
            nn.ReLU(),
            nn.Linear(shape.hidden, shape.hidden),
            nn.Dropout(shape.dropout),
            nn.ReLU(),
            nn.Linear(shape.hidden, shape.num_classes),
        )

    def vectors(self, cells: CellEmbeddings) -> Tensor:
        """Return z, float32[B, d]."""
        return cells.read(self.rows(cells), self.shape.readout)

    def rows(self, cells: CellEmbeddings) -> Tensor:
        """Return float32[B, N, d], what z is read off; what stands in padded rows does not matter."""
        raise NotImplementedError

    def offset(self, features: Tensor) -> Tensor:
        """Return the logits that the head's are added to, float32[n, C] or one 0."""
        return features.new_zeros(())

    def forward(self, cells: CellEmbeddings, features: Tensor) -> Tensor:
        """Return log q, float32[n, C], of n pairs: ``cells`` has n rows too."""
        return self.of_vectors(self.vectors(cells), features)

    def of_vectors(self, vectors: Tensor, features: Tensor) -> Tensor:
        """Return log q, float32[n, C], of n pairs of z, float32[n, d], and features, float32[n, f]."""
        logits = self.rest(self.first(torch.cat([features, vectors], dim=1)))
        return log_softmax(self.offset(features) + logits, dim=1)

    def instances(self, features: Tensor) -> Instances:
        """Prepare float32[n, f]. Cost: n f hidden multiplications; 4 n hidden bytes."""
        projected = linear(features, self.first.weight[:, : self.shape.features], self.first.bias)
        return Instances(projected, self.offset(features))

    def all_instances(self, cell: CellEmbeddings, instances: Instances) -> Tensor:
        """Return log q, float32[n, C], of one cell on all prepared instances.

        Equal to `forward` up to rounding. Cost: n hidden (hidden + C) multiplications; 8 n hidden bytes meanwhile.
        """
        part = linear(self.vectors(cell), self.first.weight[:, self.shape.features :])
        return log_softmax(instances.offset + self.rest(instances.projected + part), dim=1)


class AttentionApproximator(Approximator):
    """One head of attention over a cell's rows, normed after each of two residual blocks."""

    def __init__(self, shape: ApproximatorShape) -> None:
        super().__init__(shape)
        width, inner = shape.width, shape.width // 2
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(width, inner, bias=False)
        self.combine = nn.Linear(inner, width, bias=False)
        self.attended = nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(width, inner**2), nn.ReLU(), nn.Linear(inner**2, width))
        self.mixed = nn.LayerNorm(width)

    def rows(self, cells: CellEmbeddings) -> Tensor:
        """Attend; padded rows are nobody's keys."""
        scores = self.query(cells.vectors) @ self.key(cells.vectors).transpose(1, 2)
        scores = scores / math.sqrt(self.key.out_features)
        weights = scores.masked_fill(~cells.mask[:, None, :], -torch.inf).softmax(dim=2)
        attended = self.attended(cells.vectors + self.combine(weights @ self.value(cells.vectors)))
        mixed: Tensor = self.mixed(attended + self.mix(attended))
        return mixed


class FeedForwardApproximator(Approximator):
    """The head alone: an ablation of what mixes a cell's rows."""

    def rows(self, cells: CellEmbeddings) -> Tensor:
        """Return H as it is."""
        return cells.vectors


class LstmApproximator(Approximator):
    """An LSTM over a cell's rows, as wide as they are: an ablation of attention."""

    def __init__(self, shape: ApproximatorShape) -> None:
        super().__init__(shape)
        self.recurrent = nn.LSTM(shape.width, shape.width, batch_first=True)

    def rows(self, cells: CellEmbeddings) -> Tensor:
        """Return the states; padded rows come after all others and change none of them."""
        states: Tensor = self.recurrent(cells.vectors)[0]
        return states


class ResidualApproximator(AttentionApproximator):
    """What is added to the trained networks' mean; nothing at first."""

    def __init__(self, shape: ApproximatorShape) -> None:
        super().__init__(shape)
        last = self.rest[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def offset(self, features: Tensor) -> Tensor:
        """Return the log probabilities in the last C columns."""
        return features[:, -self.shape.num_classes :]


APPROXIMATORS: Mapping[Kind, type[Approximator]] = MappingProxyType(
    {
        "attention": AttentionApproximator,
        "feed-forward": FeedForwardApproximator,
        "lstm": LstmApproximator,
        "residual": ResidualApproximator,
    }
)
