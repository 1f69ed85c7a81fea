"""The losses of an epoch, added up without stalling the device that makes them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from raysubset.data.shard import Part
from raysubset.errors import DataError, NonFiniteLossError
from raysubset.training.team import Team

# Each look at a loss stalls an accelerator, or the workers of a team: there so many are looked at together.
BATCHES_PER_CHECK = 64


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What an epoch came to.

    Attributes:
        samples: Samples trained on.
        mean_loss: Their mean loss as trained (smoothed, augmented, in training mode), each counted once whatever
            its weight.
    """

    samples: int
    mean_loss: float


class LossTally:
    """Adds up losses on the device and, over all workers, reads them ``every`` so many batches."""

    def __init__(self, epoch: int, every: int, team: Team) -> None:
        self.samples = 0
        self._epoch, self._every, self._team = epoch, every, team
        self._total, self._batches = 0.0, 0
        self._sums: list[Tensor] = []
        self._rates: list[float] = []

    def add(self, losses: Tensor, lr: float, part: Part | None) -> None:
        """Take in a batch's losses[B], trained at ``lr``; stand-ins are left out."""
        self._sums.append((losses if part is None else losses[: part.rows]).sum())
        self._rates.append(lr)
        self.samples += len(losses) if part is None else part.whole
        if len(self._sums) == self._every:
            self._read()

    def _read(self) -> None:
        """Move the sums of the last batches to the host, and stop at the first that is not finite."""
        totals = self._team.total(_to_host(self._sums))
        for batch, (total, lr) in enumerate(zip(totals, self._rates, strict=True), self._batches):
            if not math.isfinite(total):
                raise NonFiniteLossError(
                    f"The loss became {total} in epoch {self._epoch}, batch {batch}, at lr={lr:g}. Most likely "
                    "the learning rate is too high for this model and batch size; else an input is not finite."
                )
            self._total += total
        self._batches += len(self._sums)
        self._sums, self._rates = [], []

    def result(self) -> EpochResult:
        """Read what is left and return the epoch's result."""
        if self.samples == 0:
            raise DataError(f"Epoch {self._epoch} had no batch: nothing was trained.")
        self._read()
        return EpochResult(self.samples, self._total / self.samples)


def _to_host(sums: list[Tensor]) -> list[float]:
    """Return scalars as floats, in one transfer."""
    if len(sums) == 1:
        return [sums[0].item()]
    values: list[float] = torch.stack(sums).tolist() if sums else []
    return values
