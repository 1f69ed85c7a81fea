"""Who is measured: ours through the face that users see, peers with everything they need made beforehand.

A contender turns a task into steps. What happens between steps is preparation, and free: similarity matrices,
expanded gradients, probabilities. Ours starts from gradients or importances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.bench import peers
from raysubset.bench.quality import Picked
from raysubset.selection.gradients import Gradients
from raysubset.selection.kernels.race import race_top_m
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.sampling import class_quotas, draw

IMPORTANCE = "loss"  # the signal that rows are drawn by
EPS = 1e-4  # relative residual at which matching pursuits end

Step = Callable[[], Picked]
ByMatrix = Callable[[NDArray[np.float32], int], NDArray[np.int64]]


class Task(NamedTuple):
    """Rows, and how many of them to choose."""

    context: Context
    k: int

    @property
    def gradients(self) -> Gradients:
        """The rows' gradients."""
        return self.context.need_gradients("The benchmark")

    @property
    def labels(self) -> NDArray[np.int64]:
        """The rows' classes."""
        return self.context.need_labels("The benchmark")


Steps = Callable[[Task, int], Iterator[Step]]


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who solves a task.

    Attributes:
        name: For tables.
        steps: (task, seed) -> steps, whose rows together are the answer.
        peer: Whether it is somebody else's.
        package: Import name of what it needs beside raysubset's own dependencies, or None.
        numba: False to work as if numba were not installed.
    """

    name: str
    steps: Steps
    peer: bool = True
    package: str | None = None
    numba: bool = True


def ours(selector: Selector, name: str = "raysubset", numba: bool = True) -> Contender:
    """One of our selectors."""

    def steps(task: Task, seed: int) -> Iterator[Step]:
        yield partial(_select, selector, task, seed)

    return Contender(name, steps, peer=False, numba=numba)


def _select(selector: Selector, task: Task, seed: int) -> Picked:
    chosen = selector.select(task.context, task.k, np.random.default_rng(seed))
    return Picked(chosen.indices, chosen.weights.astype(np.float64) * chosen.scale)


def submodlib_lazy(classes: bool) -> Contender:
    """Submodlib's lazy greedy, on all rows or class after class."""
    return Contender("submodlib lazy", by_matrix(peers.submodlib_lazy, classes), package="submodlib")


def apricot_lazy(classes: bool) -> Contender:
    """Apricot's lazy greedy, on all rows or class after class."""
    return Contender("apricot lazy", by_matrix(peers.apricot_lazy, classes), package="apricot")


def apricot_lazy_compiled(classes: bool) -> Contender:
    """The same without the compilation that is part of each of its fits."""
    return Contender("apricot lazy, compiled", by_matrix(peers.apricot_lazy_compiled, classes), package="apricot")


def by_matrix(peer: ByMatrix, classes: bool) -> Steps:
    """Return the steps of a peer that wants a similarity matrix: of all rows, or of class after class."""

    def steps(task: Task, _seed: int) -> Iterator[Step]:
        labels = task.labels if classes else np.zeros(len(task.gradients), dtype=np.int64)
        for label, quota in enumerate(class_quotas(labels, task.k).tolist()):
            if quota:
                members = np.flatnonzero(labels == label)
                yield partial(_among, peer, peers.similarities(task.gradients.take(members)), quota, members)

    return steps


def _among(peer: ByMatrix, matrix: NDArray[np.float32], k: int, members: NDArray[np.int64]) -> Picked:
    return Picked(members[peer(matrix, k)])


def textbook_pursuit() -> Contender:
    """Orthogonal matching pursuit on expanded gradients, least squares anew for each pick."""

    def steps(task: Task, _seed: int) -> Iterator[Step]:
        atoms, target = task.gradients.expanded().astype(np.float64), task.gradients.total().ravel()
        yield lambda: peers.textbook_matching_pursuit(atoms, target, task.k, EPS)

    return Contender("textbook, any sign", steps)


def our_draw(name: str = "raysubset", ordered: bool = False, numba: bool = True) -> Contender:
    """Our draw by importance: rows by number, as `draw` gives them, or in the order drawn."""

    def steps(task: Task, seed: int) -> Iterator[Step]:
        values, rng = task.context.signal(IMPORTANCE), np.random.default_rng(seed)
        if ordered:
            yield lambda: Picked(race_top_m(values, task.k, rng))
        else:
            yield lambda: Picked(draw(values, task.k, rng))

    return Contender(name, steps, peer=False, numba=numba)


def multinomial() -> Contender:
    """torch.multinomial, given the probabilities."""

    def steps(task: Task, seed: int) -> Iterator[Step]:
        probabilities = torch.from_numpy(task.context.signal(IMPORTANCE)).softmax(0)
        yield lambda: Picked(peers.multinomial(probabilities, task.k, seed))

    return Contender("torch.multinomial", steps)


def gumbel_topk() -> Contender:
    """Gumbel noise for every row, then torch.topk."""

    def steps(task: Task, seed: int) -> Iterator[Step]:
        values = torch.from_numpy(task.context.signal(IMPORTANCE))
        yield lambda: Picked(peers.gumbel_topk(values, task.k, seed))

    return Contender("torch Gumbel, topk", steps)
