"""What the training forward pass reveals about each sample, collected without a second pass.

For logits z, p = softmax(z), target y (smoothed like the loss) and h the input of the last linear layer:

    loss_i      the unreduced training loss
    entropy_i   -sum_k p_ik log p_ik         (nats)
    gradient_i  ||p_i - y_i||_2 ||h_i||_2    norm of dL_i/dW of the last layer: (p - y) h^T has rank one
    correct_i   argmax_k p_ik == label       (ties to the lowest class)

For any other loss the gradient is ||dl_i/dz_i||_2 ||h_i||_2 by autograd over the last layer's outputs z alone; for
the squared error that is 2 |z_i - y_i| ||h_i||_2. Entropy and correctness need class probabilities: of numbers to
be predicted they are not defined, recorded as 0 and False, and refused as metrics (`SubsetPlan.for_targets`).

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

FLUSH_ROWS = 4096  # times (K + d) floats: 1.5 MB for LeNet, 40 MB for a ResNet-50 with 1,000 classes


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


def other_signals(
    outputs: Tensor, targets: Tensor, losses: Tensor, feature_norm: Tensor, slopes: Tensor
) -> Tensor:
    """Return float32[4, B] as `batch_signals` does, for a loss that is not cross-entropy.

    Args:
        outputs: float[B, K] or [B].
        targets: int64[B] classes (outputs are logits), or float[B].
        losses: float[B].
        feature_norm: float[B], ||h_i||_2.
        slopes: float[B], ||dl_i/dz_i||_2.
    """
    gradient = slopes.float() * feature_norm
    if targets.is_floating_point():
        nothing = torch.zeros_like(gradient)
        return torch.stack([losses.detach().float(), nothing, gradient, nothing])
    loss, entropy, _, correct = batch_signals(outputs, targets, losses, feature_norm)
    return torch.stack([loss, entropy, gradient, correct])


def squared_error_slopes(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return `output_slopes` of the squared error without a graph: 2 |z_i - y_i|, float[B], for [B] or [B, 1]."""
    return 2 * (outputs.reshape(targets.shape) - targets).abs()


def output_slopes(losses: Tensor, outputs: Tensor) -> Tensor:
    """Return ||dl_i/dz_i||_2, float[B], detached; the graph stays for the backward pass to come.

    Raises:
        ModelError: The losses were not made of these outputs, or not with gradients.
    """
    try:
        (slopes,) = torch.autograd.grad(losses.sum(), outputs, retain_graph=True)
    except RuntimeError as error:
        raise ModelError(
            f"The gradient metric needs losses that are computed from the outputs given to epoch.loss: {error}"
        ) from error
    return slopes.detach().flatten(1).norm(dim=1) if slopes.ndim > 1 else slopes.detach().abs()


class SignalLog:
    """The signals of an epoch. Batches are kept as they come and measured some thousand rows at a time.

    One batch is too small a job for a dozen tensor operations: measured batch by batch, they cost 8 % of a LeNet
    epoch at batch size 32; measured together, next to nothing. Held meanwhile: FLUSH_ROWS (K + d) floats.

    Args:
        label_smoothing: As trained.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self._label_smoothing = label_smoothing
        self._index: list[NDArray[np.int64]] = []
        self._pending: list[tuple[Tensor, ...]] = []
        self._pending_rows = 0
        self._measured: list[Tensor] = []

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._index)

    def add(
        self,
        index: NDArray[np.int64],
        logits: Tensor,
        targets: Tensor,
        losses: Tensor,
        features: Tensor,
        slopes: Tensor | None = None,
    ) -> None:
        """Take in one batch, detached: rows int64[B], logits[B, K], targets[B], losses[B], features[B, d].

        A row of -1 stands for none: its signals are dropped. With ``slopes`` [B] (from `output_slopes`) the loss
        is another than cross-entropy; an epoch has one loss.
        """
        self._index.append(index)
        self._pending.append((logits, targets, losses, features, *(() if slopes is None else (slopes,))))
        self._pending_rows += len(index)
        if self._pending_rows >= FLUSH_ROWS:
            self._measure()

    def _measure(self) -> None:
        with torch.no_grad():
            logits, targets, losses, features, *slopes = map(torch.cat, zip(*self._pending, strict=True))
            norms = features.float().flatten(1).norm(dim=1)
            self._measured.append(
                other_signals(logits, targets, losses, norms, *slopes)
                if slopes
                else batch_signals(logits, targets, losses, norms, self._label_smoothing)
            )
        self._pending, self._pending_rows = [], 0

    def collect(self) -> EpochSignals:
        """Return the signals of all batches since the last call, and start anew. One device transfer."""
        if self._pending:
            self._measure()
        index, measured = np.concatenate(self._index), torch.cat(self._measured, dim=1).cpu().numpy()
        if (index < 0).any():
            index, measured = index[index >= 0], measured[:, index >= 0]
        loss, entropy, gradient, correct = measured
        self._index, self._measured = [], []
        return EpochSignals(index, loss, entropy, gradient, correct > 0.5)


class SignalRecorder:
    """Collects an epoch's signals while the model trains.

    A forward pre-hook on the last ``nn.Linear`` keeps its input; nothing is asked of the model but to have such a
    layer. `close` takes the hook off.

    Raises:
        ModelError: The model has no ``nn.Linear``, or the logits' batch is not that layer's batch.
    """

    def __init__(self, model: nn.Module, label_smoothing: float = 0.0) -> None:
        self._hook = last_linear(model).register_forward_pre_hook(self._keep_input)
        self._features: Tensor | None = None
        self._log = SignalLog(label_smoothing)

    def close(self) -> None:
        """Take the hook off the model."""
        self._hook.remove()

    def _keep_input(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            self._features = inputs[0].detach()

    def observe(self, index: NDArray[np.int64], logits: Tensor, targets: Tensor, losses: Tensor) -> None:
        """Take in one trained batch: global rows, logits[B, K], targets[B], per-sample losses[B], all detached.

        Targets that are numbers were trained on by the squared error, the outputs are [B] or [B, 1].
        """
        if self._features is None or len(self._features) != len(logits):
            seen = "no" if self._features is None else f"{len(self._features)}"
            raise ModelError(
                f"The last nn.Linear saw {seen} rows where the loss has {len(logits)}: it must make the logits, "
                "one row a sample."
            )
        slopes = squared_error_slopes(logits, targets) if targets.is_floating_point() else None
        self._log.add(index, logits, targets, losses, self._features, slopes)
        self._features = None

    def collect(self) -> EpochSignals:
        """Return what was observed since the last call, and start anew; see `SignalLog.collect`."""
        return self._log.collect()


_LINEAR_INPUT = {"AddmmBackward0": "_saved_mat1", "MmBackward0": "_saved_self"}  # with bias, without


def features_behind(logits: Tensor) -> Tensor:
    """Return h, float[B, d], detached, for logits that came straight out of an ``nn.Linear`` in training.

    Autograd keeps that layer's input for its backward pass, so a loop that only has the logits needs no hook.

    Raises:
        ModelError: The logits were not made by a linear layer, or not with gradients.
    """
    made_by = logits.grad_fn
    kind = "nothing (no gradients)" if made_by is None else type(made_by).__name__
    features = getattr(made_by, _LINEAR_INPUT.get(kind, ""), None)
    if isinstance(features, Tensor):
        detached: Tensor = features.detach()
        return detached
    raise ModelError(
        f"The gradient metric needs the input of the last nn.Linear, but these logits were made by {kind}. Give "
        "epoch.loss that layer's output itself (no softmax or scaling after it), computed with gradients on."
    )
