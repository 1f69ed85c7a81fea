"""What every selector client must do, as a pytest class to inherit.

    class TestMine(ClientContract):
        @pytest.fixture
        def client(self) -> SelectorClient:
            return Mine(over the pool KNOWN)

The client may be shared by the tests (an actor is slow to start): every test uses trials of its own.
"""

# ruff: noqa: D102  # a test says by its name what it tests

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pytest

from raysubset.errors import SelectorError
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.service import UnknownTrialError
from raysubset.proxy.shared import CAPACITY
from raysubset.proxy.stream import EpochSubset, StreamSpec
from raysubset.seeds import row_uniforms
from raysubset.selection.outputs import Outputs
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context

if TYPE_CHECKING:
    from raysubset.runtime.client import SelectorClient

POOL_SIZE = 60
LABELS = np.arange(POOL_SIZE) // 20  # sorted by class, as files on disk often are
CLASSES, WIDTH = 3, 4
EPOCHS = 8

PLANS: dict[str, SubsetPlan] = {
    "asp": SubsetPlan(ratio=0.3),
    "loss, static, scheduled": SubsetPlan(
        metric="loss", ratio=0.3, schedule="static", first_epoch="scheduled", scale="zscore"
    ),
    "prediction, every 3": SubsetPlan(metric="prediction", ratio=0.4, select_every=3),
    "adaptive metric": SubsetPlan(metric="adaptive", ratio=0.6, first_epoch="scheduled"),
    "loss, float16": SubsetPlan(metric="loss", ratio=0.3, memory="float16"),
    "gradient, per class": SubsetPlan(metric="gradient", ratio=0.2, per_class=True, deterministic=True),
    "adaptive-random": SubsetPlan(selector="adaptive-random", ratio=0.25),
    "random": SubsetPlan(selector="random", ratio=0.25),
    "full": SubsetPlan.full(),
    "craig, every 3": SubsetPlan(selector="craig", ratio=0.2, select_every=3),
    "glister, warm start": SubsetPlan(selector="glister", ratio=0.3, select_every=2, warm_start=0.5),
    "k-center, shared": SubsetPlan(selector="k-center", ratio=0.3),
    "infobatch": SubsetPlan(selector="infobatch", ratio=1.0, schedule="static"),
    "rho-loss": SubsetPlan(selector="rho-loss", ratio=0.3, first_epoch="scheduled"),
}

SHARED = SubsetPlan(metric="loss", ratio=0.3, first_epoch="shared", deterministic=True)


def spec(plan: SubsetPlan, seed: int = 0) -> StreamSpec:
    """Return the stream of a plan over `EPOCHS` epochs."""
    return StreamSpec(plan, EPOCHS, seed)


def signals_for(rows: Iterable[int], epoch: int, seed: int = 0) -> EpochSignals:
    """Return made-up signals, a function of (seed, epoch, row) only."""
    index = np.fromiter(rows, dtype=np.int64)
    loss, entropy, gradient, draw = (
        (4 * row_uniforms(seed, epoch, name, rows=index)).astype(np.float32)
        for name in ("loss", "entropy", "gradient", "correct")
    )
    return EpochSignals(index, loss, entropy, gradient, draw > 2)


def outputs_for(epoch: int, seed: int = 0) -> Outputs:
    """Return made-up outputs of a model, a function of (seed, epoch, row) only."""
    rows = np.arange(POOL_SIZE)
    columns = [row_uniforms(seed, epoch, "outputs", c, rows=rows) - 0.5 for c in range(CLASSES + WIDTH)]
    table = 4 * np.stack(columns, axis=1).astype(np.float32)
    return Outputs(np.ascontiguousarray(table[:, :CLASSES]), np.ascontiguousarray(table[:, CLASSES:]), 0.1)


def known_pool() -> Context:
    """Return what all trials know of the pool: labels, and made-up evidence of every kind."""
    outputs = outputs_for(0, seed=1)
    names = ("el2n", "grand", "forgetting", "aum", "irreducible")
    signals = {name: row_uniforms(1, name, rows=np.arange(POOL_SIZE)).astype(np.float32) for name in names}
    gradients = outputs.gradients(LABELS)
    return Context(POOL_SIZE, LABELS, signals, outputs.features, gradients, outputs.logits)


KNOWN = known_pool()


def run(
    client: SelectorClient, trial: str, plan: SubsetPlan, epochs: Iterable[int], seed: int = 0
) -> list[EpochSubset]:
    """Go through epochs as a trial does: observe where the plan looks, next, record; skipped ones are left out."""
    served = []
    table = plan.timetable(POOL_SIZE, EPOCHS)
    for epoch in epochs:
        if table.sizes[epoch] == 0:
            continue
        if plan.habits.evidence == "model" and table.forward[epoch]:
            client.observe(trial, epoch, outputs_for(epoch, seed))
        served.append(client.next(trial, epoch))
        client.record(trial, epoch, signals_for(served[-1].selection.indices, epoch, seed))
    return served


def teach(client: SelectorClient, name: str, seed: int, trials: int = CAPACITY) -> None:
    """Let trials that saw every row, with the signals of ``seed``, open, record and close; no others are heard."""
    for number in range(trials):
        client.open(f"{name}-{number}", spec(SHARED))
        client.record(f"{name}-{number}", 0, signals_for(range(POOL_SIZE), 0, seed))
        client.close(f"{name}-{number}")


def assert_same(left: Iterable[EpochSubset], right: Iterable[EpochSubset]) -> None:
    """Compare subsets: epoch, metric, rows in order, weights."""
    for a, b in zip(left, right, strict=True):
        assert (a.epoch, a.metric, a.size) == (b.epoch, b.metric, b.size)
        assert type(a.chooser) is type(b.chooser)
        np.testing.assert_array_equal(a.selection.indices, b.selection.indices)
        np.testing.assert_array_equal(a.selection.weights, b.selection.weights)


class ClientContract:
    """Inherit, and give a ``client`` fixture over the pool `KNOWN`."""

    @pytest.fixture
    def client(self) -> SelectorClient:
        """Return the client under test."""
        raise NotImplementedError("give a fixture named 'client'")

    @pytest.fixture(params=PLANS)
    def plan(self, request: pytest.FixtureRequest) -> SubsetPlan:
        """Return a plan; some tests run once for each of `PLANS`."""
        return PLANS[request.param]

    @pytest.fixture
    def trial(self) -> str:
        """Return a trial name nobody used."""
        return f"trial-{uuid4().hex}"

    @pytest.fixture
    def twin(self, trial: str) -> str:
        """Return another."""
        return f"{trial}-twin"

    def test_serves_the_planned_sizes(self, client: SelectorClient, trial: str, plan: SubsetPlan) -> None:
        client.open(trial, spec(plan))
        served = run(client, trial, plan, range(EPOCHS))
        sizes = plan.timetable(POOL_SIZE, EPOCHS).sizes
        assert [subset.epoch for subset in served] == np.flatnonzero(sizes).tolist()
        for subset in served:
            size = int(sizes[subset.epoch])
            assert subset.size == size or (plan.habits.prunes and subset.size < size)
            assert len(subset.selection) == subset.size or subset.chooser is not None
            assert subset.selection.pool_size == POOL_SIZE
            assert subset.ratio == subset.size / POOL_SIZE

    def test_next_may_be_asked_again(self, client: SelectorClient, trial: str, plan: SubsetPlan) -> None:
        client.open(trial, spec(plan))
        for epoch in np.flatnonzero(plan.timetable(POOL_SIZE, EPOCHS).sizes).tolist():
            (first,) = run(client, trial, plan, [epoch])
            assert_same([first, first], [client.next(trial, epoch), client.next(trial, epoch)])

    def test_an_epoch_is_recorded_once(
        self, client: SelectorClient, trial: str, twin: str, plan: SubsetPlan
    ) -> None:
        client.open(trial, spec(plan))
        client.open(twin, spec(plan))
        for epoch in np.flatnonzero(plan.timetable(POOL_SIZE, EPOCHS).sizes).tolist():
            assert_same(run(client, trial, plan, [epoch]), run(client, twin, plan, [epoch]))
            client.record(twin, epoch, signals_for(range(POOL_SIZE), epoch, seed=99))
        for name, values in client.state(trial)["memory"].items():
            np.testing.assert_array_equal(values, client.state(twin)["memory"][name])

    @pytest.mark.parametrize("pause", [0, 1, 3, 4, EPOCHS - 1])
    def test_goes_on_from_a_state_as_if_nothing_had_happened(
        self, client: SelectorClient, trial: str, twin: str, plan: SubsetPlan, pause: int
    ) -> None:
        client.open(trial, spec(plan))
        run(client, trial, plan, range(pause))
        state = client.state(trial)
        expected = run(client, trial, plan, range(pause, EPOCHS))
        client.open(twin, spec(plan), state)
        assert_same(expected, run(client, twin, plan, range(pause, EPOCHS)))

    def test_goes_back_to_a_state_between_next_and_record(
        self, client: SelectorClient, trial: str, plan: SubsetPlan
    ) -> None:
        client.open(trial, spec(plan))
        epochs = np.flatnonzero(plan.timetable(POOL_SIZE, EPOCHS).sizes).tolist()
        run(client, trial, plan, epochs[:3])
        if plan.habits.evidence == "model":
            client.observe(trial, epochs[3], outputs_for(epochs[3]))
        client.next(trial, epochs[3])
        state = client.state(trial)
        expected = run(client, trial, plan, epochs[3:])
        client.open(trial, spec(plan), state)
        assert_same(expected, run(client, trial, plan, epochs[3:]))

    def test_what_was_recorded_steers_what_comes_next(self, client: SelectorClient, trial: str, twin: str) -> None:
        plan = SubsetPlan(metric="loss", ratio=0.3, deterministic=True)
        for name in (trial, twin):
            client.open(name, spec(plan))
        run(client, trial, plan, [0], seed=1)
        run(client, twin, plan, [0], seed=2)
        loss = signals_for(range(POOL_SIZE), 0, seed=1).loss
        rows = client.next(trial, 1).selection.indices
        assert set(rows.tolist()) == set(np.argsort(-loss)[: len(rows)].tolist())
        assert set(rows.tolist()) != set(client.next(twin, 1).selection.indices.tolist())

    def test_trials_do_not_disturb_each_other(
        self, client: SelectorClient, trial: str, twin: str, plan: SubsetPlan
    ) -> None:
        client.open(trial, spec(plan))
        alone = run(client, trial, plan, range(EPOCHS))
        client.close(trial)
        other = f"{trial}-other"
        client.open(twin, spec(plan))
        client.open(other, spec(PLANS["asp"], seed=5))
        beside = []
        for epoch in range(EPOCHS):
            run(client, other, PLANS["asp"], [epoch], seed=5)
            beside += run(client, twin, plan, [epoch])
        client.close(other)
        assert_same(alone, beside)

    @pytest.mark.parametrize("every", [2, 3])
    def test_keeps_a_subset_for_select_every_epochs(self, client: SelectorClient, trial: str, every: int) -> None:
        plan = SubsetPlan(metric="loss", ratio=0.3, select_every=every)
        client.open(trial, spec(plan))
        served = run(client, trial, plan, range(EPOCHS))
        groups = [served[start : start + every] for start in range(1, EPOCHS, every)]  # epoch 0 stands alone
        for group in groups:
            for subset in group:
                np.testing.assert_array_equal(subset.selection.indices, group[0].selection.indices)
        for left, right in pairwise(groups):
            assert set(left[0].selection.indices.tolist()) != set(right[0].selection.indices.tolist())

    def test_a_choice_that_looks_at_the_model_must_have_seen_it(self, client: SelectorClient, trial: str) -> None:
        client.open(trial, spec(PLANS["craig, every 3"]))
        client.next(trial, 0)
        with pytest.raises(SelectorError, match="before epoch 1"):
            client.next(trial, 1)

    def test_a_trial_nobody_opened_is_unknown(self, client: SelectorClient, trial: str) -> None:
        with pytest.raises(UnknownTrialError, match=trial):
            client.next(trial, 0)
        with pytest.raises(UnknownTrialError, match=trial):
            client.state(trial)

    def test_a_closed_trial_is_forgotten(self, client: SelectorClient, trial: str) -> None:
        client.open(trial, spec(PLANS["asp"]))
        first = run(client, trial, PLANS["asp"], range(3))
        client.close(trial)
        with pytest.raises(UnknownTrialError, match=trial):
            client.next(trial, 3)
        client.close(trial)  # once more is no fault
        client.open(trial, spec(PLANS["asp"]))
        assert_same(first, run(client, trial, PLANS["asp"], range(3)))

    def test_opening_again_starts_anew(self, client: SelectorClient, trial: str) -> None:
        client.open(trial, spec(PLANS["asp"]))
        first = run(client, trial, PLANS["asp"], range(4))
        client.open(trial, spec(PLANS["asp"]))
        assert_same(first, run(client, trial, PLANS["asp"], range(4)))

    def test_a_trial_that_shares_starts_with_what_closed_ones_remember(
        self, client: SelectorClient, trial: str
    ) -> None:
        teach(client, f"{trial}-teacher", seed=7)
        client.open(trial, spec(SHARED))
        subset = client.next(trial, 0)
        loss = signals_for(range(POOL_SIZE), 0, seed=7).loss
        assert subset.metric == "loss"
        assert set(subset.selection.indices.tolist()) == set(np.argsort(-loss)[: subset.size].tolist())

    def test_what_a_trial_was_told_is_part_of_its_state(
        self, client: SelectorClient, trial: str, twin: str
    ) -> None:
        teach(client, f"{trial}-teacher", seed=7)
        client.open(trial, spec(SHARED))
        state = client.state(trial)
        expected = run(client, trial, SHARED, range(EPOCHS))
        teach(client, f"{twin}-teacher", seed=8)
        client.open(twin, spec(SHARED), state)
        assert_same(expected, run(client, twin, SHARED, range(EPOCHS)))
        client.open(twin, spec(SHARED))
        (first,) = run(client, twin, SHARED, [0])
        assert set(first.selection.indices.tolist()) != set(expected[0].selection.indices.tolist())

    def test_a_trial_opened_anew_is_not_told_what_it_said_itself(self, client: SelectorClient, trial: str) -> None:
        teach(client, f"{trial}-teacher", seed=7)
        client.open(trial, spec(SHARED))
        first = run(client, trial, SHARED, range(EPOCHS), seed=3)
        client.open(trial, spec(SHARED))
        assert_same(first, run(client, trial, SHARED, range(EPOCHS), seed=3))

    def test_a_validation_loss_is_part_of_the_state(self, client: SelectorClient, trial: str) -> None:
        client.open(trial, spec(PLANS["asp"]))
        assert client.state(trial)["loss"] is None
        client.rate(trial, 0.25)
        client.rate(trial, 0.125)
        assert client.state(trial)["loss"] == 0.125

    def test_refuses_epochs_out_of_order(self, client: SelectorClient, trial: str) -> None:
        client.open(trial, spec(PLANS["asp"]))
        for epoch in (-1, EPOCHS):
            with pytest.raises(SelectorError, match="not planned"):
                client.next(trial, epoch)
        run(client, trial, PLANS["asp"], range(3))
        with pytest.raises(SelectorError, match="after epoch 2"):
            client.next(trial, 1)

    def test_uses_no_global_random_numbers(self, client: SelectorClient, trial: str) -> None:
        before = np.random.get_state(legacy=False)  # noqa: NPY002  # read to see it was left alone
        client.open(trial, spec(PLANS["asp"]))
        run(client, trial, PLANS["asp"], range(EPOCHS))
        np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002
