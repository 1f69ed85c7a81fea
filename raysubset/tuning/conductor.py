"""Passes calls from a team's Tune actor to its training workers, and an answer back; an actor without a torch."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import ray
from ray.actor import ActorHandle

TEAM = "team-"  # begins the name of a team's folder
Call = tuple[
    str, list[Any]
]  # a method, and a reference to its arguments in a list, so that it is not fetched here


class Conductor:
    """Holds one call at a time until every worker has answered it.

    Args:
        workers: How many there are.
    """

    def __init__(self, workers: int) -> None:
        self._workers, self._number = workers, -1
        self._call: Call = ("", [])
        self._answers: dict[int, list[Any]] = {}
        self._news = asyncio.Condition()

    async def ask(self, call: Call) -> list[Any]:
        """Have all workers make a call; returns worker 0's answer, a reference in a list, after the last one's."""
        async with self._news:
            self._number, self._call, self._answers = self._number + 1, call, {}
            self._news.notify_all()
            await self._news.wait_for(lambda: len(self._answers) == self._workers)
            return self._answers.pop(0)

    async def command(self, number: int) -> Call:
        """Return the call of that number, as soon as there is one."""
        async with self._news:
            await self._news.wait_for(lambda: self._number >= number)
            return self._call

    async def answer(self, rank: int, answer: list[Any]) -> None:
        """Take a worker's answer to the present call."""
        async with self._news:
            self._answers[rank] = answer
            self._news.notify_all()


def start_conductor(workers: int) -> ActorHandle[Any]:
    """Return a new conductor; it ends with the process that started it."""
    return cast("ActorHandle[Any]", ray.remote(num_cpus=0)(Conductor).remote(workers))
