"""Operations counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from raysubset.models.cost import forward_flops


def test_a_linear_layer_costs_two_operations_a_weight() -> None:
    assert forward_flops(nn.Linear(30, 7), (30,)) == 2 * 30 * 7


def test_a_convolution_costs_two_operations_a_weight_and_place() -> None:
    assert forward_flops(nn.Conv2d(3, 8, 5), (3, 12, 12)) == 2 * 3 * 8 * 25 * 8 * 8


def test_nothing_of_the_model_changes() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).train()
    state = torch.get_rng_state()
    assert forward_flops(model, (4,)) == pytest.approx(32)
    assert model.training
    assert not model[1].running_mean.any()
    assert torch.equal(torch.get_rng_state(), state)
