"""How many selectors serve a session, where a trial finds its own, who gets a GPU; shards of a memory over Ray."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from raysubset.errors import OptionsError, SelectorError
from raysubset.models.catalog import build_model
from raysubset.proxy.distributed import local_memory
from raysubset.proxy.memory import EpochSignals
from raysubset.proxy.service import SelectorService
from raysubset.proxy.stream import StreamSpec
from raysubset.runtime import selectors as module
from raysubset.runtime.selectors import RoutedSelector, Selectors, gpu_gains, selectors_needed
from raysubset.seeds import generator
from raysubset.selection.plan import SubsetPlan
from raysubset.testing.clients import KNOWN, ClientContract, assert_same, run, spec

MILLION = 1_000_000
LOSS = SubsetPlan(metric="loss", ratio=0.3, first_epoch="scheduled")


class TestRouted(ClientContract):
    """Whatever the number of selectors: a trial meets the same one at each call."""

    @pytest.fixture
    def client(self) -> RoutedSelector:
        return RoutedSelector([SelectorService(KNOWN) for _ in range(3)])


@pytest.mark.parametrize(
    ("plan", "n", "concurrency", "needed"),
    [
        (LOSS, 50_000, 64, 1),
        (LOSS, MILLION - 1, 64, 1),
        (LOSS, MILLION, 64, 8),
        (LOSS, MILLION, 3, 3),
        (LOSS, MILLION, 1, 1),
        (SubsetPlan(selector="craig"), MILLION, 64, 8),
        (SubsetPlan(metric="loss", first_epoch="shared"), 10 * MILLION, 64, 1),  # they learn from each other there
        (SubsetPlan(selector="k-center"), 10 * MILLION, 64, 1),  # chosen once for all
    ],
)
def test_one_selector_serves_small_pools_and_trials_that_meet(
    plan: SubsetPlan, n: int, concurrency: int, needed: int
) -> None:
    assert selectors_needed(plan, n, concurrency) == needed


def test_trials_find_the_same_selector_in_every_process() -> None:
    """Python's own hash of a string changes from process to process; this one was written down once."""
    clients = RoutedSelector(list("abcd"))  # type: ignore[arg-type]
    assert "".join(clients.of(f"run/search/{i:05d}") for i in range(24)) == "dbdcdacccbcdcdbdcadaddcc"


def test_trials_are_shared_out_evenly() -> None:
    clients = RoutedSelector(list("abcdefgh"))  # type: ignore[arg-type]
    counts = np.unique([clients.of(f"run/search/{i:05d}") for i in range(8000)], return_counts=True)[1]
    assert len(counts) == 8
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_several_selectors_are_no_place_to_meet() -> None:
    with pytest.raises(OptionsError, match="2 selectors share these trials"):
        _ = Selectors(("one", "two")).only  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("selector", "n", "gains"),
    [
        ("craig", 200_000, True),
        ("gradmatch-per-class", 50_000, True),
        ("glister", 50_000, True),
        ("craig", 2_000, False),
        ("asp", 100_000_000, False),
        ("adaptive-random", 100_000_000, False),
        ("el2n", MILLION, False),
        ("k-center", MILLION, False),
        ("milo", MILLION, False),
        ("selective-backprop", MILLION, False),
    ],
)
def test_a_gpu_is_for_selectors_that_keep_a_trial_waiting(selector: str, n: int, gains: bool) -> None:
    model = build_model("lenet", num_classes=10, input_shape=(1, 28, 28), seed=0)
    plan = SubsetPlan(selector=selector, ratio=0.1, first_epoch="scheduled")
    assert gpu_gains(plan, model, n, epochs=10) == gains


def test_a_selector_that_does_not_say_what_it_costs_gets_no_gpu() -> None:
    class Mine:
        def select(self, context, k, rng):
            raise NotImplementedError

    model = build_model("lenet", num_classes=10, input_shape=(1, 28, 28), seed=0)
    assert not gpu_gains(SubsetPlan(selector=Mine()), model, MILLION, epochs=10)


# --- over Ray


@pytest.mark.ray
def test_several_selectors_serve_as_one_does(ray_cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(module, "SPREAD_FROM", 10)
    started = module.start_selectors("several", LOSS, KNOWN.pool_size, concurrency=2)
    try:
        assert len(started.actors) == 2
        client, alone = started.client(KNOWN), SelectorService(KNOWN)
        trials = [f"t{i}" for i in range(6)]
        for trial in trials:
            for each in (client, alone):
                each.open(trial, spec(LOSS))
            assert_same(run(alone, trial, LOSS, range(4)), run(client, trial, LOSS, range(4)))
        held = ray.get([actor.trials.remote() for actor in started.actors])
        assert sorted([*held[0], *held[1]]) == trials
        assert held[0]
        assert held[1]
        again = module.start_selectors("several", LOSS, KNOWN.pool_size, concurrency=2)
        assert ray.get(again.actors[1].trials.remote()) == held[1]
    finally:
        started.stop()


N = 300


def signals_of(epoch: int) -> EpochSignals:
    rows = generator(1, epoch).permutation(N)[:200]
    loss, entropy, gradient = generator(7, epoch).exponential(size=(3, 200)).astype(np.float32)
    return EpochSignals(rows, loss, entropy, gradient, loss < 0.5)


@pytest.mark.ray
@pytest.mark.slow
def test_a_memory_in_actors_draws_as_one_in_this_process(ray_cluster) -> None:
    """Also after one of the actors was killed: it says so, and takes its saved state."""
    import ray

    from raysubset.runtime.memory_shards import start_memory

    plan = replace(LOSS, memory="float16")
    near, (far, actors) = local_memory(N, 3, plan), start_memory(N, 3, plan)
    try:
        for epoch in range(3):
            assert far.draw("loss", 40, epoch).tolist() == near.draw("loss", 40, epoch).tolist()
            near.record(epoch, signals_of(epoch))
            far.record(epoch, signals_of(epoch))
        saved = far.state()
        os.kill(ray.get(actors.actors[1].__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
        time.sleep(0.5)
        with pytest.raises(SelectorError, match=r"rows 100\.\.199 remembers epoch -1"):
            far.draw("loss", 40, 5)
        far.restore(saved)
        assert far.draw("loss", 40, 5).tolist() == near.draw("loss", 40, 5).tolist()
        ray.kill(actors.actors[2])
        with pytest.raises(SelectorError, match="Shard 2 of 3"):
            far.draw("loss", 40, 6)
    finally:
        actors.stop()


@pytest.mark.ray
def test_plans_that_cannot_be_sharded_start_nothing(ray_cluster) -> None:
    from raysubset.runtime.memory_shards import start_memory

    with pytest.raises(OptionsError, match="per_class"):
        start_memory(N, 3, SubsetPlan(per_class=True))


def test_a_float16_plan_keeps_a_float16_memory_through_every_state() -> None:
    service = SelectorService(KNOWN)
    plan = replace(LOSS, memory="float16")
    service.open("t", StreamSpec(plan, 8, 0))
    run(service, "t", plan, range(3))
    state = service.state("t")
    assert state["memory"]["loss"].dtype == np.float16
    service.open("twin", StreamSpec(plan, 8, 0), state)
    assert service.state("twin")["memory"]["loss"].dtype == np.float16
    service.open("wide", StreamSpec(LOSS, 8, 0), state)  # its own plan decides
    assert service.state("wide")["memory"]["loss"].dtype == np.float32
    assert SubsetPlan().memory == "float32"
    with pytest.raises(OptionsError, match="memory='int8', need one of float32, float16"):
        SubsetPlan(memory="int8")  # type: ignore[arg-type]
