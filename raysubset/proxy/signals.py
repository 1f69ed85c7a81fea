"""What the training forward pass reveals about each sample, collected without a second pass.

For logits z, p = softmax(z), target y (smoothed like the loss) and h the input of the last linear layer:

    loss_i      the unreduced training loss
    entropy_i   -sum_k p_ik log p_ik         (nats)
    gradient_i  ||p_i - y_i||_2 ||h_i||_2    norm of dL_i/dW of the last layer: (p - y) h^T has rank one
    correct_i   argmax_k p_ik == label       (ties to the lowest class)

Values are those of the augmented view in training mode, detached. Cost: O(B (K + d)) a batch, 13 bytes a sample.

References:
    [1] ASP, section 3.2, with the roles of y and p put right.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raysubset.errors import ModelError
from raysubset.models.head import last_linear
from raysubset.proxy.memory import EpochSignals


def batch_signals(
    logits: Tensor, targets: Tensor, losses: Tensor, feature_norm: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Return float32[4, B]: loss, entropy, gradient, correct (0 or 1), on the device of ``logits``.

    Args:
        logits: float[B, K].
        targets: int64[B].
        losses: float[B], per-sample loss as trained.
        feature_norm: float[B], ||h_i||_2.
        label_smoothing: s; the target is (1 - s) on the label plus s / K everywhere.
    """
    log_p = torch.log_softmax(logits.detach().float(), dim=1)
    p = log_p.exp()
    entropy = -(p * log_p).nan_to_num(0.0).sum(dim=1)  # 0 log 0 = 0
    residual = p - label_smoothing / p.shape[1]
    residual.scatter_add_(1, targets[:, None], torch.full_like(p[:, :1], label_smoothing - 1.0).expand(len(p), 1))
    gradient = residual.norm(dim=1) * feature_norm
    correct = (p.argmax(dim=1) == targets).float()
    return torch.stack([losses.detach().float(), entropy, gradient, correct])


class SignalLog:
    """The signals of an epoch, batch by batch; they stay on the model's device until `collect`."""

    def __init__(self) -> None:
        self._index: list[NDArray[np.int64]] = []
        self._values: list[Tensor] = []

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._index)

    def add(self, index: NDArray[np.int64], signals: Tensor) -> None:
        """Take in one batch: global rows int64[B] and `batch_signals` float32[4, B]."""
        self._index.append(index)
        self._values.append(signals)

    def collect(self) -> EpochSignals:
        """Return what was added since the last call, and start anew. One device transfer."""
        loss, entropy, gradient, correct = torch.cat(self._values, dim=1).cpu().numpy()
        signals = EpochSignals(np.concatenate(self._index), loss, entropy, gradient, correct > 0.5)
        self._index, self._values = [], []
        return signals


class SignalRecorder:
    """Collects an epoch's signals while the model trains.

    A forward pre-hook on the last ``nn.Linear`` keeps the norm of its input; nothing is asked of the model but
    to have such a layer. `close` takes the hook off.

    Raises:
        ModelError: The model has no ``nn.Linear``, or the logits' batch is not that layer's batch.
    """

    def __init__(self, model: nn.Module, label_smoothing: float = 0.0) -> None:
        self._hook = last_linear(model).register_forward_pre_hook(self._keep_norm)
        self._label_smoothing = label_smoothing
        self._norm: Tensor | None = None
        self._log = SignalLog()

    def close(self) -> None:
        """Take the hook off the model."""
        self._hook.remove()

    def _keep_norm(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            self._norm = inputs[0].detach().float().flatten(1).norm(dim=1)

    def observe(self, index: NDArray[np.int64], logits: Tensor, targets: Tensor, losses: Tensor) -> None:
        """Take in one trained batch: global rows, logits[B, K], targets[B], per-sample losses[B]."""
        if self._norm is None or len(self._norm) != len(logits):
            seen = "no" if self._norm is None else f"{len(self._norm)}"
            raise ModelError(
                f"The last nn.Linear saw {seen} rows where the loss has {len(logits)}: it must make the logits, "
                "one row a sample."
            )
        with torch.no_grad():
            signals = batch_signals(logits, targets, losses, self._norm, self._label_smoothing)
        self._log.add(index, signals)
        self._norm = None

    def collect(self) -> EpochSignals:
        """Return what was observed since the last call, and start anew; see `SignalLog.collect`."""
        return self._log.collect()


_LINEAR_INPUT = {"AddmmBackward0": "_saved_mat1", "MmBackward0": "_saved_self"}  # with bias, without


def feature_norm_behind(logits: Tensor) -> Tensor:
    """Return ||h_i||_2, float[B], for logits that came straight out of an ``nn.Linear`` in training.

    Autograd keeps that layer's input for its backward pass, so a loop that only has the logits needs no hook.

    Raises:
        ModelError: The logits were not made by a linear layer, or not with gradients.
    """
    made_by = logits.grad_fn
    kind = "nothing (no gradients)" if made_by is None else type(made_by).__name__
    features = getattr(made_by, _LINEAR_INPUT.get(kind, ""), None)
    if isinstance(features, Tensor):
        norm: Tensor = features.detach().float().norm(dim=1)
        return norm
    raise ModelError(
        f"The gradient metric needs the input of the last nn.Linear, but these logits were made by {kind}. Give "
        "epoch.loss that layer's output itself (no softmax or scaling after it), computed with gradients on."
    )
