"""SubSelNet's measures against their definitions, brute force and the paper's own arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import BudgetError, DataError, OptionsError
from raysubset.report.subselnet_measures import (
    amortised_cost,
    break_even,
    chance_overlap,
    class_entropy,
    mean_overlap,
    paired_difference,
    relative_accuracy_reduction,
    speed_up,
    tau_on_union,
    top_k_jaccard,
)

SECONDS = st.floats(0.01, 1e5)
SHARE = st.floats(0.0, 1.0)


def test_goldens_by_hand() -> None:
    assert relative_accuracy_reduction(0.8, 0.6) == pytest.approx(0.25, abs=FLOAT64)
    assert relative_accuracy_reduction(0.5, 0.6) == pytest.approx(-0.2, abs=FLOAT64)
    assert speed_up(100.0, 5.0, 20.0) == pytest.approx(4.0, abs=FLOAT64)
    cost = amortised_cost(1000.0, 10.0, 30, 20)
    assert (cost.as_printed, cost.per_query) == pytest.approx((24.0, 60.0), abs=FLOAT64)
    assert break_even(1000.0, 60.0, 10.0) == 20
    assert break_even(1001.0, 60.0, 10.0) == 21
    assert break_even(0.0, 60.0, 10.0) == 0
    assert break_even(1.0, 60.0, 60.0) is None
    assert break_even(0.0, 60.0, 61.0) is None
    assert chance_overlap(50_000, 5_000) == pytest.approx(0.052631579, abs=1e-9)  # the paper's 0.05, 10 %
    assert chance_overlap(50_000, 7_500) == pytest.approx(0.081081081, abs=1e-9)  # the paper's 0.08, 15 %


def test_the_papers_table_6_fits_the_printed_definition_with_the_costs_of_its_note() -> None:
    """1844, 1635, 1496 at 200, 300, 400 cells: three equations in supervisors, seconds once, seconds a query."""
    cells, cost = np.array([200.0, 300.0, 400.0]), np.array([1844.0, 1635.0, 1496.0])
    train, once, query = np.linalg.solve(np.stack([cost, -np.ones(3), -cells], axis=1), -cost * cells)
    assert 196 < train < 201
    assert once / 7111 == pytest.approx(81, abs=1.5)
    assert once / 7111 / train == pytest.approx(0.41, abs=0.01)
    for n, printed in zip((200, 300, 400), cost, strict=True):
        assert amortised_cost(once, query, round(train), n).as_printed == pytest.approx(printed, rel=2e-3)


@PROPERTY
@given(st.floats(0.01, 1.0), SHARE)
def test_rar_recovers_the_accuracy(full: float, subset: float) -> None:
    rar = relative_accuracy_reduction(full, subset)
    assert (1 - rar) * full == pytest.approx(subset, abs=FLOAT64)
    assert (rar < 0) == (subset > full)


@PROPERTY
@given(st.floats(0.0, 1e6), SECONDS, SECONDS)
def test_break_even_is_the_first_count_that_pays(once: float, full: float, query: float) -> None:
    assume(abs(full - query) > 1e-3)
    cells = break_even(once, full, query)
    if cells is None:
        assert query > full
        return
    saved = Fraction(full) - Fraction(query)  # exact: floats are binary fractions
    slack = Fraction(once + 1) / 10**12
    assert cells * saved >= Fraction(once) - slack
    assert cells == 0 or (cells - 1) * saved <= Fraction(once) + slack


@PROPERTY
@given(st.floats(0, 1e6), SECONDS, st.integers(0, 500), st.integers(1, 500))
def test_amortised_costs_add_up_and_the_printed_one_is_never_higher(
    once: float, query: float, train: int, test: int
) -> None:
    cost = amortised_cost(once, query, train, test)
    assert cost.per_query * test == pytest.approx(once + test * query)
    assert cost.as_printed * (train + test) == pytest.approx(once + test * query)
    assert cost.as_printed <= cost.per_query


LEVELS = st.sampled_from([-math.inf, 0.0, 0.25, 0.5, 0.75])
SCORES = st.integers(1, 8).flatmap(
    lambda n: st.tuples(*(st.lists(LEVELS, min_size=n, max_size=n) for _ in range(2)), st.integers(1, n))
)


def best(scores: list[float], k: int) -> list[int]:
    """The k best one after the other, the first of equals."""
    left = list(range(len(scores)))
    return [left.pop(left.index(max(left, key=lambda i: (scores[i], -i)))) for _ in range(k)]


def tau_by_pairs(x: list[float], y: list[float]) -> float:
    balance = untied_x = untied_y = 0
    for i, j in combinations(range(len(x)), 2):
        a, b = (x[i] > x[j]) - (x[i] < x[j]), (y[i] > y[j]) - (y[i] < y[j])
        balance, untied_x, untied_y = balance + a * b, untied_x + abs(a), untied_y + abs(b)
    return balance / math.sqrt(untied_x * untied_y) if untied_x and untied_y else math.nan


@PROPERTY
@given(SCORES)
def test_top_k_against_brute_force(case: tuple[list[float], list[float], int]) -> None:
    gold, found, k = case
    a, b = best(gold, k), best(found, k)
    assert top_k_jaccard(gold, found, k) == pytest.approx(sum(i in b for i in a) / len({*a, *b}), abs=FLOAT64)
    union = sorted({*a, *b})
    expected = tau_by_pairs([gold[i] for i in union], [found[i] for i in union])
    assert tau_on_union(gold, found, k) == pytest.approx(expected, abs=FLOAT64, nan_ok=True)


def test_top_k_by_hand() -> None:
    gold, found = [0.9, 0.8, 0.7, 0.1, 0.2], [0.5, 0.9, 0.1, 0.8, 0.0]
    assert top_k_jaccard(gold, found, 2) == pytest.approx(1 / 3)  # {0, 1} and {1, 3}
    assert tau_on_union(gold, found, 2) == pytest.approx(-1 / 3)  # over 0, 1, 3: one pair of three agrees
    assert math.isnan(tau_on_union([1.0, 2.0], [1.0, 2.0], 1))  # one cell in the union


@PROPERTY
@given(st.lists(st.sets(st.integers(0, 9), min_size=1), min_size=2, max_size=5))
def test_overlap_against_membership(subsets: list[set[int]]) -> None:
    members = np.array([[row in subset for row in range(10)] for subset in subsets])
    pairs = [(members[i] & members[j]).sum() / (members[i] | members[j]).sum()
             for i in range(len(subsets)) for j in range(i)]  # fmt: skip
    assert mean_overlap([np.array(sorted(s)) for s in subsets]) == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize(("n", "b"), [(5, 2), (6, 3), (7, 1), (4, 4)])
def test_chance_overlap_is_just_below_the_exact_expectation(n: int, b: int) -> None:
    """By enumeration: the first subset may be fixed, the second runs through all."""
    first = set(range(b))
    exact = [len(first & set(s)) / len(first | set(s)) for s in combinations(range(n), b)]
    gap = sum(exact) / len(exact) - chance_overlap(n, b)
    assert -FLOAT64 <= gap <= 0.07
    if (n, b) == (5, 2):
        assert gap == pytest.approx(0.05)  # the docstring's
    if b == n:
        assert chance_overlap(n, b) == 1.0


@PROPERTY
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_class_entropy_by_counting(labels: list[int]) -> None:
    p = [labels.count(c) / len(labels) for c in range(5)]
    nats = -sum(q * math.log(q) for q in p if q)
    found = class_entropy(labels, 5)
    assert found.nats == pytest.approx(nats, abs=FLOAT64)
    assert found.share == pytest.approx(nats / math.log(5), abs=FLOAT64)
    assert math.copysign(1, found.nats) == 1


def test_paired_difference_counts_shared_runs_alone() -> None:
    ours = {("a", 0): 0.5, ("a", 1): 0.6, ("b", 0): 0.4, ("c", 0): 0.9}
    theirs = {("a", 0): 0.4, ("a", 1): 0.4, ("b", 0): 0.4, ("d", 0): 0.1}
    found = paired_difference(ours, theirs)
    assert (found.pairs, found.unpaired, found.mean) == (3, 2, pytest.approx(0.1))
    assert found.interval is not None
    half = 4.302652729911275 * 0.1 / math.sqrt(3)  # t of 2 degrees of freedom from a table; the sd of .1, .2, 0
    assert found.interval.low == pytest.approx(0.1 - half, abs=FLOAT64)
    assert found.interval.high == pytest.approx(0.1 + half, abs=FLOAT64)
    assert found.over_seeds is not None
    assert found.over_seeds.value == pytest.approx((0.05 + 0.2) / 2)


def test_paired_difference_without_spread_or_runs_has_no_interval() -> None:
    none = paired_difference({("a", 0): 0.5}, {("b", 0): 0.5})
    assert (none.pairs, none.interval, none.over_seeds) == (0, None, None)
    assert math.isnan(none.mean)
    assert paired_difference({("a", 0): 0.5}, {("a", 0): 0.1}).interval is None
    same = {("a", 0): 0.5, ("b", 0): 0.5}
    assert paired_difference(same, same).interval is None


@PROPERTY
@given(st.dictionaries(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), SHARE, min_size=1))
def test_paired_difference_is_antisymmetric(scores: dict[tuple[str, int], float]) -> None:
    other = {run: 1 - score * score for run, score in scores.items()}
    there, back = paired_difference(scores, other), paired_difference(other, scores)
    assert there.mean == pytest.approx(-back.mean, abs=FLOAT64)
    assert (there.interval is None) == (back.interval is None)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: relative_accuracy_reduction(0.0, 0.1), OptionsError, r"full=0.0, need a share in \(0, 1\]"),
        (lambda: relative_accuracy_reduction(math.nan, 1.5), OptionsError, "full=nan.*subset=1.5"),
        (lambda: speed_up(0.0, -1.0, 0.0), OptionsError, "full_s=0.0.*> 0; select_s=-1.0.*>= 0; train_s=0.0"),
        (lambda: speed_up(math.inf, 0.0, 1.0), OptionsError, "full_s=inf"),
        (lambda: amortised_cost(-1.0, 1.0, -1, 0), OptionsError, "once_s=-1.0.*train_cells=-1.*test_cells=0"),
        (lambda: break_even(1.0, 0.0, math.nan), OptionsError, "full_s=0.0.*query_s=nan"),
        (lambda: top_k_jaccard([1.0, 2.0], [1.0], 1), OptionsError, "one length"),
        (lambda: tau_on_union([1.0, math.nan], [1.0, 2.0], 1), OptionsError, "without NaN"),
        (lambda: top_k_jaccard([1.0], [1.0], 2), BudgetError, "k=2 of n=1"),
        (lambda: top_k_jaccard([1.0], [1.0], 0), BudgetError, "k=0"),
        (lambda: mean_overlap([[1]]), DataError, "two subsets"),
        (lambda: mean_overlap([[1], []]), DataError, "Subset 1 has 0 rows"),
        (lambda: mean_overlap([[1, 1], [2]]), DataError, "Subset 0 has 2 rows, 1 distinct"),
        (lambda: chance_overlap(3, 4), BudgetError, "b=4 of n=3"),
        (lambda: class_entropy([0], 1), OptionsError, "num_classes=1"),
        (lambda: class_entropy([], 3), DataError, "b >= 1"),
        (lambda: class_entropy([0.5], 3), DataError, "int"),
        (lambda: class_entropy([0, 3, -1], 3), DataError, "row 1 is 3"),
        (lambda: paired_difference({("a", 1): math.nan}, {}), DataError, "ours on cell 'a', seed 1"),
    ],
)
def test_bad_input(call: object, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()  # type: ignore[operator]
