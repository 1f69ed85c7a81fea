"""Independent pieces of work, spread over the cluster; results as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray
import torch

from raysubset.errors import WorkersError
from raysubset.runtime.failure import POLICIES, Fault
from raysubset.runtime.session import Slots

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(
    work: Callable[..., Result], items: Sequence[Item], slots: Slots, *shared: Any
) -> Iterator[tuple[Item, Result]]:
    """Yield (item, work(item, *shared)) for every item, in the order of completion.

    As many run at a time as ``slots`` says, each with one torch thread. A piece whose process dies is begun again;
    what ``work`` raises is raised here.

    Args:
        work: A function of a module; the same item must give the same result.
        items: Any number.
        slots: How pieces divide the cluster.
        shared: Further arguments, put into the object store once.

    Raises:
        WorkersError: A piece's process died more often than the failure policy allows.
    """
    task = ray.remote(_alone).options(
        num_cpus=slots.cpus, num_gpus=slots.gpus, max_retries=POLICIES[Fault.WORKER].retries
    )
    kept = [ray.put(value) for value in shared]
    waiting = deque(items)
    running: dict[Any, Item] = {}
    try:
        while waiting or running:
            while waiting and len(running) < slots.concurrency:
                item = waiting.popleft()
                running[task.remote(work, item, *kept)] = item
            (ready, *_), _ = ray.wait(list(running))
            item = running.pop(ready)
            yield item, _result(ready, item)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _alone(work: Callable[..., Any], item: Any, *shared: Any) -> Any:
    torch.set_num_threads(1)  # two processes beat two threads
    return work(item, *shared)


def _result(reference: Any, item: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        raise WorkersError(f"The process that worked on {item} dies again and again: {error}") from error
