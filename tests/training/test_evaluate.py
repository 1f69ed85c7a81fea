"""Evaluation against numbers by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from raysubset.errors import DataError
from raysubset.models.catalog import build_model
from raysubset.training.evaluate import Evaluation, evaluate

if TYPE_CHECKING:
    from conftest import MakeBatches


class Passes(nn.Module):
    """Returns its input as logits."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.scale


def batch_of(make_batches: MakeBatches, logits: list[list[float]], targets: list[int]) -> list[object]:
    (batch,) = make_batches(len(logits))
    return [replace(batch, inputs=torch.tensor(logits), targets=torch.tensor(targets))]


def test_by_hand(make_batches: MakeBatches) -> None:
    batches = batch_of(make_batches, [[math.log(3), 0.0], [0.0, 0.0], [0.0, math.log(9)]], [0, 1, 0])
    result = evaluate(Passes(), batches)
    assert result.loss == pytest.approx((math.log(4 / 3) + math.log(2) + math.log(10)) / 3, rel=1e-6)
    assert result.accuracy == pytest.approx(1 / 3)  # the tie of the second row goes to class 0
    assert result.samples == 3


def test_every_sample_counts_the_same_however_batched(make_batches: MakeBatches) -> None:
    (whole,) = make_batches(23, shape=(10,))
    one = evaluate(Passes(), [whole])
    parts = [
        replace(whole, inputs=whole.inputs[i:j], targets=whole.targets[i:j])
        for i, j in ((0, 10), (10, 22), (22, 23))
    ]
    many = evaluate(Passes(), parts)
    assert many == Evaluation(pytest.approx(one.loss, rel=1e-6), one.accuracy, 23)


def test_uses_evaluation_mode_and_gives_every_mode_back(make_batches: MakeBatches) -> None:
    model = build_model("resnet8", num_classes=10, input_shape=(1, 16, 16), seed=0).train()
    model.stem.eval()  # frozen by its owner
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluate(model, make_batches(4, 3))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_gives_the_modes_back_after_a_failure(make_batches: MakeBatches) -> None:
    model = build_model("lenet", num_classes=10, input_shape=(1, 16, 16), seed=0).train()
    with pytest.raises(RuntimeError):
        evaluate(model, make_batches(4, shape=(7,)))
    assert model.training


def test_dropout_is_off_and_repeats(make_batches: MakeBatches) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(256, 10))
    assert evaluate(model, make_batches(9)) == evaluate(model, make_batches(9))


def test_keeps_no_graph_for_a_backward_pass(make_batches: MakeBatches) -> None:
    modes = []
    model = Passes()
    model.register_forward_hook(lambda *_: modes.append(torch.is_inference_mode_enabled()))
    evaluate(model, make_batches(4, 3, shape=(10,)))
    assert modes == [True, True]


def test_batches_made_meanwhile_can_still_be_trained_on(make_batches: MakeBatches) -> None:
    kept = []

    def loader():
        for batch in make_batches(4):
            kept.append(batch.inputs * 2)  # as a caching loader would
            yield batch

    model = build_model("lenet", num_classes=10, input_shape=(1, 16, 16), seed=0)
    evaluate(model, loader())
    model(kept[0]).sum().backward()
    assert all(weights.grad is not None for weights in model.parameters())


def test_a_diverged_model_has_no_finite_loss(make_batches: MakeBatches) -> None:
    batches = batch_of(make_batches, [[math.nan, 0.0]], [1])
    assert math.isnan(evaluate(Passes(), batches).loss)


def test_says_that_there_was_nothing() -> None:
    with pytest.raises(DataError, match="no batch"):
        evaluate(Passes(), [])
