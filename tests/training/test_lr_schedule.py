"""The learning rate against PyTorch's schedulers, by hand and by property."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, StepLR

from raysubset.training.recipe import Recipe
from raysubset.training.schedule import epoch_progress, lr_at

UNIT = st.floats(0, 1)
EPOCHS = 30


def rates_of(scheduler: type[LRScheduler], **options: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = scheduler(optimizer, **options)
    rates = []
    for _ in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(("recipe", "oracle"), [
    (Recipe(schedule="cosine"), (CosineAnnealingLR, {"T_max": EPOCHS})),
    (Recipe(schedule="cosine", lr_min=1e-3), (CosineAnnealingLR, {"T_max": EPOCHS, "eta_min": 1e-3})),
    (Recipe(schedule="multistep"), (MultiStepLR, {"milestones": [15, 23]})),
    (Recipe(schedule="multistep", milestones=(0.1, 0.7)), (MultiStepLR, {"milestones": [3, 21]})),
    (Recipe(schedule="step"), (StepLR, {"step_size": 10})),
    (Recipe(schedule="step", step_size=0.1, gamma=0.5), (StepLR, {"step_size": 3, "gamma": 0.5})),
    (Recipe(schedule="step", step_size=1 / 30, gamma=0.9), (StepLR, {"step_size": 1, "gamma": 0.9})),
    (Recipe(schedule="constant"), (StepLR, {"step_size": 100})),
])  # fmt: skip
def test_by_epochs_it_is_the_scheduler_of_pytorch(
    recipe: Recipe, oracle: tuple[type[LRScheduler], dict[str, object]]
) -> None:
    rates = [lr_at(recipe, epoch / EPOCHS) for epoch in range(EPOCHS)]
    # rtol: PyTorch computes each rate from the last one, 30 roundings; the cosine's end loses digits in 1 + cos.
    assert rates == pytest.approx(rates_of(oracle[0], **oracle[1]), rel=1e-12, abs=1e-16)


@given(
    step_epochs=st.integers(1, 60),
    epochs=st.integers(1, 300),
)
def test_steps_fall_on_the_epoch_they_name(step_epochs: int, epochs: int) -> None:
    recipe = Recipe(schedule="step", step_size=min(step_epochs / epochs, 1.0), gamma=0.5)
    drops = [
        round(-torch.log2(torch.tensor(lr_at(recipe, e / epochs) / 0.1)).item()) for e in range(min(epochs, 100))
    ]
    assert drops == [e // min(step_epochs, epochs) for e in range(min(epochs, 100))]


@pytest.mark.slow
@given(a=UNIT, b=UNIT, lr=st.floats(1e-6, 10), floor=st.floats(0, 1))
@pytest.mark.parametrize("schedule", ["constant", "cosine", "step", "multistep"])
def test_stays_in_bounds_and_never_rises(schedule: str, a: float, b: float, lr: float, floor: float) -> None:
    recipe = Recipe(schedule=schedule, lr=lr, lr_min=floor * lr)
    early, late = (lr_at(recipe, u) for u in sorted((a, b)))
    lowest = recipe.lr_min if schedule == "cosine" else 0.0
    rounding = 1e-15 * lr
    assert lowest - rounding <= late <= early + rounding <= lr + 2 * rounding


@pytest.mark.parametrize(("u", "rate"), [(0.0, 1.0), (1 / 3, 0.775), (0.5, 0.55), (2 / 3, 0.325), (1.0, 0.1)])
def test_cosine_by_hand(u: float, rate: float) -> None:
    assert lr_at(Recipe(lr=1.0, lr_min=0.1), u) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize(("u", "drops"), [(0.0, 0), (0.4999, 0), (0.5, 1), (0.7499, 1), (0.75, 2), (1.0, 2)])
def test_a_milestone_belongs_to_the_lower_rate(u: float, drops: int) -> None:
    assert lr_at(Recipe(lr=1.0, schedule="multistep"), u) == pytest.approx(0.1**drops, rel=1e-12)


def test_progress_counts_samples_or_epochs() -> None:
    by_samples = epoch_progress(Recipe(), epoch=1, consumed=600, planned=1000)
    assert [by_samples(done) for done in (0, 100, 400, 500)] == [0.6, 0.7, 1.0, 1.0]
    by_epochs = epoch_progress(Recipe(schedule_unit="epochs", epochs=4), epoch=1, consumed=600, planned=1000)
    assert [by_epochs(done) for done in (0, 100, 400)] == [0.25, 0.25, 0.25]
