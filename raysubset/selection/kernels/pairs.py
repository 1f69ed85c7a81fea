"""Distances between rows of which only factors are held.

Rows are points g_i = r_i [h_i, 1]^T (see `raysubset.selection.gradients`), or plain vectors r_i, and

    <g_i, g_j> = (r_i . r_j) (h_i . h_j + 1),        D_ij = <g_i, g_i> + <g_j, g_j> - 2 <g_i, g_j>,

so a tile of distances costs two thin matrix products, c + h + 1 multiplications a pair in place of c (h + 1).
A loss is an increasing function of D:

    squared    D                      euclidean    sqrt(D)                  rbf    1 - exp(-D / (2 bandwidth^2))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from raysubset.errors import SelectionError
from raysubset.selection.gradients import Gradients

LossKind = Literal["squared", "euclidean", "rbf"]
LOSS_KINDS: tuple[LossKind, ...] = ("squared", "euclidean", "rbf")

DOUBLE_ROWS = 1024  # pools up to here are computed in float64: nobody waits for them, and ties stay ties
Rows = slice | torch.Tensor


@dataclass(frozen=True, slots=True)
class Loss:
    """What it costs to represent a row by one at squared distance D; see the module.

    Attributes:
        kind: "squared", "euclidean" or "rbf".
        bandwidth: Of "rbf", in units of distance, > 0.
    """

    kind: LossKind = "squared"
    bandwidth: float = 1.0

    @property
    def sharpness(self) -> float:
        """1 / (2 bandwidth^2)."""
        return 0.5 / self.bandwidth**2

    def of(self, distances: torch.Tensor) -> torch.Tensor:
        """Return the losses of squared distances, elementwise."""
        if self.kind == "euclidean":
            return distances.sqrt()
        if self.kind == "rbf":
            return -torch.expm1(-distances * self.sharpness)
        return distances


SQUARED = Loss()


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """n rows on a device, ready for tiles of inner products.

    Attributes:
        left: float32 or float64[n, c].
        right: Same dtype [n, h + 1] with a last column of ones, or None for plain vectors.
        norms: float64[n], <g_i, g_i>.
    """

    left: torch.Tensor
    right: torch.Tensor | None
    norms: torch.Tensor

    @classmethod
    def of(cls, points: Gradients, device: str) -> Pairs:
        """Put points on a device, in float64 if they are few or were float64.

        Plain float32 vectors are centred: distances stay, and their rounding becomes one of their spread.

        Raises:
            SelectionError: A row is so large that its squared norm overflows.

        Cost: one copy of the points.
        """
        double = len(points) <= DOUBLE_ROWS or points.residuals.dtype == np.float64
        dtype = np.float64 if double else np.float32
        left = _tensor(points.residuals, dtype, device)
        right = None
        if points.features is None and not double:
            left = left - left.mean(0, dtype=torch.float64).to(left.dtype)
        norms = left.double().square().sum(1)
        if points.features is not None:
            ones = np.ones((len(points), 1), dtype=dtype)
            right = torch.from_numpy(np.concatenate([points.features, ones], axis=1, dtype=dtype)).to(device)
            norms *= right.double().square().sum(1)
        _check_norms(norms, float(np.finfo(dtype).max))
        return cls(left, right, norms)

    def __len__(self) -> int:
        return len(self.left)

    @property
    def single(self) -> bool:
        """Whether tiles are float32."""
        return self.left.dtype == torch.float32

    def products(self, a: Rows, b: Rows) -> torch.Tensor:
        """Return <g_i, g_j> for i in a, j in b as [len(a), len(b)], in the dtype of the factors."""
        tile = self.left[a] @ self.left[b].T
        if self.right is not None:
            tile *= self.right[a] @ self.right[b].T
        return tile

    def products_into(self, a: Rows, b: slice, tile: torch.Tensor, scratch: torch.Tensor) -> None:
        """Write `products` into ``tile``; ``scratch`` has room for as many numbers where there are two factors."""
        torch.mm(self.left[a], self.left[b].T, out=tile)
        if self.right is not None:
            tile *= torch.mm(self.right[a], self.right[b].T, out=scratch[: tile.numel()].view(tile.shape))

    def distances(self, a: Rows, b: Rows) -> torch.Tensor:
        """Return D_ij for i in a, j in b as [len(a), len(b)], in the dtype of the factors."""
        norms = self.norms.to(self.left.dtype)
        both = norms[a][:, None] + norms[b][None, :]
        return self.rounded(both - self.products(a, b).mul_(2), both)

    def rounded(self, distances: torch.Tensor, both: torch.Tensor) -> torch.Tensor:
        """Return D with 0 where it lies below the rounding of <g_i, g_i> + <g_j, g_j>; writes into both."""
        return distances.masked_fill_(distances <= both.mul_(self.rounding), 0.0)

    @property
    def rounding(self) -> float:
        """D below this share of <g_i, g_i> + <g_j, g_j> cannot be told from 0."""
        return 5e-7 if self.single else 2e-15


def _check_norms(norms: torch.Tensor, largest: float) -> None:
    """Distances add two squared norms; the sum, and twice a product, must be a number."""
    large = norms * 4 > largest
    if not bool(torch.isfinite(norms).all()) or bool(large.any()):
        row = int((large | ~torch.isfinite(norms)).nonzero()[0])
        raise SelectionError(f"Row {row} has the squared norm {float(norms[row]):.3g}: distances to it overflow.")


def block_size(n: int) -> int:
    """Return rows a side of a tile: 512 keep a tile in the cache, 1,024 keep the table of n n / block small."""
    return 512 if n <= 16384 else 1024


def _tensor(rows: NDArray[Any], dtype: type, device: str) -> torch.Tensor:
    """A tensor torch may own: arrays handed over by Ray refuse to be written, and torch wants none of those."""
    keep = rows.dtype == dtype and rows.flags.writeable and rows.flags.c_contiguous
    return torch.from_numpy(rows if keep else np.array(rows, dtype=dtype, order="C")).to(device)
