"""The loop: bit-equal to the ordinary one, deterministic, resumable, and loud when the loss breaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from raysubset.errors import DataError, ModelError, NonFiniteLossError
from raysubset.models.catalog import build_model
from raysubset.training.checkpoint import load_checkpoint, save_checkpoint
from raysubset.training.loop import train_epoch
from raysubset.training.optimizer import build_optimizer
from raysubset.training.recipe import Recipe
from raysubset.training.schedule import epoch_progress
from raysubset.training.tally import EpochResult, LossTally
from raysubset.training.team import ALONE

if TYPE_CHECKING:
    from conftest import Batch, MakeBatches


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


def lenet(seed: int = 0, shape: tuple[int, ...] = (1, 16, 16)) -> nn.Module:
    return build_model("lenet", num_classes=10, input_shape=shape, seed=seed)


def dropout_net(seed: int = 0) -> nn.Module:
    def build(classes: int, _: tuple[int, ...]) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(),
            nn.Linear(4 * 14 * 14, classes),
        )

    return build_model(build, num_classes=10, input_shape=(1, 16, 16), seed=seed)


def train(model: nn.Module, batches: list[Batch], recipe: Recipe, **options: Any) -> EpochResult:
    optimizer = options.pop("optimizer", None) or build_optimizer(model, recipe)
    options = {"epoch": 0, "progress": lambda _: 0.0, "rng_seed": 1} | options
    return train_epoch(model, batches, optimizer, recipe, **options)


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "rmsprop"])
@pytest.mark.parametrize(("name", "shape"), [("lenet", (1, 28, 28)), ("resnet8", (3, 16, 16))])
def test_weights_equal_those_of_an_ordinary_loop_bit_for_bit(
    name: str, shape: tuple[int, ...], optimizer: str, smoothing: float, make_batches: MakeBatches
) -> None:
    batches = make_batches(50, 50, 50, 37, shape=shape)  # sizes where 1 / B is rounded
    ours = build_model(name, num_classes=10, input_shape=shape, seed=0)
    theirs = build_model(name, num_classes=10, input_shape=shape, seed=0)
    lr = 0.05 if optimizer in ("sgd", "nesterov") else 1e-3
    recipe = Recipe(
        optimizer="sgd" if optimizer == "nesterov" else optimizer,
        nesterov=optimizer == "nesterov",
        lr=lr,
        schedule="constant",
        label_smoothing=smoothing,
    )
    reference = {
        "sgd": lambda p: torch.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=5e-4),
        "nesterov": lambda p: torch.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=5e-4, nesterov=True),
        "adam": lambda p: torch.optim.Adam(p, lr=lr, weight_decay=5e-4),
        "rmsprop": lambda p: torch.optim.RMSprop(p, lr=lr, momentum=0.9, weight_decay=5e-4),
    }[optimizer](theirs.parameters())
    theirs.train()
    for batch in batches:
        reference.zero_grad()
        cross_entropy(theirs(batch.inputs), batch.targets, label_smoothing=smoothing).backward()
        reference.step()
    start = weights(ours)
    train(ours, batches, recipe)
    assert_equal(weights(ours), weights(theirs))
    assert not torch.equal(
        start["stem.0.weight" if name == "resnet8" else "features.0.weight"], next(ours.parameters())
    )


def test_weights_scale_what_a_sample_counts(make_batches: MakeBatches) -> None:
    """Weight 2 on half of a batch and 0 on the rest is training on that half."""
    (batch,), recipe = make_batches(12), Recipe(lr=0.1, schedule="constant")
    weight = torch.tensor([2.0, 0.0]).repeat(6)
    half = replace(
        batch, inputs=batch.inputs[::2], targets=batch.targets[::2], index=batch.index[::2], weight=torch.ones(6)
    )
    weighted, alone = lenet(), lenet()
    train(weighted, [replace(batch, weight=weight)], recipe)
    train(alone, [half], recipe)
    for left, right in zip(weighted.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)  # float32 sums in another order
    assert not torch.equal(next(alone.parameters()), next(lenet().parameters()))


def test_result_counts_samples_and_averages_their_losses(make_batches: MakeBatches) -> None:
    batches = make_batches(8, 8, 3)
    model, recipe = lenet(), Recipe(lr=1e-12, momentum=0.0, weight_decay=0.0, schedule="constant")  # stands still
    with torch.no_grad():
        expected = sum(cross_entropy(model(b.inputs), b.targets, reduction="sum").item() for b in batches) / 19
    result = train(model, [replace(b, weight=3.0 * b.weight) for b in batches], recipe)
    assert result.samples == 19
    assert result.mean_loss == pytest.approx(expected, rel=1e-5)


def test_learning_rate_follows_progress_before_every_step(make_batches: MakeBatches) -> None:
    recipe = Recipe(lr=1.0, epochs=2, schedule="multistep", milestones=(0.5, 0.75), momentum=0.0, weight_decay=0.0)
    model, rates = nn.Sequential(nn.Flatten(), nn.Linear(256, 10)), []
    optimizer = build_optimizer(model, recipe)
    optimizer.register_step_pre_hook(lambda opt, *_: rates.append(opt.param_groups[0]["lr"]))
    for epoch in range(2):
        progress = epoch_progress(recipe, epoch=epoch, consumed=epoch * 16, planned=32)
        train(model, make_batches(8, 4, 4), recipe, optimizer=optimizer, epoch=epoch, progress=progress)
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.01, 0.01])


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[np.ndarray, torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def observe(
        self, index: np.ndarray, logits: torch.Tensor, targets: torch.Tensor, losses: torch.Tensor
    ) -> None:
        self.seen.append((index, logits, targets, losses))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_observer_sees_each_batch_once_detached(smoothing: float, make_batches: MakeBatches) -> None:
    batches, recorder, model = make_batches(8, 5), Recorder(), lenet()
    with torch.no_grad():
        first = model(batches[0].inputs)
    train(model, batches, Recipe(label_smoothing=smoothing), observer=recorder)
    assert [index.tolist() for index, *_ in recorder.seen] == [list(range(8)), list(range(8, 13))]
    _, logits, targets, losses = recorder.seen[0]
    torch.testing.assert_close(logits, first)
    assert torch.equal(targets, batches[0].targets)
    torch.testing.assert_close(losses, cross_entropy(first, targets, reduction="none", label_smoothing=smoothing))
    assert not logits.requires_grad
    assert not losses.requires_grad


def test_an_observer_changes_nothing(make_batches: MakeBatches) -> None:
    watched, alone = dropout_net(), dropout_net()
    train(watched, make_batches(8, 5), Recipe(), observer=Recorder())
    train(alone, make_batches(8, 5), Recipe())
    assert_equal(weights(watched), weights(alone))


def test_another_loss_replaces_cross_entropy(make_batches: MakeBatches) -> None:
    recorder = Recorder()
    train(lenet(), make_batches(8), Recipe(), observer=recorder, loss=lambda z, _: z.square().sum(dim=1))
    _, logits, _, losses = recorder.seen[0]
    torch.testing.assert_close(losses, logits.square().sum(dim=1))
    with pytest.raises(ModelError, match="one value a sample"):
        train(lenet(), make_batches(8), Recipe(), loss=cross_entropy)


def test_dropout_draws_from_the_seed_alone(make_batches: MakeBatches) -> None:
    trained = []
    before = torch.get_rng_state()
    for rng_seed, noise in ((1, 0), (1, 99), (2, 0)):
        with torch.random.fork_rng():
            torch.manual_seed(noise)
            model = dropout_net()
            train(model, make_batches(8, 5), Recipe(), rng_seed=rng_seed)
        trained.append(weights(model))
    assert_equal(trained[0], trained[1])
    assert not torch.equal(trained[0]["5.weight"], trained[2]["5.weight"])
    assert torch.equal(torch.get_rng_state(), before)


def test_global_generator_is_restored_after_a_failure(make_batches: MakeBatches) -> None:
    before = torch.get_rng_state()
    broken = [replace(batch, inputs=batch.inputs * float("nan")) for batch in make_batches(4)]
    with pytest.raises(NonFiniteLossError):
        train(dropout_net(), broken, Recipe())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_resumed_training_equals_uninterrupted_bit_for_bit(
    optimizer: str, tmp_path: Path, make_batches: MakeBatches
) -> None:
    recipe = Recipe(epochs=2, optimizer=optimizer, lr=1e-3)

    def epoch_of(model: nn.Module, opt: torch.optim.Optimizer, epoch: int) -> None:
        progress = epoch_progress(recipe, epoch=epoch, consumed=21 * epoch, planned=42)
        train_epoch(
            model, make_batches(8, 8, 5, seed=epoch), opt, recipe, epoch=epoch, progress=progress, rng_seed=epoch
        )

    straight = dropout_net()
    straight_optimizer = build_optimizer(straight, recipe)
    for epoch in range(2):
        epoch_of(straight, straight_optimizer, epoch)

    paused = dropout_net()
    paused_optimizer = build_optimizer(paused, recipe)
    epoch_of(paused, paused_optimizer, 0)
    save_checkpoint(
        tmp_path, {"model": paused.state_dict(), "optimizer": paused_optimizer.state_dict(), "epoch": 1}
    )

    resumed = dropout_net(seed=123)
    resumed_optimizer = build_optimizer(resumed, recipe)
    state = load_checkpoint(tmp_path)
    resumed.load_state_dict(state["model"])
    resumed_optimizer.load_state_dict(state["optimizer"])
    epoch_of(resumed, resumed_optimizer, state["epoch"])
    assert_equal(weights(resumed), weights(straight))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_loss_names_epoch_batch_and_rate_and_spares_the_weights(
    value: float, make_batches: MakeBatches
) -> None:
    batches, model, recorder = make_batches(4, 4, 4), lenet(), Recorder()
    batches[1].inputs[2, 0, 3, 3] = value
    with pytest.raises(NonFiniteLossError, match=r"in epoch 7, batch 1, at lr=0\.025"):
        train(model, batches, Recipe(lr=0.025), observer=recorder, epoch=7)
    assert len(recorder.seen) == 1
    assert all(p.isfinite().all() for p in model.parameters())


def test_a_late_look_finds_the_first_bad_batch() -> None:
    """On an accelerator losses are read 64 at a time: nothing may slip through, also at the end."""
    for bad in (0, 2, 3, 4):
        tally = LossTally(epoch=3, every=3, team=ALONE)

        def run(tally: LossTally = tally, bad: int = bad) -> EpochResult:
            for batch in range(5):
                tally.add(torch.full((2,), float("inf") if batch >= bad else 1.0), lr=0.1 * (batch + 1), part=None)
            return tally.result()

        with pytest.raises(NonFiniteLossError, match=rf"epoch 3, batch {bad}, at lr=0\.{bad + 1}"):
            run()
    tally = LossTally(epoch=0, every=3, team=ALONE)
    for batch in range(5):
        tally.add(torch.full((2,), float(batch)), lr=0.1, part=None)
    assert tally.result() == EpochResult(samples=10, mean_loss=2.0)


def test_says_that_there_was_no_batch() -> None:
    with pytest.raises(DataError, match="Epoch 4 had no batch"):
        train(lenet(), [], Recipe(), epoch=4)


def test_trains_in_training_mode(make_batches: MakeBatches) -> None:
    model = dropout_net().eval()
    train(model, make_batches(4), Recipe())
    assert all(module.training for module in model.modules())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_precision_and_memory_format_change_rounding_only(
    precision: str, channels_last: bool, make_batches: MakeBatches
) -> None:
    batches, recorder = make_batches(16, 16, shape=(3, 16, 16)), Recorder()
    recipe = Recipe(lr=0.01, precision=precision, channels_last=channels_last)
    models = [build_model("resnet8", num_classes=10, input_shape=(3, 16, 16), seed=0) for _ in range(2)]
    result = train(models[0], batches, recipe, observer=recorder)
    plain = train(models[1], batches, Recipe(lr=0.01))
    # bfloat16 keeps 8 bits: measured 4e-3 relative on the mean loss of this net
    assert result.mean_loss == pytest.approx(plain.mean_loss, rel=2e-2 if precision == "bfloat16" else 1e-4)
    assert all(p.dtype == torch.float32 for p in models[0].parameters())
    assert recorder.seen[0][1].dtype == torch.float32
    convolution = models[0].blocks[0].residual[0].weight
    assert convolution.is_contiguous(memory_format=torch.channels_last) == channels_last


def test_channels_last_leaves_vectors_alone(make_batches: MakeBatches) -> None:
    model = build_model("mlp", num_classes=10, input_shape=(6,), seed=0)
    assert train(model, make_batches(4, shape=(6,)), Recipe(channels_last=True)).samples == 4


def test_loss_falls_on_a_learnable_task(make_batches: MakeBatches) -> None:
    (batch,) = make_batches(64, shape=(6,))
    learnable = replace(batch, targets=batch.inputs.argmax(dim=1))
    model, recipe = (
        build_model("mlp", num_classes=10, input_shape=(6,), seed=0),
        Recipe(lr=0.1, schedule="constant"),
    )
    optimizer = build_optimizer(model, recipe)
    losses = [train(model, [learnable], recipe, optimizer=optimizer).mean_loss for _ in range(40)]
    assert losses[-1] < 0.2 * losses[0]


def test_optimizer_takes_trainable_parameters_only() -> None:
    model = lenet()
    for parameter in model.features.parameters():
        parameter.requires_grad_(False)
    (group,) = build_optimizer(model, Recipe()).param_groups
    assert len(group["params"]) == 6
    with pytest.raises(ModelError, match="ReLU has no parameter that requires a gradient"):
        build_optimizer(nn.ReLU(), Recipe())


def test_momentum_is_beta_one_of_adam() -> None:
    (group,) = build_optimizer(
        lenet(), Recipe(optimizer="adam", momentum=0.8, lr=0.01, weight_decay=0.1)
    ).param_groups
    assert (group["betas"], group["lr"], group["weight_decay"]) == ((0.8, 0.999), 0.01, 0.1)


def test_long_gradients_are_shortened_and_short_ones_left(make_batches: MakeBatches) -> None:
    """One plain SGD step moves the weights by lr times the gradient, of length at most the clip."""
    moves = {}
    batches = make_batches(4, shape=(1, 16, 16))
    for clip in (0.0, 1e-3, 1e3):
        model = build_model("mlp", num_classes=10, input_shape=(1, 16, 16), seed=0)
        before = torch.cat([value.flatten().clone() for value in model.parameters()])
        recipe = Recipe(batch_size=4, lr=0.5, momentum=0.0, weight_decay=0.0, gradient_clip=clip)
        train(model, batches, recipe)
        moves[clip] = torch.cat([value.flatten() for value in model.parameters()]).detach() - before.detach()
    assert moves[1e-3].norm().item() == pytest.approx(0.5e-3, rel=1e-3)
    torch.testing.assert_close(moves[1e3], moves[0.0])
    direction = torch.nn.functional.cosine_similarity(moves[1e-3], moves[0.0], dim=0)
    assert direction.item() == pytest.approx(1.0, abs=1e-5)
