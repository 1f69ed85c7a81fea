"""Rungs in samples: golden places, and what must hold for every plan."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import BudgetError, OptionsError
from raysubset.hpo.rungs import Place, max_halvings, merging, place_rungs, sample_levels
from raysubset.selection.ratio import subset_sizes

CASES: dict[str, dict[str, Any]] = golden("fidelity")["cases"]
N, ETA = 1000, 3

plans = st.lists(st.integers(1, 500), min_size=1, max_size=100)


@pytest.mark.parametrize("name", CASES)
def test_golden_rungs(name: str) -> None:
    case = CASES[name]
    epochs, ratio, first = re.fullmatch(r"N(\d+)_r([\d.]+)_firstfull(True|False)", name).groups()  # type: ignore[union-attr]
    sizes = subset_sizes(N, int(epochs), float(ratio), first_epoch="full" if first == "True" else "scheduled")
    consumed = np.cumsum(sizes)
    assert consumed[-1] == case["total"]
    assert consumed[-1] / (int(epochs) * N) == pytest.approx(case["rel"], abs=FLOAT64)

    levels = sample_levels(case["total"], max_halvings(int(epochs), ETA), ETA)
    np.testing.assert_allclose(levels, case["sample_rungs"], rtol=FLOAT64)

    reached = case["epoch_reaching_sample_rung"]
    merged = [i for i in range(len(reached)) if i + 1 == len(reached) or reached[i + 1] != reached[i]]
    rungs = place_rungs(sizes, ETA)
    assert list(rungs.epochs) == [reached[i] for i in merged]
    np.testing.assert_allclose(rungs.levels, [case["sample_rungs"][i] for i in merged], rtol=FLOAT64)
    assert rungs.halvings == len(merged) - 1

    in_epochs = place_rungs(sizes, ETA, "epochs")  # they hold far more than their share of the cost
    assert list(in_epochs.epochs) == case["epoch_rungs"]
    assert list(in_epochs.levels) == case["consumed_at_epoch_rungs"]
    shares = np.array(in_epochs.levels) / consumed[-1]
    np.testing.assert_allclose(shares, case["frac_at_epoch_rungs"], rtol=0, atol=FLOAT64)


def test_every_field_of_the_golden_cases_is_read() -> None:
    fields = {"total", "rel", "sample_rungs", "epoch_reaching_sample_rung", "epoch_rungs"}
    fields |= {"consumed_at_epoch_rungs", "frac_at_epoch_rungs"}
    assert len(CASES) == 16
    assert all(set(case) == fields for case in CASES.values())


@PROPERTY
@given(plans, st.integers(2, 5))
def test_every_rung_is_reached_at_its_epoch_and_not_before(sizes: list[int], eta: int) -> None:
    rungs = place_rungs(np.array(sizes), eta)
    consumed = np.cumsum(sizes)
    assert rungs.epochs[-1] == len(sizes)
    assert rungs.levels[-1] == pytest.approx(consumed[-1], rel=FLOAT64)
    assert list(rungs.epochs) == sorted(set(rungs.epochs))
    assert list(rungs.levels) == sorted(set(rungs.levels))
    for index, epoch in enumerate(rungs.epochs):
        assert rungs.reached(int(consumed[epoch - 1])) == index
        before = int(consumed[epoch - 2]) if epoch > 1 else 0
        assert rungs.reached(before) < index


@PROPERTY
@given(plans, st.integers(2, 5))
def test_levels_grow_by_eta_and_stop_at_the_first_epochs(sizes: list[int], eta: int) -> None:
    rungs = place_rungs(np.array(sizes), eta)
    total = float(np.sum(sizes))
    for level in rungs.levels:
        power = total / level
        assert power == pytest.approx(eta ** round(np.log(power) / np.log(eta)), rel=FLOAT64)
        assert power <= len(sizes) * (1 + FLOAT64)


@PROPERTY
@given(plans, st.integers(2, 5), st.integers(0, 3))
def test_rungs_in_epochs_stand_at_powers_of_eta(sizes: list[int], eta: int, zeros: int) -> None:
    """Slots that a warm start skips cost nothing: rungs on them merge, and levels still ascend."""
    sizes = [sizes[0], *[0] * zeros, *sizes[1:], 1]
    rungs = place_rungs(np.array(sizes), eta, "epochs")
    wanted, share = [], len(sizes)
    power = 1
    while power <= len(sizes):
        wanted.append(math.ceil(Fraction(share, power)))
        power *= eta
    consumed = [sum(sizes[:epoch]) for epoch in reversed(wanted)]
    assert list(rungs.levels) == sorted(set(consumed))
    assert list(rungs.epochs) == sorted(set(rungs.epochs))
    for level, epoch in zip(rungs.levels, rungs.epochs, strict=True):
        assert sum(sizes[:epoch]) >= level > sum(sizes[: epoch - 1])


@PROPERTY
@given(plans, st.integers(2, 5))
def test_auto_takes_epochs_only_where_they_give_more(sizes: list[int], eta: int) -> None:
    costs = np.array(sizes)
    samples, epochs, auto = (place_rungs(costs, eta, place) for place in ("samples", "epochs", "auto"))
    if samples.halvings >= 2 or epochs.halvings <= samples.halvings:
        assert auto == samples
    else:
        assert auto == epochs


@pytest.mark.parametrize(
    ("epochs", "in_samples", "in_epochs", "chosen"), [(27, 2, 3, 2), (10, 1, 2, 2), (2, 0, 0, 0)]
)
def test_auto_keeps_two_halvings_in_samples(epochs: int, in_samples: int, in_epochs: int, chosen: int) -> None:
    costs = subset_sizes(N, epochs, 0.1, first_epoch="full")
    samples, by_epochs, auto = (place_rungs(costs, ETA, place) for place in ("samples", "epochs", "auto"))
    assert (samples.halvings, by_epochs.halvings, auto.halvings) == (in_samples, in_epochs, chosen)
    assert auto == (by_epochs if in_samples < 2 else samples)


@pytest.mark.parametrize("place", ["samples", "epochs"])
def test_fewer_halvings_keep_the_highest_levels(place: Place) -> None:
    costs = np.full(27, 10)
    whole = place_rungs(costs, 3, place)
    for halvings in range(4):
        few = place_rungs(costs, 3, place, halvings)
        assert few.levels == whole.levels[3 - halvings :]
        assert few.epochs == whole.epochs[3 - halvings :]
    with pytest.raises(BudgetError, match=r"4 halvings by eta=3 need 3\^4 epochs at least; 27 epochs allow 3"):
        place_rungs(costs, 3, place, 4)


def test_an_unknown_place() -> None:
    with pytest.raises(OptionsError, match="place='seconds', need one of samples, epochs, auto"):
        place_rungs(np.full(9, 10), 3, "seconds")  # type: ignore[arg-type]


def test_merging_is_put_in_words() -> None:
    front_loaded = np.array([900, 30, 20, 10, 10, 10, 8, 6, 6])
    assert merging(np.full(9, 10), 3, 2) == ""
    assert merging(front_loaded, 3, 1) == ""
    assert merging(front_loaded, 3, 2) == (
        "levels 111 and 333 are one rung, for epoch 1 ends at 900 samples (a whole trial, C = 1,000 samples, is "
        "1.11 times its first epoch, c(1) = 900; K halvings want C / c(1) of about 3^K)"
    )


@pytest.mark.parametrize(("resource", "eta", "expected"), [(243, 3, 5), (242, 3, 4), (1, 2, 0), (1000, 10, 3)])
def test_halvings_are_counted_in_integers(resource: int, eta: int, expected: int) -> None:
    """floor(log(243) / log(3)) is 4 in binary."""
    assert max_halvings(resource, eta) == expected


def test_reached_is_minus_one_before_the_first_rung() -> None:
    rungs = place_rungs(np.full(9, 10), 3)
    assert rungs.levels == (10.0, 30.0, 90.0)
    assert [rungs.reached(s) for s in (0, 9, 10, 29, 30, 89, 90, 1000)] == [-1, -1, 0, 0, 1, 1, 2, 2]


def test_levels_on_one_epoch_are_one_rung() -> None:
    rungs = place_rungs(np.array([900, 30, 20, 10, 10, 10, 8, 6, 6]), 3)  # front loaded: 111, 333 in epoch 1
    assert rungs.epochs == (1, 9)
    assert rungs.levels == (pytest.approx(1000 / 3), 1000.0)


@pytest.mark.parametrize("eta", [1, 0, -3])
def test_eta_out_of_range(eta: int) -> None:
    with pytest.raises(OptionsError, match=f"eta={eta}"):
        place_rungs(np.array([1, 2]), eta)
