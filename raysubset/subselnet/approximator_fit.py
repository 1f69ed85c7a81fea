"""Training an approximator on trained networks' predictions.

A step draws pairs of a training cell and an instance, all pairs as likely, and lowers the mean KL(p || q) with the
trained network p as its target [1, eq. 7]: AdamW, its rate on one cosine over all steps. Kept is the state that is
best on the validation cells; unseen cells take no part.

References:
    [1] Jain, Nandy, Aggarwal, Tendulkar, Iyer, De, 2023, arXiv:2409.12255, section 4.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import kl_div
from torch.nn.utils import clip_grad_norm_

from raysubset.errors import DataError, OptionsError
from raysubset.models.init import seeded
from raysubset.seeds import generator, seed64
from raysubset.subselnet.approximator import APPROXIMATORS, Approximator, ApproximatorShape, Kind
from raysubset.subselnet.embeddings import CellEmbeddings, Readout, Standardisation
from raysubset.subselnet.fitted import FittedApproximator
from raysubset.subselnet.kl_table import mean_kl
from raysubset.subselnet.supervision import InstanceMeans, Supervision, log_target_pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproximatorOptions:
    """How an approximator is built and trained.

    Attributes:
        kind: Which one, see `raysubset.subselnet.approximator`.
        readout: "bfs_last" (the paper's), "output" or "mean".
        hidden: Width of the head's hidden layers, >= 1.
        dropout: In [0, 1).
        steps: Of AdamW, >= 1.
        batch: Pairs a step, >= 1, drawn with replacement.
        lr: > 0, down to 0 over all steps.
        weight_decay: >= 0.
        clip: Longest gradient that a step takes, > 0.
        check_every: Steps between two looks at the validation cells, >= 1.

    Raises:
        OptionsError: A value out of range; all of them in one message.
    """

    kind: Kind = "attention"
    readout: Readout = "bfs_last"
    hidden: int = 256
    dropout: float = 0.3
    steps: int = 4000
    batch: int = 512
    lr: float = 1e-3
    weight_decay: float = 0.005
    clip: float = 5.0
    check_every: int = 200

    def __post_init__(self) -> None:
        faults = []
        for name, allowed in (("kind", get_args(Kind)), ("readout", get_args(Readout))):
            if getattr(self, name) not in allowed:
                faults.append(f"{name}={getattr(self, name)!r}, need one of {', '.join(allowed)}")
        for name in ("hidden", "steps", "batch", "check_every"):
            if not (isinstance(value := getattr(self, name), int) and value >= 1):
                faults.append(f"{name}={value!r}, need an integer >= 1")
        for name in ("lr", "clip"):
            if not 0 < (value := getattr(self, name)) < inf:
                faults.append(f"{name}={value!r}, need a finite number > 0")
        if not 0 <= self.weight_decay < inf:
            faults.append(f"weight_decay={self.weight_decay!r}, need a finite number >= 0")
        if not 0 <= self.dropout < 1:
            faults.append(f"dropout={self.dropout!r}, need a number in [0, 1)")
        if faults:
            raise OptionsError.of("ApproximatorOptions", faults)


@dataclass(frozen=True, slots=True)
class ApproximatorReport:
    """How the training went.

    Attributes:
        checks: (steps done, mean KL on the validation cells in nats).
        best_step: Of the state kept; the first of those that tie.
        seconds: Of one core.
    """

    checks: tuple[tuple[int, float], ...]
    best_step: int
    seconds: float


def fit_approximator(
    embeddings: CellEmbeddings,
    supervision: Supervision,
    features: NDArray[np.float32],
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    options: ApproximatorOptions,
    seed: int,
) -> tuple[FittedApproximator, ApproximatorReport]:
    """Train an approximator.

    Args:
        embeddings: One row for each row of the bank.
        supervision: The bank.
        features: float32[n, d], finite, not standardised.
        training: Bank rows to train on, at least 1; for the residual 2.
        validation: Bank rows, at least 1, none of them in ``training``.
        options: See there.
        seed: The experiment's; names the weights, the pairs and the dropout.

    Raises:
        DataError: Shapes do not fit, features that are not finite, too few cells, or one on both sides.

    Cost: 4000 steps of 512 take 30 to 60 s of one core; 4 n (d + hidden) bytes, for the residual and for the
        validation a few times 4 n C.
    """
    began = time.process_time()
    check_folds(embeddings, supervision, features, training, validation)
    raw = torch.from_numpy(np.asarray(features, dtype=np.float32))
    standardisation = Standardisation.of(raw)
    means = InstanceMeans.over(supervision, training) if options.kind == "residual" else None
    batches = _Pairs(supervision, standardisation.apply(raw), training, means)
    log_mean = None if means is None else torch.from_numpy(means.per_instance())
    width = features.shape[1] + (0 if means is None else supervision.num_classes)
    shape = ApproximatorShape(
        width,
        supervision.num_classes,
        embeddings.vectors.shape[2],
        options.hidden,
        options.dropout,
        options.readout,
    )
    checks: list[tuple[int, float]] = []
    best: dict[str, Tensor] = {}
    with seeded(seed64(seed, "approximator", options.kind)):
        network = APPROXIMATORS[options.kind](shape)
        for step in _steps(network, embeddings.rows(torch.from_numpy(training)), batches, options, seed):
            fitted = FittedApproximator.on(options.kind, network, standardisation, log_mean, features)
            kl = float(np.mean([mean_kl(fitted, embeddings, supervision, int(cell)) for cell in validation]))
            if not checks or kl < min(value for _, value in checks):
                best = {name: value.clone() for name, value in network.state_dict().items()}
            checks.append((step, kl))
    network.load_state_dict(best)
    fitted = FittedApproximator.on(options.kind, network, standardisation, log_mean, features)
    best_step = min(checks, key=lambda check: check[1])[0]
    return fitted, ApproximatorReport(tuple(checks), best_step, time.process_time() - began)


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Draws of pairs: what stands for the instance, and the target."""

    supervision: Supervision
    features: Tensor
    training: NDArray[np.int64]
    means: InstanceMeans | None

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return positions in ``training`` int64[k], columns float32[k, f] and log p float32[k, C]."""
        places = rng.integers(len(self.training), size=count)
        rows = rng.integers(self.supervision.size, size=count)
        log_p = log_target_pairs(self.supervision, self.training[places], rows)
        columns = self.features[torch.from_numpy(rows)]
        if self.means is not None:  # without the pair's own network: for unseen cells it is not in the mean either
            columns = torch.cat([columns, torch.from_numpy(self.means.without(rows, log_p))], dim=1)
        return torch.from_numpy(places), columns, torch.from_numpy(log_p)


def _steps(
    network: Approximator, cells: CellEmbeddings, pairs: _Pairs, options: ApproximatorOptions, seed: int
) -> Iterator[int]:
    """Train; yield the number of steps done after every ``check_every`` and after the last."""
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=options.lr, weight_decay=options.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=options.steps)
    rng = generator(seed, "approximator", "pairs")
    for step in range(1, options.steps + 1):
        network.train().requires_grad_(True)
        places, columns, log_p = pairs.draw(rng, options.batch)
        log_q = network.of_vectors(network.vectors(cells)[places], columns)
        loss = kl_div(log_q, log_p, reduction="batchmean", log_target=True)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(network.parameters(), options.clip)
        optimizer.step()
        schedule.step()
        if step % options.check_every == 0 or step == options.steps:
            yield step


def check_folds(
    embeddings: CellEmbeddings,
    supervision: Supervision,
    features: NDArray[np.float32],
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
) -> None:
    """Raise `DataError` if what an approximator is trained on does not fit together."""
    faults = []
    if len(embeddings) != len(supervision.cells):
        faults.append(f"{len(embeddings)} embeddings for {len(supervision.cells)} cells of the bank")
    if features.ndim != 2 or len(features) != supervision.size:
        faults.append(f"features of shape {features.shape} for {supervision.size} rows of the bank")
    elif not np.isfinite(features).all():
        faults.append("features that are not finite")
    if len(training) == 0 or len(validation) == 0:
        faults.append(
            f"{len(training)} training and {len(validation)} validation cells, need one of each at least"
        )
    if both := sorted(set(training.tolist()) & set(validation.tolist())):
        faults.append("trained on and judged by: " + ", ".join(supervision.cells[cell] for cell in both))
    if faults:
        raise DataError("An approximator cannot be trained: " + "; ".join(faults) + ".")
