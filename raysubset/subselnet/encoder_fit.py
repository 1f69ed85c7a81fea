"""Training the encoder of architectures, without any network trained: cells alone, read and read back.

The reconstruction must be looked at, not only its loss: with the divergence alone (or too much of it) every cell
gets the same vectors. So a report on cells kept apart goes with every encoder.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from raysubset.errors import ArchitectureError, OptionsError
from raysubset.models.init import seeded
from raysubset.seeds import generator, seed64
from raysubset.subselnet.embeddings import ArchitectureEncoder
from raysubset.subselnet.encoder import Form, GraphEncoder, GraphVae, vae_loss, vertex_pairs
from raysubset.subselnet.graphs import CellGraphs
from raysubset.subselnet.space import NB101, EncodedSpace

LEAST_CELLS = 10  # to train on and to be judged by
_LONGEST_GRADIENT = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderOptions:
    """How the encoder is built and trained.

    Attributes:
        form: "concat", or "gin", which cannot tell some cells apart (`raysubset.subselnet.encoder`).
        hidden: Width between layers, >= 1.
        width: d, of a vertex' vector, >= 1.
        layers: Rounds of messages, >= 1.
        steps: Of Adam, >= 1.
        batch: Cells a step, >= 1, drawn with replacement.
        dropout: Share of z hidden from the decoder, in [0, 1); the paper's 0.3 needs far more steps.
        kl_weight: >= 0.
        lr: Of Adam, > 0, constant.
        held_out: Share of the cells that are kept apart and judge, in (0, 1).

    Raises:
        OptionsError: A value out of range; all of them in one message.
    """

    form: Form = "concat"
    hidden: int = 128
    width: int = 16
    layers: int = 4
    steps: int = 3000
    batch: int = 64
    dropout: float = 0.0
    kl_weight: float = 0.005
    lr: float = 1e-3
    held_out: float = 0.1

    def __post_init__(self) -> None:
        faults = [] if self.form in get_args(Form) else [f"form={self.form!r}, need one of {get_args(Form)}"]
        for name in ("hidden", "width", "layers", "steps", "batch"):
            if not (isinstance(value := getattr(self, name), int) and value >= 1):
                faults.append(f"{name}={value!r}, need an integer >= 1")
        if not 0 <= self.dropout < 1:
            faults.append(f"dropout={self.dropout!r}, need a number in [0, 1)")
        if not 0 <= self.kl_weight < inf:
            faults.append(f"kl_weight={self.kl_weight!r}, need a finite number >= 0")
        if not 0 < self.lr < inf:
            faults.append(f"lr={self.lr!r}, need a finite number > 0")
        if not 0 < self.held_out < 1:
            faults.append(f"held_out={self.held_out!r}, need a number in (0, 1)")
        if faults:
            raise OptionsError.of("EncoderOptions", faults)


@dataclass(frozen=True, slots=True)
class ReconstructionQuality:
    """How well cells can be read back from their vectors.

    Attributes:
        op_accuracy: Share of vertices whose operation is read rightly, input and output included.
        edge_accuracy: Share of pairs of vertices of which it is read rightly whether there is an edge.
        edge_baseline: The same share for who says that there is none.
        spread: Standard deviation of mu over the cells, mean over rows and columns; near 0 if all look alike.
    """

    op_accuracy: float
    edge_accuracy: float
    edge_baseline: float
    spread: float


@dataclass(frozen=True, slots=True)
class EncoderReport(ReconstructionQuality):
    """The quality on held-out cells, none of them isomorphic to one trained on, and what it took.

    Attributes:
        steps: Trained.
        seconds: Of one core.
    """

    steps: int
    seconds: float


def fit_encoder(
    cells: Sequence[Any], options: EncoderOptions, seed: int, space: EncodedSpace[Any] = NB101
) -> tuple[ArchitectureEncoder, EncoderReport]:
    """Train an encoder on cells; of isomorphic ones the first counts.

    Args:
        cells: At least ten different graphs. Those to be served later may be among them: no label is used.
        options: See there.
        seed: The experiment's; names the split, the weights, the batches and the noise.
        space: Of the cells; where one is several graphs, each is read by itself.

    Returns:
        The encoder, standardised over the cells it was trained on, and its report.

    Raises:
        ArchitectureError: Fewer than ten different cells, or something that is none.

    Cost: see `EncoderReport.seconds`; 3000 steps of 64 take 20 to 60 s of one core.
    """
    began = time.process_time()
    space.check(cells)
    distinct = list(dict.fromkeys(map(space.canonical, cells)))
    if len(distinct) < LEAST_CELLS:
        raise ArchitectureError(
            f"An encoder is trained on at least {LEAST_CELLS} different cells, here are {len(distinct)} "
            f"(of {len(cells)}, isomorphic ones counted once)."
        )
    order = generator(seed, "encoder", "split").permutation(len(distinct))
    held_out = min(max(1, round(options.held_out * len(distinct))), len(distinct) - 1)
    judges, learners = ([distinct[k] for k in part] for part in (order[:held_out], order[held_out:]))
    with seeded(seed64(seed, "encoder")):
        encoder = GraphEncoder(options.form, options.hidden, options.width, options.layers, len(space.operations))
        vae = GraphVae(encoder, options.dropout)
        _train(vae, space.graphs(learners), options, seed)
    quality = reconstruction_quality(vae, space.graphs(judges))
    fitted = ArchitectureEncoder.of(encoder, learners, space)
    figures = {name: getattr(quality, name) for name in ReconstructionQuality.__dataclass_fields__}
    return fitted, EncoderReport(**figures, steps=options.steps, seconds=time.process_time() - began)


def _train(vae: GraphVae, graphs: CellGraphs, options: EncoderOptions, seed: int) -> None:
    optimizer = torch.optim.Adam(vae.parameters(), lr=options.lr, fused=True)
    rng = generator(seed, "encoder", "batches")
    vae.train()
    for _ in range(options.steps):
        batch = graphs.rows(torch.from_numpy(rng.integers(len(graphs), size=options.batch)))
        loss = vae_loss(vae(batch), batch, options.kl_weight)
        optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(vae.parameters(), _LONGEST_GRADIENT)
        optimizer.step()


@torch.no_grad()
def reconstruction_quality(vae: GraphVae, graphs: CellGraphs) -> ReconstructionQuality:
    """Judge an autoencoder by cells; it is left in evaluation mode."""
    vae.eval()
    made, pairs = vae(graphs), vertex_pairs(graphs)
    edges = graphs.adjacency[pairs] > 0
    read = made.operations.argmax(dim=2) == graphs.operations
    return ReconstructionQuality(
        op_accuracy=float(read[graphs.mask].double().mean()),
        edge_accuracy=float(((made.edges[pairs] > 0) == edges).double().mean()),
        edge_baseline=float((~edges).double().mean()),
        spread=_spread(made.mean, graphs),
    )


def _spread(mean: Tensor, graphs: CellGraphs) -> float:
    """Return the standard deviation over cells of each row, in the order of the search, and column; their mean."""
    ordered = mean.double().gather(1, graphs.order[:, :, None].expand_as(mean))
    per_row = [
        ordered[graphs.mask[:, slot], slot].std(dim=0, correction=0) for slot in range(int(graphs.sizes.max()))
    ]
    return float(torch.stack(per_row).mean())
