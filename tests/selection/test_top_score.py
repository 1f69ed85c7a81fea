"""TopScore: extremes of a signal, given or computed; the sign errors of others."""

from __future__ import annotations

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY, of_share

from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.scores import forgetting_counts
from raysubset.selection.top import TopScore
from raysubset.testing.selectors import SelectorContract, make_context

COMPUTED = ["entropy", "least-confidence", "margin", "loss", "el2n", "grand"]
SVP, FORGETTING = golden("svp"), golden("forgetting")


@pytest.mark.slow
class TestTopScore(SelectorContract):
    @pytest.fixture(params=[*COMPUTED, "gradient", "prediction, lowest"])
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        name, _, lowest = request.param.partition(", ")
        return TopScore(name, lowest=bool(lowest))


def with_logits(p: object) -> Context:
    logits = np.log(np.asarray(p)).astype(np.float32)
    return Context(len(logits), np.zeros(len(logits), np.int64), logits=logits)


@pytest.mark.parametrize("name", ["entropy", "least-confidence", "margin"])
def test_golden_most_uncertain_are_kept(name: str) -> None:
    """DeepCore's unbalanced uncertainty keeps the most certain rows."""
    context = with_logits(SVP["inputs"]["probs"])
    expected = SVP["expected"]["top2_entropy"]
    assert TopScore(name).select(context, 2, generator(0)).indices.tolist() == expected
    assert TopScore(name, lowest=True).select(context, 2, generator(0)).indices.tolist() == [4, 0]


def test_golden_never_learned_are_kept_first() -> None:
    """DeepCore counts them 0 and drops them first."""
    counts = forgetting_counts(np.array(FORGETTING["inputs"]["correct"], dtype=np.float64).T)
    context = Context(5, signals={"forgetting": counts.astype(np.float32)})
    expected = FORGETTING["expected"]["keep3"]  # the third is a tie of rows 0 and 4
    ends = {tuple(TopScore("forgetting").select(context, 3, generator(s)).indices.tolist()) for s in range(40)}
    assert ends == {(*expected[:2], 0), (*expected[:2], 4)}
    assert expected[2] == 0
    assert TopScore("forgetting", lowest=True).select(context, 5, generator(0)).indices.tolist()[-1] == 2


def test_unlearned_rows_beat_the_largest_finite_score_and_tie_fairly() -> None:
    scores = np.array([3.4e38, np.inf, 0, np.inf, np.inf], np.float32)
    context, rng = Context(5, signals={"forgetting": scores}), generator(0)
    firsts = [TopScore("forgetting").select(context, 4, rng).indices for _ in range(2000)]
    assert all(rows[3] == 0 for rows in firsts)
    share = np.bincount([rows[0] for rows in firsts], minlength=5) / 2000
    law = np.array([0, 1, 0, 1, 1]) / 3
    assert (np.abs(share - law) <= of_share(law, 2000)).all()


@pytest.mark.parametrize("name", COMPUTED)
@PROPERTY
@given(seed=st.integers(0, 2**32), n=st.integers(1, 30), data=st.data())
@pytest.mark.slow
def test_permuted_pools_give_the_same_rows(name: str, seed: int, n: int, data: st.DataObject) -> None:
    k, rng = data.draw(st.integers(1, n)), np.random.default_rng(seed)
    context = make_context("mixed", n=max(n, 3))
    k = min(k, context.pool_size)
    order = rng.permutation(context.pool_size)
    plain = TopScore(name).select(context, k, generator(0)).indices
    permuted = TopScore(name).select(context.restrict(order), k, generator(1)).indices
    assert sorted(order[permuted].tolist()) == sorted(plain.tolist())


def test_a_measured_signal_is_preferred_to_a_computed_one() -> None:
    context = make_context("mixed")
    by_hand = np.argsort(-context.signal("loss"))[:5]
    assert TopScore("loss").select(context, 5, generator(0)).indices.tolist() == by_hand.tolist()


def test_computed_scores_by_hand() -> None:
    context = make_context("mixed")
    bare = Context(context.pool_size, context.labels, gradients=context.gradients, logits=context.logits)
    assert context.gradients is not None
    assert context.gradients.features is not None
    residuals, h = context.gradients.residuals, context.gradients.features
    el2n = np.sqrt((residuals.astype(float) ** 2).sum(1))
    grand = el2n * np.sqrt((h.astype(float) ** 2).sum(1) + 1)
    for name, score in (("el2n", el2n), ("grand", grand)):
        got = TopScore(name).select(bare, 10, generator(0)).indices
        assert got.tolist() == np.argsort(-score)[:10].tolist()
        low = TopScore(name, lowest=True).select(bare, 10, generator(0)).indices
        assert low.tolist() == np.argsort(score)[:10].tolist()


@pytest.mark.parametrize("name", ["forgetting", "aum"])
def test_traced_signals_cannot_be_computed(name: str) -> None:
    with pytest.raises(SelectionError, match=f"{name}.*training trace"):
        TopScore(name).select(make_context("mixed"), 2, generator(0))


def test_missing_inputs_are_named() -> None:
    with pytest.raises(SelectionError, match="'entropy'.*no logits"):
        TopScore("entropy").select(Context(3), 1, generator(0))
    with pytest.raises(SelectionError, match="'el2n' needs labels"):
        TopScore("el2n").select(Context(2, logits=np.zeros((2, 3), np.float32)), 1, generator(0))
    with pytest.raises(SelectionError, match="'grand' needs last-layer gradients"):
        TopScore("grand").select(Context(3), 1, generator(0))
    with pytest.raises(SelectionError, match="'surprise' was not measured.*Known here: el2n, entropy"):
        TopScore("surprise").select(Context(3), 1, generator(0))
    with pytest.raises(SelectionError, match="2 logit rows for a pool of 3"):
        TopScore("entropy").select(Context(3, logits=np.zeros((2, 3), np.float32)), 1, generator(0))
    with pytest.raises(SelectionError, match=r"logits of row 1 hold nan"):
        TopScore("entropy").select(Context(2, logits=np.array([[0, 1], [0, np.nan]], np.float32)), 1, generator(0))


@pytest.mark.parametrize("lowest", [False, True])
def test_a_score_that_is_nan_is_named(lowest: bool) -> None:
    context = Context(3, signals={"forgetting": np.array([0, 1, np.nan], np.float32)})
    with pytest.raises(SelectionError, match="row 2 is nan"):
        TopScore("forgetting", lowest).select(context, 1, generator(0))


def test_options_and_cost() -> None:
    with pytest.raises(OptionsError, match="signal=''"):
        TopScore("")
    assert TopScore("el2n").flops(2000, 10, 10, 64) > TopScore("el2n").flops(1000, 10, 10, 64) > 0
