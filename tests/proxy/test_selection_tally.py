"""What the selector counts, against lists kept beside it and ranks by scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.service import SelectorService
from raysubset.proxy.stream import StreamSpec
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.testing.clients import KNOWN, POOL_SIZE

EPOCHS = 5
LABELS = np.arange(POOL_SIZE) % 3
PLAN = SubsetPlan(metric="loss", ratio=0.3, schedule="static", first_epoch="scheduled")


def watching(plan: SubsetPlan = PLAN, trials: tuple[str, ...] = ("a", "b")) -> SelectorService:
    service = SelectorService(KNOWN)
    service.watch(LABELS)
    for number, trial in enumerate(trials):
        service.open(trial, StreamSpec(plan, EPOCHS, number))
    return service


def signals(rows: np.ndarray, losses: np.ndarray) -> EpochSignals:
    values = losses.astype(np.float32)
    return EpochSignals(rows, values, values, values, np.ones(len(rows), dtype=bool))


def told(service: SelectorService) -> dict[str, Any]:
    state = service.tallied()
    assert state is not None
    return state


def test_counts_are_those_of_what_was_handed_out() -> None:
    service = watching()
    handed: list[tuple[int, np.ndarray]] = []
    for epoch in range(EPOCHS):
        for number, trial in enumerate("ab"):
            rows = service.next(trial, epoch).selection.indices
            handed.append((epoch, rows))
            service.record(trial, epoch, signals(rows, 1.0 + rows + number))
    state = told(service)
    everything = np.concatenate([rows for _, rows in handed])
    assert np.array_equal(state["times"], np.bincount(everything, minlength=POOL_SIZE))
    assert state["epochs"].tolist() == list(range(EPOCHS))
    assert state["subsets"].tolist() == [2] * EPOCHS
    for epoch in range(EPOCHS):
        here = np.concatenate([rows for at, rows in handed if at == epoch])
        assert np.array_equal(state["by_class"][epoch], np.bincount(LABELS[here], minlength=3))
        expected = [int((here == row).sum()) for row in state["watched_rows"]]
        assert state["watched"][epoch].tolist() == expected


def test_an_epoch_that_is_asked_for_again_counts_once() -> None:
    service = watching(trials=("a",))
    first = service.next("a", 0)
    service.next("a", 0)
    state = service.state("a")
    service.open("a", StreamSpec(PLAN, EPOCHS, 0), state)  # its process died and it goes on from a checkpoint
    service.next("a", 0)
    counts = told(service)
    assert counts["subsets"].tolist() == [1]
    assert counts["times"].sum() == len(first.selection)


def test_the_segments_of_a_ladder_are_counted_each() -> None:
    service = watching(trials=("a",))
    service.next("a", 0)
    service.open("a", StreamSpec(PLAN, EPOCHS, 99))  # the next segment: the same trial, another stream
    service.next("a", 0)
    assert told(service)["subsets"].tolist() == [2]


def test_a_subset_that_is_kept_for_several_epochs_counts_in_each() -> None:
    service = watching(
        SubsetPlan(selector="adaptive-random", ratio=0.3, schedule="static", select_every=3), ("a",)
    )
    for epoch in range(3):
        service.next("a", epoch)
    assert told(service)["subsets"].tolist() == [1, 1, 1]


def test_rows_chosen_inside_batches_are_not_known() -> None:
    service = watching(SubsetPlan(selector="selective-backprop", ratio=0.3, first_epoch="scheduled"), ("a",))
    for epoch in range(EPOCHS):
        service.next("a", epoch)
    counts = told(service)
    assert counts["in_batch"] == EPOCHS - counts["subsets"].sum()
    assert counts["in_batch"] > 0


def test_difficulty_is_the_mean_rank_weighed_by_epochs() -> None:
    service = watching()
    losses = {"a": np.arange(POOL_SIZE) ** 2.0, "b": np.sin(np.arange(POOL_SIZE))}
    rows = np.arange(POOL_SIZE)
    service.record("a", 0, signals(rows, losses["a"]))
    service.record("b", 0, signals(rows, np.zeros(POOL_SIZE)))
    service.record("b", 1, signals(rows, losses["b"]))
    service.close("a")
    counts = told(service)  # b is still open
    ranks = {trial: (rankdata(values) - 1) / (POOL_SIZE - 1) for trial, values in losses.items()}
    assert counts["rank_weight"].tolist() == [3.0] * POOL_SIZE
    assert counts["rank_sum"] == pytest.approx(ranks["a"] + 2 * ranks["b"], abs=1e-5)


def test_a_trial_that_is_paused_and_goes_on_is_not_heard_twice() -> None:
    service, rows = watching(trials=("a",)), np.arange(POOL_SIZE)
    service.record("a", 0, signals(rows, rows.astype(float)))
    state = service.state("a")
    service.close("a")
    service.open("a", StreamSpec(PLAN, EPOCHS, 0), state)
    service.close("a")
    service.open("a", StreamSpec(PLAN, EPOCHS, 0), state)
    service.record("a", 1, signals(rows, rows.astype(float)))
    assert told(service)["rank_weight"].tolist() == [2.0] * POOL_SIZE


def test_rows_that_no_trial_saw_have_no_weight() -> None:
    service = watching(trials=("a",))
    service.record("a", 0, signals(np.array([3, 1]), np.array([1.0, 2.0])))
    counts = told(service)
    assert np.flatnonzero(counts["rank_weight"]).tolist() == [1, 3]
    assert counts["rank_sum"][[1, 3]].tolist() == [1.0, 0.0]


def test_nobody_counts_unless_told_and_counting_changes_no_subset() -> None:
    plain = SelectorService(KNOWN)
    assert plain.tallied() is None
    plain.open("a", StreamSpec(PLAN, EPOCHS, 0))
    watched = watching(trials=("a",))
    for epoch in range(EPOCHS):
        first, second = plain.next("a", epoch), watched.next("a", epoch)
        assert np.array_equal(first.selection.indices, second.selection.indices)
        for service in (plain, watched):
            service.record("a", epoch, signals(first.selection.indices, 1.0 + first.selection.indices))
    assert told(watched)["subsets"].sum() == EPOCHS
    assert watched.tallied() is None, "once told, it counts no more"


def test_what_is_kept_does_not_grow_with_trials() -> None:
    service = SelectorService(Context(5000))
    service.watch(np.zeros(5000, dtype=np.int64))
    sizes = []
    for number in range(30):
        service.open(f"t{number}", StreamSpec(PLAN, EPOCHS, number))
        service.next(f"t{number}", 0)
        service.close(f"t{number}")
        if number in (0, 29):
            assert service._tally is not None
            sizes.append(sum(np.asarray(values).nbytes for values in service._tally.state().values()))
    assert sizes[0] == sizes[1]
