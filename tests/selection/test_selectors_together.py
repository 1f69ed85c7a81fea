"""What every name of the catalogue keeps: rows find back, budgets hold, nobody touches global random numbers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from raysubset.errors import BudgetError, RaysubsetError
from raysubset.seeds import generator
from raysubset.selection.catalog import find_selector
from raysubset.selection.entries import ENTRIES
from raysubset.selection.kernels import backend
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.wrappers import PerClass
from raysubset.testing.selectors import make_context
from raysubset.types import Selection

SIGNALS = ("el2n", "grand", "forgetting", "aum", "loss", "entropy", "irreducible")

# "full" and "infobatch" take no k below n, "subselnet" needs a fit; the others choose inside batches.
NAMES = [
    name
    for name, entry in ENTRIES.items()
    if not entry.habits.in_batch and not entry.habits.prunes and name not in ("full", "subselnet")
]
OPTIONS: Mapping[str, dict[str, Any]] = {"asp": {"metric": "loss"}}

# No draw decides these, with these options: the same rows, wherever they stand in the pool.
DETERMINISTIC: Mapping[str, dict[str, Any]] = {
    "asp": {"metric": "loss", "deterministic": True},
    "craig": {},
    "gradmatch": {},
    "gradmatch-per-class": {},
    "gradmatch-per-class-gradient": {},
    "glister": {"greedy": "exact"},
    "facility-location": {},
    "graph-cut": {},
    "log-determinant": {},
    "disparity-min": {},
    "disparity-sum": {},
    "herding": {},
    "el2n": {},
    "grand": {},
    "forgetting": {},
    "aum": {},
    "least-confidence": {},
    "entropy": {},
    "margin": {},
}
# Their first gains are equal for all rows of a class, whatever the row: the lowest is taken.
TIED_AT_FIRST = {"log-determinant", "disparity-min", "disparity-sum"}
# Two uncovered rows that are each other's nearest gain the same in the end: either may be taken.
TIED_IN_PAIRS = {"craig", "facility-location"}

SHORT = {"gradmatch", "gradmatch-per-class", "gradmatch-per-class-gradient"}  # may give fewer than k
SHORT |= {name for name, entry in ENTRIES.items() if entry.wrapper == "batch"}


@cache
def pool(n: int = 47) -> Context:
    context = make_context("mixed" if n > 1 else "one row", n)
    rng = generator(0, "signals of the catalogue")
    signals = {name: rng.normal(size=n).astype(np.float32) for name in SIGNALS}
    signals["entropy"] = rng.random(n).astype(np.float32)
    for values in signals.values():
        values.flags.writeable = False
    return replace(context, signals={**context.signals, **signals})


def named(name: str) -> Selector:
    return find_selector(name, OPTIONS.get(name, {})).selector


def by_row(chosen: Selection) -> dict[int, float]:
    return dict(zip(chosen.indices.tolist(), (chosen.weights * chosen.scale).tolist(), strict=True))


def assert_same(first: dict[int, float], second: dict[int, float]) -> None:
    assert set(first) == set(second)
    rows = sorted(first)
    np.testing.assert_allclose([second[row] for row in rows], [first[row] for row in rows], rtol=1e-3)


def permuted(labels: NDArray[np.int64], seed: int, keep_first: bool) -> NDArray[np.int64]:
    """A permutation of the rows; the first row of each class may stay its first."""
    first = np.unique(labels, return_index=True)[1] if keep_first else np.empty(0, dtype=np.int64)
    rest = np.setdiff1d(np.arange(len(labels)), first)
    return np.concatenate([first, generator(seed, "order").permutation(rest)])


def uncovered(points: NDArray[Any], labels: NDArray[np.int64], rows: list[int]) -> float:
    """Sum of the squared distances to the nearest chosen row of the same class."""
    total = 0.0
    for i, point in enumerate(points.astype(np.float64)):
        own = [row for row in rows if labels[row] == labels[i]]
        total += min(float(((point - points[row]) ** 2).sum()) for row in own)
    return total


@pytest.mark.slow
@pytest.mark.parametrize("k", [6, 20])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_rows_find_back_from_a_permuted_pool(name: str, k: int) -> None:
    selector, context = find_selector(name, DETERMINISTIC[name]).selector, pool()
    assert context.labels is not None
    assert context.features is not None
    assert context.gradients is not None
    plain = by_row(selector.select(context, k, generator(1)))
    for seed in range(3):
        order = permuted(context.labels, seed, name in TIED_AT_FIRST)
        moved = by_row(selector.select(context.restrict(order), k, generator(2 + seed)))
        back = {int(order[row]): weight for row, weight in moved.items()}
        if name in TIED_IN_PAIRS and k > 6:
            points = context.gradients.expanded() if name == "craig" else context.features
            assert uncovered(points, context.labels, list(back)) == pytest.approx(
                uncovered(points, context.labels, list(plain)), rel=1e-6
            )
        else:
            assert_same(plain, back)


@pytest.mark.parametrize("name", NAMES)
def test_equal_streams_give_equal_rows(name: str) -> None:
    first, second = (named(name).select(pool(), 12, generator(5)) for _ in range(2))
    assert first.indices.tolist() == second.indices.tolist()
    assert first.weights.tolist() == second.weights.tolist()
    assert first.scale == second.scale


# The best of several starts of k-means may well be the same for every stream.
DRAWN = sorted((set(NAMES) - set(DETERMINISTIC) | {"asp"}) - {"prototypes-hard", "prototypes-easy"})


@pytest.mark.parametrize("name", DRAWN)
def test_other_streams_give_other_rows(name: str) -> None:
    """Or a draw is not taken from the stream."""
    draws = {tuple(sorted(named(name).select(pool(), 12, generator(seed)).indices.tolist())) for seed in range(5)}
    assert len(draws) > 1


def global_streams() -> tuple[Any, ...]:
    _, key, position, *_ = np.random.get_state(legacy=True)  # noqa: NPY002  # read to see it was left alone
    return np.asarray(key).tobytes(), position, torch.get_rng_state().numpy().tobytes(), random.getstate()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_global_random_numbers_and_no_global_settings(name: str) -> None:
    before = global_streams(), torch.get_num_threads(), torch.get_default_dtype(), np.geterr()
    for k in (1, 12, 47):
        named(name).select(pool(), k, generator(6))
    assert (global_streams(), torch.get_num_threads(), torch.get_default_dtype(), np.geterr()) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n", "k"), [(47, 1), (47, 2), (47, 46), (47, 47), (1, 1), (3, 2)])
def test_every_budget_is_kept(name: str, n: int, k: int) -> None:
    chosen = named(name).select(pool(n), k, generator(7))
    assert chosen.pool_size == n
    assert 1 <= len(chosen) <= k
    assert len(chosen) == k or name in SHORT
    assert len(set(chosen.indices.tolist())) == len(chosen)
    assert chosen.weights.mean(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    assert np.isfinite(chosen.scale)
    assert chosen.scale > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n", "k"), [(47, 0), (47, -1), (47, 48), (1, 0), (1, 2)])
def test_other_budgets_are_refused(name: str, n: int, k: int) -> None:
    with pytest.raises(BudgetError) as caught:
        named(name).select(pool(n), k, generator(8))
    assert str(k) in str(caught.value)
    assert str(n) in str(caught.value)


def largest_remainder(labels: NDArray[np.int64], k: int) -> dict[int, int]:
    """Whole parts first, then one more by falling remainder, then by class; in fractions."""
    classes = sorted(set(labels.tolist()))
    shares = {c: Fraction(k * labels.tolist().count(c), len(labels)) for c in classes}
    quotas = {c: share.numerator // share.denominator for c, share in shares.items()}
    for c in sorted(classes, key=lambda c: (quotas[c] - shares[c], c))[: k - sum(quotas.values())]:
        quotas[c] += 1
    return quotas


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 7, 10, 20, 46])
@pytest.mark.parametrize("name", [name for name in NAMES if ENTRIES[name].wrapper == "class"])
def test_classes_get_their_quotas(name: str, k: int) -> None:
    labels = generator(0, "classes").permutation(np.repeat([0, 1, 2], [24, 16, 7]))
    context = replace(pool(), labels=labels)
    rows = named(name).select(context, k, generator(9)).indices
    given = {c: int((labels[rows] == c).sum()) for c in range(3)}
    quotas = largest_remainder(labels, k)
    assert all(given[c] == quotas[c] or (name in SHORT and 0 < given[c] < quotas[c]) for c in quotas)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"gradmatch-per-batch", "automata", "craig-per-batch"}))
def test_any_selector_goes_by_class(name: str) -> None:
    labels = generator(0, "classes").permutation(np.repeat([0, 1, 2], [24, 16, 7]))
    inner = named(name)
    selector = inner if isinstance(inner, PerClass) else PerClass(inner)
    rows = selector.select(replace(pool(), labels=labels), 20, generator(9)).indices
    given = {c: int((labels[rows] == c).sum()) for c in range(3)}
    quotas = largest_remainder(labels, 20)
    assert all(given[c] == quotas[c] or (name in SHORT and given[c] < quotas[c]) for c in quotas)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if ENTRIES[name].wrapper == "class"] + ["adaptive-random"]
)
def test_threads_change_nothing(name: str) -> None:
    inner = named(name)
    selector = inner if isinstance(inner, PerClass) else PerClass(inner)
    one, three = (replace(selector, threads=t).select(pool(), 15, generator(3)) for t in (1, 3))
    assert one.indices.tolist() == three.indices.tolist()
    assert one.weights.tolist() == three.weights.tolist()


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_numba_and_torch_choose_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    selector = find_selector(name, DETERMINISTIC[name]).selector
    compiled = by_row(selector.select(pool(), 15, generator(3)))
    monkeypatch.setattr(backend, "numba_available", lambda: False)
    assert_same(compiled, by_row(selector.select(pool(), 15, generator(3))))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"adaptive-random", "random"}))
def test_what_it_looks_at_is_asked_for(name: str) -> None:
    """A pool of which nothing is known: one clear error, no crash."""
    with pytest.raises(RaysubsetError) as caught:
        named(name).select(Context(20), 5, generator(4))
    assert not isinstance(caught.value, BudgetError)
    lacking = ("labels", "features", "gradients", "measured", "learning rate")
    assert any(word in str(caught.value).lower() for word in lacking)


@pytest.mark.parametrize("name", [name for name in NAMES if ENTRIES[name].habits.evidence == "embedding"])
def test_features_that_are_not_finite_are_named(name: str) -> None:
    context = pool()
    assert context.features is not None
    broken = context.features.copy()
    broken[11, 2] = np.nan
    with pytest.raises(RaysubsetError, match=r"features of row \d+ hold nan in column 2"):
        named(name).select(replace(context, features=broken), 9, generator(4))
