"""The Ray client passes the suite of its in-process twin, and survives the death of its actor."""

from __future__ import annotations

import os
import pickle
import signal
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from raysubset.errors import SelectorError
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.service import SelectorService
from raysubset.proxy.shared import CAPACITY
from raysubset.proxy.stream import StreamSpec
from raysubset.selection.entries import ENTRIES
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.testing.clients import (
    EPOCHS,
    KNOWN,
    POOL_SIZE,
    ClientContract,
    assert_same,
    run,
    signals_for,
    spec,
)

N = 60_000  # large enough that its labels would not travel inside a message
GROUPS = np.arange(N) * 7 // N


@pytest.fixture(scope="module")
def contract_client(ray_cluster):
    """One actor for the whole suite: to choose by kernels it imports torch, which takes seconds."""
    import ray

    from raysubset.runtime.client import RaySelector, start_selector

    actor = start_selector("contract", POOL_SIZE)
    yield RaySelector(actor, KNOWN)
    ray.kill(actor)


@pytest.mark.ray
class TestOverRay(ClientContract):
    @pytest.fixture
    def client(self, contract_client):
        return contract_client


def plan_of(name: str) -> SubsetPlan:
    whole = name in ("full", "infobatch")
    return SubsetPlan(
        selector=name, ratio=1.0 if whole else 0.3, schedule="static", first_epoch="scheduled", select_every=2
    )


@pytest.mark.ray
def test_every_selector_of_the_catalogue_chooses_alike_in_process_and_through_the_actor(ray_cluster) -> None:
    import ray

    from raysubset.runtime.client import RaySelector, start_selector

    actor = start_selector("every-selector", POOL_SIZE)
    far, near = RaySelector(actor, KNOWN), SelectorService(KNOWN)
    for name in set(ENTRIES) - {"subselnet"}:  # which needs a fit
        plan = plan_of(name)
        far.open(name, spec(plan))
        near.open(name, spec(plan))
        assert_same(run(near, name, plan, range(EPOCHS)), run(far, name, plan, range(EPOCHS)))
    ray.kill(actor)


@pytest.mark.ray
@pytest.mark.parametrize("killed_at", [2, 4, 5])
def test_what_the_model_said_survives_the_death_of_the_selector(ray_cluster, killed_at: int) -> None:
    import ray

    from raysubset.runtime.client import RaySelector, start_selector

    plan = SubsetPlan(selector="craig", ratio=0.2, select_every=3, first_epoch="scheduled")
    near = SelectorService(KNOWN)
    near.open("t", spec(plan))
    expected = run(near, "t", plan, range(EPOCHS))
    actor = start_selector(f"mortal-craig/{killed_at}", POOL_SIZE)
    far = RaySelector(actor, KNOWN)
    far.open("t", spec(plan))
    served = run(far, "t", plan, range(killed_at))
    os.kill(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
    time.sleep(1.0)
    assert_same(expected, served + run(far, "t", plan, range(killed_at, EPOCHS)))
    ray.kill(actor)


def signals_of(epoch: int, rows: np.ndarray) -> EpochSignals:
    rng = np.random.default_rng(epoch)
    loss, entropy, gradient = rng.exponential(size=(3, N)).astype(np.float32)[:, rows]
    return EpochSignals(rows, loss, entropy, gradient, loss < 0.5)


def trained_subsets(client, epochs: int, disturb_at: int = -1, disturb=lambda: None) -> list[list[int]]:
    plan = SubsetPlan(metric="loss", ratio=0.2, first_epoch="full", select_every=3, per_class=True)
    client.open("t", StreamSpec(plan, epochs, seed=5))
    seen = []
    for epoch in range(epochs):
        if epoch == disturb_at:
            disturb()
        rows = client.next("t", epoch).selection.indices
        seen.append(rows.tolist())
        client.record("t", epoch, signals_of(epoch, rows))
    return seen


@pytest.mark.ray
@pytest.mark.parametrize("killed_at", [2, 5])
def test_subsets_go_on_when_the_selector_is_killed(ray_cluster, killed_at: int) -> None:
    import ray

    from raysubset.runtime.client import RaySelector, start_selector

    actor = start_selector(f"mortal/{killed_at}", N)
    client = RaySelector(actor, Context(N, GROUPS))

    def kill() -> None:
        if killed_at == 5:
            client.state("t")  # the replayed log then begins at a saved state, not at the beginning
        pid = ray.get(actor.__ray_call__.remote(lambda service: os.getpid()))
        os.kill(pid, signal.SIGKILL)

    expected = trained_subsets(SelectorService(Context(N, GROUPS)), epochs=8)
    assert trained_subsets(client, 8, killed_at, kill) == expected
    ray.kill(actor)


@pytest.mark.ray
def test_a_selector_that_is_gone_for_good_is_named(ray_cluster) -> None:
    import ray

    from raysubset.runtime.client import RaySelector, start_selector

    actor = start_selector("gone", N)
    client = RaySelector(actor)
    client.open("t", StreamSpec(SubsetPlan(), 4, 0))
    ray.kill(actor)
    time.sleep(0.2)
    with pytest.raises(SelectorError, match="did not come back"):
        client.next("t", 0)


# --- trials that share their memories

SHARING = SubsetPlan(metric="loss", ratio=0.3, first_epoch="shared", shared_weight="score")


class Mortal:
    """Answers like the handle of an actor that dies just before some of its calls and comes back empty."""

    def __init__(self, deaths: tuple[int, ...] = ()) -> None:
        self.deaths, self.calls, self.service = deaths, 0, SelectorService(Context(POOL_SIZE))

    def __getattr__(self, method: str) -> Any:
        return SimpleNamespace(remote=partial(self._call, method))

    def _call(self, method: str, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls in self.deaths:
            self.service = SelectorService(Context(POOL_SIZE))
        try:
            answer = getattr(self.service, method)(*pickle.loads(pickle.dumps(arguments)))
        except SelectorError as error:
            return error  # raised where somebody asks for the answer
        return pickle.loads(pickle.dumps(answer))


def client_of(actor: Mortal, **options: Any) -> Any:
    from raysubset.runtime.client import RaySelector

    class Near(RaySelector):
        @staticmethod
        def _get(reference: Any) -> Any:
            if isinstance(reference, Exception):
                raise reference
            return reference

    near = Near(actor, **options)
    near._backlog = SimpleNamespace(asked=_nothing, sent=_nothing, settle=_nothing)  # answers come at once here
    return near


def _nothing(*_: Any) -> None:
    pass


def one_after_the_other(client, trials: int = 3, epochs: int = 2, disturb=lambda trial: None) -> list[Any]:
    """A search with one trial at a time: each is told what the earlier ones left."""
    served = []
    for trial in range(trials):
        client.open(f"t{trial}", spec(SHARING, seed=trial))
        for epoch in range(epochs):
            served += run(client, f"t{trial}", SHARING, [epoch], seed=trial)
            if epoch == 1:
                disturb(trial)
                client.rate(f"t{trial}", 1.0 / (1 + trial))
        client.close(f"t{trial}")
    return served


@pytest.mark.slow
def test_a_search_that_shares_goes_on_wherever_the_selector_dies() -> None:
    """Once, before any of its calls."""
    expected = one_after_the_other(SelectorService(Context(POOL_SIZE)))
    alive = Mortal()
    assert_same(expected, one_after_the_other(client_of(alive)))
    assert [subset.metric for subset in expected[::2]] == ["random", "loss", "loss"]
    for death in range(1, alive.calls + 1):
        assert_same(expected, one_after_the_other(client_of(Mortal((death,)))))


def test_what_was_shared_outlives_the_selector_and_its_clients() -> None:
    service = SelectorService(Context(POOL_SIZE))
    one_after_the_other(service)
    kept = service.shared_state()
    service.open("new", spec(SHARING))
    expected = run(service, "new", SHARING, range(EPOCHS))
    for deaths in ((), (1,), (5,), (9,)):
        client = client_of(Mortal(deaths), shared=kept)
        client.open("new", spec(SHARING))
        assert_same(expected, run(client, "new", SHARING, range(EPOCHS)))


@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_a_restarted_selector_tells_a_trial_what_it_was_told_at_first(epochs: int) -> None:
    """Though another trial has closed since the opening, and is given back too."""
    served = []
    for dies in (False, True):
        actor = Mortal()
        client = client_of(actor)
        for number, trial in enumerate(("earlier", "t", "meanwhile")):
            client.open(trial, spec(SHARING))
            if trial != "t":
                client.record(trial, 0, signals_for(range(0, POOL_SIZE, 2), 0, seed=number))
                client.close(trial)
        begun = run(client, "t", SHARING, range(epochs))
        if dies:
            actor.service = SelectorService(Context(POOL_SIZE))
        served.append(begun + run(client, "t", SHARING, range(epochs, EPOCHS)))
    assert_same(*served)


def test_two_clients_give_back_what_each_of_them_knows() -> None:
    actor = Mortal()
    left, right = client_of(actor), client_of(actor)
    for number, client in enumerate((left, right, left, right)):
        client.open(f"t{number}", spec(SHARING))
        client.record(f"t{number}", 0, signals_for(range(POOL_SIZE), 0, seed=number))
        client.close(f"t{number}")
    before = actor.service.contributors()
    actor.service = SelectorService(Context(POOL_SIZE))
    left.open("new", spec(SHARING))
    assert actor.service.contributors() == {trial: before[trial] for trial in ("t0", "t2")}
    right.open("newer", spec(SHARING))
    assert actor.service.contributors() == before


def test_a_client_keeps_no_more_than_the_selector_does() -> None:
    actor = Mortal()
    near, other = client_of(actor), client_of(actor)
    for number in range(CAPACITY + 8):
        client = near if number < 20 else other
        client.open(f"t{number}", spec(SHARING))
        client.record(f"t{number}", 0, signals_for(range(POOL_SIZE), 0))
        client.close(f"t{number}")
    near.open("new", spec(SHARING))
    near.close("new")
    assert set(near._left) == {f"t{number}" for number in range(8, 20)}


@pytest.mark.ray
def test_what_trials_share_survives_the_death_of_the_selector(ray_cluster) -> None:
    import ray

    from raysubset.runtime.client import RaySelector, start_selector

    actor = start_selector("mortal-sharing", POOL_SIZE)
    client = RaySelector(actor)

    def kill(trial: int) -> None:
        if trial in (1, 2):
            os.kill(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
            time.sleep(1.0)

    expected = one_after_the_other(SelectorService(Context(POOL_SIZE)))
    assert_same(expected, one_after_the_other(client, disturb=kill))
    assert set(ray.get(actor.contributors.remote())) == {f"t{trial}" for trial in range(3)}
    client.open("t9", spec(SHARING))
    ray.kill(actor)
    time.sleep(0.2)
    client.close("t9")  # nothing to keep, nobody to tell
