"""The stages of a run, in order: search, retrain the best on all data, test the winner once.

Every stage that is finished already is read from its records instead of run again, so a resumed run simply goes
through all of them.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from raysubset.errors import InterruptedRunError, SearchFailedError, StorageError
from raysubset.experiment import Experiment
from raysubset.models.catalog import build_model
from raysubset.report.records import RECORDS_FILE, RecordWriter, read_records
from raysubset.report.run_info import Result, StageInfo
from raysubset.runtime.place import place, rows_for_testing
from raysubset.runtime.selectors import Selectors, gpu_gains, start_selectors
from raysubset.runtime.session import Slots, cluster_slots, ray_session
from raysubset.seeds import seed64
from raysubset.tuning.attendance import attended
from raysubset.tuning.evidence import EVIDENCE_FOLDER, shared_evidence
from raysubset.tuning.opening import Drive
from raysubset.tuning.ranking import RankedTrial, rank_trials
from raysubset.tuning.run import Run, split_rows
from raysubset.tuning.stage import Pool, StageOutcome, run_stage
from raysubset.tuning.watching import watched
from raysubset.tuning.winner import test_model
from raysubset.types import TrialRecord


@contextmanager
def open_session(run: Run, dashboard: bool = False, evidence: str = EVIDENCE_FOLDER) -> Iterator[Session]:
    """Join or start Ray, put the data into its object store, start the selector; yields the stages.

    Args:
        run: Its plan says what the selector wants to know beforehand.
        dashboard: Start the Ray dashboard with a local session.
        evidence: Folder in the run's where that is kept.
    """
    options = run.experiment.search
    with attended(run.folder), ray_session(dashboard, teams=options.workers > 1):
        train, validation = split_rows(run.experiment, run.data)
        slots = cluster_slots(options.concurrency, options.workers, selector_gpu=_gpu_gains(run, len(train)))
        with _selectors(run, len(train), slots) as selectors:
            rows, held_out, transform = place(run.data, train, validation)
            known = shared_evidence(
                run.folder / evidence, run.experiment, rows, transform, run.data.num_classes, slots
            )
            settings = {**run.info.settings, "evidence": known.how, "evidence_samples": known.samples}
            run.note(settings=settings)
            pool = Pool(rows, held_out, transform, run.data.num_classes, selectors, known)
            yield Session(run, pool, slots)


def _gpu_gains(run: Run, n: int) -> bool:
    experiment, data = run.experiment, run.data
    if experiment.plan.habits.evidence != "model":
        return False  # for most plans no model need be built
    model = build_model(experiment.model, num_classes=data.num_classes, input_shape=data.input_shape, seed=0)
    return gpu_gains(experiment.plan, model, n, experiment.recipe.epochs)


@contextmanager
def _selectors(run: Run, n: int, slots: Slots) -> Iterator[Selectors]:
    """Start the session's selectors, and end them with the session.

    Ray Tune keeps the trainable of every call, and with it a handle: an actor would stay as long as the driver.
    """
    name = f"raysubset/{run.folder.resolve()}/{uuid4().hex}"  # a killed actor's name is free a moment later
    plan = run.experiment.plan
    selectors = start_selectors(name, plan, n, concurrency=slots.concurrency, gpus=slots.selector_gpus)
    try:
        yield selectors
    finally:
        selectors.stop()


@dataclass(frozen=True, slots=True)
class Session:
    """A run with its data and selector in place."""

    run: Run
    pool: Pool
    slots: Slots

    def search(self) -> tuple[RankedTrial, ...]:
        """Search on subsets; returns the trials, best first. What was chosen is kept in ``selections.npz``."""
        with watched(self.pool, self.run.data.classes, self.run.folder):
            return self._search("search", self.run.experiment)

    def search_full(self) -> tuple[RankedTrial, ...]:
        """Run the same search with every trial on all data, for comparison."""
        return self._search("search-full", self.run.experiment.on_full_data())

    def retrain(self, ranked: Sequence[RankedTrial], stage: str = "retrain") -> Result:
        """Train the best configurations on all data, choose on validation; the test data are not touched.

        Args:
            ranked: From `search` or `search_full`.
            stage: "retrain" or "retrain-full".

        Returns:
            The winner with its validation accuracy (a regression: RMSE and R2); its model lies in ``model`` (or
            ``model-full``). With ``retrain=0`` the search's best, unmeasured.
        """
        points = [trial.config for trial in ranked[: self.run.experiment.search.retrain]]
        if not points:
            return Result(best_config=ranked[0].config)
        checkpoints = self._run(stage, retraining(self.run.experiment), points).checkpoints
        rows = self._rows(stage)
        best = self._ranked(stage, "loss" if self.run.data.regression else "accuracy")[0]
        last = max((row for row in rows if row.trial == best.trial), key=lambda row: row.epoch)
        if best.trial not in checkpoints:
            raise StorageError(f"Stage {stage!r}: the checkpoint of its best trial {best.trial} is missing.")
        target = self.run.folder / stage.replace("retrain", "model")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(checkpoints[best.trial], target)
        return Result(
            best_config=best.config,
            val_accuracy=_known(best.val_accuracy),
            val_rmse=_known(best.val_rmse),
            val_r2=_known(best.val_r2),
            retrain_epochs=last.epoch,
            retrain_samples=last.samples_consumed,
            retrain_wall_s=last.finished_s,
        )

    def test(self, result: Result, stage: str = "retrain") -> Result:
        """Read the test data for the winner of a retraining (if there was one, and test data).

        They are read once in the life of a run: one that is resumed after its end keeps what it was told.
        """
        told = self.run.info.result if stage == "retrain" else self.run.info.result_full
        if told is not None and told.tested:
            return told
        if self.run.data.test is None or not result.validated:
            return result
        judged = test_model(
            self.run.folder / stage.replace("retrain", "model"),
            self.run.experiment.model,
            self.run.data.num_classes,
            rows_for_testing(self.run.data),
            self.pool.transform,
        )
        return replace(
            result,
            test_loss=judged.loss,
            test_accuracy=_known(judged.accuracy),
            test_rmse=_known(judged.rmse),
            test_r2=_known(judged.r2),
        )

    def _search(self, stage: str, experiment: Experiment) -> tuple[RankedTrial, ...]:
        self._run(stage, experiment, None)
        return self._ranked(stage, experiment.search.score)

    def _rows(self, stage: str) -> tuple[TrialRecord, ...]:
        return read_records(self.run.folder / RECORDS_FILE).stage(stage)

    def _ranked(self, stage: str, score: str) -> tuple[RankedTrial, ...]:
        rows = self._rows(stage)
        if not (ranked := rank_trials(rows, score)):
            raise SearchFailedError(_why_nothing(stage, rows))
        return ranked

    def _run(self, stage: str, experiment: Experiment, points: Sequence[Mapping[str, Any]] | None) -> StageOutcome:
        run = self.run
        known = run.info.stages.get(stage)
        own = stage == "search"
        noted_s = known.wall_s if known else self.pool.evidence.seconds if own else 0.0
        recorded_s = self._recorded_s(stage)
        with RecordWriter(run.folder / RECORDS_FILE) as writer:
            outcome = run_stage(
                stage,
                experiment,
                self.pool,
                self.slots,
                run.folder,
                writer,
                run.listener,
                drive=Drive(points, run.searcher, run.scheduler) if own else Drive(points),
                elapsed_s=max(noted_s, recorded_s),  # a driver that was killed noted nothing; its records did
                checkpoint_every_s=run.checkpoint_every_s,
            )
        info = known if known and known.finished else self._charged(outcome.info) if own else outcome.info
        if known is not None and not known.finished:  # energy of all sessions, or of none
            parts = (known.energy_j, info.energy_j)
            info = replace(info, energy_j=None if None in parts else sum(part or 0.0 for part in parts))
        if recorded_s > noted_s:  # a session that nobody noted
            info = replace(info, energy_j=None)
        run.note(stages={**run.info.stages, stage: info})
        if outcome.interrupted:
            why = f": {outcome.cause.rstrip('.')}." if outcome.cause else "."
            raise InterruptedRunError(f"Run {run.experiment.name!r} was interrupted in stage {stage!r}{why}")
        return outcome

    def _recorded_s(self, stage: str) -> float:
        """Return when the last record of a stage was made, in seconds from its beginning; 0 if there is none."""
        if not (self.run.folder / RECORDS_FILE).exists():
            return 0.0
        return max((row.finished_s for row in self._rows(stage)), default=0.0)

    def _charged(self, info: StageInfo) -> StageInfo:
        """Add the samples of the evidence: it was gathered for the search (whose clock began with it)."""
        evidence = self.pool.evidence
        return replace(
            info,
            samples=info.samples + evidence.samples,
            planned_samples=(info.planned_samples or 0) + evidence.samples,
        )


def _known(value: float) -> float | None:
    """Return a score; None for one that is not of the task."""
    return None if math.isnan(value) else value


def _why_nothing(stage: str, rows: Sequence[TrialRecord]) -> str:
    """Say what ended the first trial of a stage that judged none, and how many ended otherwise."""
    failed = sorted((row for row in rows if row.status == "failed"), key=lambda row: row.finished_s)
    if not failed:
        return f"Stage {stage!r}: no trial was ever judged, and none says why."
    first, others = failed[0], {row.reason for row in failed} - {failed[0].reason}
    more = f" Other reasons given: {'; '.join(sorted(others))}." if others else ""
    trials = len({row.trial for row in rows})
    what = f"all {trials} trials failed" if len(failed) == trials else f"{len(failed)} of {trials} trials failed"
    ended = "" if len(failed) == trials else ", the others ended before they were judged"
    return f"Stage {stage!r}: {what}{ended}. The first, {first.trial}: {first.reason}.{more}"


def retraining(experiment: Experiment) -> Experiment:
    """Return the experiment that trains chosen configurations on all data, to the end, from another seed."""
    full = experiment.on_full_data()  # without a ladder of ratios or restarts: one plain training
    options = replace(full.search, scheduler="none", evaluate="rungs")
    return replace(full, search=options, seed=seed64(experiment.seed, "retrain"))
