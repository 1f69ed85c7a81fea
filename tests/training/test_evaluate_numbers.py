"""RMSE and R2 of a regression against scikit-learn, and what has no R2."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_squared_error, r2_score
from torch import nn

from raysubset.data.batches import evaluation_batches
from raysubset.data.dataset import Split
from raysubset.data.transform import Transform
from raysubset.errors import ModelError
from raysubset.models.catalog import build_model
from raysubset.training.evaluate import Evaluation, evaluate

ROWS, WIDTH = 137, 5
AS_IT_IS = Transform((), ())


class Halves:
    """A team of two whose other worker saw the same rows again."""

    def total(self, values: list[float]) -> list[float]:
        return [2 * value for value in values]


def split(shift: float = 0.0, scale: float = 1.0) -> Split:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
    targets = inputs @ np.arange(WIDTH) + rng.standard_normal(ROWS)
    return Split(inputs, (shift + scale * targets).astype(np.float32))


def judged(model: nn.Module, rows: Split, batch_size: int = 32, **options) -> Evaluation:
    return evaluate(model, evaluation_batches(rows, AS_IT_IS, batch_size), **options)


def mlp() -> nn.Module:
    return build_model("mlp", num_classes=0, input_shape=(WIDTH,), seed=0)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (25.0, 77.0), (2000.0, 0.5)])
@pytest.mark.parametrize("batch_size", [1, 32, 1000])
def test_rmse_and_r2_are_those_of_scikit_learn(shift: float, scale: float, batch_size: int) -> None:
    rows, model = split(shift, scale), mlp()
    with torch.no_grad():
        predicted = model(torch.from_numpy(rows.inputs))[:, 0].double().numpy()
    found = judged(model, rows, batch_size)
    targets = rows.labels.astype(np.float64)
    assert found.loss == pytest.approx(mean_squared_error(targets, predicted), rel=1e-6)
    assert found.rmse == pytest.approx(math.sqrt(mean_squared_error(targets, predicted)), rel=1e-6)
    assert found.r2 == pytest.approx(r2_score(targets, predicted), rel=1e-5)
    assert math.isnan(found.accuracy)
    assert found.samples == ROWS


def test_several_workers_say_what_one_would() -> None:
    alone, team = judged(mlp(), split()), judged(mlp(), split(), team=Halves())
    assert (team.rmse, team.r2, team.samples) == (pytest.approx(alone.rmse), pytest.approx(alone.r2), 2 * ROWS)


def test_classes_have_no_rmse_and_equal_targets_no_r2() -> None:
    rows = split()
    classes = judged(build_model("mlp", num_classes=2, input_shape=(WIDTH,), seed=0),
                     Split(rows.inputs, (rows.labels > 0).astype(np.int64)))  # fmt: skip
    assert math.isnan(classes.rmse)
    assert math.isnan(classes.r2)
    for value in (0.0, 0.1, 3e7):
        equal = judged(mlp(), Split(rows.inputs, np.full(ROWS, value, dtype=np.float32)))
        assert math.isnan(equal.r2)
        assert equal.rmse > 0


def test_a_model_of_several_outputs_is_refused() -> None:
    with pytest.raises(ModelError, match=r"outputs are \(32, 3\) where 32 targets want one each"):
        judged(build_model("mlp", num_classes=3, input_shape=(WIDTH,), seed=0), split())
