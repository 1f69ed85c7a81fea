"""Judging cells on validation rows: paths of a trained supernet, or networks trained for a few epochs each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysubset.data.batches import Batch, PickedRows, RowSource, evaluation_batches
from raysubset.errors import NonFiniteLossError
from raysubset.models.catalog import build_model
from raysubset.nas.batch_statistics import recalibrated
from raysubset.nas_experiment import NasExperiment
from raysubset.runtime.architectures import (
    SearchRows,
    cell_builder,
    find_space,
    open_network,
    supernet_builder,
)
from raysubset.seeds import generator
from raysubset.selection.plan import SubsetPlan
from raysubset.training.evaluate import Evaluation, evaluate


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a cell is worth.

    Attributes:
        cell: Its name.
        score: Higher is better; -inf where it diverged.
        accuracy: Share of the judging rows, in [0, 1].
        loss: Mean cross-entropy on them, in nats.
        seconds: Wall time.
        samples: Samples consumed by training it, 0 for a path of a supernet.
    """

    cell: str
    score: float
    accuracy: float
    loss: float
    seconds: float
    samples: int = 0


class Judge(Protocol):
    """Scores cells, one after another."""

    def judge(self, cells: Sequence[str]) -> list[Judgement]:
        """Return a judgement of each."""
        ...


class SupernetJudge:
    """Judges paths of a trained supernet.

    The judging rows are a fixed draw in a random order, since BatchNorm's batch statistics must not depend on how
    the data were sorted; all paths see the same batches, made once.

    Args:
        experiment: Says how.
        rows: Training rows (for recalibration) and validation rows.
        weights: The trained supernet's state.

    Bytes: the judging rows as float32.
    """

    def __init__(self, experiment: NasExperiment, rows: SearchRows, weights: Mapping[str, Tensor]) -> None:
        self._options, self._space = experiment.candidates, find_space(experiment.space)
        shape = rows.train.rows(np.zeros(1, dtype=np.int64))[0].shape[1:]
        builder = supernet_builder(experiment)
        supernet = build_model(builder, num_classes=rows.num_classes, input_shape=shape, seed=0)
        supernet.load_state_dict(weights)
        self._supernet: Any = supernet.to(rows.device)
        options, seed = self._options, experiment.seed
        judging = drawn_rows(rows.validation, options.rows, seed, "judging-rows")
        self._batches = list(_batches(rows, rows.validation, judging, options.batch))
        self._recalibration: list[Tensor] = []
        if options.statistics == "recalibrated":
            chosen = drawn_rows(rows.train, options.recalibration * options.batch, seed, "recalibration-rows")
            self._recalibration = [batch.inputs for batch in _batches(rows, rows.train, chosen, options.batch)]

    def judge(self, cells: Sequence[str]) -> list[Judgement]:
        """Return a judgement of each cell."""
        return [self._judge(cell) for cell in cells]

    def _judge(self, cell: str) -> Judgement:
        started = perf_counter()
        self._supernet.path = self._space.parse(cell)
        if self._options.statistics == "batch":
            found = evaluate(self._supernet, self._batches)
        else:
            with recalibrated(self._supernet, self._recalibration):
                found = evaluate(self._supernet, self._batches)
        return judgement(cell, found, self._options.score, perf_counter() - started)


class TrainingJudge:
    """Judges cells by a short training of each one's own network, on subsets as the plan says."""

    def __init__(self, experiment: NasExperiment, rows: SearchRows) -> None:
        self._experiment, self._rows = experiment, rows
        judging = drawn_rows(rows.validation, experiment.candidates.rows, experiment.seed, "judging-rows")
        self._batches = list(_batches(rows, rows.validation, judging, experiment.candidates.batch))

    def judge(self, cells: Sequence[str]) -> list[Judgement]:
        """Return a judgement of each cell; one that diverges has the worst score there is."""
        return [self._judge(cell) for cell in cells]

    def _judge(self, cell: str) -> Judgement:
        started = perf_counter()
        experiment = self._experiment
        builder = cell_builder(experiment, cell)
        trial = open_network(experiment, builder, experiment.recipe, _plan_for(experiment.plan, cell), self._rows)
        try:
            while not trial.done:
                trial.run_epoch()
            found = evaluate(trial.model, self._batches)
        except NonFiniteLossError:
            found = Evaluation(math.nan, 0.0, 0)
        finally:
            trial.close()
        seconds = perf_counter() - started
        return judgement(cell, found, experiment.candidates.score, seconds, trial.samples_consumed)


def _plan_for(plan: SubsetPlan, cell: str) -> SubsetPlan:
    """Tell a selector that chooses by the architecture which one it is."""
    if plan.habits.evidence != "fitted":
        return plan
    return replace(plan, options={**plan.options, "cell": cell})


def judgement(cell: str, found: Evaluation, score: str, seconds: float, samples: int = 0) -> Judgement:
    """Return an evaluation as a judgement."""
    value = found.accuracy if score == "accuracy" else -found.loss
    if not math.isfinite(found.loss):
        value = -math.inf
    return Judgement(cell, value, found.accuracy, found.loss, seconds, samples)


def drawn_rows(source: RowSource, count: int, seed: int, purpose: str) -> NDArray[np.int64]:
    """Draw ``count`` rows (0 or more than there are: all) in a random order, from the stream (seed, purpose)."""
    order = generator(seed, purpose).permutation(len(source))
    return order if count == 0 else order[:count]


def _batches(rows: SearchRows, source: RowSource, index: NDArray[np.int64], batch: int) -> Iterator[Batch]:
    return evaluation_batches(PickedRows(source, index), rows.transform, batch, rows.device)


def one_thread() -> None:
    """Let torch compute with one thread: two processes beat two threads."""
    torch.set_num_threads(1)
