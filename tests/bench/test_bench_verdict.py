"""Verdicts: paired by seed, with Student's interval."""

from __future__ import annotations

import math

import pytest

from raysubset.bench.selectors import Outcome
from raysubset.bench.verdict import compare


def outcome(name: str, seed: int, accuracy: float | None, ratio: float = 0.1, **changes) -> Outcome:
    cost = {"train_s": 2.0, "select_s": 0.0, "cpu_s": 2.0, "evidence_samples": 0}
    fields = {"loss": 0.1, "epochs": 3, "samples": 90, "budget": 100, **cost}
    return Outcome(name, ratio, seed, accuracy, **{**fields, **changes})


BASE = [outcome("adaptive-random", seed, accuracy) for seed, accuracy in enumerate((0.5, 0.6, 0.7))]


GAPS = list(zip(BASE, (0.1, 0.2, 0.3), strict=True))


def test_the_gap_is_paired_by_seed() -> None:
    better = [outcome("x", seed, b.accuracy + gap) for seed, (b, gap) in enumerate(GAPS)]
    row = next(row for row in compare([*BASE, *better]) if row.selector == "x")
    assert row.gap == pytest.approx(0.2)
    half = 4.302652729911275 * 0.1 / math.sqrt(3)  # Student's 97.5 % quantile with 2 degrees of freedom, by table
    assert (row.low, row.high) == pytest.approx((0.2 - half, 0.2 + half))
    assert row.verdict == "no difference shown"


@pytest.mark.parametrize(("gap", "verdict"), [(0.1, "better"), (-0.1, "worse")])
def test_a_difference_is_called_where_the_interval_leaves_zero(gap: float, verdict: str) -> None:
    runs = [outcome("x", seed, b.accuracy + gap + 0.001 * seed) for seed, b in enumerate(BASE)]
    assert next(row for row in compare([*BASE, *runs]) if row.selector == "x").verdict == verdict


def test_a_single_seed_shows_no_difference() -> None:
    row = next(row for row in compare([BASE[0], outcome("x", 0, 0.9)]) if row.selector == "x")
    assert row.verdict == "no difference shown"


def test_a_failed_run_stays_in_the_table_with_its_reason() -> None:
    rows = compare([*BASE, outcome("x", 0, None, note="SelectionError: no")])
    assert (rows[-1].selector, rows[-1].note, rows[-1].seeds) == ("x", "SelectionError: no", 0)
    assert math.isnan(rows[-1].accuracy)


def test_seconds_and_samples_are_ratios() -> None:
    runs = [
        outcome("x", seed, 0.5, train_s=3.0, select_s=1.0, cpu_s=3.0, evidence_samples=250) for seed in range(3)
    ]
    row = next(row for row in compare([*BASE, *runs]) if row.selector == "x")
    assert (row.wall, row.cpu, row.selection, row.samples) == pytest.approx((2.0, 1.5, 0.25, 0.9))
    assert row.evidence == pytest.approx(2.5)
