"""The inductive sampler: a network that gives the rows of any architecture their logits in one pass.

It reads, for every row, the architecture's mean node embedding, the row's features and label, and what the
approximator predicts [1, equation 10]. Its objective, for one architecture and a draw of b of n rows, is

    V / b  +  lambda' (n / b) |mean_i sigmoid(a_i) - b / n|

V is the Plackett-Luce objective of the logits a; the second term makes about b of the scores sigmoid(a) high. The
two do not interfere: a draw does not see a shift of all logits, the count does. Logits, not scores, are what is
drawn by: from scores in (0, 1) no row would be drawn more than e times as often as another.

Beyond the paper, which trains one network per b: log(b / n) is one more input, so one network serves all ratios it
is trained for.

References:
    [1] Jain, Nandy, Aggarwal, Tendulkar, Iyer, De, 2023, arXiv:2409.12255, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot

from raysubset.errors import OptionsError
from raysubset.models.init import seeded
from raysubset.seeds import generator, seed64
from raysubset.selection.sampling import gumbel_top_m
from raysubset.subselnet.plackett_luce import Vector, prefix_estimate
from raysubset.subselnet.samplers import bounded

KEPT_BYTES = 2**28  # of log-probabilities, while the network trains


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What is foreseen of one architecture on a pool of n rows.

    Attributes:
        cell: float32[16], the mean of its node embeddings.
        log_probabilities: float32[n, C], the approximator's.
        losses: float32[n], their cross-entropy to the labels, in nats.
    """

    cell: NDArray[np.float32]
    log_probabilities: NDArray[np.float32]
    losses: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class InductiveOptions:
    """How the inductive sampler is trained.

    Attributes:
        entropy: lambda > 0, in nats of loss; see `raysubset.subselnet.samplers`.
        count_weight: lambda' >= 0; has no unit.
        ratios: b / n of the draws it is trained for, each in (0, 1); one of them a step.
        hidden: Widths of the two hidden layers.
        steps: Of Adam, >= 1; each on one architecture.
        lr: Adam's rate, > 0.
        rows: Rows of a step, >= 2; the pool if it has no more.

    Raises:
        OptionsError: A value out of range; all of them in one message.
    """

    entropy: float = 0.3
    count_weight: float = 0.1
    ratios: tuple[float, ...] = (0.05, 0.1, 0.3)
    hidden: tuple[int, int] = (64, 16)
    steps: int = 1000
    lr: float = 1e-3
    rows: int = 4096

    def __post_init__(self) -> None:
        faults = []
        for name, value in (("entropy", self.entropy), ("lr", self.lr)):
            if not 0 < value < math.inf:
                faults.append(f"{name}={value!r}, need a finite number > 0")
        if not 0 <= self.count_weight < math.inf:
            faults.append(f"count_weight={self.count_weight!r}, need a finite number >= 0")
        if not self.ratios or not all(0 < ratio < 1 for ratio in self.ratios):
            faults.append(f"ratios={self.ratios!r}, need at least one, each in (0, 1)")
        if len(self.hidden) != 2 or min(self.hidden) < 1:
            faults.append(f"hidden={self.hidden!r}, need two widths of at least 1")
        for name, number, least in (("steps", self.steps, 1), ("rows", self.rows, 2)):
            if not (isinstance(number, int) and number >= least):
                faults.append(f"{name}={number!r}, need an integer >= {least}")
        if faults:
            raise OptionsError.of("InductiveOptions", faults)


class InductiveScorer(nn.Module):
    """Logits of rows; two hidden layers with LeakyReLU(0.01).

    Args:
        cell_width: Of an embedding.
        feature_width: Of a row's features.
        num_classes: C.
        hidden: Widths of the two hidden layers.
    """

    def __init__(self, cell_width: int, feature_width: int, num_classes: int, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.form = {
            "cell_width": cell_width,
            "feature_width": feature_width,
            "num_classes": num_classes,
            "hidden": hidden,
        }
        width = cell_width + feature_width + 2 * num_classes + 1
        self.layers = nn.Sequential(
            nn.Linear(width, hidden[0]),
            nn.LeakyReLU(),
            nn.Linear(hidden[0], hidden[1]),
            nn.LeakyReLU(),
            nn.Linear(hidden[1], 1),
        )

    def forward(
        self, cell: Tensor, features: Tensor, labels: Tensor, log_probabilities: Tensor, ratio: float
    ) -> Tensor:
        """Return float32[n] logits of a draw of ``ratio`` n of the n rows."""
        n = len(features)
        per_cell = torch.cat([cell, cell.new_tensor([math.log(ratio)])]).expand(n, -1)
        classes = one_hot(labels, self.num_classes).to(features.dtype)
        logits: Tensor = self.layers(torch.cat([per_cell, features, classes, log_probabilities], dim=1))
        return logits.squeeze(1)

    @torch.inference_mode()
    def logits(
        self,
        cell: NDArray[np.float32],
        features: NDArray[np.float32],
        labels: NDArray[np.int64],
        log_probabilities: NDArray[np.float32],
        ratio: float,
    ) -> Vector:
        """Return float64[n] as `forward`, of arrays (read-only ones are copied), see `bounded`."""
        given = (cell, features, labels, log_probabilities)
        arrays = (torch.from_numpy(np.require(array, requirements="W")) for array in given)
        return bounded(self(*arrays, ratio).double().numpy())


@dataclass(frozen=True, slots=True, eq=False)
class InductiveReport:
    """How the training went.

    Attributes:
        objective: Of the kept state: mean over the validation cells and ratios, per pick, in nats.
        uniform: The same of a uniform draw.
        checks: The objective at every check, in order.
    """

    objective: float
    uniform: float
    checks: tuple[float, ...]


def fit_inductive(
    predict: Callable[[int], Prediction],
    train: Sequence[int],
    validation: Sequence[int],
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    options: InductiveOptions,
    seed: int,
    checks: int = 10,
) -> tuple[InductiveScorer, InductiveReport]:
    """Train the network on some cells; the state with the least objective on others is kept.

    Args:
        predict: What is foreseen of a cell, by its number; equal numbers give equal predictions.
        train: Numbers of the cells to learn from, one a step.
        validation: Numbers of the cells that choose the state.
        features: float32[n, d], of the pool's rows.
        labels: int64[n].
        options: How.
        seed: Of the initial weights, the order of cells, rows and draws.
        checks: How often the validation cells are looked at.

    Cost: one ``predict`` a cell where all of them fit into `KEPT_BYTES`, else up to one a step; a step is a pass
    over ``options.rows`` rows forth and back.
    """
    first = predict(train[0])
    predict = lru_cache(maxsize=max(1, KEPT_BYTES // first.log_probabilities.nbytes))(predict)
    with seeded(seed64(seed, "inductive")):
        scorer = InductiveScorer(
            len(first.cell), features.shape[1], first.log_probabilities.shape[1], options.hidden
        )
    adam = torch.optim.Adam(scorer.parameters(), lr=options.lr)
    rng = generator(seed, "inductive", "steps")
    best, state, found = math.inf, scorer.state_dict(), []
    uniform = _objective(None, predict, validation, features, labels, options, seed)
    for step in range(options.steps):
        _step(scorer, adam, predict(int(rng.choice(train))), features, labels, options, rng)
        if (step + 1) * checks // options.steps > step * checks // options.steps:
            found.append(_objective(scorer, predict, validation, features, labels, options, seed))
            if found[-1] < best:
                best, state = found[-1], {name: value.clone() for name, value in scorer.state_dict().items()}
    scorer.load_state_dict(state)
    return scorer, InductiveReport(best, uniform, tuple(found))


def _step(
    scorer: InductiveScorer,
    adam: torch.optim.Optimizer,
    seen: Prediction,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    options: InductiveOptions,
    rng: np.random.Generator,
) -> None:
    n = len(labels)
    rows = np.sort(rng.permutation(n)[: options.rows]) if options.rows < n else np.arange(n)
    ratio = float(rng.choice(options.ratios))
    picks = _picks(ratio, len(rows))
    arrays = (seen.cell, features[rows], labels[rows], seen.log_probabilities[rows])
    logits = scorer(*(torch.from_numpy(array) for array in arrays), ratio)
    now = logits.detach().double().numpy()
    now = now.clip(now.max() - 500.0)  # below that a row's gradient is nothing
    estimate = prefix_estimate(
        now, seen.losses[rows].astype(np.float64), gumbel_top_m(now, picks, rng), options.entropy
    )
    count = options.count_weight / ratio * (torch.sigmoid(logits).mean() - ratio).abs()
    adam.zero_grad()
    count.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    logits.backward(torch.from_numpy(estimate.gradient / picks).to(logits.dtype))
    adam.step()


def _objective(
    scorer: InductiveScorer | None,
    predict: Callable[[int], Prediction],
    cells: Sequence[int],
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    options: InductiveOptions,
    seed: int,
) -> float:
    """Return the mean objective per pick, of one draw a cell and ratio, the same noise at every call."""
    values = []
    for cell in cells:
        seen = predict(cell)
        for position, ratio in enumerate(options.ratios):
            rng = generator(seed, "inductive", "check", cell, position)
            logits = np.zeros(len(labels))
            if scorer is not None:
                logits = scorer.logits(seen.cell, features, labels, seen.log_probabilities, ratio)
            picks = _picks(ratio, len(labels))
            order = gumbel_top_m(logits, picks, rng)
            estimate = prefix_estimate(logits, seen.losses.astype(np.float64), order, options.entropy)
            values.append(estimate.value / picks)
    return float(np.mean(values))


def _picks(ratio: float, n: int) -> int:
    return max(1, round(ratio * n))
