"""Candidates judged by many workers at a time, each judgement kept the moment it is there."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import ray
from torch import Tensor

from raysubset.errors import RecordError, WorkersError
from raysubset.nas_experiment import NasExperiment
from raysubset.runtime.failure import POLICIES, Fault
from raysubset.runtime.judges import Judge, Judgement, SupernetJudge, TrainingJudge, one_thread
from raysubset.runtime.session import Slots
from raysubset.tuning.nas_trainable import NasSetting

CANDIDATES_FILE = "candidates.jsonl"
FINALISTS_FILE = "finalists.jsonl"


class JudgeWorker:
    """A judge in a process of its own.

    Args:
        setting: Data and experiment.
        supernet: Reference to a trained supernet's weights, kept by whoever asks: a restarted worker reads them
            again. None: each cell is trained by itself.
    """

    def __init__(self, setting: NasSetting, supernet: list[ray.ObjectRef[Any]] | None) -> None:
        one_thread()
        rows = setting.open()
        self._judge: Judge
        if supernet is None:
            self._judge = TrainingJudge(setting.experiment, rows)
        else:
            self._judge = SupernetJudge(setting.experiment, rows, ray.get(supernet[0]))

    def judge(self, cells: Sequence[str]) -> list[Judgement]:
        """Return a judgement of each."""
        return self._judge.judge(cells)


class JudgePool:
    """As many judges as there are places, from the first cell on until `close`.

    A search that goes on may have no cell left to judge. Then none is started: a process that Ray (2.60) is told
    to end while it is being made may keep its place for ever, and the next judge would wait for it.

    Which worker judges a cell changes nothing of the judgement, so what a worker that died was asked is asked of
    another. (Ray's own restarts would want the constructor's arguments kept alive, and say so at every start.)

    Args:
        setting: Data and experiment.
        weights: Of a trained supernet, or None.
        slots: Workers at a time and what each may use.
        chunk: Cells a call: enough to make the call cheap beside them.
    """

    def __init__(
        self, setting: NasSetting, weights: Mapping[str, Tensor] | None, slots: Slots, chunk: int
    ) -> None:
        self._chunk, self._setting = chunk, setting
        self._weights = None if weights is None else [ray.put(weights)]
        self._worker = ray.remote(JudgeWorker).options(num_cpus=slots.cpus, num_gpus=slots.gpus)
        self._places, self._actors = slots.concurrency, list[Any]()
        self._deaths_left = POLICIES[Fault.WORKER].retries * slots.concurrency

    def _start(self) -> Any:
        return self._worker.remote(self._setting, self._weights)

    def judge(self, cells: Sequence[str]) -> Iterator[Judgement]:
        """Yield the judgements of ``cells`` as they come in.

        Raises:
            WorkersError: Workers died more often than the failure policy allows.
        """
        waiting = deque(cells[i : i + self._chunk] for i in range(0, len(cells), self._chunk))
        if waiting and not self._actors:
            self._actors = [self._start() for _ in range(self._places)]
        busy: dict[Any, tuple[Any, Sequence[str]]] = {}
        idle = list(self._actors)
        while waiting or busy:
            while waiting and idle:
                actor, chunk = idle.pop(), waiting.popleft()
                busy[actor.judge.remote(chunk)] = actor, chunk
            (ready, *_), _ = ray.wait(list(busy))
            actor, chunk = busy.pop(ready)
            try:
                judged = ray.get(ready)
            except ray.exceptions.RayActorError as error:
                actor = self._replaced(actor, error)
                waiting.appendleft(chunk)
                judged = []
            idle.append(actor)
            yield from judged

    def _replaced(self, dead: Any, error: Exception) -> Any:
        """Start another worker in the place of one that died."""
        if self._deaths_left == 0:
            raise WorkersError(f"The workers that judge candidates die again and again: {error}") from error
        self._deaths_left -= 1
        self._actors[self._actors.index(dead)] = fresh = self._start()
        return fresh

    def close(self) -> None:
        """End the workers."""
        for actor in self._actors:
            ray.kill(actor)


@dataclass(slots=True)
class CandidateLog:
    """candidates.jsonl: a judgement a line; what stands there is not judged again.

    Attributes:
        path: The file.
        known: Cell -> its judgement.
        judged_s: Wall seconds spent on judging, in all sessions.
    """

    path: Path
    known: dict[str, Judgement]
    judged_s: float = 0.0

    @classmethod
    def open(cls, path: Path) -> CandidateLog:
        """Read what was judged before; a last line that was cut short by a crash is dropped.

        Raises:
            RecordError: Another line cannot be read.
        """
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
        *whole, tail = lines
        if tail:
            path.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")
        known, seconds = {}, 0.0
        for number, line in enumerate(whole, 1):
            try:
                plain = json.loads(line)
                seconds += plain.pop("wall_s")
                known[plain["cell"]] = Judgement(**plain)
            except (ValueError, TypeError, KeyError) as error:
                raise RecordError(f"{path}, line {number}: {error}.") from error
        return cls(path, known, seconds)

    def judged(
        self, cells: Sequence[str], judge: Callable[[Sequence[str]], Iterable[Judgement]]
    ) -> list[Judgement]:
        """Return the judgements of ``cells`` in their order; those not known yet are judged and kept."""
        started = perf_counter()
        for found in judge([cell for cell in cells if cell not in self.known]):
            self.known[found.cell] = found
            wall_s, started = perf_counter() - started, perf_counter()
            self.judged_s += wall_s
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**asdict(found), "wall_s": wall_s}) + "\n")
        return [self.known[cell] for cell in cells]


def chunk_size(experiment: NasExperiment) -> int:
    """Return the cells of a call: a path takes a tenth of a second, a training many."""
    return 4 if experiment.trains_supernet else 1
