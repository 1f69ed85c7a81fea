"""What trials tell each other through the service: running, paused, ended, or of a service before."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import PROPERTY

from raysubset.errors import SelectorError
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.service import SelectorService
from raysubset.proxy.shared import CAPACITY
from raysubset.proxy.stream import StreamSpec
from raysubset.selection.plan import METRIC_CHOICES, SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.testing.clients import assert_same, run, signals_for
from tests.proxy.made_memories import BY_LOSS, EPOCHS, N, hard_rows, outcome

shared_plans = st.builds(
    SubsetPlan,
    metric=st.sampled_from(METRIC_CHOICES),
    ratio=st.floats(0.05, 1),
    schedule=st.sampled_from(["static", "dynamic"]),
    first_epoch=st.just("shared"),
    select_every=st.integers(0, 3),
    scale=st.sampled_from(["none", "zscore", "rank"]),
    deterministic=st.booleans(),
    shared_weight=st.sampled_from(["equal", "score"]),
)


@pytest.mark.slow
@PROPERTY
@given(shared_plans, st.integers(0, 2**32), st.integers(0, EPOCHS), st.booleans())
def test_a_told_stream_goes_on_from_its_state(plan: SubsetPlan, seed: int, pause: int, between: bool) -> None:
    service = SelectorService(Context(N))
    outcome(service, "teacher", plan, seed + 1)
    service.close("teacher")
    service.open("a", StreamSpec(plan, EPOCHS, seed))
    run(service, "a", plan, range(pause), seed)
    if between and pause < EPOCHS:
        service.next("a", pause)
    state = pickle.loads(pickle.dumps(service.state("a")))
    expected = run(service, "a", plan, range(pause, EPOCHS), seed)
    empty = SelectorService(Context(N))
    empty.open("a", StreamSpec(plan, EPOCHS, seed), state)
    assert_same(expected, run(empty, "a", plan, range(pause, EPOCHS), seed))
    left, right = service.contribution("a"), empty.contribution("a")
    if plan.shares_memory:
        assert left is not None
        assert right is not None
        np.testing.assert_array_equal(left["codes"], right["codes"])
        assert left["epochs"] == right["epochs"] == EPOCHS


def test_running_trials_are_heard_while_there_is_room() -> None:
    service = SelectorService(Context(N))
    service.open("running", StreamSpec(BY_LOSS, EPOCHS, 0))
    service.open("early", StreamSpec(BY_LOSS, EPOCHS, 0))
    assert service.next("early", 0).metric == "random"  # nothing was recorded yet
    service.record("running", 0, signals_for(range(N), 0))
    service.open("late", StreamSpec(BY_LOSS, EPOCHS, 0))
    assert service.next("late", 0).metric == "loss"
    assert set(service.contributors()) == {"running"}
    for number in range(CAPACITY):
        hard_rows(service, f"t{number}", np.arange(N, dtype=np.float32))
    service.record("running", 1, signals_for(range(N), 1))
    service.open("last", StreamSpec(BY_LOSS, EPOCHS, 0))
    assert set(service.contributors()) == {f"t{number}" for number in range(CAPACITY)}
    service.close("running")
    assert set(service.contributors()) == {"running", *(f"t{number}" for number in range(1, CAPACITY))}


def test_a_trial_that_is_paused_and_goes_on_counts_once() -> None:
    service = SelectorService(Context(N))
    service.open("t", StreamSpec(BY_LOSS, EPOCHS, 0))
    run(service, "t", BY_LOSS, range(2))
    state = service.state("t")
    service.close("t")
    service.close("t")
    service.open("t", StreamSpec(BY_LOSS, EPOCHS, 0), state)
    service.close("t")
    assert service.contributors() == {"t": 1}
    service.open("t", StreamSpec(BY_LOSS, EPOCHS, 0), state)
    run(service, "t", BY_LOSS, range(2, 5))
    service.close("t")
    assert service.contributors() == {"t": 2}
    assert service.shared_state()["contributions"][0]["epochs"] == 5


def test_validation_losses_weigh_only_where_the_plan_says_so() -> None:
    score = SubsetPlan(metric="loss", ratio=0.2, first_epoch="shared", deterministic=True, shared_weight="score")
    service = SelectorService(Context(N))
    for trial, loss, values in (("good", 0.1, np.arange(N)), ("bad", 2.0, np.arange(N)[::-1])):
        service.open(trial, StreamSpec(BY_LOSS, EPOCHS, 0))
        signals = np.ascontiguousarray(values, dtype=np.float32)
        service.record(trial, 0, EpochSignals(np.arange(N), signals, signals, signals, signals < 1))
        service.rate(trial, loss)
        service.close(trial)
    service.open("by score", StreamSpec(score, EPOCHS, 0))
    assert sorted(service.next("by score", 0).selection.indices.tolist()) == list(range(36, 60))
    service.open("equal", StreamSpec(BY_LOSS, EPOCHS, 0))
    assert sorted(service.next("equal", 0).selection.indices.tolist()) != list(range(36, 60))


def test_what_is_shared_goes_from_service_to_service() -> None:
    plan = SubsetPlan(metric="loss", ratio=0.3, first_epoch="shared")
    first, second = SelectorService(Context(N)), SelectorService(Context(N))
    outcome(first, "closed", plan)
    first.close("closed")
    outcome(first, "running", plan, seed=1)
    kept = first.shared_state()
    assert {one["trial"] for one in kept["contributions"]} == {"closed", "running"}
    assert second.restore_shared(kept) == second.restore_shared(kept) == first.contributors()
    assert_same(outcome(first, "new", plan, seed=2), outcome(second, "new", plan, seed=2))
    with pytest.raises(SelectorError, match="60 rows, this pool has 7"):
        SelectorService(Context(7)).restore_shared(kept)
