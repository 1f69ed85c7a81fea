"""The Ray client passes the suite of its in-process twin, and survives the death of its actor."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.service import SelectorService
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
    for name in ENTRIES:
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

    from raysubset.errors import SelectorError
    from raysubset.runtime.client import RaySelector, start_selector

    actor = start_selector("gone", N)
    client = RaySelector(actor)
    client.open("t", StreamSpec(SubsetPlan(), 4, 0))
    ray.kill(actor)
    time.sleep(0.2)
    with pytest.raises(SelectorError, match="did not come back"):
        client.next("t", 0)
