"""MILO: a curriculum of subsets that knows features and labels only, no model, and serves every trial alike.

References:
    [1] Killamsetty, Evfimievski, Pedapati, Kate, Popa, Iyer, 2023, "MILO: Model-agnostic subset selection
        framework for efficient model training and tuning", arXiv:2301.13287.
    [2] de Brebisson, Vincent, 2016, "An exploration of softmax alternatives belonging to the spherical loss
        family", ICLR (Taylor softmax).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.errors import OptionsError, SelectionError
from raysubset.selection.greedy import EPSILON, maximise
from raysubset.selection.protocol import Context, check_budget
from raysubset.selection.sampling import class_quotas, gumbel_top_m
from raysubset.selection.set_functions import DisparityMin, GraphCut
from raysubset.selection.similarity import Kernel, KernelName, kernel_faults, kernel_of
from raysubset.types import Selection

PER_PAIR = 10  # operations beside an inner product


@dataclass(frozen=True, slots=True, kw_only=True)
class Milo:
    """First easy, central subsets, then diverse random ones; both per class, by largest-remainder quotas [1].

    Stochastic-greedy exploration, while progress < ``exploration``: graph cut maximised by stochastic greedy, with
    new samples at every selection. Weighted random exploration afterwards: k rows without replacement, with
    probabilities proportional to the Taylor softmax [2] 1 + g + g^2 / 2 of the gains g that greedy disparity-min
    gives the rows when it orders the whole class.

    Gains are distances to the nearest earlier pick, scaled by the largest of the class to [0, 1], so that units do
    not matter; a row is then at most 2.5 times as likely as another. (The released code takes
    f(A + j) - f(A) <= 0, which is largest for the late, redundant rows.)

    Attributes:
        exploration: Share of training in [0, 1] given to the first phase.
        lam: Of graph cut, >= 0.
        epsilon: Of stochastic greedy, in (0, 1).
        kernel: "cosine" or "rbf".
        bandwidth: Of "rbf"; None is the class's own, see `raysubset.selection.similarity.Rbf`.

    Cost: see `prepare`, which depends on the pool alone: keep its result where selections repeat.
    """

    exploration: float = 1 / 6
    lam: float = 0.4
    epsilon: float = EPSILON
    kernel: KernelName = "cosine"
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        faults = kernel_faults(self.kernel, self.bandwidth)
        if not 0 <= self.exploration <= 1:
            faults.append(f"exploration={self.exploration!r}, need a share in [0, 1]")
        if not 0 <= self.lam < math.inf:
            faults.append(f"lam={self.lam!r}, need a finite number >= 0")
        if not 0 < self.epsilon < 1:
            faults.append(f"epsilon={self.epsilon!r}, need a number in (0, 1)")
        if faults:
            raise OptionsError.of("Milo", faults)

    def prepare(self, context: Context) -> PreparedMilo:
        """Compute once what every selection of every trial shares.

        Args:
            context: The pool, with labels and features.

        Raises:
            SelectionError: The pool has no labels or no features, or these are not finite.

        Cost: O(sum over classes of n_c^2 d) time; holds one copy of the features and 32 n bytes.
        """
        labels = context.need_labels("Milo")
        features = context.need_features("Milo")
        by_class = np.argsort(labels, kind="stable")
        classes = []
        for members in np.split(by_class, np.cumsum(np.bincount(labels))[:-1]):
            if len(members):
                kernel = kernel_of(features[members], self.kernel, self.bandwidth, context.device)
                classes.append(_Class(members, kernel, kernel.totals(), _log_probabilities(kernel)))
        return PreparedMilo(self, labels, tuple(classes))

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Prepare, and choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The pool has no labels or no features, or these are not finite.
        """
        check_budget(k, context.pool_size)
        return self.prepare(context).select(context, k, rng)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection with its preparation; see `Selector`."""
        passes = 2 if self.kernel == "rbf" else 1  # over all pairs of a class
        return passes * float(n) * n / max(c, 1) * (2 * h + PER_PAIR) + 4.0 * n * h


@dataclass(frozen=True, slots=True, eq=False)
class _Class:
    """One class: its rows in the pool, their kernel, its column sums, and log p of weighted exploration."""

    members: NDArray[np.int64]
    kernel: Kernel
    totals: torch.Tensor
    log_p: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedMilo:
    """MILO over one pool: a selector that needs nothing of the context but its size and its progress.

    Attributes:
        options: What it was prepared with.
        labels: int64[n], the pool's.
        classes: One part a class that has rows, lowest class first.

    Cost of a selection: weighted exploration O(n + k log k); graph cut O(n d ln(1 / epsilon)) with the cosine
    kernel, O(n k d / classes) with the RBF.
    """

    options: Milo
    labels: NDArray[np.int64]
    classes: tuple[_Class, ...]

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        """Choose k rows; see `Selector.select`.

        Raises:
            SelectionError: The context is of another pool's size.
        """
        n = len(self.labels)
        if context.pool_size != n:
            raise SelectionError(f"MILO was prepared for a pool of {n} rows and got one of {context.pool_size}.")
        check_budget(k, n)
        quotas = class_quotas(self.labels, k)
        early = context.progress < self.options.exploration
        explore = self._graph_cut if early else self._weighted
        parts = []
        for part, quota in zip(self.classes, quotas[np.bincount(self.labels) > 0], strict=True):
            if quota:
                parts.append(part.members[explore(part, int(quota), rng)])
        return Selection.uniform(np.concatenate(parts), n)

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        """Predict the floating-point operations of one selection, the mean over training; see `Selector`."""
        pairs = (
            float(n) * k / max(c, 1) if self.options.kernel == "rbf" else n * math.log(1 / self.options.epsilon)
        )
        return self.options.exploration * pairs * (2 * h + PER_PAIR) + 30.0 * n

    def _graph_cut(self, part: _Class, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
        function = GraphCut(part.kernel, self.options.lam, part.totals)
        return maximise(function, k, "stochastic", rng, self.options.epsilon).rows

    def _weighted(self, part: _Class, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
        return gumbel_top_m(part.log_p, k, rng)


def taylor_softmax(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (1 + g + g^2 / 2) / sum: positive for every g [2]."""
    weights = 1 + gains + gains**2 / 2
    return np.asarray(weights / weights.sum())


def _log_probabilities(kernel: Kernel) -> NDArray[np.float64]:
    """Return float64[n], log p of weighted random exploration, from disparity-min's order of all rows."""
    # no randomness: naive greedy draws nothing
    picks = maximise(DisparityMin(kernel), kernel.size, "naive", np.random.default_rng(0))
    gains = np.empty(kernel.size)
    gains[picks.rows] = picks.gains
    if kernel.size > 1:
        gains[picks.rows[0]] = picks.gains[1]  # the first two are that far from each other
    peak = gains.max()
    return np.log(taylor_softmax(gains / peak if peak > 0 else gains))
