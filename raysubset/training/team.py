"""The workers that train one model together: how many, which is this, and how they add up what each has seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from raysubset.data.shard import WHOLE, Shard


class Team(Protocol):
    """W workers in step. All of them make the same calls in the same order; each call waits for the last."""

    @property
    def shard(self) -> Shard:
        """Which worker this is, of how many."""
        ...

    @property
    def size(self) -> int:
        """W, >= 1."""
        ...

    def parallel(self, model: nn.Module) -> nn.Module:
        """Return ``model`` as it is to be trained: its gradients are the mean over the workers."""
        ...

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all workers, in float64; not finite where a worker's value is not."""
        ...

    def shared(self, value: Any) -> Any:
        """Return worker 0's value; what the others give is not looked at."""
        ...

    def gathered(self, value: Any) -> list[Any]:
        """Return every worker's value at worker 0, in the order of ranks, nothing elsewhere."""
        ...


class Alone:
    """A team of one."""

    shard = WHOLE
    size = 1

    def parallel(self, model: nn.Module) -> nn.Module:
        """Return ``model``."""
        return model

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the values."""
        return list(values)

    def shared(self, value: Any) -> Any:
        """Return the value."""
        return value

    def gathered(self, value: Any) -> list[Any]:
        """Return the value, in a list."""
        return [value]


ALONE = Alone()


class ProcessTeam:
    """The processes of torch's default process group (gloo or NCCL), which must have been set up.

    Values travel pickled between processes of one program, in blocking collectives: about 0.2 ms for a few numbers
    over gloo on one machine. BatchNorm normalises each worker's part of a
    batch by itself, and its running statistics are worker 0's: such models do not train as with one worker.

    Args:
        device: Where the model lives; NCCL wants the tensors of `total` there too.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.shard = Shard(dist.get_rank(), dist.get_world_size())
        self.size = self.shard.size
        self._device = torch.device(device)

    def parallel(self, model: nn.Module) -> nn.Module:
        """Wrap ``model`` for distributed data parallel training; its parameters become worker 0's."""
        on_gpu = self._device.type == "cuda"
        return DistributedDataParallel(model, device_ids=[self._device] if on_gpu else None)

    def total(self, values: Sequence[float]) -> list[float]:
        """Add up over all processes."""
        sums = torch.tensor(values, dtype=torch.float64, device=self._device)
        dist.all_reduce(sums)
        added: list[float] = sums.tolist()
        return added

    def shared(self, value: Any) -> Any:
        """Send worker 0's value to all."""
        held = [value if self.shard.rank == 0 else None]
        dist.broadcast_object_list(held, src=0, device=self._device)
        return held[0]

    def gathered(self, value: Any) -> list[Any]:
        """Send every value to worker 0."""
        first = self.shard.rank == 0
        held: list[Any] = [None] * self.size if first else []
        dist.gather_object(value, held if first else None, dst=0)
        return held
