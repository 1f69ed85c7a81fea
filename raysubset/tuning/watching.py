"""What the selectors of a search handed out, asked for when it ends and kept for its report.

The selectors count while they choose (`proxy.tally`); the search never waits for them. A selector that dies takes
its counts along and the restarted one counts nothing: the report says how many subsets it knows of how many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from PIL import Image

from raysubset.data.batches import RowSource
from raysubset.report.selections import Selections, read_selections
from raysubset.runtime.resident import peak_bytes
from raysubset.seeds import generator
from raysubset.tuning.shared import answer_of
from raysubset.tuning.stage import Pool

EXAMPLES = 12  # of each kind
LONGEST_SIDE = 64  # pixels of an example; larger images are made smaller
ANSWER_S = 60.0  # for a selector to tell what it counted


@contextmanager
def watched(pool: Pool, classes: Sequence[str], folder: Path) -> Iterator[None]:
    """Have the selectors count, and write what they counted when the block ends, in whatever way.

    Args:
        pool: Its selectors and rows.
        classes: Name of each label; of targets that are numbers there is none, see `fifths`.
        folder: Of the run; an earlier session's counts there are added to.

    Raises:
        SelectorLostError: A selector is gone for good.
        StorageError, RecordError: The file cannot be written, or an earlier one not be read.
    """
    rows = pool.train.open()
    labels, names = (rows.labels, tuple(classes)) if classes else fifths(rows.labels)
    stored = pool.train.labels if classes else ray.put(labels)
    for selector in pool.selectors.actors:
        answer_of(selector.watch.remote(stored))
    try:
        yield
    finally:
        _write(pool, rows, labels, names, folder)


def fifths(targets: NDArray[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Put numbers into five groups of equal size, fewer where many are equal: what stands for their classes.

    Args:
        targets: float[n], finite.

    Returns:
        int64[n], the group of each row, lowest targets first, and the groups' names: "-1.62 to -0.91".
    """
    edges = np.quantile(targets, [0.2, 0.4, 0.6, 0.8])
    _, groups = np.unique(np.searchsorted(edges, targets), return_inverse=True)  # equal edges leave groups empty
    held = [targets[groups == group] for group in range(int(groups.max()) + 1)]
    return groups.astype(np.int64), tuple(f"{part.min():.3g} to {part.max():.3g}" for part in held)


def _write(pool: Pool, rows: RowSource, labels: NDArray[np.int64], classes: tuple[str, ...], folder: Path) -> None:
    told = [Selections.of(tally, labels, classes) for tally in _tallies(pool)]
    told = [one for one in told if one.counted or one.in_batch]
    if not told:
        return  # a search that had ended before, or selectors that died
    earlier = read_selections(folder)
    known = reduce(Selections.merged, told if earlier is None else [*told, earlier])
    with_examples(known, rows).write(folder)


def _tallies(pool: Pool) -> list[dict[str, Any]]:
    """Return what each selector says; one that is gone, was restarted or does not answer says nothing."""
    found: list[dict[str, Any]] = []
    for selector in pool.selectors.actors:
        try:
            tally: Any = ray.get(selector.tallied.remote(), timeout=ANSWER_S)
            peak = ray.get(selector.__ray_call__.remote(peak_bytes), timeout=ANSWER_S)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            continue
        if tally is not None:
            found.append({**tally, "selector_peak_bytes": peak})
    return found


def with_examples(known: Selections, rows: RowSource) -> Selections:
    """Add images of the rows that are worth a look: hardest and easiest, most and least chosen.

    Args:
        known: Counts.
        rows: The pool. Rows other than uint8[C, H, W] images of 1 or 3 channels are left out.

    Cost: 48 rows are read; of a sharded data set as many blocks at most.
    """
    index = worth_a_look(known)
    inputs, _ = rows.rows(index)
    if inputs.dtype != np.uint8 or inputs.ndim != 4 or inputs.shape[1] not in (1, 3):
        return known
    return replace(known, example_rows=index, examples=np.stack([_small(image) for image in inputs]))


def worth_a_look(known: Selections) -> NDArray[np.int64]:
    """Return the rows at both ends of `Selections.difficulty` and of the counts: int64, ascending, distinct.

    Of equals any, by a draw that is always the same: the first rows of a data set are often all of one class.
    """
    ends, drawn = [], generator(0, "examples").permutation(len(known.times))
    for values in (known.difficulty, known.times.astype(np.float32)):
        order = drawn[np.isfinite(values[drawn])]
        order = order[np.argsort(values[order], kind="stable")]
        ends += [order[:EXAMPLES], order[-EXAMPLES:]]
    return np.unique(np.concatenate(ends)).astype(np.int64)


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image with at most `LONGEST_SIDE` pixels a side."""
    longest = max(image.shape[1:])
    if longest <= LONGEST_SIDE:
        return image
    height, width = (max(1, round(side * LONGEST_SIDE / longest)) for side in image.shape[1:])
    planes = [Image.fromarray(np.ascontiguousarray(plane)).resize((width, height)) for plane in image]
    return np.stack([np.asarray(plane) for plane in planes])
