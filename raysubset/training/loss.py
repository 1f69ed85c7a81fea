"""The weighted loss of a batch, mean(w * l), bit-equal to PyTorch's own when every weight is 1.

Cross-entropy with label smoothing s is (1 - s) a + (s / K) b, with a_i the negative log-likelihood and b_i the
sum of all -log p_ik. PyTorch's ``cross_entropy`` takes the mean of a and of b *before* it scales them, so the
gradient of a_i is (1 - s) / B, rounded once. mean(w * l) over its unreduced losses gives (1 - s) * (1 / B),
rounded twice: last bits differ unless B is a power of two. Hence the two means here, in PyTorch's order.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, nll_loss

from raysubset.errors import ModelError

SampleLoss = Callable[[Tensor, Tensor], Tensor]


def weighted_cross_entropy(
    logits: Tensor, targets: Tensor, weight: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Return mean(w * l), to be differentiated, and the per-sample losses l[B], detached.

    Args:
        logits: float[B, K].
        targets: int64[B] in [0, K).
        weight: float[B], >= 0.
        label_smoothing: s in [0, 1).
    """
    if label_smoothing == 0:
        losses = cross_entropy(logits, targets, reduction="none")
        return (weight * losses).mean(), losses.detach()
    log_p = log_softmax(logits, dim=1)
    label_part = nll_loss(log_p, targets, reduction="none")
    even_part = -log_p.sum(dim=1)
    on_label, on_each = 1 - label_smoothing, label_smoothing / logits.shape[1]
    mean = (weight * label_part).mean() * on_label + (weight * even_part).mean() * on_each
    return mean, label_part.detach() * on_label + even_part.detach() * on_each


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return (output - target)^2, float[B], of outputs [B] or [B, 1].

    Raises:
        ModelError: Not one output a sample.
    """
    if outputs.numel() != targets.numel():
        raise ModelError(
            f"The model's outputs are {tuple(outputs.shape)} where {len(targets)} targets want one each: end the "
            "model with nn.Linear(..., 1), or, in a loop of your own, give epoch.loss your own losses=."
        )
    return (outputs.reshape(targets.shape) - targets).square()


def weighted_mean(loss: SampleLoss, logits: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean(w * l), to be differentiated, and l[B], detached, of any per-sample loss.

    Raises:
        ModelError: ``loss`` did not return one value a sample (was it averaged already?).
    """
    losses = loss(logits, targets)
    if losses.shape != weight.shape:
        raise ModelError(
            f"The loss returned shape {tuple(losses.shape)}, need one value a sample, {tuple(weight.shape)}. "
            "PyTorch's losses do so with reduction='none'."
        )
    return (weight * losses).mean(), losses.detach()
