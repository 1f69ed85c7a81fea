"""A fit's subsets looked at without training anything: time, soundness and overlap of draws, distance of cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.report.subselnet_facts import HYBRID, INDUCTIVE, TRANSDUCTIVE
from raysubset.report.subselnet_measures import mean_overlap
from raysubset.seeds import generator
from raysubset.subselnet.controls import CONTROLS
from raysubset.subselnet.embeddings import ArchitectureEncoder
from raysubset.subselnet.predictor import SAMPLERS, ArchitecturePredictor

BOTTOM = "bottom-loss"
COMPARED = (*SAMPLERS, BOTTOM)

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Draws:
    """Which draws.

    Attributes:
        k: Rows of each.
        entropy, candidates: Of the samplers, see `ArchitecturePredictor.sampler`.
        seed: The experiment's.
        repeat: Another number, other noise.
    """

    k: int
    entropy: float
    candidates: float
    seed: int
    repeat: int = 0

    def rng(self, cell: Any) -> np.random.Generator:
        """Return the cell's stream, the same for every method."""
        return generator(self.seed, "diagnostics", str(cell), self.k, self.repeat)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread, as trainings do: times compare, and two threads on a busy machine are slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# ------------------------------------------------------------------ subsets


def draw(
    predictor: ArchitecturePredictor, method: str, cells: Sequence[Any], asked: Draws
) -> tuple[list[Rows], float]:
    """Draw a subset for every cell, one after another.

    Args:
        predictor: The fit.
        method: One of `COMPARED`.
        cells: At least one.
        asked: What to draw.

    Returns:
        The rows in drawing order, int64[k] a cell; mean wall seconds a cell, prediction included, without a first
        draw, which is slower.
    """
    _select(predictor, method, cells[0], asked)
    subsets, seconds = [], []
    for cell in cells:
        started = perf_counter()
        subsets.append(_select(predictor, method, cell, asked))
        seconds.append(perf_counter() - started)
    return subsets, fmean(seconds)


def _select(predictor: ArchitecturePredictor, method: str, cell: Any, asked: Draws) -> Rows:
    seen = predictor.predict(cell)
    if method == BOTTOM:
        chooser = CONTROLS[BOTTOM]()
    else:
        (kind,) = (kind for kind in SAMPLERS if kind == method)
        chooser = predictor.sampler(kind, seen, asked.entropy, candidates=asked.candidates)
    return chooser.select(predictor.context(seen), asked.k, asked.rng(cell)).indices


def faults(
    predictor: ArchitecturePredictor,
    cells: Sequence[Any],
    asked: Draws,
    found: Mapping[str, Sequence[Rows]],
) -> tuple[int, tuple[str, ...]]:
    """Check draws: b different rows of the pool each, the same again from the same seed, the hybrid's two ends.

    Args:
        predictor: The fit.
        cells: Drawn for.
        asked: As they were drawn.
        found: Method -> its subsets, by `draw`.

    Returns:
        How many were checked, and what was wrong, in words.

    Cost: every draw once more, and two of the hybrid's a cell.
    """
    n, said = len(predictor.labels), []
    for method, subsets in found.items():
        again, _ = draw(predictor, method, cells, asked)
        for cell, rows, twice in zip(cells, subsets, again, strict=True):
            if len(rows) != asked.k or len(np.unique(rows)) != asked.k or rows.min() < 0 or rows.max() >= n:
                said.append(f"{method} for {cell}: not {asked.k} different rows of {n}")
            if not np.array_equal(rows, twice):
                said.append(f"{method} for {cell}: other rows from the same seed")
    for candidates, method in ((1.0, INDUCTIVE), (n / asked.k, TRANSDUCTIVE)):
        ends, _ = draw(predictor, HYBRID, cells, replace(asked, candidates=candidates))
        for cell, rows, end in zip(cells, found[method], ends, strict=True):
            if not np.array_equal(rows, end):
                said.append(f"hybrid at {candidates:g} b candidates for {cell}: not the {method} sampler's rows")
    return len(cells) * (len(found) + 2), tuple(said)


def same_cell_overlap(
    first: Mapping[str, Sequence[Rows]], second: Mapping[str, Sequence[Rows]]
) -> dict[tuple[str, str], float]:
    """Return (method, method) -> mean Jaccard coefficient for the same cell; noise is never shared.

    Args:
        first: Method -> one draw a cell, the rows of each table.
        second: The same of other noise, the columns.
    """
    return {
        (one, other): fmean(mean_overlap(pair) for pair in zip(first[one], second[other], strict=True))
        for one in first
        for other in first
    }


# ------------------------------------------------------------------ cells


def farthest_apart(vectors: NDArray[np.float32], count: int) -> list[int]:
    """Return ``count`` rows far apart, ascending: the farthest pair, then each the one farthest from its nearest.

    Args:
        vectors: float32[m, d].
        count: Rows, >= 2; all m if there are no more. Ties go to the lowest row.
    """
    m = len(vectors)
    if m <= count:
        return list(range(m))
    exact = vectors.astype(np.float64)
    distance = np.linalg.norm(exact[:, None] - exact[None], axis=2)
    kept = list(max(combinations(range(m), 2), key=lambda pair: distance[pair]))
    while len(kept) < count:
        nearest = distance[:, kept].min(axis=1)
        nearest[kept] = -1.0
        kept.append(int(nearest.argmax()))
    return sorted(kept)


def twin_distance(encoder: ArchitectureEncoder) -> float | None:
    """Return the greatest difference of the vectors of the space's twins, which some encoders cannot tell apart.

    None where the space has none.
    """
    if (twins := encoder.space.twins) is None:
        return None
    embedded = encoder.embed([encoder.space.parse(name) for name in twins])
    return float(torch.abs(embedded.vectors[0] - embedded.vectors[1]).max())
