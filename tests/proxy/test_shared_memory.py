"""What trials learn from each other: ranks by hand, means by brute force, and what a trial makes of them."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr
from tolerances import PROPERTY

from raysubset.errors import OptionsError, SelectorError
from raysubset.proxy.memory import REMEMBERED, EpochSignals, ProxyMemory
from raysubset.proxy.pool import Pool
from raysubset.proxy.service import SelectorService
from raysubset.proxy.shared import CAPACITY, Prior, SharedMemory
from raysubset.proxy.stream import StreamSpec, SubsetStream, handed_on
from raysubset.selection.plan import METRIC_CHOICES, SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.testing.clients import assert_same, run, signals_for

N, EPOCHS = 60, 8  # those of raysubset.testing.clients
SMALL = settings(PROPERTY, max_examples=25)  # eight rows have few cases
LOSS = REMEMBERED.index("loss")
BY_LOSS = SubsetPlan(metric="loss", ratio=0.2, first_epoch="shared", deterministic=True)


def remembered(values: list[float] | np.ndarray, seen: list[int] | None = None) -> ProxyMemory:
    """A memory of these losses; the other metrics are 2, 3 and -1 times as large, so that a mix-up shows."""
    memory = ProxyMemory(len(values))
    for name, factor in (("loss", 1), ("entropy", 2), ("gradient", 3), ("prediction", -1)):
        memory.values[name][:] = factor * np.asarray(values)
    memory.seen[:] = True if seen is None else np.isin(np.arange(len(values)), seen)
    return memory


def shared_by(*memories: ProxyMemory) -> SharedMemory:
    shared = SharedMemory(len(memories[0]))
    for number, memory in enumerate(memories):
        shared.learn(f"t{number}", 1, None, memory)
    return shared


def prior_of(*memories: ProxyMemory) -> Prior:
    prior = shared_by(*memories).prior("new", "equal")
    assert prior is not None
    return prior


# --- ranks and their means


def test_ranks_by_hand() -> None:
    shared = shared_by(remembered([3, 9, 1, 1, 7], seen=[0, 2, 3, 4]))
    left = shared.contribution("t0")
    assert left is not None
    # among 1, 1, 3, 7 the ranks are 0.5, 0.5, 2, 3 of 3; 43.3 and 170.3 and 255 in bytes
    assert left["codes"][LOSS].tolist() == [170, 0, 43, 43, 255]
    assert left["codes"][REMEMBERED.index("prediction")].tolist() == [86, 0, 213, 213, 1]
    assert left["quantiles"][LOSS][[0, 84, 127, 128, 254]].tolist() == [1, 1, 3, 3, 7]
    assert left["quantiles"][REMEMBERED.index("entropy")][-1] == 14
    assert (left["number"], left["epochs"], left["loss"]) == (1, 1, None)


def test_mean_ranks_by_hand() -> None:
    first, second = remembered([0, 1, 2, 9, 9], seen=[0, 1, 2]), remembered([9, 50, 30, 40, 9], seen=[1, 2, 3])
    # codes 1, 128, 255 and 255, 1, 128; means 1, 191.5, 128, 128, nobody; ranks 0, 3, 1.5, 1.5 of 3
    assert prior_of(first, second).codes[LOSS].tolist() == [1, 255, 128, 128, 0]
    assert prior_of(first, second).codes[REMEMBERED.index("prediction")].tolist() == [255, 1, 128, 128, 0]


integers = st.lists(st.integers(0, 5), min_size=8, max_size=8)
rows = st.sets(st.integers(0, 7), min_size=1).map(sorted)
memories = st.lists(st.tuples(integers, rows), min_size=1, max_size=6)


@SMALL
@given(memories)
def test_a_prior_ranks_the_mean_ranks_of_those_who_saw_the_row(given_: list[tuple[list[int], list[int]]]) -> None:
    prior = prior_of(*(remembered(np.float32(values), seen) for values, seen in given_))
    spoken: dict[int, list[int]] = {}
    for values, seen in given_:
        middle = rankdata([values[row] for row in seen]) - 1
        for row, rank in zip(seen, middle, strict=True):
            spoken.setdefault(row, []).append(round(1 + 254 * rank / max(len(seen) - 1, 1)))
    known = sorted(spoken)
    means = [Fraction(sum(spoken[row]), len(spoken[row])) for row in known]
    order = {mean: place for place, mean in enumerate(sorted(set(means)))}
    ranks = (rankdata([order[mean] for mean in means]) - 1) / max(len(known) - 1, 1)
    expected = np.zeros(8, dtype=int)
    expected[known] = np.rint(1 + 254 * ranks)
    assert np.abs(prior.codes[LOSS].astype(int) - expected).max() <= 1  # a half may be rounded either way
    assert ((prior.codes[LOSS] == 0) == (expected == 0)).all()


@SMALL
@given(memories, st.permutations(range(8)), st.randoms(use_true_random=False))
def test_only_the_order_of_a_trials_values_counts(given_, order, random) -> None:
    plain = prior_of(*(remembered(np.float32(values), seen) for values, seen in given_))
    scaled = [remembered(np.exp(random.uniform(0.1, 3) * np.float32(values)) - 2, seen) for values, seen in given_]
    np.testing.assert_array_equal(prior_of(*scaled).codes, plain.codes)
    moved = [
        remembered(np.float32(values)[list(order)], [order.index(row) for row in seen]) for values, seen in given_
    ]
    np.testing.assert_array_equal(prior_of(*moved).codes, plain.codes[:, list(order)])


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


# --- who is heard


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


def test_the_better_a_trial_the_more_it_counts() -> None:
    up, down, level = remembered([0, 1, 2]), remembered([2, 1, 0]), remembered([1, 1, 1])
    shared = SharedMemory(3)
    shared.learn("down", 1, 0.1, down)
    shared.learn("up", 1, 0.9, up)
    codes = {}
    for name in ("equal", "score"):
        prior = shared.prior("new", name)
        assert prior is not None
        codes[name] = prior.codes[LOSS].tolist()
    assert codes == {"equal": [128, 128, 128], "score": [255, 128, 1]}
    shared.learn("down", 1, float("nan"), down)  # judged again: diverged
    prior = shared.prior("new", "score")
    assert prior is not None
    assert prior.codes[LOSS].tolist() == [1, 128, 255]
    shared.learn("silent", 1, None, level)
    assert shared.prior("new", "score") is not None


def test_weights_by_hand() -> None:
    """Losses .1, .3, .3, none: weights 3/4, 3/8, 3/8 and 1/2, each seen in a row that only it and `rest` saw."""
    values = [[9.0, 9, 9, 9, 0], [9, 9, 9, 9, 0], [9, 9, 9, 9, 0], [9, 9, 9, 9, 0]]
    shared = SharedMemory(5)
    for trial, loss in enumerate((0.1, 0.3, 0.3, None)):
        shared.learn(f"t{trial}", 1, loss, remembered(values[trial], seen=[trial, 4]))
    shared.learn("rest", 1, 0.2, remembered([0, 0, 0, 0, 9]))
    prior = shared.prior("new", "score")
    assert prior is not None
    # m = 4: ranks 1, 3.5, 3.5, 2; weights .8, .3, .3, .5 and .6 for rest, whose rows 0..3 share rank 3/8
    low = round(1 + 254 * 0.375)
    means = [(w * 255 + 0.6 * low) / (w + 0.6) for w in (0.8, 0.3, 0.3, 0.5)]
    last = (0.6 * 255 + 1.9 * 1) / 2.5
    ranks = (rankdata([*means, last]) - 1) / 4
    assert prior.codes[LOSS].tolist() == [round(1 + 254 * rank) for rank in ranks]


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


# --- what a trial makes of it


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


def hard_rows(service: SelectorService, trial: str, loss: np.ndarray) -> None:
    service.open(trial, StreamSpec(BY_LOSS, EPOCHS, 0))
    service.record(trial, 0, EpochSignals(np.arange(N), loss, loss, loss, loss < 1))
    service.close(trial)


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


# --- the service


def outcome(service: SelectorService, trial: str, plan: SubsetPlan, seed: int = 0):
    service.open(trial, StreamSpec(plan, EPOCHS, seed))
    return run(service, trial, plan, range(EPOCHS), seed)


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


@pytest.mark.parametrize("metric", METRIC_CHOICES)
def test_the_first_trial_of_all_is_a_scheduled_one(metric: str) -> None:
    shared = SubsetPlan(metric=metric, ratio=0.3, first_epoch="shared")
    scheduled = SubsetPlan(metric=metric, ratio=0.3, first_epoch="scheduled")
    one, other = SelectorService(Context(N)), SelectorService(Context(N))
    assert_same(outcome(one, "t", shared), outcome(other, "t", scheduled))
    table, like = shared.timetable(N, EPOCHS), scheduled.timetable(N, EPOCHS)
    assert table.sizes.tolist() == like.sizes.tolist()
    assert table.chosen_at.tolist() == like.chosen_at.tolist()


@pytest.mark.parametrize("first_epoch", ["full", "scheduled"])
def test_trials_that_do_not_share_neither_speak_nor_listen(first_epoch: str) -> None:
    plan = SubsetPlan(metric="loss", ratio=0.3, first_epoch=first_epoch)
    alone, beside = SelectorService(Context(N)), SelectorService(Context(N))
    hard_rows(beside, "teacher", np.arange(N, dtype=np.float32))
    assert_same(outcome(alone, "t", plan), outcome(beside, "t", plan))
    assert beside.contribution("t") is None
    beside.close("t")
    assert set(beside.contributors()) == {"teacher"}


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


def test_a_warm_start_trains_on_everything_whatever_was_told() -> None:
    service = SelectorService(Context(N))
    hard_rows(service, "teacher", np.arange(N, dtype=np.float32))
    for options, warm in (({"metric": "loss", "ratio": 0.3}, 2), ({"selector": "infobatch", "ratio": 1.0}, 4)):
        plan = SubsetPlan(**options, first_epoch="shared", warm_start=0.5)
        metrics = [subset.metric for subset in outcome(service, plan.name, plan)]
        assert metrics[: warm + 1] == ["full"] * warm + [plan.metric_at(4, EPOCHS, 0)]


def test_a_stream_that_is_handed_on_begins_again_with_what_it_knows() -> None:
    prior = prior_of(remembered(np.arange(N)))
    stream = SubsetStream(StreamSpec(BY_LOSS, 3, 0), Pool(Context(N)), prior)
    for epoch in range(3):
        stream.record(epoch, signals_for(stream.next(epoch).selection.indices, epoch))
    stream.loss = 0.5
    state = handed_on(stream.state())
    longer = SubsetStream(StreamSpec(BY_LOSS, EPOCHS, 1), Pool(Context(N)))
    longer.restore(state)
    assert longer.next(0).metric == "loss"
    assert longer.epochs_recorded == 3
    assert longer.loss == 0.5
    assert longer.record(0, signals_for(range(N), 0))
    assert longer.epochs_recorded == 4
    bare = SubsetStream(StreamSpec(BY_LOSS, EPOCHS, 1), Pool(Context(N)))
    bare.restore({"memory": state["memory"], "recorded": -1, "active": None})
    assert bare.next(0).metric == "random"
    assert (bare.epochs_recorded, bare.loss) == (0, None)


def test_a_stream_that_is_handed_on_needs_no_prior_to_choose_at_once() -> None:
    plan = SubsetPlan(metric="loss", ratio=0.3, first_epoch="scheduled", deterministic=True)
    first = SubsetStream(StreamSpec(plan, 2, 0), Pool(Context(N)))
    hardest = np.arange(N)[-20:]
    for epoch in range(2):
        rows = np.union1d(first.next(epoch).selection.indices, hardest)
        first.record(epoch, EpochSignals(rows, *[np.isin(rows, hardest).astype(np.float32)] * 3, rows > 0))
    later = SubsetStream(StreamSpec(plan, 3, 1), Pool(Context(N)))
    later.restore(handed_on(first.state()))
    begun = later.next(0)
    assert begun.metric == "loss"
    unseen = np.flatnonzero(~later.memory.seen)
    assert {*hardest, *unseen} < set(begun.selection.indices)  # what was never seen comes first


def test_a_told_state_takes_four_bytes_a_row_more() -> None:
    stream = SubsetStream(StreamSpec(BY_LOSS, EPOCHS, 0), Pool(Context(N)), prior_of(remembered(np.arange(N))))
    assert stream.state()["prior"]["codes"].nbytes == 4 * N
    assert stream.state()["prior"]["quantiles"].nbytes == 4080


# --- plans


def test_only_selectors_that_remember_share() -> None:
    for name in ("craig", "adaptive-random", "random", "el2n"):
        with pytest.raises(
            OptionsError, match=f"'shared' needs a selector that chooses by memory.*'{name}' does not"
        ):
            SubsetPlan(selector=name, first_epoch="shared")
    assert SubsetPlan(selector="infobatch", ratio=1.0, first_epoch="shared").shares_memory
    assert BY_LOSS.shares_memory
    assert not SubsetPlan(metric="random", first_epoch="shared").shares_memory
    assert not SubsetPlan(metric="loss", first_epoch="scheduled").shares_memory
    assert BY_LOSS.resolved("full") is BY_LOSS


def test_unknown_choices_list_the_known_ones() -> None:
    with pytest.raises(
        OptionsError, match="first_epoch='some', need one of auto, full, scheduled, shared"
    ) as caught:
        SubsetPlan(first_epoch="some", shared_weight="loss")  # type: ignore[arg-type]
    assert "shared_weight='loss', need one of equal, score" in str(caught.value)


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
