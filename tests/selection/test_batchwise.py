"""Choosing inside a batch: RHO-loss and selective backprop."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY, of_share

from raysubset.errors import BudgetError, OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.batchwise import BatchChooser, RhoLoss, SelectiveBackprop

GOLDEN = golden("rho")
LOSS = np.array(GOLDEN["inputs"]["loss"], np.float32)
IRREDUCIBLE = np.array(GOLDEN["inputs"]["irreducible"], np.float32)
CHOOSERS: list[BatchChooser] = [RhoLoss(np.zeros(100, np.float32)), SelectiveBackprop()]


def test_golden_rho_loss() -> None:
    expected = GOLDEN["expected"]
    chosen = RhoLoss(IRREDUCIBLE).choose(np.arange(5), LOSS, GOLDEN["inputs"]["n_select"], generator(0))
    assert chosen.tolist() == expected["select"]
    whole = RhoLoss(IRREDUCIBLE).choose(np.arange(5), LOSS, 5, generator(0))
    assert whole.tolist() == np.argsort(-np.array(expected["rho"])).tolist()
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(json.dumps(key) in text for key in expected)


def test_rho_loss_looks_the_pool_row_up() -> None:
    """The candidates of a batch are any rows of the pool, in any order."""
    rows = np.array([3, 0, 4])
    assert RhoLoss(IRREDUCIBLE).choose(rows, LOSS[rows], 2, generator(0)).tolist() == [1, 0]


def test_rho_loss_gives_ties_to_the_lowest_position() -> None:
    rho = RhoLoss(np.zeros(6, np.float32))
    chosen = rho.choose(np.array([5, 4, 3, 2, 1, 0]), np.array([1, 2, 1, 2, 1, 1], np.float32), 4, generator(0))
    assert chosen.tolist() == [1, 3, 0, 2]


@PROPERTY
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_rho_loss_follows_its_rows_through_a_permutation(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    rho = RhoLoss(rng.normal(size=100).astype(np.float32))
    rows, losses = rng.choice(100, size, replace=False), rng.normal(size=size).astype(np.float32)
    order, m = rng.permutation(size), int(rng.integers(1, size + 1))
    plain = rows[rho.choose(rows, losses, m, generator(0))]
    assert rows[order][rho.choose(rows[order], losses[order], m, generator(1))].tolist() == plain.tolist()


@pytest.mark.slow
def test_selective_backprop_draws_by_percentile() -> None:
    """Losses 5, 1, 3, 3: shares of the batch at or below them 1, 1/4, 3/4, 3/4; two draws, enumerated."""
    losses, weights = np.array([5, 1, 3, 3], np.float32), np.array([4, 1, 3, 3]) / 11
    for power in (1.0, 2.0):
        p = weights**power / (weights**power).sum()
        rng, draws = generator(0, "sb"), 3000
        chooser = SelectiveBackprop(power)
        drawn = [tuple(chooser.choose(np.arange(4), losses, 2, rng).tolist()) for _ in range(draws)]
        for i, j in itertools.permutations(range(4), 2):
            law = p[i] * p[j] / (1 - p[i])
            assert abs(drawn.count((i, j)) / draws - law) <= of_share(law, draws)


def test_selective_backprop_sees_ranks_only() -> None:
    losses = generator(0).exponential(size=20).astype(np.float32)
    chosen = [SelectiveBackprop().choose(np.arange(20), x, 5, generator(3)).tolist() for x in (losses, losses**3)]
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("chooser", CHOOSERS, ids=lambda chooser: type(chooser).__name__)
class TestEveryChooser:
    def test_positions_are_unique_and_of_the_batch(self, chooser: BatchChooser) -> None:
        for size, losses in ((1, np.ones(1)), (7, np.zeros(7)), (32, np.arange(32.0))):
            for m in {1, (size + 1) // 2, size}:
                values = losses.astype(np.float32)
                values.flags.writeable = False
                chosen = chooser.choose(np.arange(size) + 5, values, m, generator(0))
                assert chosen.dtype == np.int64
                assert len(set(chosen.tolist())) == m
                assert chosen.min() >= 0
                assert chosen.max() < size

    def test_budget_out_of_range(self, chooser: BatchChooser) -> None:
        for m in (0, -1, 4):
            with pytest.raises(BudgetError, match=f"k={m} of n=3"):
                chooser.choose(np.arange(3), np.ones(3, np.float32), m, generator(0))

    def test_bad_losses_are_named_by_row(self, chooser: BatchChooser) -> None:
        with pytest.raises(SelectionError, match="loss of row 42 is nan"):
            chooser.choose(np.array([1, 42]), np.array([0, np.nan], np.float32), 1, generator(0))
        with pytest.raises(SelectionError, match="2 rows and 3 losses"):
            chooser.choose(np.arange(2), np.ones(3, np.float32), 1, generator(0))


def test_bad_options() -> None:
    with pytest.raises(SelectionError, match="irreducible loss of row 1 is inf"):
        RhoLoss(np.array([0, np.inf], np.float32))
    with pytest.raises(SelectionError, match=r"shape \(n,\), got \(2, 1\)"):
        RhoLoss(np.zeros((2, 1), np.float32))
    with pytest.raises(SelectionError, match=r"rows 1\.\.2, .* 2 rows"):
        RhoLoss(np.zeros(2, np.float32)).choose(np.array([1, 2]), np.ones(2, np.float32), 1, generator(0))
    for power in (-1.0, float("nan"), float("inf")):
        with pytest.raises(OptionsError, match="power="):
            SelectiveBackprop(power)
