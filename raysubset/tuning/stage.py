"""One stage of a run: a Tune experiment over one plan, resumable, reporting into our records."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ray import tune
from ray.tune import Callback, CheckpointConfig, ExperimentAnalysis, ResumeConfig
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from raysubset.data.transform import Transform
from raysubset.experiment import Experiment
from raysubset.hpo.fidelity import Ladder
from raysubset.hpo.search import Search
from raysubset.report.driver import StagePlan, note_stage
from raysubset.report.records import RecordWriter
from raysubset.report.run_info import StageInfo
from raysubset.runtime.selectors import Selectors
from raysubset.runtime.session import Slots
from raysubset.runtime.store import StoredSplit
from raysubset.tuning.attendance import BudgetEnd, StopRequests
from raysubset.tuning.contest import Contest
from raysubset.tuning.controller import mended_controller
from raysubset.tuning.event_files import EventFiles
from raysubset.tuning.evidence import StoredEvidence
from raysubset.tuning.faults import RETRIES, stopping
from raysubset.tuning.followers import Followers, followers_of
from raysubset.tuning.jobs import Jobs
from raysubset.tuning.metrics import StageMetrics
from raysubset.tuning.opening import Drive, open_search, stage_ladder
from raysubset.tuning.population import checkpoints_kept, name_keepers, search_algorithm
from raysubset.tuning.recorder import Listener, Recorder
from raysubset.tuning.runner import StageSetting
from raysubset.tuning.scheduler import SearchScheduler
from raysubset.tuning.searchers import METRIC, MODE, SearchSource
from raysubset.tuning.tracking import Tracked
from raysubset.tuning.trainable import SubsetTrainable

CHECKPOINT_EVERY_S = 20.0  # what a killed trial may have to repeat; a checkpoint costs 20-50 ms
SEARCHING = Drive()


@dataclass(frozen=True, slots=True)
class Pool:
    """The data of a run, in the object store, with the selector that serves it.

    Attributes:
        train, validation: Stored splits.
        transform: Statistics of the training rows.
        num_classes: Classes of the task.
        selectors: The selector actors.
        evidence: What all trials know of the training rows.
    """

    train: StoredSplit
    validation: StoredSplit
    transform: Transform
    num_classes: int
    selectors: Selectors
    evidence: StoredEvidence


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """What a stage cost, whether (and why) it was interrupted, and where the trials' last checkpoints lie."""

    info: StageInfo
    interrupted: bool
    checkpoints: Mapping[str, Path]
    cause: str = ""


def run_stage(
    stage: str,
    experiment: Experiment,
    pool: Pool,
    slots: Slots,
    folder: Path,
    writer: RecordWriter,
    listener: Listener,
    *,
    drive: Drive = SEARCHING,
    contest: Contest | None = None,
    elapsed_s: float = 0.0,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
) -> StageOutcome:
    """Run (or go on with) a stage.

    Args:
        stage: Its name; Tune's files go to ``folder``/tune/``stage``.
        experiment: What to search.
        pool: Data and selector.
        slots: Resources of a trial.
        folder: The run's folder.
        writer: Where records go.
        listener: Follows the stage.
        drive: Points to train, or what takes the place of the named searcher and scheduler.
        contest: What the points stand for, where they are no configurations.
        elapsed_s: Seconds spent on this stage in earlier sessions.
        checkpoint_every_s: Seconds of work that a fault may cost a trial.
    """
    ladder, gauges = stage_ladder(experiment, len(pool.train)), StageMetrics(experiment.name)
    listener = Tracked(listener, (EventFiles(folder), gauges))
    search, journal = open_search(stage, experiment, ladder, len(pool.train), slots.concurrency, folder, drive)
    keeps_models = drive.points is not None
    jobs = Jobs(search, lambda: recorder.elapsed_s, keeps_models)
    requests = StopRequests(folder, stage, None if keeps_models else jobs.give_up)
    recorder = Recorder(
        stage, experiment.seed, writer, listener, elapsed_s, requests.trials, lambda: search.ledger.exhausted
    )
    setting = _setting(stage, experiment, pool, ladder, slots, folder, checkpoint_every_s, keeps_models, contest)
    followers = followers_of(stage, experiment, pool.selectors, slots, folder, recorder, requests, gauges)
    planned = _planned(search, ladder, contest)
    listener.stage_started(stage, planned.trials, planned.samples)
    note_stage(folder, stage, planned)
    source = SearchSource(jobs, hears=drive.scheduler is not None)
    scheduler = drive.scheduler or SearchScheduler(jobs, followers.faults)
    callbacks = [*name_keepers(source, scheduler), *followers.callbacks]
    if drive.scheduler is not None:
        callbacks.append(BudgetEnd(search.ledger))
    trials: list[Trial] = []
    cause = ""
    try:
        trials = _tune(setting, slots, search.trials, folder / "tune", source, scheduler, callbacks)
    except Exception as error:
        if (stopped := stopping(error)) is None:
            raise
        cause = str(stopped)
    finally:
        followers.give_back()
        listener.stage_ended()
        journal.close()
    if not cause:
        followers.save()
    return _outcome(search, trials, cause, int(planned.samples), followers)


def _setting(
    stage: str,
    experiment: Experiment,
    pool: Pool,
    ladder: Ladder,
    slots: Slots,
    folder: Path,
    checkpoint_every_s: float,
    keeps_models: bool,
    contest: Contest | None,
) -> StageSetting:
    """Return what all trials share."""
    return StageSetting(
        stage,
        experiment,
        pool.train,
        pool.validation,
        pool.transform,
        pool.selectors,
        pool.evidence,
        pool.num_classes,
        ladder,
        slots,
        checkpoint_every_s=checkpoint_every_s,
        keep_final=keeps_models,
        folder=str((folder / "tune").resolve()),
        contest=contest,
    )


def _planned(search: Search, ladder: Ladder, contest: Contest | None) -> StagePlan:
    """Return what the stage may consume at most: what is allowed, or what all trials would take to their end."""
    samples = min(search.ledger.samples, search.trials * ladder.rungs.levels[-1])
    seconds = search.ledger.seconds if math.isfinite(search.ledger.seconds) else None
    return StagePlan(search.trials, samples if contest is None else contest.samples, seconds)


def _outcome(
    search: Search, trials: Sequence[Trial], cause: str, planned_samples: int, followers: Followers
) -> StageOutcome:
    """Say what the stage cost; it was interrupted where the search or one of Tune's trials has not ended."""
    unfinished = [trial for trial in trials if not trial.is_finished()]  # type: ignore[no-untyped-call]
    interrupted = bool(cause or unfinished) or not search.finished
    info = StageInfo(
        wall_s=followers.recorder.elapsed_s,
        samples=search.ledger.total,
        trials=search.started,
        finished=not interrupted,
        planned_samples=planned_samples,
        energy_j=followers.energy.joules(),
    )
    return StageOutcome(info, interrupted, _checkpoints(trials), cause)


def _tune(
    setting: StageSetting,
    slots: Slots,
    trials: int,
    folder: Path,
    source: SearchSource,
    scheduler: TrialScheduler,
    callbacks: list[Callback],
) -> list[Trial]:
    """Call Ray Tune, quietly, and return its trials; resume what stands in its folder."""
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    stage = setting.stage
    resumes = any((folder / stage).glob("experiment_state-*.json"))
    with (
        mended_controller(),
        environment(
            TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",  # 44 ms a trial; records.jsonl is ours
            RAY_AIR_NEW_OUTPUT="0",  # the new output prints tables at verbosity 0 too
            TUNE_MAX_PENDING_TRIALS_PG=str(slots.concurrency),  # 1 would start the workers one after the other
        ),
    ):
        analysis: ExperimentAnalysis = tune.run(
            tune.with_parameters(SubsetTrainable, setting=setting),
            name=stage,
            storage_path=str(folder.resolve()),
            metric=METRIC,
            mode=MODE,
            num_samples=trials,
            search_alg=search_algorithm(source, scheduler),
            scheduler=scheduler,
            resources_per_trial=slots.trial,
            reuse_actors=True,
            max_failures=RETRIES,
            checkpoint_config=CheckpointConfig(num_to_keep=checkpoints_kept(scheduler)),
            callbacks=callbacks,
            raise_on_failed_trial=False,
            verbose=0,
            resume=resumes or None,
            resume_config=ResumeConfig(errored=ResumeConfig.ResumeType.SKIP) if resumes else None,  # type: ignore[arg-type]
        )
    return analysis.trials


@contextmanager
def environment(**settings: str) -> Iterator[None]:
    """Set what Tune reads from the environment, for as long as it runs."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _checkpoints(trials: Sequence[Trial]) -> dict[str, Path]:
    """Where each trial's last checkpoint lies."""
    return {trial.config["trial"]: Path(trial.checkpoint.path) for trial in trials if trial.checkpoint is not None}
