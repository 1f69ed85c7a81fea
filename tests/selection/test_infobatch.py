"""InfoBatch: unbiased to the last bit, and the faults of its first package."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from tolerances import FLOAT64, PROPERTY

from raysubset.errors import BudgetError, OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.infobatch import InfoBatch, easy_rows
from raysubset.selection.protocol import Context
from raysubset.testing.selectors import make_context

GOLDEN = golden("infobatch")
INPUTS, EXPECTED = GOLDEN["inputs"], GOLDEN["expected"]


def pool(losses: object, progress: float = 0.0) -> Context:
    values = np.asarray(losses, dtype=np.float32)
    values.flags.writeable = False
    return Context(len(values), signals={"loss": values}, progress=progress)


class Deals:
    """A stream that deals one given order."""

    def __init__(self, order: tuple[int, ...]) -> None:
        self.order = order

    def permutation(self, rows: np.ndarray) -> np.ndarray:
        assert sorted(self.order) == sorted(rows.tolist())
        return np.array(self.order)


def test_golden_selection_and_weights() -> None:
    losses, kept = np.array(INPUTS["scores"]), INPUTS["kept_well_learned"]
    assert losses.mean() == pytest.approx(EXPECTED["mean"], rel=FLOAT64)
    easy = np.flatnonzero(EXPECTED["well_learned"]).tolist()
    assert easy_rows(losses).tolist() == easy
    rest = [row for row in easy if row not in kept]
    stream = Deals((*kept, *rest))
    chosen = InfoBatch(INPUTS["prune_ratio"]).select(pool(losses), 6, stream)  # type: ignore[arg-type]
    assert chosen.indices.tolist() == EXPECTED["active"]
    assert chosen.weights.tolist() == [EXPECTED["weights"][row] for row in EXPECTED["active"]]
    assert chosen.unbiased


def test_golden_expectation_over_all_draws() -> None:
    gradient = np.array(INPUTS["per_sample_gradient"])
    easy = np.flatnonzero(EXPECTED["well_learned"])
    sums = []
    for order in itertools.permutations(easy.tolist()):
        chosen = InfoBatch(0.5).select(pool(INPUTS["scores"]), 6, Deals(order))  # type: ignore[arg-type]
        sums.append(float((chosen.weights * gradient[chosen.indices]).sum()))
    assert np.mean(sums) == EXPECTED["expected_gradient_sum_over_draws"] == EXPECTED["full_gradient_sum"]


@PROPERTY
@given(st.integers(1, 5), st.integers(1, 3), st.floats(0, 0.99))
def test_the_expectation_is_exact_for_any_share_and_count(easy: int, hard: int, prune: float) -> None:
    losses = np.r_[np.arange(easy) / 100, np.full(hard, 9.0)]
    gradient = np.arange(1, easy + hard + 1) ** 2.0
    rows = easy_rows(losses).tolist()
    sums, counts = [], set()
    for order in itertools.permutations(rows):
        chosen = InfoBatch(prune).select(pool(losses), len(losses), Deals(order))  # type: ignore[arg-type]
        sums.append((chosen.weights.astype(np.float64) * gradient[chosen.indices]).sum())
        counts.add(len(chosen) - hard)
    assert np.mean(sums) == pytest.approx(gradient.sum(), rel=1e-6)  # weights are float32
    assert counts == {max(1, int((1 - prune) * easy + 1e-9))}


def test_weights_keep_their_mean() -> None:
    losses = np.r_[np.zeros(90), np.ones(10)]
    chosen = InfoBatch(0.5).select(pool(losses), 100, generator(0))
    assert len(chosen) == 55
    assert chosen.weights.sum() == 100


def test_a_round_share_keeps_a_round_count() -> None:
    """(1 - 0.9) * 10 is 0.9999999999999998."""
    losses = np.r_[np.zeros(10), 1.0]
    chosen = InfoBatch(0.9).select(pool(losses), 11, generator(0))
    assert chosen.weights.tolist() == [10, 1]


def test_seeds_prune_differently_and_one_seed_prunes_again_the_same() -> None:
    """The original package reseeds numpy's global stream by the epoch, whatever the user's seed."""
    context = make_context("mixed")
    rows = [InfoBatch().select(context, 47, generator(seed)).indices.tolist() for seed in (0, 123, 0)]
    assert rows[0] != rows[1]
    assert rows[0] == rows[2]
    before = np.random.get_state(legacy=True)  # noqa: NPY002  # read to see it was left alone
    InfoBatch().select(context, 47, generator(1))
    after = np.random.get_state(legacy=True)  # noqa: NPY002
    assert (np.asarray(before[1]) == np.asarray(after[1])).all()
    assert before[2] == after[2]


@pytest.mark.parametrize("epochs", [1, 2, 7, 8, 10, 100, 200])
def test_the_last_epochs_train_on_everything_at_weight_one(epochs: int) -> None:
    """The original resets its weights only where E delta is a whole number: not for 10 or 100 epochs."""
    losses = generator(0).exponential(size=50)
    for epoch in range(epochs):
        chosen = InfoBatch().select(pool(losses, epoch / epochs), 50, generator(epoch))
        assert (len(chosen) == 50) == (epoch >= 0.875 * epochs)
        if epoch >= 0.875 * epochs:
            assert chosen.weights.tolist() == [1.0] * 50


def test_nothing_is_pruned_before_a_loss_was_measured_or_where_all_are_equal() -> None:
    assert len(InfoBatch().select(Context(9), 9, generator(0))) == 9
    for value in (0.0, 0.1, 1 / 3, 1e-30):
        assert len(InfoBatch().select(pool(np.full(1001, value)), 1001, generator(0))) == 1001
    assert InfoBatch().select(pool([4.0]), 1, generator(0)).indices.tolist() == [0]
    assert len(InfoBatch(prune=0).select(pool([1, 2, 3]), 3, generator(0))) == 3


def test_rows_above_the_mean_always_stay() -> None:
    context = make_context("mixed")
    losses = context.signal("loss")
    hard = set(np.flatnonzero(losses >= losses.mean(dtype=np.float64)).tolist())
    for seed in range(20):
        chosen = InfoBatch(0.9).select(context, 47, generator(seed))
        assert hard <= set(chosen.indices.tolist())
        assert all(w == 1 for row, w in zip(chosen.indices, chosen.weights, strict=True) if row in hard)


def test_bad_inputs() -> None:
    with pytest.raises(SelectionError, match=r"k=4 of n=5.*ratio=1"):
        InfoBatch().select(pool(np.ones(5)), 4, generator(0))
    for k in (0, -1, 6):
        with pytest.raises(BudgetError, match=f"k={k} of n=5"):
            InfoBatch().select(pool(np.ones(5)), k, generator(0))
    for bad in (np.nan, np.inf):
        with pytest.raises(SelectionError, match="loss of row 1"):
            InfoBatch().select(pool([1.0, bad]), 2, generator(0))
    with pytest.raises(OptionsError, match=r"prune=1.*delta=2"):
        InfoBatch(prune=1, delta=2)
    assert InfoBatch().flops(2000, 2000, 10, 64) > 0


def test_every_part_of_the_golden_file_is_read() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(json.dumps(key) in text for key in (*EXPECTED, *INPUTS))
