"""A selector dearer than training on everything gives way to adaptive random, once and aloud (D10)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from torch import nn

from raysubset.errors import SlowSelectorWarning
from raysubset.models.cost import forward_flops
from raysubset.runtime.affordable import affordable, share_of_full_cost
from raysubset.selection.plan import SubsetPlan
from raysubset.selection.protocol import Context
from raysubset.types import Selection

N, EPOCHS, SHAPE = 1_000, 20, (30,)
MODEL = nn.Linear(30, 7)


@dataclass(frozen=True)
class Dear:
    """Chooses at a price that the test names."""

    price: float

    def flops(self, n: int, k: int, c: int, h: int) -> float:
        assert (c, h) == (7, 30)
        return self.price

    def select(self, context: Context, k: int, rng: np.random.Generator) -> Selection:
        return Selection.uniform(np.arange(k), context.pool_size)


def plan(price: float, every: int = 5) -> SubsetPlan:
    return SubsetPlan(
        selector=Dear(price), ratio=0.1, schedule="static", first_epoch="scheduled", select_every=every
    )


def test_the_share_is_the_sum_of_its_parts() -> None:
    full = 3 * forward_flops(MODEL, SHAPE) * N * EPOCHS
    passes = forward_flops(MODEL, SHAPE) * N * 4  # choices at epochs 1, 6, 11, 16
    assert share_of_full_cost(plan(0.0), MODEL, SHAPE, N, EPOCHS) == pytest.approx(0.1 + passes / full)
    dear = share_of_full_cost(plan(1e6), MODEL, SHAPE, N, EPOCHS)
    assert dear == pytest.approx(0.1 + (passes + 4e6) / full)


def test_a_dear_selector_gives_way_with_one_warning() -> None:
    price = 3 * forward_flops(MODEL, SHAPE) * N * EPOCHS / 4
    with pytest.warns(SlowSelectorWarning, match=r"'Dear' at ratio 0\.1.*1\.1\d times.*adaptive random") as caught:
        taken = affordable(plan(price), MODEL, SHAPE, N, EPOCHS)
    assert len(caught) == 1
    assert taken.selector == "adaptive-random"
    assert taken.ratio == 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert affordable(taken, MODEL, SHAPE, N, EPOCHS) == taken
        cheap = plan(0.8 * price * 0.9)
        assert affordable(cheap, MODEL, SHAPE, N, EPOCHS) == cheap


def test_looking_at_the_model_every_epoch_is_priced_too() -> None:
    frequent = SubsetPlan(selector=Dear(0.0), ratio=0.7, schedule="static", select_every=1)
    with pytest.warns(SlowSelectorWarning, match="Choose less"):
        affordable(frequent, MODEL, SHAPE, N, EPOCHS)


@pytest.mark.parametrize("name", ["asp", "adaptive-random", "random", "infobatch"])
def test_what_costs_no_pass_is_never_refused(name: str) -> None:
    cheap = SubsetPlan(selector=name, ratio=1.0 if name == "infobatch" else 0.1)
    assert affordable(cheap, MODEL, SHAPE, N, EPOCHS) is cheap
