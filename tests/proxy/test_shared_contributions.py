"""Who is heard: each trial once, its latest word, the latest trials; in any order, from any file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysubset.errors import SelectorError
from raysubset.proxy.shared import CAPACITY, Prior, SharedMemory
from tests.proxy.made_memories import LOSS, SMALL, remembered, shared_by


@SMALL
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=9), st.data())
def test_contributions_are_a_set(told: list[tuple[int, int]], data: st.DataObject) -> None:
    """Given twice, in parts or in another order, they make the same memory; more epochs win."""
    parts = []
    for trial, epochs in told:
        alone = SharedMemory(5)
        alone.learn(f"t{trial}", epochs, None, remembered(np.arange(5) * (-1) ** (trial + epochs) % 4))
        parts.append(alone.state())
    once, again = SharedMemory(5), SharedMemory(5)
    for part in parts:
        once.merge(part)
    for part in [*data.draw(st.permutations(parts)), *parts]:
        again.merge(part)
    again.merge(once.state())
    best = {trial: max(epochs for other, epochs in told if other == trial) for trial, _ in told}
    assert {one["trial"]: one["epochs"] for one in again.state()["contributions"]} == {
        f"t{trial}": epochs for trial, epochs in best.items()
    }
    assert again.numbers() == once.numbers()
    for left, right in zip(vars_of(once.prior("new", "equal")), vars_of(again.prior("new", "equal")), strict=True):
        np.testing.assert_array_equal(left, right)


def vars_of(prior: Prior | None) -> tuple[np.ndarray, np.ndarray]:
    assert prior is not None
    return prior.codes, prior.quantiles


def test_a_trial_counts_once_and_its_latest_word_counts() -> None:
    shared = shared_by(remembered([0, 1, 2]), remembered([0, 2, 1]))
    for epochs, values in ((1, [2, 1, 0]), (0, [2, 1, 0])):
        shared.learn("t0", epochs, None, remembered(values))
        assert shared.numbers() == {"t0": 1, "t1": 2}
    prior = shared.prior("new", "equal")
    assert prior is not None
    assert prior.codes[LOSS].tolist() == [1, 192, 192]
    shared.learn("t0", 3, None, remembered([2, 1, 0]))
    assert shared.numbers() == {"t0": 3, "t1": 2}
    prior = shared.prior("new", "equal")
    assert prior is not None
    assert prior.codes[LOSS].tolist() == [128, 255, 1]


def test_nothing_recorded_says_nothing() -> None:
    shared = SharedMemory(3)
    shared.learn("a", 0, None, remembered([1, 2, 3]))
    shared.learn("b", 1, None, remembered([1, 2, 3], seen=[]))
    assert shared.prior("new", "equal") is None
    assert shared.state() == {"contributions": []}


def test_nobody_is_told_what_it_said_itself() -> None:
    shared = shared_by(remembered([0, 1, 2]))
    assert shared.prior("t0", "equal") is None
    assert shared.prior("t1", "equal") is not None


def test_the_latest_stay() -> None:
    shared = shared_by(*(remembered([0, 1, 2]) for _ in range(CAPACITY)))
    assert shared.full
    shared.learn("t0", 2, None, remembered([0, 1, 2]))  # heard again: now the latest
    shared.learn("more", 1, None, remembered([0, 1, 2]))
    assert set(shared.numbers()) == {"t0", "more", *(f"t{number}" for number in range(2, CAPACITY))}
    shared.merge(shared_by(remembered([2, 1, 0])).state())  # "t0" after one epoch: known better
    left = shared.contribution("t0")
    assert left is not None
    assert left["epochs"] == 2
    assert left["codes"][LOSS].tolist() == [1, 128, 255]


def test_a_later_number_is_kept_with_the_better_knowledge() -> None:
    """Else a client that offers the later number would have to offer it for ever."""
    early, late = SharedMemory(3), SharedMemory(3)
    early.learn("t", 5, None, remembered([0, 1, 2]))
    late.merge(shared_by(remembered([0, 1, 2]), remembered([0, 1, 2])).state())
    late.learn("t", 2, None, remembered([2, 1, 0]))
    early.merge(late.state())
    assert early.numbers()["t"] == 3
    assert {one["trial"]: one["epochs"] for one in early.state()["contributions"]}["t"] == 5


def test_a_contribution_of_another_pool_is_refused_before_anything_changes() -> None:
    shared = shared_by(remembered([0, 1, 2]))
    given_ = {
        "contributions": [
            *shared.state()["contributions"],
            *shared_by(remembered([1, 2])).state()["contributions"],
        ]
    }
    with pytest.raises(SelectorError, match="'t0' shares is of 2 rows, this pool has 3"):
        SharedMemory(3).merge(given_)
    other = SharedMemory(3)
    with pytest.raises(SelectorError):
        other.merge(given_)
    assert other.numbers() == {}


def test_a_state_survives_a_file(tmp_path: Path) -> None:
    from raysubset.training.checkpoint import load_checkpoint, save_checkpoint

    shared = shared_by(remembered([0, 1, 2]), remembered([2, 0, 1], seen=[0, 1]))
    shared.learn("t0", 1, 0.5, remembered([0, 1, 2]))
    save_checkpoint(tmp_path, shared.state())
    again = SharedMemory(3)
    again.merge(load_checkpoint(tmp_path))
    assert again.numbers() == shared.numbers()
    for weighting in ("equal", "score"):
        for left, right in zip(
            vars_of(shared.prior("new", weighting)), vars_of(again.prior("new", weighting)), strict=True
        ):
            np.testing.assert_array_equal(left, right)
