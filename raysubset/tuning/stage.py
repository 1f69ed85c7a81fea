"""One stage of a run: a Tune experiment over one plan, resumable, reporting into our records."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.actor import ActorHandle
from ray.tune import CheckpointConfig, ExperimentAnalysis, ResumeConfig
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from raysubset.data.transform import Transform
from raysubset.experiment import Experiment
from raysubset.hpo.budget import SampleLedger, sample_budget
from raysubset.hpo.rungs import Rungs, place_rungs
from raysubset.proxy.service import SelectorService
from raysubset.report.records import RecordWriter
from raysubset.report.run_info import StageInfo
from raysubset.runtime.session import Slots
from raysubset.runtime.store import StoredSplit
from raysubset.tuning.evidence import StoredEvidence
from raysubset.tuning.recorder import Listener, Recorder
from raysubset.tuning.scheduler import SampleHalving
from raysubset.tuning.searchers import METRIC, MODE, Admission, FixedPoints, make_searcher
from raysubset.tuning.trainable import StageSetting, SubsetTrainable

CHECKPOINT_EVERY_S = 20.0  # what a killed trial may have to repeat; a checkpoint costs 20-50 ms
RETRIES = 2  # of a trial whose process dies


@dataclass(frozen=True, slots=True)
class Pool:
    """The data of a run, in the object store, with the selector that serves it.

    Attributes:
        train, validation: Stored splits.
        transform: Statistics of the training rows.
        num_classes: Classes of the task.
        selector: The selector actor.
        evidence: What all trials know of the training rows.
    """

    train: StoredSplit
    validation: StoredSplit
    transform: Transform
    num_classes: int
    selector: ActorHandle[SelectorService]
    evidence: StoredEvidence


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """What a stage cost, whether it was interrupted, and the checkpoint folder of each finished trial kept."""

    info: StageInfo
    interrupted: bool
    checkpoints: Mapping[str, Path]


def stage_budget(experiment: Experiment, n: int, rungs: Rungs) -> float:
    """Return the samples a stage may spend: all its trials to the end, or its share of ``budget_epochs``.

    Raises:
        BudgetError: Not one trial could be judged once.
    """
    options = experiment.search
    if options.budget_epochs is None:
        return options.trials * rungs.levels[-1]
    return sample_budget(options.budget_epochs, experiment.plan.ratio, n, rungs.levels[0])


def stage_rungs(experiment: Experiment, n: int) -> Rungs:
    """Place the stage's rungs; without halving there is one, the end."""
    epochs = experiment.plan.timetable(n, experiment.recipe.epochs)
    rungs = place_rungs(epochs.costs, experiment.search.eta)
    if experiment.search.scheduler == "none":
        return Rungs(rungs.levels[-1:], rungs.epochs[-1:])
    return rungs


def run_stage(
    stage: str,
    experiment: Experiment,
    pool: Pool,
    slots: Slots,
    folder: Path,
    writer: RecordWriter,
    listener: Listener,
    *,
    points: Sequence[Mapping[str, Any]] | None = None,
    searcher: Searcher | None = None,
    scheduler: TrialScheduler | None = None,
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
        points: Train exactly these configurations instead of searching.
        searcher: A Tune searcher in place of the named one; it must know its space.
        scheduler: A Tune scheduler in place of the named one.
        elapsed_s: Seconds spent on this stage in earlier sessions.
        checkpoint_every_s: Seconds of work that a fault may cost a trial.
    """
    n = len(pool.train)
    rungs = stage_rungs(experiment, n)
    trials = experiment.search.trials if points is None else len(points)
    budget = stage_budget(experiment, n, rungs) if points is None else trials * rungs.levels[-1]
    proposer = searcher or make_searcher(experiment.search.search, experiment.space, experiment.seed, trials)
    admission = Admission(
        proposer if points is None else FixedPoints(points),
        trials=trials,
        concurrency=slots.concurrency,
        ledger=SampleLedger(budget),
        rungs=rungs,
    )
    recorder = Recorder(stage, experiment.seed, writer, listener, elapsed_s)
    tune_folder = folder / "tune"
    setting = StageSetting(
        stage,
        experiment,
        pool.train,
        pool.validation,
        pool.transform,
        pool.selector,
        pool.evidence,
        pool.num_classes,
        rungs,
        gpu=slots.gpus > 0,
        checkpoint_every_s=checkpoint_every_s,
        keep_final=points is not None,
    )
    listener.stage_started(stage, trials, budget)
    try:
        analysis = _tune(
            stage,
            setting,
            slots,
            trials,
            tune_folder,
            admission,
            scheduler or _halving(stage, experiment, rungs, folder),
            recorder,
        )
    finally:
        listener.stage_ended()
    unfinished = [trial for trial in analysis.trials if not trial.is_finished()]  # type: ignore[no-untyped-call]
    interrupted = bool(unfinished) or not _complete(analysis, admission, trials)
    info = StageInfo(
        wall_s=recorder.elapsed_s,
        samples=admission.ledger.total,
        trials=len(analysis.trials),
        finished=not interrupted,
        planned_samples=int(budget),
    )
    return StageOutcome(info, interrupted, _checkpoints(analysis.trials))


def _complete(analysis: ExperimentAnalysis, admission: Admission, trials: int) -> bool:
    """True when every trial that could be admitted was."""
    return len(analysis.trials) >= trials or not admission.ledger.admits()


def _halving(stage: str, experiment: Experiment, rungs: Rungs, folder: Path) -> TrialScheduler:
    if experiment.search.scheduler == "none" or rungs.halvings == 0:
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    return SampleHalving(rungs, experiment.search.eta, folder / f"halving-{stage}.json")


def _tune(
    stage: str,
    setting: StageSetting,
    slots: Slots,
    trials: int,
    folder: Path,
    admission: Admission,
    scheduler: TrialScheduler,
    recorder: Recorder,
) -> ExperimentAnalysis:
    """Call Ray Tune, quietly; resume what stands in its folder."""
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    resumes = (folder / stage).exists()
    with _environment(
        TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",  # 44 ms a trial; records.jsonl is ours
        RAY_AIR_NEW_OUTPUT="0",  # the new output prints tables at verbosity 0 too
        TUNE_MAX_PENDING_TRIALS_PG=str(slots.concurrency),  # 1 would start the workers one after the other
    ):
        return tune.run(
            tune.with_parameters(SubsetTrainable, setting=setting),
            name=stage,
            storage_path=str(folder.resolve()),
            metric=METRIC,
            mode=MODE,
            num_samples=trials,
            search_alg=admission,
            scheduler=scheduler,
            resources_per_trial={"cpu": slots.cpus, "gpu": slots.gpus},
            reuse_actors=True,
            max_failures=RETRIES,
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            callbacks=[recorder],
            raise_on_failed_trial=False,
            verbose=0,
            resume=resumes or None,
            resume_config=ResumeConfig(errored=ResumeConfig.ResumeType.SKIP) if resumes else None,  # type: ignore[arg-type]
        )


@contextmanager
def _environment(**settings: str) -> Iterator[None]:
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
