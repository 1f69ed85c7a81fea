"""An optimiser that takes over another trial's moments keeps its own recipe."""

from __future__ import annotations

import pytest
import torch

from raysubset.training.optimizer import build_optimizer, load_optimizer
from raysubset.training.recipe import Recipe


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
def test_moments_pass_on_and_hyper_parameters_stay(name: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    given = build_optimizer(model, Recipe(optimizer=name, lr=0.1, momentum=0.9, weight_decay=1e-3))
    model(torch.ones(3, 4)).sum().backward()
    given.step()
    taking = build_optimizer(model, Recipe(optimizer=name, lr=0.02, momentum=0.5, weight_decay=0.0))
    load_optimizer(taking, given.state_dict())
    group = taking.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.02, 0.0)
    assert group["betas"][0] == 0.5 if name == "adam" else group["momentum"] == 0.5
    weight = model.weight
    assert taking.state[weight].keys() == given.state[weight].keys()
    for key, value in given.state[weight].items():
        assert torch.equal(torch.as_tensor(taking.state[weight][key]), torch.as_tensor(value))
