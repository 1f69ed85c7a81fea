"""Whole mini-batches: golden values, members, weights and counts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from golden_values import golden
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.asp import ProxySampling
from raysubset.selection.glister import Glister
from raysubset.selection.gradients import Gradients
from raysubset.selection.gradmatch import GradMatch
from raysubset.selection.per_batch import PerBatch, batch_context, members_of, partition
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.uniform import UniformRandom
from raysubset.selection.wrappers import PerClass
from raysubset.testing.selectors import SelectorContract, make_context
from raysubset.types import Selection

VARIANTS: dict[str, Selector] = {
    "gradmatch": PerBatch(GradMatch(), batch_size=4),
    "gradmatch, bias": PerBatch(GradMatch(), batch_size=5, gradients="bias"),
    "gradmatch in classes": PerClass(PerBatch(GradMatch(), batch_size=3)),
    "glister": PerBatch(Glister(greedy="exact"), batch_size=4),
    "loss": PerBatch(ProxySampling("loss"), batch_size=4),
    "larger than the pool": PerBatch(UniformRandom(), batch_size=500),
}


@pytest.mark.slow
class TestPerBatch(SelectorContract):
    exact = False

    @pytest.fixture(params=VARIANTS)
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        return VARIANTS[request.param]


@dataclass(frozen=True)
class Spy:
    """Takes the first k of what it is shown, with weights 1, 2, 3, ..., and keeps what it saw."""

    seen: list[Context] = field(default_factory=list)

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        self.seen.append(context)
        return Selection.weighted(np.arange(k), np.arange(1.0, k + 1), context.pool_size)


def test_golden_values() -> None:
    case = golden("gradmatch_pb")
    inputs, expected = case["inputs"], case["expected"]
    rows = Gradients(np.array(inputs["sample_gradients"]))
    batches = [np.array(batch) for batch in inputs["batches"]]
    pool = batch_context(Context(8, gradients=rows), batches)
    chosen = GradMatch(lam=inputs["lam"]).select(pool, inputs["budget_samples"] // 2, generator(0))
    assert chosen.indices.tolist() == expected["batches"]
    np.testing.assert_allclose(chosen.weights * chosen.scale, expected["batch_weights"], atol=1e-6)
    members = members_of(chosen, batches, 4, 8)
    assert members.indices.tolist() == expected["samples"]
    np.testing.assert_allclose(members.weights * members.scale, expected["sample_weights"], atol=1e-6)


@given(n=st.integers(1, 60), batch_size=st.integers(1, 70), share=st.floats(0, 1), seed=st.integers(0, 99))
@PROPERTY
def test_whole_batches_with_one_weight_each_and_never_too_many(
    n: int, batch_size: int, share: float, seed: int
) -> None:
    k = max(1, round(share * n))
    spy = Spy()
    chosen = PerBatch(spy, batch_size).select(Context(n), k, generator(seed))
    count = max(1, k // batch_size)
    assert spy.seen[0].pool_size == -(-n // batch_size)
    assert len(chosen) <= k
    assert len(chosen) >= min(k, count * batch_size, n) - (batch_size - 1)
    raw = np.rint(chosen.weights * chosen.scale).astype(int)
    sizes = np.bincount(raw)[1:]
    assert len(sizes) == count
    assert (sizes <= batch_size).all()
    assert (sizes[:-1] == batch_size).all(), "only the last of the first k batches may be short"


def test_the_partition_holds_every_row_once() -> None:
    batches = partition(generator(0).permutation(23), 5)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert sorted(np.concatenate(batches).tolist()) == list(range(23))


def test_batches_are_drawn_anew_with_each_stream() -> None:
    """A peer cuts the pool once, in order, and never again."""
    selector = PerBatch(UniformRandom(), 10)
    drawn = [sorted(selector.select(Context(100), 10, generator(seed)).indices.tolist()) for seed in range(3)]
    assert drawn[0] != drawn[1] != drawn[2]
    assert all(np.ptp(rows) > 9 for rows in drawn)
    again = selector.select(Context(100), 10, generator(0)).indices
    assert sorted(again.tolist()) == drawn[0]


def test_means_are_those_of_the_members() -> None:
    context = make_context("mixed", n=11)
    assert context.features is not None
    assert context.gradients is not None
    batches = [np.array([7, 2, 5, 1]), np.array([0, 3, 4, 6]), np.array([10, 9, 8])]
    pool = batch_context(context, batches)
    assert pool.features is not None
    assert pool.gradients is not None
    np.testing.assert_allclose(pool.features[0], context.features[[7, 2, 5, 1]].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(pool.features[2], context.features[[10, 9, 8]].mean(axis=0), rtol=1e-6)
    losses = context.signals["loss"]
    np.testing.assert_allclose(pool.signals["loss"], [losses[rows].mean() for rows in batches], rtol=1e-5)
    for batch, rows in enumerate(batches):
        total = np.zeros((3, 6))
        for row in rows:
            total += np.outer(context.gradients.residuals[row], np.append(context.features[row], 1.0))
        np.testing.assert_allclose(pool.gradients.residuals[batch], (total / 4).ravel(), atol=1e-6)
    bias = batch_context(context, batches, "bias").gradients
    assert bias is not None
    np.testing.assert_allclose(
        bias.residuals[1], context.gradients.residuals[[0, 3, 4, 6]].mean(axis=0), rtol=1e-5
    )
    assert (pool.labels, pool.logits) == (None, None)
    assert pool.target is context.target


def test_matched_batches_add_up_to_the_pool_even_with_a_short_one() -> None:
    """All atoms, weighted 1, are the pool's sum over the batch size: a short batch counts by its rows."""
    context = make_context("mixed", n=11)
    assert context.gradients is not None
    pool = batch_context(context, partition(np.arange(11), 4))
    assert pool.gradients is not None
    total = context.gradients.total().ravel() / 4
    np.testing.assert_allclose(pool.gradients.residuals.sum(axis=0), total, atol=1e-6)


def test_batches_of_one_row_are_rows() -> None:
    context = replace(make_context("mixed"), labels=None)
    by_row = GradMatch(lam=0.0).select(context, 9, generator(0))
    by_batch = PerBatch(GradMatch(lam=0.0), batch_size=1).select(context, 9, generator(0))
    assert by_batch.indices.tolist() == by_row.indices.tolist()
    np.testing.assert_allclose(by_batch.weights * by_batch.scale, by_row.weights * by_row.scale, rtol=1e-4)


def test_validation_rows_steer_batches_too() -> None:
    context = make_context("mixed")
    assert context.gradients is not None
    for inner in (GradMatch(target="validation", lam=0.0), Glister(greedy="exact")):
        for part in ("last-layer", "bias"):
            chosen = PerBatch(inner, 1, part).select(context, 9, generator(1))  # type: ignore[arg-type]
            plain = replace(inner, gradients=part).select(replace(context, labels=None), 9, generator(1))
            assert chosen.indices.tolist() == plain.indices.tolist()


def test_batches_of_one_class_keep_their_label() -> None:
    context = make_context("mixed", n=30)
    assert context.labels is not None
    spy = Spy()
    PerClass(PerBatch(spy, 4)).select(context, 12, generator(0))
    assert [seen.labels.tolist() for seen in spy.seen if seen.labels is not None] == [[0] * 3, [1] * 3, [2] * 3]


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (PerClass(UniformRandom()), "over 10 batches of 3 rows.*no logits and no label.*needs labels"),
        (Glister(target="train"), "no logits and no label.*needs labels"),
        (ProxySampling("unheard"), "'unheard' was not measured"),
    ],
)
def test_what_a_batch_cannot_have_is_said(inner: Selector, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        PerBatch(inner, 3).select(make_context("mixed", n=30), 9, generator(0))


def test_bad_options_are_reported_together() -> None:
    with pytest.raises(OptionsError, match=r"batch_size=0.*gradients='all'.*gradients='bias'.*PerBatch\(inner"):
        PerBatch(GradMatch(gradients="bias"), 0, "all")  # type: ignore[arg-type]


def test_price_is_that_of_the_means_and_of_fewer_wider_atoms() -> None:
    inner = GradMatch().flops(50, 5, 650, 0)
    assert PerBatch(GradMatch(), 20).flops(1000, 100, 10, 64) == 2 * 1000 * 650 + inner
    assert PerBatch(UniformRandom(), 20, "bias").flops(1000, 100, 10, 64) == 2 * 1000 * 10
