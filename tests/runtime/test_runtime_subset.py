"""Chosen data in a loop of the user's own, alone and inside Ray actors."""

from __future__ import annotations

import os
import time

import pytest
import torch

import raysubset as rs
from raysubset.errors import ModelError, SelectorError


def small_model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(784, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)
    )


def train(
    subset: rs.Subset, epochs: int, model: torch.nn.Module, stop: int | None = None
) -> list[tuple[int, str]]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    seen = []
    for epoch in subset.epochs(epochs):
        if epoch.number == stop:
            break
        for batch in epoch:
            optimizer.zero_grad()
            epoch.loss(model(batch.inputs), batch).backward()
            optimizer.step()
        seen.append((len(epoch), epoch.metric))
    return seen


def test_the_loop_learns_and_the_subsets_shrink(digits) -> None:
    model = small_model()
    seen = train(rs.Subset(digits, rs.SubsetPlan(ratio=0.5, scale="rank"), batch_size=16), 20, model)
    assert seen[0] == (600, "full")
    assert [size for size, _ in seen[1:]] == sorted((size for size, _ in seen[1:]), reverse=True)
    with torch.no_grad():
        split = digits.test
        logits = model(
            rs.Subset(digits, rs.SubsetPlan()).transform.evaluate(torch.from_numpy(split.inputs.copy()))
        )
        assert (logits.argmax(1).numpy() == split.labels).mean() > 0.6


def test_a_stopped_loop_goes_on_with_the_same_subsets(digits) -> None:
    plan = rs.SubsetPlan(ratio=0.4, metric="loss")
    whole = train(rs.Subset(digits, plan, seed=3), 6, small_model())
    model = small_model()
    first = rs.Subset(digits, plan, seed=3)
    begun = train(first, 6, model, stop=3)
    second = rs.Subset(digits, plan, seed=3)
    second.restore(first.state())
    assert begun + train(second, 6, model) == whole


def losses_of(epoch: rs.Epoch, model: torch.nn.Module) -> None:
    for batch in epoch:
        epoch.loss(model(batch.inputs), batch).backward()


def test_a_state_taken_after_a_restore_is_that_of_now(digits) -> None:
    plan, model = rs.SubsetPlan(ratio=0.4, metric="loss"), small_model()
    first = rs.Subset(digits, plan, seed=3)
    train(first, 6, model, stop=2)
    second = rs.Subset(digits, plan, seed=3)
    second.restore(first.state())
    for epoch in second.epochs(6):
        kept = second.state()
        assert kept["epoch"] == epoch.number
        assert kept["stream"]["recorded"] == epoch.number - 1
        losses_of(epoch, model)


def test_an_epoch_whose_batches_were_all_taken_counts_when_the_iterator_is_closed(digits) -> None:
    subset, model = rs.Subset(digits, rs.SubsetPlan(metric="loss", ratio=0.4)), small_model()
    epochs = subset.epochs(3)
    losses_of(next(epochs), model)
    second = next(epochs)
    next(iter(second))
    epochs.close()
    state = subset.state()
    assert (state["epoch"], state["stream"]["recorded"]) == (1, 0), "the second was broken off"
    again = rs.Subset(digits, rs.SubsetPlan(metric="loss", ratio=0.4))
    again.restore(state)
    epochs = again.epochs(3)
    losses_of(next(epochs), model)
    epochs.close()
    assert (again.state()["epoch"], again.state()["stream"]["recorded"]) == (2, 1)


def test_all_epochs_are_served_once(digits) -> None:
    subset = rs.Subset(digits, rs.SubsetPlan(selector="adaptive-random"))
    assert len(list(subset.epochs(3))) == 3
    with pytest.raises(SelectorError, match="another one for another training"):
        next(subset.epochs(3))


def test_a_selector_that_takes_a_step_is_told_how_far(digits) -> None:
    plan = rs.SubsetPlan(selector="glister", ratio=0.3, schedule="static", warm_start=0.0)
    model = small_model()
    assert len([losses_of(e, model) for e in rs.Subset(digits, plan).epochs(3, model, learning_rate=0.1)]) == 3


def test_the_gradient_metric_is_that_of_the_hook(digits) -> None:
    from raysubset.proxy.signals import SignalRecorder, features_behind

    model = small_model()
    recorder = SignalRecorder(model)
    batch = torch.randn(4, 784)
    logits = model(batch)
    assert torch.equal(features_behind(logits), recorder._features)
    no_bias = torch.nn.Linear(5, 3, bias=False)
    inputs = torch.randn(2, 5)
    assert torch.equal(features_behind(no_bias(inputs)), inputs)


@pytest.mark.parametrize("spoil", [lambda z: z.softmax(1), lambda z: z * 2, lambda z: z.detach()])
def test_logits_that_are_not_a_linear_layer_s_are_refused(digits, spoil) -> None:
    model = small_model()
    epoch = next(iter(rs.Subset(digits, rs.SubsetPlan()).epochs(3)))
    batch = next(iter(epoch))
    with pytest.raises(ModelError, match="last nn.Linear"):
        epoch.loss(spoil(model(batch.inputs)), batch)


def test_a_loop_that_gives_no_losses_is_told(digits) -> None:
    epochs = rs.Subset(digits, rs.SubsetPlan()).epochs(3)
    next(epochs)
    with pytest.raises(SelectorError, match=r"call epoch\.loss"):
        next(epochs)


def test_plans_without_importance_ask_for_no_losses(digits) -> None:
    assert len(list(rs.Subset(digits, rs.SubsetPlan(selector="adaptive-random")).epochs(3))) == 3


@pytest.mark.ray
@pytest.mark.slow
def test_loops_in_ray_actors_share_one_selector(digits, ray_cluster) -> None:
    import sys

    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

    @ray.remote(num_cpus=1)
    class Worker:
        def work(self, data: rs.Dataset) -> tuple[list[tuple[int, str]], str]:
            subset = rs.Subset(data, rs.SubsetPlan(ratio=0.4))
            return train(subset, 4, small_model()), type(subset._client).__name__

    workers = [Worker.remote() for _ in range(2)]
    (first, kind), (second, _) = ray.get([worker.work.remote(digits) for worker in workers])
    assert kind == "RaySelector"
    assert first == second == train(rs.Subset(digits, rs.SubsetPlan(ratio=0.4)), 4, small_model())
    selector = ray.get_actor(f"raysubset/{digits.fingerprint()}")
    assert ray.get(selector.trials.remote()) == ()
    ray.kill(selector)


@pytest.mark.ray
def test_the_selector_outlives_the_trial_that_started_it(digits, ray_cluster) -> None:
    """Tune removes a trial's placement group with the trial, and what was captured in it."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    from raysubset.runtime.client import start_selector

    @ray.remote(num_cpus=1)
    class Trial:
        def start(self) -> None:
            start_selector("outlives", 10, detached=True)

    group = placement_group([{"CPU": 1}])
    captured = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)
    trial = Trial.options(scheduling_strategy=captured).remote()
    ray.get(trial.start.remote())
    selector = ray.get_actor("outlives")
    process = ray.get(selector.__ray_call__.remote(lambda _: os.getpid()))
    ray.kill(trial)
    remove_placement_group(group)
    time.sleep(1.0)  # a captured actor is gone after some milliseconds
    assert ray.get(selector.__ray_call__.remote(lambda _: os.getpid()), timeout=10) == process
    ray.kill(selector)
