"""What a simulated search did: jobs of workers, and who led when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np


class Job(NamedTuple):
    """What a worker did without a break.

    Attributes:
        kind: "start" for a new trial, "promote" for one that was paused.
        trial: Its id.
        rung: Where it was sent first; a scheduler that does not pause lets it go on from there.
        worker: 0..workers-1.
        begin_s, end_s: Virtual seconds since the search began.
        samples: Trained in between.
    """

    kind: str
    trial: str
    rung: int
    worker: int
    begin_s: float
    end_s: float
    samples: int


class Incumbent(NamedTuple):
    """The best trial known from some moment on: of the highest rung reached by then, the lowest loss.

    Attributes:
        elapsed_s: Virtual seconds since the search began.
        samples: Trained by all workers until then.
        trial: Its id.
        rung: Where it was judged; the loss may rise when the rung does.
        loss: Its loss there.
        regret: That of its configuration, None where the optimum is not known.
    """

    elapsed_s: float
    samples: int
    trial: str
    rung: int
    loss: float
    regret: float | None


@dataclass(frozen=True)
class Trace:
    """What happened.

    Attributes:
        jobs: In order of their begin.
        workers: How many there were.
        incumbents: In order of time; empty if no trial was judged with a finite loss.
    """

    jobs: tuple[Job, ...]
    workers: int
    incumbents: tuple[Incumbent, ...]

    @cached_property
    def samples(self) -> int:
        """Samples consumed by all trials: the cost."""
        return sum(job.samples for job in self.jobs)

    @cached_property
    def wall_s(self) -> float:
        """Virtual seconds until the last job ended."""
        return max((job.end_s for job in self.jobs), default=0.0)

    @cached_property
    def idle_share(self) -> float:
        """Share of the workers' time that no job filled, in [0, 1]; starting a trial counts as work."""
        busy = math.fsum(job.end_s - job.begin_s for job in self.jobs)
        return 1 - busy / (self.workers * self.wall_s) if self.wall_s else 0.0

    @cached_property
    def promotions(self) -> int:
        """Jobs that took up a paused trial."""
        return sum(job.kind == "promote" for job in self.jobs)

    @property
    def regret(self) -> float | None:
        """Regret of the last incumbent; None if there is none or the optimum is not known."""
        return self.incumbents[-1].regret if self.incumbents else None


def samples_trained(jobs: Sequence[Job], times: Sequence[float], startup_s: float) -> list[int]:
    """Count the samples that all workers had trained at each time, epochs under way in part. O(jobs) a time."""
    begin = np.array([job.begin_s for job in jobs]) + startup_s
    span = np.maximum(np.array([job.end_s for job in jobs]) - begin, 1e-12)  # an epoch may cost nothing
    samples = np.array([job.samples for job in jobs], dtype=np.float64)
    shares = (np.clip((time - begin) / span, 0.0, 1.0) for time in times)
    return [round(float(samples @ share)) for share in shares]
