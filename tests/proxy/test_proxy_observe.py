"""What a model says of its pool: in the order of the ids, in evaluation mode, and nothing of it is disturbed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from raysubset.data.batches import ArraySource
from raysubset.data.transform import Transform
from raysubset.errors import ModelError, NonFiniteLossError
from raysubset.models.catalog import build_model
from raysubset.proxy.observe import OBSERVATION_BATCH, observe


def test_outputs_are_those_of_the_model_row_by_row(digits) -> None:
    transform = Transform.fit(digits.train.inputs, flip=0.5)
    model = build_model("lenet", num_classes=10, input_shape=digits.input_shape, seed=0).train()
    assert len(digits.train) > OBSERVATION_BATCH, "more than one batch, the last one short"
    outputs = observe(model, ArraySource(digits.train), transform, learning_rate=0.3)
    assert model.training
    assert outputs.learning_rate == 0.3
    model.eval()
    for row in (0, OBSERVATION_BATCH - 1, OBSERVATION_BATCH, len(digits.train) - 1):
        inputs = transform.evaluate(torch.from_numpy(digits.train.inputs[row : row + 1].copy()))
        logits = model(inputs).detach().numpy()[0]
        np.testing.assert_allclose(outputs.logits[row], logits, rtol=1e-4, atol=1e-5)  # other batch, other sums
        head = next(module for module in reversed(list(model.modules())) if isinstance(module, nn.Linear))
        again = outputs.features[row] @ head.weight.detach().numpy().T + head.bias.detach().numpy()
        np.testing.assert_allclose(again, logits, rtol=1e-4, atol=1e-5)


def test_batch_statistics_are_not_touched(digits) -> None:
    transform = Transform.fit(digits.train.inputs)
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Linear(784, 10)).train()
    before = model[1].running_mean.clone()
    observe(model, ArraySource(digits.train), transform)
    assert torch.equal(model[1].running_mean, before)


def test_a_diverged_model_is_named(digits) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    nn.init.constant_(model[1].bias, float("nan"))
    with pytest.raises(NonFiniteLossError, match=r"row 0 .* diverged"):  # as a search expects of such a trial
        observe(model, ArraySource(digits.train), Transform.fit(digits.train.inputs))


class Averages(nn.Module):
    """Averages its batch before the last layer: then no row has a gradient of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(784, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(inputs.flatten(1).mean(dim=0, keepdim=True)).expand(len(inputs), -1)


def test_a_last_layer_that_sees_no_single_rows_is_refused(digits) -> None:
    with pytest.raises(ModelError, match="saw 1 rows where the batch has"):
        observe(Averages(), ArraySource(digits.train), Transform.fit(digits.train.inputs))
