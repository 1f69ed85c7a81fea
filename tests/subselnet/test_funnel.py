"""The funnel: its two ends are its two samplers exactly, and what the wide one leaves out is never chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from raysubset.errors import BudgetError, OptionsError, SelectionError
from raysubset.models.init import seeded
from raysubset.seeds import generator
from raysubset.selection.protocol import Context, Selector
from raysubset.subselnet.funnel import Hybrid, Inductive
from raysubset.subselnet.inductive import InductiveScorer
from raysubset.subselnet.samplers import Transductive
from raysubset.testing.selectors import CLASSES, WIDTH, SelectorContract, make_context

N = 200
NARROW = Transductive(steps=25)


def inductive() -> Inductive:
    with seeded(0):
        scorer = InductiveScorer(16, WIDTH, CLASSES, (16, 8))
    return Inductive(scorer, generator(0, "cell").normal(size=16).astype(np.float32))


@pytest.fixture
def context() -> Context:
    return make_context("mixed", N)


@dataclass
class Wide:
    """Lets the rows it is told through, and remembers for how many it was asked."""

    rows: NDArray[np.int64]
    asked: list[int] = field(default_factory=list)

    def logits(self, context: Context, k: int, rng: np.random.Generator) -> NDArray[np.float64]:
        self.asked.append(k)
        logits = np.zeros(context.pool_size)
        logits[self.rows] = 200.0
        return logits


class TestInductive(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return inductive()


class TestHybrid(SelectorContract):
    @pytest.fixture(params=[1.0, 1.5, 4.0, math.inf])
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return Hybrid(inductive(), Transductive(steps=3), request.param)


@pytest.mark.parametrize("k", [1, 20, 199])
def test_gate_as_many_candidates_as_rows_to_choose_is_inductive(context: Context, k: int) -> None:
    ours, theirs = (
        chooses.select(context, k, generator(3, k)).indices.tolist()
        for chooses in (Hybrid(inductive(), NARROW, 1.0), inductive())
    )
    assert ours == theirs


@pytest.mark.parametrize(("k", "candidates"), [(50, 4.0), (50, 4.5), (1, 200.0), (3, math.inf), (180, 1.5)])
def test_gate_everything_a_candidate_is_transductive(context: Context, k: int, candidates: float) -> None:
    ours, theirs = (
        chooses.select(context, k, generator(4, k)).indices.tolist()
        for chooses in (Hybrid(inductive(), NARROW, candidates), NARROW)
    )
    assert ours == theirs


@pytest.mark.parametrize("candidates", [1.0, 1.25, 2.0, 4.0, 9.9])
def test_exactly_k_rows_all_of_them_candidates(context: Context, candidates: float) -> None:
    """The candidates by hand: the B largest of logits and Gumbel noise, from the beginning of the stream."""
    k, wide = 20, inductive()
    kept = round(candidates * k)
    noise = -np.log(-np.log(generator(5).random(N)))
    through = set(np.argsort(-(wide.logits(context, kept, generator(0)) + noise))[:kept].tolist())
    rows = Hybrid(wide, NARROW, candidates).select(context, k, generator(5)).indices.tolist()
    assert len(rows) == len(set(rows)) == k
    assert set(rows) <= through


def test_the_wide_draw_is_of_the_candidates_and_the_narrow_one_among_them(context: Context) -> None:
    """Most rows of least loss are not let through; of those that are, the 20 of least loss are 40 nats ahead."""
    through = generator(0, "through").permutation(N)[:60]
    wide, losses = Wide(through), np.full(N, 0.5, dtype=np.float32)
    losses[through[20:]] = 4.5
    narrow = Transductive(0.1, steps=1, start="gibbs")
    rows = Hybrid(wide, narrow, 3.0).select(replace(context, signals={"loss": losses}), 20, generator(6)).indices
    assert wide.asked == [60]
    assert sorted(rows.tolist()) == sorted(through[:20].tolist())


def test_candidates_are_rounded_and_never_more_than_the_pool(context: Context) -> None:
    for k, candidates, kept in ((3, 1.5, 4), (5, 1.5, 8), (7, 1.05, 7), (90, 2.0, 180)):
        wide = Wide(np.arange(N))
        Hybrid(wide, Transductive(steps=1), candidates).select(context, k, generator(0))
        assert wide.asked == [kept]


def test_inductive_logits_are_those_of_the_network(context: Context) -> None:
    wide = inductive()
    assert context.features is not None
    assert context.labels is not None
    assert context.logits is not None
    expected = wide.scorer.logits(wide.cell, context.features, context.labels, context.logits, 50 / N)
    np.testing.assert_array_equal(wide.logits(context, 50, generator(0)), expected)


@pytest.mark.parametrize("missing", ["logits", "features", "labels"])
def test_what_the_network_reads_must_be_there(context: Context, missing: str) -> None:
    with pytest.raises(SelectionError, match="Inductive .* this pool has none"):
        inductive().select(replace(context, **{missing: None}), 5, generator(0))


def test_the_narrow_sampler_needs_losses(context: Context) -> None:
    with pytest.raises(SelectionError, match="'loss' was not measured"):
        Hybrid(inductive()).select(replace(context, signals={}), 5, generator(0))


@pytest.mark.parametrize("candidates", [0.99, 0.0, -4.0, math.nan])
def test_candidates_are_at_least_what_is_chosen(candidates: float) -> None:
    with pytest.raises(OptionsError, match=f"candidates={candidates}, need at least 1"):
        Hybrid(inductive(), NARROW, candidates)


def test_a_budget_is_refused_before_anything_is_drawn() -> None:
    wide = Wide(np.arange(4))
    with pytest.raises(BudgetError, match="k=5 of n=4"):
        Hybrid(wide).select(Context(4), 5, generator(0))
    assert wide.asked == []
