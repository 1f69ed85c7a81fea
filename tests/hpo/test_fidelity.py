"""Levels of a search: arithmetic by hand, golden prefixes, and what must hold for every ladder."""

from __future__ import annotations

import itertools
import re
import warnings
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import BudgetError, FewRungsWarning, OptionsError
from raysubset.hpo.fidelity import FidelityOptions, Ladder, Segment, lay_out, warn_if_shallow
from raysubset.selection.ratio import subset_sizes

CASES: dict[str, dict[str, Any]] = golden("fidelity")["cases"]
PREFIX = FidelityOptions()
RATIO = FidelityOptions(mode="ratio")
RESTART = FidelityOptions(mode="restart")


def flat(n: int):
    """Every epoch of a segment costs ratio n samples."""

    def costs(segment: Segment) -> NDArray[np.int64]:
        return np.full(segment.epochs, max(1, round(segment.ratio * n)))

    return costs


def front_loaded(n: int, first_epoch: str):
    def costs(segment: Segment) -> NDArray[np.int64]:
        return subset_sizes(n, segment.epochs, segment.ratio, first_epoch=first_epoch)

    return costs


# ---------------------------------------------------------------- prefix


@pytest.mark.parametrize("name", CASES)
def test_a_prefix_has_the_golden_rungs(name: str) -> None:
    epochs, ratio, first = re.fullmatch(r"N(\d+)_r([\d.]+)_firstfull(True|False)", name).groups()  # type: ignore[union-attr]
    costs = front_loaded(1000, "full" if first == "True" else "scheduled")
    case = CASES[name]

    ladder = lay_out(PREFIX, costs, 1000, float(ratio), int(epochs))
    assert ladder.segments == (Segment(0, float(ratio), int(epochs), True),)
    assert sum(ladder.costs) == case["total"]
    assert ladder.rungs.epochs == tuple(dict.fromkeys(case["epoch_reaching_sample_rung"]))
    assert set(ladder.rungs.levels) <= set(case["sample_rungs"])

    by_epochs = lay_out(PREFIX, costs, 1000, float(ratio), int(epochs), place="epochs").rungs
    assert list(by_epochs.epochs) == case["epoch_rungs"]
    assert list(by_epochs.levels) == case["consumed_at_epoch_rungs"]


def test_fewer_levels_of_a_prefix_are_its_highest() -> None:
    rungs = lay_out(replace(PREFIX, levels=2), flat(1000), 1000, 0.1, 27).rungs
    assert rungs.levels == (900.0, 2700.0)
    assert rungs.epochs == (9, 27)


# ---------------------------------------------------------------- ratio ladder


@pytest.mark.parametrize("promote", ["resume", "shrink"])
def test_a_ratio_ladder_by_hand(promote: Any) -> None:
    """N = 27, eta = 3, r = .27 of 10,000 rows: 100, 300, 900, 2700 rows an epoch; dN = 18."""
    ladder = lay_out(replace(RATIO, promote=promote), flat(10_000), 10_000, 0.27, 27)
    assert [segment.epochs for segment in ladder.segments] == [27, 18, 18, 18]
    np.testing.assert_allclose([s.ratio for s in ladder.segments], [0.01, 0.03, 0.09, 0.27], rtol=FLOAT64)
    assert [segment.fresh for segment in ladder.segments] == [True, False, False, False]
    assert ladder.rungs.epochs == (27, 45, 63, 81)
    assert ladder.rungs.levels == (2700.0, 8100.0, 24_300.0, 72_900.0)  # C eta^(k-K)
    assert len(ladder.costs) == 81  # N (1 + K (1 - 1/eta)) = 27 (1 + 3 * 2/3)


def test_restarts_up_a_ratio_ladder_are_whole_trainings() -> None:
    ladder = lay_out(replace(RATIO, promote="restart", levels=3), flat(10_000), 10_000, 0.09, 9)
    assert [(s.epochs, s.fresh) for s in ladder.segments] == [(9, True)] * 3
    assert ladder.rungs.levels == (900.0, 3600.0, 11_700.0)


@PROPERTY
@given(
    st.integers(50, 100_000),
    st.floats(0.01, 1.0),
    st.integers(1, 200),
    st.integers(2, 5),
    st.sampled_from(["resume", "shrink", "restart"]),
)
def test_every_ratio_ladder_adds_up(n: int, ratio: float, epochs: int, eta: int, promote: Any) -> None:
    options = replace(RATIO, promote=promote)
    depth = max((k for k in range(4) if ratio / eta**k * n >= 32), default=0)
    if depth == 0:
        with pytest.raises(BudgetError, match="rows an epoch"):
            lay_out(options, front_loaded(n, "scheduled"), n, ratio, epochs, eta)
        return
    ladder = lay_out(options, front_loaded(n, "scheduled"), n, ratio, epochs, eta)
    segments = ladder.segments
    assert len(segments) == depth + 1
    assert segments[-1].ratio == ratio
    assert all(high.ratio / low.ratio == pytest.approx(eta) for low, high in itertools.pairwise(segments))
    assert segments[0].epochs == epochs
    for segment in segments[1:]:
        exact = Fraction(epochs) if promote == "restart" else epochs * (1 - Fraction(1, eta))
        assert segment.epochs == 1 if exact < 1 else abs(segment.epochs - exact) <= Fraction(1, 2)
    check_ends(ladder)
    if promote != "restart":
        total = epochs * (1 + depth * (1 - 1 / eta))
        assert abs(len(ladder.costs) - total) <= depth


def check_ends(ladder: Ladder) -> None:
    """Levels are what is consumed where segments end, strictly ascending."""
    spent, at = [], 0
    for segment in ladder.segments:
        at += segment.epochs
        spent.append(sum(ladder.costs[:at]))
    assert list(ladder.rungs.levels) == spent == sorted(set(spent))
    assert list(ladder.rungs.epochs) == sorted(set(ladder.rungs.epochs))
    assert ladder.rungs.epochs[-1] == at == len(ladder.costs)
    assert ladder.rungs.reached(sum(ladder.costs)) == len(ladder.segments) - 1


# ---------------------------------------------------------------- restarts


def test_restarts_by_hand() -> None:
    ladder = lay_out(RESTART, flat(1000), 1000, 0.1, 27)
    assert [segment.epochs for segment in ladder.segments] == [1, 3, 9, 27]
    assert all(segment.fresh and segment.ratio == 0.1 for segment in ladder.segments)
    assert ladder.rungs.levels == (100.0, 400.0, 1300.0, 4000.0)
    assert [s.epochs for s in lay_out(RESTART, flat(9), 9, 1.0, 10, 2).segments] == [1, 3, 5, 10]  # 1.25, 2.5


@PROPERTY
@given(st.integers(1, 300), st.integers(2, 5), st.integers(2, 4) | st.none())
def test_every_restart_ladder_adds_up(epochs: int, eta: int, levels: int | None) -> None:
    depth = 3 if levels is None else levels - 1
    if levels is None:
        while eta**depth > epochs:
            depth -= 1
    if depth < 1 or eta**depth > epochs:
        with pytest.raises(BudgetError, match="complete trainings"):
            lay_out(replace(RESTART, levels=levels), flat(500), 500, 0.2, epochs, eta)
        return
    ladder = lay_out(replace(RESTART, levels=levels), flat(500), 500, 0.2, epochs, eta)
    assert len(ladder.segments) == depth + 1
    assert ladder.segments[-1].epochs == epochs
    for k, segment in enumerate(ladder.segments):
        assert abs(segment.epochs - Fraction(epochs, eta ** (depth - k))) <= Fraction(1, 2)
    check_ends(ladder)


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "promote", "anneal"),
    [
        (PREFIX, "resume", "continuous"),
        (RATIO, "resume", "continuous"),
        (RESTART, "restart", "per-level"),
        (replace(RATIO, promote="restart"), "restart", "per-level"),
        (replace(RATIO, promote="shrink"), "shrink", "continuous"),
        (replace(RATIO, anneal="per-level"), "resume", "per-level"),
    ],
)
def test_auto_is_decided_by_what_passes_on(options: FidelityOptions, promote: str, anneal: str) -> None:
    assert (options.resolved().promote, options.resolved().anneal) == (promote, anneal)
    assert options.resolved().resolved() == options.resolved()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"mode": "suffix"}, ["mode='suffix'", "prefix, ratio, restart"]),
        ({"mode": "x", "promote": "y", "anneal": "z"}, ["mode='x'", "promote='y'", "anneal='z'"]),
        ({"promote": "shrink"}, ["promote='shrink'", "mode='prefix'"]),
        ({"promote": "restart"}, ["promote='restart'", "mode='prefix'"]),
        ({"anneal": "per-level"}, ["anneal='per-level'", "one training"]),
        ({"mode": "restart", "promote": "resume"}, ["promote='resume'", "mode='restart'"]),
        ({"mode": "restart", "promote": "shrink"}, ["promote='shrink'", "mode='restart'"]),
        ({"mode": "restart", "anneal": "continuous"}, ["anneal='continuous'", "per-level"]),
        ({"mode": "ratio", "promote": "restart", "anneal": "continuous"}, ["anneal='continuous'"]),
        ({"mode": "ratio", "levels": 1}, ["levels=1", "at least 2"]),
        ({"levels": 0}, ["levels=0", "at least 1"]),
        ({"promote": "shrink", "anneal": "per-level"}, ["promote='shrink'", "anneal='per-level'"]),
    ],
)
def test_contradictions_are_refused(wrong: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(OptionsError) as error:
        FidelityOptions(**wrong)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("options", [RATIO, RESTART])
def test_rungs_of_a_ladder_are_not_placed_by_epochs(options: FidelityOptions) -> None:
    with pytest.raises(OptionsError, match="place='epochs'"):
        lay_out(options, flat(1000), 1000, 0.5, 27, place="epochs")
    assert lay_out(options, flat(1000), 1000, 0.5, 27, place="auto").rungs.halvings == 2 + (options is RESTART)


@pytest.mark.parametrize("options", [PREFIX, RATIO, RESTART])
def test_eta_out_of_range(options: FidelityOptions) -> None:
    with pytest.raises(OptionsError, match="eta=1"):
        lay_out(options, flat(1000), 1000, 0.5, 27, eta=1)


def test_levels_that_do_not_fit() -> None:
    with pytest.raises(BudgetError, match=r"begins at 0.0111: 11.1 of n=1000 rows an epoch, need at least 32"):
        lay_out(replace(RATIO, levels=3), flat(1000), 1000, 0.1, 27)
    with pytest.raises(BudgetError, match=r"need 3\^4 epochs at least; 27 epochs allow 3"):
        lay_out(replace(PREFIX, levels=5), flat(1000), 1000, 0.1, 27)
    with pytest.raises(BudgetError, match="need at least 81 epochs, so that the lowest has one; got 27"):
        lay_out(replace(RESTART, levels=5), flat(1000), 1000, 0.1, 27)


# ---------------------------------------------------------------- warning


def test_merged_levels_are_told_with_the_arithmetic() -> None:
    """A full first epoch at ratio .1: C = 1810 of c(1) = 1000, levels 201 and 603 fall on epoch 1."""
    ladder = lay_out(PREFIX, front_loaded(1000, "full"), 1000, 0.1, 10)
    assert ladder.rungs.halvings == 1
    with pytest.warns(FewRungsWarning) as caught:
        warn_if_shallow(ladder)
    text = str(caught[0].message)
    for words in (
        "only once",
        "10 epochs allow 2 halving(s) by eta=3",
        "levels 201 and 603 are one rung",
        "epoch 1 ends at 1,000 samples",
        "C = 1,810 samples, is 1.81 times its first epoch, c(1) = 1,000",
        "first_epoch='scheduled'",
        "more epochs",
        "smaller eta",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("ladder", "words"),
    [
        (lay_out(PREFIX, flat(1000), 1000, 0.1, 2), "never .* 2 epochs allow 0"),
        (lay_out(PREFIX, flat(1000), 1000, 0.1, 8), "only once .* 8 epochs allow 1"),
        (lay_out(RATIO, flat(1000), 1000, 0.1, 8), "only once .* 0.0111 of the rows, .* below 32"),
        (lay_out(RESTART, flat(1000), 1000, 0.1, 8), "only once .* 8 epochs allow 1"),
    ],
)
def test_shallow_ladders_are_told(ladder: Ladder, words: str) -> None:
    with pytest.warns(FewRungsWarning, match=words):
        warn_if_shallow(ladder)


@pytest.mark.parametrize(
    "ladder",
    [
        lay_out(PREFIX, flat(1000), 1000, 0.1, 9),
        lay_out(PREFIX, front_loaded(1000, "full"), 1000, 0.1, 10, place="auto"),
        lay_out(replace(PREFIX, levels=1), flat(1000), 1000, 0.1, 9),
        lay_out(replace(RATIO, levels=2), flat(1000), 1000, 0.1, 9),
        lay_out(RATIO, flat(1000), 1000, 0.3, 9),
        lay_out(RESTART, flat(1000), 1000, 0.3, 9),
    ],
)
def test_no_warning_where_enough_remain_or_few_were_asked_for(ladder: Ladder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_shallow(ladder)
