"""What an evaluation of SubSelNet measures: accuracy lost, time saved, what the training before it costs, overlap.

    RAR           = (acc(D) - acc(S)) / acc(D)                         lower is better; < 0: S did better than D
    speed-up      = T_full / (T_select + T_train(S))
    amortised     = (T_once + |M_te| T_query) / (|M_tr| + |M_te|)      as printed: training cells count as queries
    per query     = (T_once + |M_te| T_query) / |M_te|
    break-even    = T_once / (T_full - T_query)                        test cells, rounded up
    Jaccard       = |A and A*| / |A or A*|                             of the k best by two scores
    chance        = b / (2 n - b)                                      overlap of two independent draws of b of n

T_once is what is paid before the first query (supervisors, encoder, approximator, scorer), T_query what one
architecture costs then: selection and training on the subset. Kendall's tau-b over all cells is
`raysubset.report.agreement.kendall`.

References:
    [1] Jain et al., 2023, "Efficient data subset selection to generalize training across models", NeurIPS,
        arXiv:2409.12255, sections 5.1 and 5.2, appendices E.4 and E.5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raysubset.errors import BudgetError, DataError, OptionsError
from raysubset.report.agreement import kendall
from raysubset.report.intervals import Estimate, student

Run = tuple[str, int]  # cell, seed


def relative_accuracy_reduction(full: float, subset: float) -> float:
    """Return RAR = 1 - ``subset`` / ``full``, <= 1, negative where the subset did better.

    Args:
        full: Test accuracy of the architecture trained on all data, in (0, 1].
        subset: The same of training on the subset, in [0, 1].

    Raises:
        OptionsError: Outside these ranges, or NaN.
    """
    _check(
        "relative accuracy reduction",
        (f"full={full!r}, need a share in (0, 1]", 0 < full <= 1),
        (f"subset={subset!r}, need a share in [0, 1]", 0 <= subset <= 1),
    )
    return 1.0 - subset / full


def speed_up(full_s: float, select_s: float, train_s: float) -> float:
    """Return how many times sooner the subset's query is done than training on all data, > 0.

    The paper takes means over its test architectures first: give means, not the mean of the single speed-ups.

    Args:
        full_s: Seconds of training on all data, > 0.
        select_s: Seconds of choosing the subset, >= 0; 0 where nothing is computed.
        train_s: Seconds of training on it, > 0, on the same machine with the same threads.

    Raises:
        OptionsError: A time outside these ranges, or not finite.
    """
    _check("speed-up", *_times(full_s=(full_s, True), select_s=(select_s, False), train_s=(train_s, True)))
    return full_s / (select_s + train_s)


@dataclass(frozen=True, slots=True)
class Amortised:
    """Seconds of one architecture, its share of what was paid once included.

    Attributes:
        as_printed: Shared among training and test cells, as the paper defines it: it credits the training cells
            as queries, though nobody asked for their subsets, and so looks better the more supervisors there are.
        per_query: Shared among the test cells alone.
    """

    as_printed: float
    per_query: float


def amortised_cost(once_s: float, query_s: float, train_cells: int, test_cells: int) -> Amortised:
    """Return the amortised cost in both definitions.

    Args:
        once_s: Seconds paid before the first query, >= 0.
        query_s: Mean seconds of a query, > 0: selection, training on the subset, test.
        train_cells: Architectures trained as supervisors, >= 0.
        test_cells: Architectures queried, >= 1.

    Raises:
        OptionsError: A number outside these ranges, or not finite.
    """
    _check(
        "amortised cost",
        *_times(once_s=(once_s, False), query_s=(query_s, True)),
        (f"train_cells={train_cells!r}, need a number >= 0", train_cells >= 0),
        (f"test_cells={test_cells!r}, need a number >= 1", test_cells >= 1),
    )
    total = once_s + test_cells * query_s
    return Amortised(total / (train_cells + test_cells), total / test_cells)


def break_even(once_s: float, full_s: float, query_s: float) -> int | None:
    """Return from how many test cells on subsets, with all that was paid once, cost no more than full training.

    Args:
        once_s: Seconds paid before the first query, >= 0.
        full_s: Seconds of training one architecture on all data, > 0.
        query_s: Seconds of one query, > 0.

    Returns:
        The smallest such number, >= 0; None for never: a query takes as long as full training, or longer.

    Raises:
        OptionsError: A time outside these ranges, or not finite.
    """
    _check("break-even", *_times(once_s=(once_s, False), full_s=(full_s, True), query_s=(query_s, True)))
    return math.ceil(once_s / (full_s - query_s)) if full_s > query_s else None


# ------------------------------------------------------------------ recommending an architecture


def top_k_jaccard(reference: ArrayLike, found: ArrayLike, k: int) -> float:
    """Return the Jaccard coefficient, in [0, 1], of the k best cells by two scores.

    Args:
        reference: float[n], accuracy on all data, higher is better, -inf failed, no NaN.
        found: The same on subsets.
        k: In [1, n]. Ties at the edge go to the cell that comes first.

    Raises:
        OptionsError: The scores are not of one length, or hold NaN.
        BudgetError: k outside [1, n].
    """
    gold, ours = (set(best) for best in _both_tops(reference, found, k))
    return len(gold & ours) / len(gold | ours)


def tau_on_union(reference: ArrayLike, found: ArrayLike, k: int) -> float:
    """Return Kendall's tau-b over the cells that are among the k best by either score.

    Two lists with different members have no tau; this is the nearest thing that has. It looks only where one of
    the scores is high, so noise weighs more than in tau over all cells: that one is the headline.

    Args:
        reference: float[n], as in `top_k_jaccard`.
        found: float[n].
        k: In [1, n].

    Returns:
        tau-b in [-1, 1]; nan where it is not defined: a single cell, or one side constant.

    Raises:
        OptionsError: The scores are not of one length, or hold NaN.
        BudgetError: k outside [1, n].
    """
    union = np.union1d(*_both_tops(reference, found, k))
    if len(union) < 2:
        return math.nan
    return kendall(np.asarray(found)[union], np.asarray(reference)[union])


def _both_tops(reference: ArrayLike, found: ArrayLike, k: int) -> list[NDArray[np.int64]]:
    scores = [np.asarray(side, dtype=np.float64) for side in (reference, found)]
    shapes = [side.shape for side in scores]
    if shapes[0] != shapes[1] or scores[0].ndim != 1:
        raise OptionsError(
            f"The k best need two score vectors of one length, got shapes {shapes[0]}, {shapes[1]}."
        )
    if any(np.isnan(side).any() for side in scores):
        raise OptionsError("The k best need scores without NaN: a cell that failed has the score -inf.")
    if not 1 <= k <= len(scores[0]):
        raise BudgetError(f"k={k!r} of n={len(scores[0])} cells: need 1 <= k <= n.")
    return [np.argsort(-side, kind="stable")[:k] for side in scores]


# ------------------------------------------------------------------ subsets


def mean_overlap(subsets: Sequence[ArrayLike]) -> float:
    """Return the mean Jaccard coefficient, in [0, 1], over all pairs of subsets; read it beside `chance_overlap`.

    Args:
        subsets: At least two arrays of row ids, each of one or more ids, without repeats.

    Raises:
        DataError: Fewer than two subsets, an empty one, or one that repeats a row (names which).

    Cost: O(m^2 b) for m subsets of b rows.
    """
    if len(subsets) < 2:
        raise DataError(f"An overlap is between two subsets or more, got {len(subsets)}.")
    rows = [np.asarray(subset).ravel().tolist() for subset in subsets]
    members = [set(ids) for ids in rows]
    for place, (ids, distinct) in enumerate(zip(rows, members, strict=True)):
        if not ids or len(ids) != len(distinct):
            raise DataError(f"Subset {place} has {len(ids)} rows, {len(distinct)} distinct: need each row once.")
    return fmean(len(a & b) / len(a | b) for a, b in combinations(members, 2))


def chance_overlap(n: int, b: int) -> float:
    """Return b / (2 n - b), the Jaccard coefficient of two independent uniform subsets of b of n rows.

    It is the coefficient at the mean intersection b^2 / n. The exact expectation is higher, since I / (2 b - I) is
    convex in the intersection I (hypergeometric); by less than 1e-5 for 1 % or more of 50,000 rows, but by 0.05 at
    b = 2 of n = 5. Two selectors that follow the data alone overlap by more, so an overlap at chance is no sign of
    quality: it says that the subsets have nothing in common but the pool.

    Raises:
        BudgetError: b outside [1, n].
    """
    if not 1 <= b <= n:
        raise BudgetError(f"b={b!r} of n={n!r} rows: need 1 <= b <= n.")
    return b / (2 * n - b)


@dataclass(frozen=True, slots=True)
class ClassEntropy:
    """Entropy of the labels of a subset: in nats, and as a share of log C, 1 for equally many of each class."""

    nats: float
    share: float


def class_entropy(labels: ArrayLike, num_classes: int) -> ClassEntropy:
    """Return how evenly a subset covers the classes.

    Args:
        labels: int[b], classes of the subset's rows, in [0, C), b >= 1.
        num_classes: C >= 2. A balanced pool is at log C, which a subset of b < C rows cannot reach.

    Raises:
        OptionsError: C < 2.
        DataError: No labels, not integers, or one outside [0, C) (names its row).
    """
    if num_classes < 2:
        raise OptionsError(f"Class entropy: num_classes={num_classes!r}, need at least 2.")
    classes = np.asarray(labels)
    if classes.ndim != 1 or not len(classes) or not np.issubdtype(classes.dtype, np.integer):
        raise DataError(f"Class entropy needs int[b] labels, b >= 1, got {classes.dtype}{classes.shape}.")
    if (bad := np.flatnonzero((classes < 0) | (classes >= num_classes))).size:
        raise DataError(f"The label of row {bad[0]} is {classes[bad[0]]}, need [0, {num_classes}).")
    p = np.unique(classes, return_counts=True)[1] / len(classes)
    nats = float(-(p * np.log(p)).sum()) + 0.0  # -0 becomes 0
    return ClassEntropy(nats, nats / math.log(num_classes))


# ------------------------------------------------------------------ one method against another


@dataclass(frozen=True, slots=True)
class Paired:
    """How one method differs from another on the same architectures with the same seeds.

    Attributes:
        pairs: Runs (cell, seed) that both have.
        unpaired: Runs that only one has; they do not count.
        mean: Mean of ours - theirs; nan where there is no pair.
        interval: It with Student's 95 % interval over pairs; None where `student` has none. Runs of one seed share
            their split, supervisors and approximator, which makes it too narrow for a claim about other seeds.
        over_seeds: The same over the means of the seeds, one number a seed; None for fewer than two seeds.
    """

    pairs: int
    unpaired: int
    mean: float
    interval: Estimate | None
    over_seeds: Estimate | None


def paired_difference(ours: Mapping[Run, float], theirs: Mapping[Run, float]) -> Paired:
    """Return ours - theirs over the runs that both have.

    Args:
        ours: (cell, seed) -> score.
        theirs: The same of the other method.

    Raises:
        DataError: A score is NaN or infinite (names its run).
    """
    for side, scores in (("ours", ours), ("theirs", theirs)):
        if bad := [run for run, score in scores.items() if not math.isfinite(score)]:
            raise DataError(f"The score of {side} on cell {bad[0][0]!r}, seed {bad[0][1]} is {scores[bad[0]]}.")
    shared = sorted(ours.keys() & theirs.keys())
    gaps = {run: ours[run] - theirs[run] for run in shared}
    by_seed = [fmean(gaps[run] for run in shared if run[1] == seed) for seed in sorted({run[1] for run in shared})]
    return Paired(
        pairs=len(shared),
        unpaired=len(ours.keys() ^ theirs.keys()),
        mean=fmean(gaps.values()) if gaps else math.nan,
        interval=student(list(gaps.values())),
        over_seeds=student(by_seed),
    )


def _times(**seconds: tuple[float, bool]) -> list[tuple[str, bool]]:
    """Name each time, say whether it must be above 0, get what `_check` wants."""
    return [
        (
            f"{name}={value!r}, need finite seconds {'>' if above else '>='} 0",
            0 <= value < math.inf and not (above and value == 0),
        )
        for name, (value, above) in seconds.items()
    ]


def _check(what: str, *rules: tuple[str, bool]) -> None:
    if faults := [fault for fault, holds in rules if not holds]:
        raise OptionsError.of(what, faults)
