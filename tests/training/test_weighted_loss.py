"""mean(w * l) against float64 by hand, and bit for bit against PyTorch's mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from raysubset.errors import ModelError
from raysubset.training.loss import weighted_cross_entropy, weighted_mean

SMOOTHING = st.sampled_from([0.0, 0.05, 0.1, 0.3])


def draw(seed: int, rows: int, classes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(rows, classes, generator=generator)
    weight = torch.rand(rows, generator=generator) * 2
    return logits, torch.randint(classes, (rows,), generator=generator), weight


def losses_by_hand(logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> np.ndarray:
    z = logits.detach().double().numpy()
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    wanted = np.eye(z.shape[1])[targets.numpy()] * (1 - smoothing) + smoothing / z.shape[1]
    return -(wanted * log_p).sum(axis=1)


@given(seed=st.integers(0, 2**31), rows=st.integers(1, 60), classes=st.integers(2, 20), smoothing=SMOOTHING)
def test_value_and_losses(seed: int, rows: int, classes: int, smoothing: float) -> None:
    logits, targets, weight = draw(seed, rows, classes)
    objective, losses = weighted_cross_entropy(logits.requires_grad_(), targets, weight, smoothing)
    by_hand = losses_by_hand(logits, targets, smoothing)
    # float32 with |z| up to about 16: log-softmax is off by a few 1e-6 absolute, whatever its size
    np.testing.assert_allclose(losses.numpy(), by_hand, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(objective.item(), (weight.double().numpy() * by_hand).mean(), rtol=1e-5, atol=1e-5)
    assert not losses.requires_grad


@given(seed=st.integers(0, 2**31), rows=st.integers(1, 20), smoothing=SMOOTHING)
def test_gradient_is_weight_times_residual(seed: int, rows: int, smoothing: float) -> None:
    logits, targets, weight = draw(seed, rows, 5)
    weighted_cross_entropy(logits.requires_grad_(), targets, weight, smoothing)[0].backward()
    z = logits.detach().double().numpy()
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    wanted = np.eye(5)[targets.numpy()] * (1 - smoothing) + smoothing / 5
    expected = weight.double().numpy()[:, None] * (p - wanted) / rows
    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=1e-4, atol=1e-6)


@given(seed=st.integers(0, 2**31), rows=st.integers(1, 260), classes=st.integers(2, 20), smoothing=SMOOTHING)
def test_with_weights_one_gradients_are_those_of_pytorch_bit_for_bit(
    seed: int, rows: int, classes: int, smoothing: float
) -> None:
    logits, targets, _ = draw(seed, rows, classes)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    weighted_cross_entropy(ours, targets, torch.ones(rows), smoothing)[0].backward()
    cross_entropy(theirs, targets, label_smoothing=smoothing).backward()
    assert torch.equal(ours.grad, theirs.grad)


def test_other_losses_are_weighted_alike() -> None:
    logits, targets, weight = draw(0, 6, 4)
    squared = lambda z, y: (z[torch.arange(len(z)), y] - 1.0).square()  # noqa: E731
    objective, losses = weighted_mean(squared, logits.requires_grad_(), targets, weight)
    expected = [(logits[i, y].item() - 1) ** 2 for i, y in enumerate(targets.tolist())]
    assert losses.tolist() == pytest.approx(expected, rel=1e-5)
    assert objective.item() == pytest.approx(np.mean(weight.numpy() * expected), rel=1e-5)
    assert not losses.requires_grad


def test_refuses_a_loss_that_was_averaged_already() -> None:
    logits, targets, weight = draw(0, 6, 4)
    with pytest.raises(ModelError, match=r"shape \(\), need one value a sample, \(6,\).*reduction='none'"):
        weighted_mean(cross_entropy, logits, targets, weight)
