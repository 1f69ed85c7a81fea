"""A trial trains as plain PyTorch does, and goes on from any epoch as if it had never stopped."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from raysubset.data.batches import ArraySource
from raysubset.data.shard import Shard
from raysubset.data.transform import Transform
from raysubset.errors import NonFiniteLossError
from raysubset.hpo.pairing import TrialSeeds
from raysubset.models.catalog import build_model
from raysubset.proxy.service import SelectorService
from raysubset.proxy.stream import handed_on
from raysubset.runtime.start import Start, Stretch
from raysubset.runtime.trial import Trial, TrialSpec
from raysubset.seeds import generator
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.training.checkpoint import load_checkpoint, save_checkpoint
from raysubset.training.recipe import Recipe

SEEDS = TrialSeeds(subset=11, init=12)
RECIPE = Recipe(
    epochs=3, batch_size=48, lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True, schedule="constant"
)


def make_trial(
    digits,
    recipe: Recipe = RECIPE,
    plan: SubsetPlan | None = None,
    model="lenet",
    client=None,
    start: Start | None = None,
) -> Trial:
    split = digits.train
    plan = plan or SubsetPlan(ratio=0.3, metric="loss", first_epoch="full")
    spec = TrialSpec("t", model, recipe, plan, SEEDS, digits.num_classes)
    client = client or SelectorService(Context(len(split), split.labels))
    return Trial(spec, ArraySource(split), ArraySource(digits.test), Transform.fit(split.inputs), client, start)


def test_the_workers_of_a_team_drop_other_units(digits, monkeypatch) -> None:
    told = []

    def train_epoch(*_, rng_seed: int, **__) -> None:
        told.append(rng_seed)
        raise ZeroDivisionError

    monkeypatch.setattr("raysubset.runtime.trial.train_epoch", train_epoch)
    for rank in (None, 0, 1):
        trial = make_trial(digits, plan=SubsetPlan(selector="adaptive-random"), model="mlp")
        if rank is not None:
            trial._team = SimpleNamespace(shard=Shard(rank, 2), size=2)
        with pytest.raises(ZeroDivisionError):
            trial.run_epoch()
    assert told[0] == told[1] != told[2]


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("lenet", {}),
        pytest.param("lenet", {"optimizer": "adam", "lr": 1e-3, "nesterov": False}, marks=pytest.mark.slow),
        pytest.param("lenet", {"label_smoothing": 0.1, "batch_size": 50}, marks=pytest.mark.slow),
        pytest.param("resnet8", {}, marks=pytest.mark.slow),
    ],
)
def test_ratio_one_is_ordinary_training_bit_for_bit(digits, model: str, changes: dict) -> None:
    recipe = replace(RECIPE, **changes)
    plan = SubsetPlan(selector="asp", ratio=1.0, schedule="static")
    trial = make_trial(digits, recipe, plan, model)

    plain = build_model(model, num_classes=10, input_shape=digits.input_shape, seed=SEEDS.init)
    if recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(plain.parameters(), lr=recipe.lr, betas=(0.9, 0.999), weight_decay=1e-4)
    else:
        optimizer = torch.optim.SGD(plain.parameters(), recipe.lr, 0.9, weight_decay=1e-4, nesterov=True)
    images = Transform.fit(digits.train.inputs).evaluate(torch.from_numpy(digits.train.inputs.copy()))
    labels = torch.from_numpy(digits.train.labels.copy())
    for epoch in range(recipe.epochs):
        plain.train()
        for rows in torch.from_numpy(generator(SEEDS.subset, epoch, "order").permutation(len(labels))).split(
            recipe.batch_size
        ):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                plain(images[rows]), labels[rows], label_smoothing=recipe.label_smoothing
            )
            loss.backward()
            optimizer.step()
        trial.run_epoch()
    for ours, theirs in zip(weights(trial.model), weights(plain), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("metric", "stop"),
    [
        ("mixture", 2),
        *(pytest.param(m, s, marks=pytest.mark.slow) for m in ("loss", "prediction") for s in (1, 4)),
    ],
)
def test_resuming_at_any_epoch_changes_nothing(digits, tmp_path, metric: str, stop: int) -> None:
    recipe = replace(RECIPE, epochs=5, schedule="cosine", flip=0.5, crop_padding=2)
    plan = SubsetPlan(ratio=0.3, metric=metric, select_every=2, first_epoch="scheduled")
    whole = make_trial(digits, recipe, plan)
    expected = [whole.run_epoch() for _ in range(5)]

    first = make_trial(digits, recipe, plan)
    for _ in range(stop):
        first.run_epoch()
    save_checkpoint(tmp_path, first.state())
    resumed = make_trial(digits, recipe, plan)
    resumed.restore(load_checkpoint(tmp_path))
    again = [resumed.run_epoch() for _ in range(5 - stop)]

    assert [(r.samples_consumed, r.metric_used, r.train_loss) for r in again] == [
        (r.samples_consumed, r.metric_used, r.train_loss) for r in expected[stop:]
    ]
    for ours, theirs in zip(weights(resumed.model), weights(whole.model), strict=True):
        assert torch.equal(ours, theirs)


def test_samples_are_counted_as_planned(digits) -> None:
    trial = make_trial(digits)
    planned = trial.spec.plan.timetable(len(digits.train), RECIPE.epochs).sizes
    reports = [trial.run_epoch() for _ in range(RECIPE.epochs)]
    assert [r.samples_consumed for r in reports] == np.cumsum(planned).tolist()
    assert [r.ratio for r in reports] == (planned / len(digits.train)).tolist()
    assert trial.done


def test_a_diverged_epoch_is_paid_for_and_not_remembered(digits) -> None:
    split = digits.train
    service = SelectorService(Context(len(split), split.labels))
    trial = make_trial(
        digits, replace(RECIPE, lr=0.02, epochs=4), SubsetPlan(metric="loss", ratio=0.5), client=service
    )
    trial.run_epoch()
    before = service.state("t")["memory"]
    with torch.no_grad():
        next(trial.model.parameters()).fill_(float("inf"))
    with pytest.raises(NonFiniteLossError):
        trial.run_epoch()
    after = service.state("t")["memory"]
    assert trial.samples_consumed > len(split)
    assert (before["loss"] == after["loss"]).all()
    assert np.isfinite(after["gradient"]).all()


def test_plans_without_importance_need_no_last_linear_layer(digits) -> None:
    def convolutional(num_classes: int, input_shape: tuple[int, ...]) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, num_classes, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        )

    from raysubset.errors import ModelError

    make_trial(digits, plan=SubsetPlan(selector="adaptive-random"), model=convolutional).run_epoch()
    with pytest.raises(ModelError, match="no nn.Linear"):
        make_trial(digits, model=convolutional)


@pytest.mark.ray
def test_the_ray_client_gives_the_same_training(digits, ray_cluster) -> None:
    import ray

    from raysubset.runtime.client import RaySelector, start_selector

    actor = start_selector("trial-twin", len(digits.train))
    near, far = make_trial(digits), make_trial(digits, client=RaySelector(actor))
    for _ in range(RECIPE.epochs):
        assert near.run_epoch().train_loss == far.run_epoch().train_loss
    far.close()
    ray.kill(actor)


@pytest.mark.parametrize(
    ("selector", "options", "named", "charged"),
    [
        ("k-center", {"evidence": "model", "select_every": 1, "first_epoch": "scheduled"}, "diverged", 200),
        ("selective-backprop", {"schedule": "static", "first_epoch": "full"}, "candidate row", 200 + 120),
    ],
)
def test_a_model_that_diverged_after_its_last_loss_is_charged_and_named(
    selector, options, named, charged, digits
) -> None:
    """A look at 600 rows costs a third of them; chosen inside batches, a fifth was to be trained on."""
    trial = make_trial(digits, plan=SubsetPlan(selector=selector, ratio=0.2, **options), model="mlp")
    trial.run_epoch()
    spent = trial.samples_consumed
    with torch.no_grad():
        next(trial.model.parameters()).fill_(float("inf"))
    with pytest.raises(NonFiniteLossError, match=named):
        trial.run_epoch()
    assert trial.samples_consumed == spent + charged


def test_a_trial_begins_with_what_it_is_given(digits) -> None:
    first = make_trial(digits, model="mlp")
    first.run_epoch()
    end = first.state()
    start = Start(end["model"], end["optimizer"], handed_on(end["stream"]))
    second = make_trial(digits, model="mlp", start=start).state()
    assert all(torch.equal(end["model"][name], weight) for name, weight in second["model"].items())
    momentum, theirs = (state["optimizer"]["state"][0]["momentum_buffer"] for state in (second, end))
    assert torch.equal(momentum, theirs)
    assert (second["stream"]["memory"]["loss"] == end["stream"]["memory"]["loss"]).all()
    assert (second["epoch"], second["samples_consumed"], second["stream"]["recorded"]) == (0, 0, -1)
    assert make_trial(digits, model="mlp", start=Start()).state()["optimizer"]["state"] == {}


@pytest.mark.parametrize(("unit", "begin", "end"), [("samples", 0.25, 0.75), ("epochs", 0.4, 0.6)])
def test_a_stretch_follows_the_schedule_of_the_longer_training(digits, unit: str, begin, end) -> None:
    """Half of 2,400 samples after a quarter of them, two of ten epochs after four; a drop at every hundredth."""
    recipe = replace(
        RECIPE, epochs=2, batch_size=600, schedule="step", step_size=0.01, gamma=0.9, schedule_unit=unit
    )
    stretch = Stretch(epochs_before=4, samples_before=600, epochs=10, samples=2400)
    trial = make_trial(digits, recipe, SubsetPlan.full(), "mlp", start=Start(stretch=stretch))
    for epoch in range(2):
        trial.run_epoch()
        rate = trial.state()["optimizer"]["param_groups"][0]["lr"]
        drops = round(np.log(rate / recipe.lr) / np.log(recipe.gamma))
        assert drops / 100 == pytest.approx(begin + epoch * (end - begin) / 2)
