"""What a search does when the user says nothing: sized by the device and the data."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import torch

from raysubset.hpo.space import Domain, choice, loguniform, uniform
from raysubset.models.catalog import ModelBuilder, build_model
from raysubset.runtime.place import AnyDataset
from raysubset.training.loss import weighted_cross_entropy


@dataclass(frozen=True, slots=True)
class Preset:
    """Model, epochs, trials, retrainings and batch sizes for a device and a data set."""

    model: str
    epochs: int
    trials: int
    retrain: int
    batch_sizes: tuple[int, ...]


def preset_for(data: AnyDataset, smoke: bool = False) -> Preset:
    """Choose a preset: the papers' sizes on a GPU, about three minutes on two CPU cores, seconds for a smoke run.

    LeNet on a CPU: a core trains some 4,000 images a second of it, and 400 of the smallest ResNet.
    """
    gpu, rows = torch.cuda.is_available(), len(data.train)
    is_image = len(data.input_shape) == 3 and min(data.input_shape[1:]) >= 16
    model = ("resnet18" if gpu and data.input_shape[0] == 3 else "lenet") if is_image else "mlp"
    batch_sizes = (16, 32, 64) if rows < 10_000 else (64, 128, 256)
    if smoke:
        return Preset(model, epochs=3, trials=3, retrain=1, batch_sizes=batch_sizes)
    if gpu:
        return Preset(model, epochs=100, trials=100, retrain=3, batch_sizes=batch_sizes)
    return Preset(model, epochs=27 if rows < 10_000 else 9, trials=16, retrain=2, batch_sizes=batch_sizes)


def default_space(batch_sizes: tuple[int, ...]) -> dict[str, Domain]:
    """Return the ResNet space of Hyper-Tune, less the step decay that a cosine schedule has no use for."""
    return {
        "lr": loguniform(1e-3, 1e-1),
        "momentum": uniform(0.5, 0.99),
        "nesterov": choice([False, True]),
        "batch_size": choice(batch_sizes),
        "weight_decay": loguniform(1e-5, 1e-2),
    }


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
