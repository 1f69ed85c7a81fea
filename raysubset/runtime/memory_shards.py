"""A distributed memory whose shards are actors: the shell around `raysubset.proxy.distributed`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import ray
from ray.actor import ActorHandle

from raysubset.proxy.distributed import (
    DistributedMemory,
    MemoryShard,
    check_shardable,
    kept_metrics,
    places,
    shard_edges,
)
from raysubset.runtime.failure import SelectorLostError
from raysubset.selection.plan import SubsetPlan

ShardActor = ray.remote(MemoryShard)


class RayShards:
    """Shards in actors, all asked at the same time; see `proxy.distributed.Everywhere`.

    Ray runs one caller's calls to an actor in order, so what is told is known before what is asked next; a shard
    that has missed something (Ray sends again, later, what a broken connection lost) says so when it is asked.

    Args:
        actors: In row order.
    """

    def __init__(self, actors: Sequence[ActorHandle[MemoryShard]]) -> None:
        self.actors = tuple(actors)

    def ask(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Everywhere`.

        Raises:
            SelectorLostError: A shard is gone for good; names it.
        """
        references = self._call(method, arguments)
        answers = []
        for number, reference in enumerate(references):
            try:
                answers.append(ray.get(reference))
            except ray.exceptions.RayActorError as error:
                raise SelectorLostError(
                    f"Shard {number} of {len(self.actors)} of the memory is gone and did not come back: {error}"
                ) from error
        return answers

    def tell(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        """See `Everywhere`."""
        self._call(method, arguments)

    def _call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[ray.ObjectRef[Any]]:
        return [getattr(actor, method).remote(*own) for actor, own in zip(self.actors, arguments, strict=True)]

    def stop(self) -> None:
        """End the actors."""
        for actor in self.actors:
            ray.kill(actor)


def start_memory(n: int, shards: int, plan: SubsetPlan) -> tuple[DistributedMemory, RayShards]:
    """Start the shards of one trial's memory, spread over the nodes.

    They need no CPU slot and may come back on any node after a fault, empty: the next draw then says so, and
    `DistributedMemory.restore` puts the memory back.

    Args:
        n: Rows of the pool.
        shards: Processes, at most as many as there are CPUs to sweep at a time.
        plan: Says which metrics are kept, and as what.

    Returns:
        The memory, and its actors (to end them).

    Raises:
        OptionsError: The plan needs all values in one place (`check_shardable`), or shards < 1.

    Cost: A process of 150 MB a shard; a byte a row, and 4 for each metric that is kept (2 in float16).
    """
    check_shardable(plan)
    edges = shard_edges(n, shards)
    options = ShardActor.options(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy="SPREAD")
    started = [options.remote(*place, plan.memory, kept_metrics(plan.metric)) for place in places(edges)]
    actors = RayShards(cast("list[ActorHandle[MemoryShard]]", started))
    return DistributedMemory(actors, edges), actors
