"""What a trial makes of what it was told: values by hand, their order and scale, the rows it begins with."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from tolerances import PROPERTY

from raysubset.proxy.memory import EpochSignals, ProxyMemory
from raysubset.proxy.service import SelectorService
from raysubset.proxy.stream import StreamSpec
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from tests.proxy.made_memories import BY_LOSS, EPOCHS, N, hard_rows, outcome, prior_of, remembered


def test_values_by_hand() -> None:
    prior = prior_of(remembered([10, 20, 30, 40, 99], seen=[0, 1, 2, 3]))
    memory = ProxyMemory(5)
    assert prior.importance("loss", memory).tolist() == [10, 20, 30, 40, 40]  # on the scale of the contributor
    memory.record(
        0, EpochSignals(np.array([1, 2]), *(np.float32([0.5, 0.25]) for _ in range(3)), np.ones(2, bool))
    )
    # on the trial's own scale, from 0.25 to 0.5; what it measured itself stays, whatever it was told
    assert prior.importance("loss", memory).tolist() == [0.25, 0.5, 0.25, 0.5, 0.5]
    assert prior.importance("prediction", memory).tolist() == [-1] * 5


@PROPERTY
@given(
    st.lists(st.floats(-5, 5, width=16), min_size=12, max_size=12),
    st.lists(st.floats(0, 99, width=16), min_size=12, max_size=12),
    st.sets(st.integers(0, 11)),
    st.sets(st.integers(0, 11), min_size=1),
)
def test_inherited_values_keep_their_order_and_the_scale_of_the_measured(
    own: list[float], told: list[float], seen: set[int], known: set[int]
) -> None:
    prior = prior_of(remembered(told, sorted(known)))
    memory = remembered(own, sorted(seen))
    values = prior.importance("loss", memory)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values[memory.seen], memory.values["loss"][memory.seen])
    inherited = [row for row in sorted(known) if not memory.seen[row]]
    for left in inherited:
        for right in inherited:
            if told[left] <= told[right]:
                assert values[left] <= values[right]
    scale = [own[row] for row in seen] or [told[row] for row in known]
    unseen = values[~memory.seen]
    assert set(unseen.tolist()) <= {float(np.float32(value)) for value in scale}
    for row in range(12):
        if row not in known and row not in seen:
            assert values[row] == np.float32(max(scale))


def test_the_scale_before_any_measurement_is_that_of_the_middle_contributor() -> None:
    prior = prior_of(*(remembered(factor * np.arange(5)) for factor in (1, 2, 1000)))
    assert prior.importance("loss", ProxyMemory(5)).tolist() == [0, 2, 4, 6, 8]


def test_a_later_trial_begins_with_the_rows_that_the_earlier_ones_found_hard() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.exponential(size=N)
    losses = [np.float32(hardness * rng.uniform(0.5, 2, N) * scale) for scale in (0.01, 1, 100)]
    service = SelectorService(Context(N))
    for number, loss in enumerate(losses):
        hard_rows(service, f"t{number}", loss)
    chosen = np.zeros(N)
    plan = SubsetPlan(metric="loss", ratio=0.2, first_epoch="shared")
    for seed in range(40):
        service.open("new", StreamSpec(plan, EPOCHS, seed))
        subset = service.next("new", 0)
        assert subset.metric == "loss"
        assert len(subset.selection) == plan.timetable(N, EPOCHS).sizes[0] == 24
        chosen[subset.selection.indices] += 1
    assert spearmanr(chosen, hardness).statistic > 0.5


def test_later_epochs_weigh_what_was_told_against_what_was_measured() -> None:
    """Epoch 0 takes the 24 hardest rows, and half of them turn out easy. Then a row not seen counts as one of the
    hard ones if it was told to be above the median."""
    service = SelectorService(Context(N))
    hard_rows(service, "t", np.arange(N, dtype=np.float32))
    service.open("new", StreamSpec(BY_LOSS, EPOCHS, 0))
    first = service.next("new", 0).selection.indices
    assert sorted(first.tolist()) == list(range(36, 60))
    loss = np.where(first < 48, 0.0, 1.0).astype(np.float32)
    service.record("new", 0, EpochSignals(first, loss, loss, loss, loss < 1))
    second = service.next("new", 1).selection.indices
    assert len(second) == 21
    assert set(second.tolist()) > {*range(30, 36), *range(48, 60)}


def test_a_warm_start_trains_on_everything_whatever_was_told() -> None:
    service = SelectorService(Context(N))
    hard_rows(service, "teacher", np.arange(N, dtype=np.float32))
    for options, warm in (({"metric": "loss", "ratio": 0.3}, 2), ({"selector": "infobatch", "ratio": 1.0}, 4)):
        plan = SubsetPlan(**options, first_epoch="shared", warm_start=0.5)
        metrics = [subset.metric for subset in outcome(service, plan.name, plan)]
        assert metrics[: warm + 1] == ["full"] * warm + [plan.metric_at(4, EPOCHS, 0)]


def test_infobatch_prunes_by_what_it_was_told() -> None:
    plan = SubsetPlan(selector="infobatch", ratio=1.0, schedule="static", first_epoch="shared")
    service = SelectorService(Context(N))
    first = outcome(service, "a", plan)
    service.close("a")
    service.open("b", StreamSpec(plan, EPOCHS, 0))
    assert first[0].metric == "full"
    pruned = service.next("b", 0)
    assert pruned.metric == "infobatch"
    assert pruned.size < N
