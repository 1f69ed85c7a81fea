"""What a search does when the user says nothing: sized by the device and the data."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import torch

from raysubset.data.dataset import Dataset
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.space import Domain, choice, loguniform, uniform
from raysubset.models.catalog import ModelBuilder, build_model
from raysubset.training.loss import weighted_cross_entropy


@dataclass(frozen=True, slots=True)
class Preset:
    """Model, epochs and trials for a device and a data set."""

    model: str
    epochs: int
    trials: int
    batch_sizes: tuple[int, ...]


def preset_for(data: Dataset, smoke: bool = False) -> Preset:
    """Choose a preset: the papers' sizes on a GPU, minutes on a CPU, seconds for a smoke run."""
    shape, gpu = data.input_shape, torch.cuda.is_available()
    if len(shape) != 3 or min(shape[1:]) < 16:
        model = "mlp"
    elif shape[0] == 1:
        model = "lenet"
    else:
        model = "resnet18" if gpu else "resnet8"
    if smoke:
        return Preset(model, epochs=3, trials=3, batch_sizes=(32, 64))
    small = len(data.train) < 10_000
    batch_sizes = (16, 32, 64) if small else (64, 128, 256)
    if gpu:
        return Preset(model, epochs=100, trials=100, batch_sizes=batch_sizes)
    return Preset(model, epochs=27 if small else 18, trials=16, batch_sizes=batch_sizes)


def default_space(batch_sizes: tuple[int, ...]) -> dict[str, Domain]:
    """Return the ResNet space of Hyper-Tune, less the step decay that a cosine schedule has no use for."""
    return {
        "lr": loguniform(1e-3, 1e-1),
        "momentum": uniform(0.5, 0.99),
        "nesterov": choice([False, True]),
        "batch_size": choice(batch_sizes),
        "weight_decay": loguniform(1e-5, 1e-2),
    }


def expected_samples(rungs: Rungs, trials: int, eta: int) -> float:
    """Return the samples a halving search is expected to consume: 1/eta of the trials pass each rung."""
    total, previous, alive = 0.0, 0.0, float(trials)
    for level in rungs.levels:
        total += alive * (level - previous)
        previous, alive = level, max(alive / eta, 1.0)
    return total


def seconds_per_sample(
    model: str | ModelBuilder, input_shape: tuple[int, ...], num_classes: int, batch_size: int
) -> float:
    """Time a few training steps of the model on random input, one thread on the CPU; costs about a second.

    A prediction, not a measurement: it leaves out data, validation and the other processes of the machine.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = build_model(model, num_classes=num_classes, input_shape=input_shape, seed=0).to(device)
        inputs = torch.zeros(batch_size, *input_shape, device=device)
        targets = torch.zeros(batch_size, dtype=torch.int64, device=device)
        steps = 0
        for warm in (True, False):
            started = perf_counter()
            while perf_counter() - started < (0.2 if warm else 0.6):
                loss, _ = weighted_cross_entropy(
                    network(inputs), targets, torch.ones(batch_size, device=device), 0.0
                )
                loss.backward()  # type: ignore[no-untyped-call]
                steps += not warm
        return (perf_counter() - started) / (steps * batch_size)
    finally:
        torch.set_num_threads(threads)
