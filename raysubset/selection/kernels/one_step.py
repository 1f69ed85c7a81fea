"""The loss of some target rows one virtual step of the last layer ahead, in closed form.

After rows A were chosen the virtual last layer is theta - eta sum_{i in A} g_i, where g_i = r_i [h_i, 1]^T. The
logits of target row v under it need no forward pass: choosing row i moves them by a matrix of rank one,

    z_v <- z_v - eta r_i (h_i . h_v + 1),

and a candidate j promises, to first order, to lower the mean target loss by

    gain_j = eta <g_j, W>,        W = mean_v (p_v - y_v) [h_v, 1]^T  at the virtual layer.

Logits and W are float64; products keep the precision of the features they are made of, and sums over the target
rows go into float64 block by block.

Cost: O(V c h) a step, O(c h) a gain; 8 V c bytes and one copy of the target rows' features.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

BLOCK = 8192  # target rows summed in the features' own precision: float32 is good to some 1e-6 there


class OneStep:
    """Target rows at the virtual layer; starts at the present one."""

    def __init__(
        self,
        residuals: NDArray[np.floating],
        features: NDArray[np.floating] | None,
        logits: NDArray[np.floating],
        labels: NDArray[np.int64],
        inputs: NDArray[np.floating],
        eta: float,
        device: str = "cpu",
    ) -> None:
        """Set up.

        Args:
            residuals: float[n, c] of the candidates; or, without features, their whole gradients
                float[n, c (h + 1)], r [h, 1]^T flattened.
            features: float[n, h] of the candidates, or None.
            logits: float[V, c] of the target rows.
            labels: int64[V].
            inputs: float[V, h], the last layer's input; h = 0 to move the bias alone.
            eta: Step size for each chosen row.
            device: Torch device to compute on.
        """
        self.residuals = _tensor(residuals, device)
        self.features = None if features is None else _tensor(features, device)
        self.logits = _tensor(logits, device).T.to(torch.float64, memory_format=torch.contiguous_format, copy=True)
        self.labels = _tensor(labels, device)[None]
        self.inputs = torch.nn.functional.pad(_tensor(inputs, device), (0, 1), value=1.0)
        self.eta = eta

    def loss(self) -> float:
        """Return the mean cross-entropy of the target rows."""
        own = self.logits.gather(0, self.labels)
        return float((self.logits.logsumexp(0) - own).mean())

    def gradient(self) -> Tensor:
        """Return W, float64[c, h + 1], the bias last."""
        total = self.logits.new_zeros(len(self.logits), self.inputs.shape[1])
        for start in range(0, len(self.inputs), BLOCK):
            rows = slice(start, start + BLOCK)
            error, labels = self.logits[:, rows].to(self.inputs.dtype).softmax(0), self.labels[:, rows]
            error.scatter_add_(0, labels, error.new_full((1, 1), -1.0).expand_as(labels))
            total += error @ self.inputs[rows]
        return total.div_(len(self.inputs))

    def gains(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Return the gain of some candidates, or of all, float64[m]."""
        weight = (self.gradient() * self.eta).to(self.residuals.dtype)
        picked = slice(None) if rows is None else torch.as_tensor(rows, device=self.residuals.device)
        residuals = self.residuals[picked]
        if self.features is None:
            gains = residuals @ weight.reshape(-1)
        else:
            images = residuals @ weight  # (m, h + 1)
            gains = torch.linalg.vecdot(images[:, :-1], self.features[picked]) + images[:, -1]
        return np.asarray(gains.double().cpu())

    def choose(self, rows: NDArray[np.int64]) -> None:
        """Move the virtual layer by the gradients of these candidates."""
        if len(rows) == 1 and self.features is not None:
            self._move_by_one(self.features[rows[0]], self.residuals[rows[0]])
            return
        for start in range(0, len(rows), BLOCK):
            self._move(torch.as_tensor(rows[start : start + BLOCK], device=self.residuals.device))

    def _move_by_one(self, feature: Tensor, residual: Tensor) -> None:
        """By a matrix of rank one: h + c operations a target row, in place of h c."""
        products = torch.mv(self.inputs[:, :-1], feature.to(self.inputs.dtype))
        self.logits.addr_(residual.double(), products.double().add_(1), alpha=-self.eta)

    def _move(self, rows: Tensor) -> None:
        residuals = self.residuals[rows].double()
        if self.features is None:
            step = residuals.sum(0).reshape(len(self.logits), -1)
        else:
            step = residuals.T @ torch.nn.functional.pad(self.features[rows].double(), (0, 1), value=1.0)
        self.logits.sub_(step.to(self.inputs.dtype) @ self.inputs.T, alpha=self.eta)


def _tensor(array: NDArray[np.generic], device: str) -> Tensor:
    return from_dlpack(np.ascontiguousarray(array)).to(device)  # without a copy, read-only arrays too
