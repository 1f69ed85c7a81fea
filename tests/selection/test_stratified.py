"""CCS: the hardest are dropped, the rest is covered evenly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY, of_share

from raysubset.errors import OptionsError, SelectionError
from raysubset.seeds import generator
from raysubset.selection.protocol import Context, Selector
from raysubset.selection.stratified import Stratified, equal_width, fill_smallest_first
from raysubset.testing.selectors import SelectorContract


@pytest.mark.slow
class TestStratified(SelectorContract):
    @pytest.fixture(
        params=[Stratified("entropy"), Stratified("loss", bins=1, prune=0), Stratified("el2n", 3, 0.9)]
    )
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        selector: Selector = request.param
        return selector


def pool(name: str, values: object) -> Context:
    scores = np.asarray(values, dtype=np.float32)
    return Context(len(scores), signals={name: scores})


@pytest.mark.parametrize(("name", "hardest"), [("aum", range(10)), ("el2n", range(90, 100))])
def test_the_hardest_are_dropped(name: str, hardest: range) -> None:
    """Low area under the margin is hard, high EL2N is."""
    rows = Stratified(name, bins=5, prune=0.1).select(pool(name, np.arange(100)), 90, generator(0)).indices
    assert set(rows.tolist()) == set(range(100)) - set(hardest)


def test_no_more_are_dropped_than_the_budget_can_spare() -> None:
    rows = Stratified(prune=0.5).select(pool("aum", np.arange(10)), 8, generator(0)).indices
    assert rows.tolist() == list(range(2, 10))


def test_bins_share_the_budget_by_hand() -> None:
    """Counts 3, 0, 100, 10 and 40 rows: 3 of 3, then 37 / 3 = 12 > 10, then 27 // 2 = 13 and 14."""
    quotas = fill_smallest_first(np.array([3, 0, 100, 10]), 40)
    assert quotas.tolist() == [3, 0, 27, 10]
    assert fill_smallest_first(np.array([3, 50, 100, 10]), 40).tolist() == [3, 13, 14, 10]
    assert fill_smallest_first(np.array([5, 5, 5]), 7).tolist() == [2, 2, 3]


@PROPERTY
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.data())
def test_quotas_are_as_even_as_the_counts_allow(counts: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(0, sum(counts)))
    quotas = fill_smallest_first(np.array(counts), k)
    assert quotas.sum() == k
    assert (quotas <= counts).all()
    short = [q for q, count in zip(quotas, counts, strict=True) if q < count]
    assert not short or max(quotas) <= min(short) + 1


def test_bins_have_equal_widths() -> None:
    values = np.array([0, 0.99, 1, 2.5, 3.99, 4])
    assert equal_width(values, 4).tolist() == [0, 0, 1, 2, 3, 3]
    assert equal_width(np.full(3, 7.0), 4).tolist() == [0, 0, 0]
    huge = np.finfo(np.float64).max
    assert equal_width(np.array([-huge, 0, 1, 2, 4, huge]), 4).tolist() == [0, 0, 1, 2, 3, 3]
    assert equal_width(np.array([huge, huge]), 4).tolist() == [0, 0]


@pytest.mark.slow
def test_rows_inside_a_bin_are_equally_likely() -> None:
    values = np.r_[np.zeros(4), np.ones(8)]
    context, rng, counts = pool("aum", values), generator(0), np.zeros(12)
    for _ in range(2000):
        counts[Stratified(bins=2, prune=0).select(context, 4, rng).indices] += 1
    law = np.r_[np.full(4, 2 / 4), np.full(8, 2 / 8)]
    assert (np.abs(counts / 2000 - law) <= of_share(law, 2000)).all()


def test_unlearned_rows_are_the_hardest_and_stretch_no_bin() -> None:
    context = pool("forgetting", [*range(8), np.inf, np.inf])
    assert Stratified("forgetting", bins=4, prune=0.2).select(context, 8, generator(0)).indices.tolist() == list(
        range(8)
    )
    rows = Stratified("forgetting", bins=4, prune=0).select(context, 4, generator(0)).indices
    assert sorted(min(int(r) * 4 // 7, 3) for r in rows) == [0, 1, 2, 3]


def test_bad_inputs() -> None:
    with pytest.raises(OptionsError, match=r"bins=0.*prune=1"):
        Stratified(bins=0, prune=1)
    with pytest.raises(SelectionError, match="training trace"):
        Stratified().select(Context(3), 1, generator(0))
    with pytest.raises(SelectionError, match="row 1 is nan"):
        Stratified().select(pool("aum", [0, np.nan]), 1, generator(0))
    assert Stratified().flops(2000, 10, 10, 64) > 0
