"""The adaptive ratio: whatever the changes, the samples are the schedule's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.selection.pacing import MOST, Pacing
from raysubset.selection.ratio import subset_sizes


def run(pacing: Pacing, changes: list[float]) -> list[int]:
    sizes: list[int] = []
    for epoch, change in enumerate(changes):
        sizes.append(pacing.size(epoch, sum(sizes)))
        pacing.learn(change)
    return sizes


@PROPERTY
@given(
    st.integers(1, 500),
    st.lists(st.floats(0, 2), min_size=1, max_size=40),
    st.floats(0.01, 1),
    st.sampled_from(["full", "scheduled"]),
)
def test_the_sum_is_the_schedules_and_no_epoch_leaves_its_bounds(
    n: int, changes: list[float], ratio: float, first: str
) -> None:
    planned = subset_sizes(n, len(changes), ratio, first_epoch=first, minimum=min(2, n))
    sizes = run(Pacing(planned, n, min(2, n)), changes)
    assert sum(sizes) == planned.sum()
    assert min(2, n) <= min(sizes)
    assert max(sizes) <= n


@pytest.mark.parametrize("change", [0.0, 0.3, 2.0])
def test_a_ranking_that_changes_as_ever_keeps_the_plan(change: float) -> None:
    planned = subset_sizes(1000, 20, 0.2)
    assert run(Pacing(planned, 1000, 2), [change] * 20) == planned.tolist()


def test_more_change_takes_more_rows_and_less_fewer_up_to_the_bound() -> None:
    planned = np.full(40, 100)
    calm, stirred = Pacing(planned, 1000, 2), Pacing(planned, 1000, 2)
    for _ in range(10):
        calm.learn(0.3)
        stirred.learn(0.3)
    calm.learn(0.15)
    stirred.learn(100.0)
    assert calm.factor == pytest.approx(
        0.15 / np.average([0.3] * 10 + [0.15], weights=np.exp(-0.1 * np.arange(11)[::-1]))
    )
    assert calm.size(11, 1100) < 60
    assert stirred.factor == MOST
    assert stirred.size(11, 1100) == 200


def test_a_restored_pacing_goes_on_as_the_other() -> None:
    planned = subset_sizes(300, 10, 0.3)
    one, other = Pacing(planned, 300, 2), Pacing(planned, 300, 2)
    one.learn(0.5)
    one.learn(0.2)
    other.restore(one.state())
    assert other.factor == one.factor != 1
    assert other.size(5, 200) == one.size(5, 200)
