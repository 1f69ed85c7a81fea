"""Own loops on other tasks than the classification of images: regression, tables, texts, any per-sample loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, huber_loss

import raysubset as rs
from raysubset.errors import ModelError, OptionsError
from raysubset.proxy.memory import EpochSignals

WIDTH, ROWS = 6, 80


@pytest.fixture
def line() -> rs.Dataset:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((ROWS, WIDTH))
    return rs.Dataset.from_arrays(inputs, inputs @ np.arange(WIDTH) + 0.1 * rng.standard_normal(ROWS))


def network(outputs: int, width: int = WIDTH) -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(width, 16), torch.nn.Tanh(), torch.nn.Linear(16, outputs))


def signals_of(data: rs.Dataset, model: torch.nn.Sequential, losses=None) -> EpochSignals:
    """Return what one epoch on everything records, without a step."""
    for epoch in rs.Subset(data, rs.SubsetPlan(metric="loss", ratio=0.5)).epochs(1):
        for batch in epoch:
            outputs = model(batch.inputs)
            epoch.loss(outputs, batch, None if losses is None else losses(outputs, batch.targets))
        return epoch.signals()
    raise AssertionError


def last_layer_norms(data: rs.Dataset, model: torch.nn.Sequential, losses, rows) -> list[float]:
    """Return the norm of each row's gradient of the last weight, by autograd, a row at a time."""
    norms = []
    for row in rows:
        model.zero_grad()
        outputs = model(torch.from_numpy(data.train.inputs[row : row + 1]))
        losses(outputs, torch.from_numpy(data.train.labels[row : row + 1])).sum().backward()
        norms.append(float(model[-1].weight.grad.norm()))
    return norms


def squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs[:, 0] - targets) ** 2


def huber(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return huber_loss(outputs[:, 0], targets, reduction="none")


@pytest.mark.parametrize("losses", [None, squared, huber])
def test_the_signals_of_a_regression_are_those_of_autograd(line: rs.Dataset, losses) -> None:
    model = network(1)
    signals = signals_of(line, model, losses)
    known = losses or squared
    with torch.no_grad():
        rows = torch.from_numpy(line.train.inputs[signals.index])
        expected = known(model(rows), torch.from_numpy(line.train.labels[signals.index])).numpy()
    np.testing.assert_allclose(signals.loss, expected, rtol=1e-4)
    norms = last_layer_norms(line, model, known, signals.index)
    np.testing.assert_allclose(signals.gradient, norms, rtol=1e-3, atol=1e-5)
    assert not signals.entropy.any()
    assert not signals.correct.any()


def test_a_loss_of_ones_own_on_classes_keeps_entropy_and_correctness(line: rs.Dataset) -> None:
    classes = rs.Dataset.from_arrays(line.train.inputs, (line.train.labels > 0).astype(int))

    def focal(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        own = cross_entropy(outputs, targets, reduction="none")
        return (1 - (-own).exp()) ** 2 * own

    model = network(2)
    plain, other = signals_of(classes, model), signals_of(classes, model, focal)
    np.testing.assert_array_equal(plain.entropy, other.entropy)
    np.testing.assert_array_equal(plain.correct, other.correct)
    norms = last_layer_norms(classes, model, focal, other.index)
    np.testing.assert_allclose(other.gradient, norms, rtol=1e-3, atol=1e-5)
    assert not np.allclose(plain.gradient, other.gradient)


def test_the_loss_to_be_differentiated_is_the_weighted_mean(line: rs.Dataset) -> None:
    model = network(1)
    for epoch in rs.Subset(line, rs.SubsetPlan(ratio=0.5)).epochs(1):
        for batch in epoch:
            outputs = model(batch.inputs)
            model.zero_grad()
            epoch.loss(outputs, batch).backward()
            mine = model[-1].weight.grad.clone()
            model.zero_grad()
            (batch.weight * squared(model(batch.inputs), batch.targets)).mean().backward()
            torch.testing.assert_close(mine, model[-1].weight.grad)


@pytest.mark.parametrize(
    "plan",
    [
        rs.SubsetPlan(ratio=0.3),
        rs.SubsetPlan(metric="adaptive", schedule="adaptive", ratio=0.3),
        rs.SubsetPlan(selector="infobatch", ratio=1.0, schedule="static"),
        rs.SubsetPlan(selector="adaptive-random", ratio=0.3),
    ],
)
def test_a_regression_learns_on_subsets_by_the_metrics_it_has(line: rs.Dataset, plan: rs.SubsetPlan) -> None:
    model = network(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    used = set()
    for epoch in rs.Subset(line, plan, batch_size=8).epochs(30):
        used.add(epoch.metric)
        for batch in epoch:
            optimizer.zero_grad()
            epoch.loss(model(batch.inputs), batch).backward()
            optimizer.step()
    with torch.no_grad():
        rest = squared(model(torch.from_numpy(line.train.inputs)), torch.from_numpy(line.train.labels))
    assert rest.mean() < 0.4 * line.train.labels.var()
    assert used <= {"full", "random", "gradient", "loss", "infobatch"}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"metric": "entropy"}, "metric='entropy' is of class probabilities"),
        ({"metric": "prediction"}, "metric='prediction' is of class probabilities"),
        ({"metrics": ("entropy", "prediction")}, "entropy are of class probabilities; random, gradient and loss"),
        ({"metrics": ("loss", "entropy")}, "entropy are of class probabilities; random, gradient and loss"),
        ({"evidence": "scout"}, "evidence='scout' is of a model of classes; need auto, none or memory"),
        ({"per_class": True}, "class proportions"),
        ({"selector": "craig"}, "selector='craig' looks at class probabilities or labels"),
    ],
)
def test_what_needs_classes_is_refused_by_name(line: rs.Dataset, options, fault: str) -> None:
    with pytest.raises(OptionsError, match=fault):
        rs.Subset(line, rs.SubsetPlan(**options))


def test_losses_that_are_not_of_the_outputs_are_refused(line: rs.Dataset) -> None:
    model = network(1)
    for epoch in rs.Subset(line, rs.SubsetPlan(ratio=0.5)).epochs(1):
        batch = next(iter(epoch))
        outputs = model(batch.inputs)
        with pytest.raises(ModelError, match="one value a sample"):
            epoch.loss(outputs, batch, squared(outputs, batch.targets).mean())
        with pytest.raises(ModelError, match="computed from the outputs"):
            epoch.loss(outputs, batch, squared(model(batch.inputs), batch.targets))
        with pytest.raises(ModelError, match="want one each"):
            epoch.loss(network(2)(batch.inputs), batch)
        break


def test_texts_are_told_apart() -> None:
    sport, law = ("goal match ball win", "the team won the match"), ("court law vote bill", "a vote on the law")
    texts = [f"{text} {word}" for text in (*sport, *law) for word in ("today", "again", "late", "early")]
    data = rs.Dataset.from_texts(texts, [0] * 8 + [1] * 8, features=128)
    model = network(2, 128)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for epoch in rs.Subset(data, rs.SubsetPlan(ratio=0.5), batch_size=4).epochs(20):
        for batch in epoch:
            optimizer.zero_grad()
            epoch.loss(model(batch.inputs), batch).backward()
            optimizer.step()
    with torch.no_grad():
        assert (model(torch.from_numpy(data.train.inputs)).argmax(1).numpy() == data.train.labels).all()
