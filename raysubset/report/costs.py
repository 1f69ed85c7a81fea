"""What a run cost in samples and seconds, and what that saves.

Two yardsticks, never mixed: the *planned full cost* is arithmetic (every planned trial, every planned epoch, all
rows, no early stopping); the *measured full search* is the same search really run on all data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raysubset.report.records import Records
from raysubset.report.run_info import STAGES, RunInfo, StageInfo
from raysubset.report.trials import by_trial
from raysubset.types import TrialRecord


@dataclass(frozen=True, slots=True)
class StageCost:
    """The cost of one stage.

    Attributes:
        stage: Its name.
        finished: Whether it came to its own end.
        trials: Trials started.
        samples: Samples consumed: the runner's count once finished, until then the sum over the records.
        planned_samples: Without early stopping, None if the runner did not say.
        wall_s: Seconds from start to end, None if the runner did not say.
        train_s, select_s, eval_s: Summed over trials; trials run side by side, so the sum may exceed ``wall_s``.
        energy_j: See `StageInfo`.
    """

    stage: str
    finished: bool
    trials: int
    samples: int
    planned_samples: int | None
    wall_s: float | None
    train_s: float
    select_s: float
    eval_s: float
    energy_j: float | None = None

    @property
    def selection_share(self) -> float | None:
        """Selection seconds / (training + selection + evaluation); None when no second was measured."""
        return ratio(self.select_s, self.train_s + self.select_s + self.eval_s)

    @property
    def evaluation_share(self) -> float | None:
        """Evaluation seconds / (training + selection + evaluation); None when no second was measured."""
        return ratio(self.eval_s, self.train_s + self.select_s + self.eval_s)


def ratio(above: float | None, below: float | None) -> float | None:
    """Return above / below, None when either was not measured or nothing can be divided by."""
    return None if above is None or below is None or below <= 0 else above / below


def stage_costs(run: RunInfo, records: Records) -> tuple[StageCost, ...]:
    """Return the cost of every stage that began, in the order search, search-full, retrain, retrain-full."""
    begun = [(name, records.stage(name), run.stages.get(name)) for name in STAGES]
    return tuple(_stage_cost(name, rows, info) for name, rows, info in begun if rows or info)


def _stage_cost(stage: str, rows: Sequence[TrialRecord], info: StageInfo | None) -> StageCost:
    trials = by_trial(rows)
    recorded = sum(max(row.samples_consumed for row in group) for group in trials.values())
    finished = info is not None and info.finished
    return StageCost(
        stage=stage,
        finished=finished,
        trials=info.trials if info is not None and finished else len(trials),
        samples=info.samples if info is not None and finished else recorded,
        planned_samples=info.planned_samples if info else None,
        wall_s=info.wall_s if info else None,
        train_s=math.fsum(row.train_s for row in rows),
        select_s=math.fsum(row.select_s for row in rows),
        eval_s=math.fsum(row.eval_s for row in rows),
        energy_j=info.energy_j if info else None,
    )


@dataclass(frozen=True, slots=True)
class Savings:
    """How many times cheaper the search on subsets was; below 1 it was dearer, None was not measured.

    Attributes:
        planned_trials: Those of the search; of a finished one that its budget ended sooner, those it started.
        planned_full: planned_trials * epochs * n_train, in samples (arithmetic).
        planned_factor: ``planned_full`` / samples of the finished search.
        samples_factor, wall_factor: Measured full search / search; both finished.
        whole_samples_factor, whole_wall_factor: The same with the final training added on either side.
    """

    planned_trials: int
    planned_full: int
    planned_factor: float | None
    samples_factor: float | None
    wall_factor: float | None
    whole_samples_factor: float | None
    whole_wall_factor: float | None


def savings(run: RunInfo, costs: Sequence[StageCost]) -> Savings:
    """Compare the search with both yardsticks; a stage that did not finish is compared with nothing."""
    done = {cost.stage: cost for cost in costs if cost.finished}
    planned_trials = min(run.trials, done["search"].trials) if "search" in done else run.trials
    planned_full = planned_trials * run.epochs * run.n_train
    subset, full = ("search",), ("search-full",)
    return Savings(
        planned_trials=planned_trials,
        planned_full=planned_full,
        planned_factor=ratio(planned_full, _samples(done, subset)),
        samples_factor=ratio(_samples(done, full), _samples(done, subset)),
        wall_factor=ratio(_wall(done, full), _wall(done, subset)),
        whole_samples_factor=ratio(_samples(done, (*full, "retrain-full")), _samples(done, (*subset, "retrain"))),
        whole_wall_factor=ratio(_wall(done, (*full, "retrain-full")), _wall(done, (*subset, "retrain"))),
    )


def _samples(done: Mapping[str, StageCost], stages: Sequence[str]) -> int | None:
    if not all(stage in done for stage in stages):
        return None
    return sum(done[stage].samples for stage in stages)


def _wall(done: Mapping[str, StageCost], stages: Sequence[str]) -> float | None:
    walls = [done[stage].wall_s for stage in stages if stage in done]
    known = [wall for wall in walls if wall is not None]
    return math.fsum(known) if len(known) == len(stages) else None
