"""One stage of a run: a Tune experiment over one plan, resumable, reporting into our records."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.actor import ActorHandle
from ray.tune import CheckpointConfig, ExperimentAnalysis, ResumeConfig
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from raysubset.data.transform import Transform
from raysubset.experiment import Experiment, SearchOptions
from raysubset.hpo.budget import Ledger, sample_budget, time_budget
from raysubset.hpo.catalog import make_proposer, make_scheduler
from raysubset.hpo.fidelity import Ladder
from raysubset.hpo.proposer import ListedPoints, Proposer
from raysubset.hpo.run_to_end import RunToEnd
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.search import Search
from raysubset.proxy.service import SelectorService
from raysubset.report.records import RecordWriter
from raysubset.report.run_info import StageInfo
from raysubset.runtime.segments import plan_ladder
from raysubset.runtime.session import Slots
from raysubset.runtime.store import StoredSplit
from raysubset.tuning.evidence import StoredEvidence
from raysubset.tuning.jobs import Jobs
from raysubset.tuning.journal import Journal
from raysubset.tuning.recorder import Listener, Recorder
from raysubset.tuning.scheduler import SearchScheduler
from raysubset.tuning.searchers import METRIC, MODE, SearchSource, TuneProposer
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


def stage_ledger(experiment: Experiment, n: int, rungs: Rungs) -> Ledger:
    """Return what a stage may spend: all its trials to the end, or its share of the full search's budget.

    Raises:
        BudgetError: Not one trial could be judged once.
    """
    options, ratio = experiment.search, experiment.plan.ratio
    samples = options.trials * rungs.levels[-1]
    if options.budget_epochs is not None:
        samples = sample_budget(options.budget_epochs, ratio, n, rungs.levels[0])
    seconds = math.inf if options.time_budget_s is None else time_budget(options.time_budget_s, ratio)
    return Ledger(samples, seconds)


def stage_ladder(experiment: Experiment, n: int) -> Ladder:
    """Lay out the trials of a stage: their segments, and where they are judged (at the end only without halving).

    Raises:
        OptionsError, BudgetError: See `plan_ladder`.
    """
    options = experiment.search
    ladder = plan_ladder(
        options.fidelity_options, experiment.plan, n, experiment.recipe.epochs, options.eta, options.place
    )
    if options.scheduler != "none":
        return ladder
    return replace(ladder, rungs=Rungs(ladder.rungs.levels[-1:], ladder.rungs.epochs[-1:]))


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
    ladder = stage_ladder(experiment, len(pool.train))
    rungs = ladder.rungs
    recorder = Recorder(stage, experiment.seed, writer, listener, elapsed_s)
    search, journal = _open_search(stage, experiment, pool, slots, folder, rungs, points, searcher, scheduler)
    jobs = Jobs(search, lambda: recorder.elapsed_s, keeps_models=points is not None)
    setting = StageSetting(
        stage,
        experiment,
        pool.train,
        pool.validation,
        pool.transform,
        pool.selector,
        pool.evidence,
        pool.num_classes,
        ladder,
        gpu=slots.gpus > 0,
        checkpoint_every_s=checkpoint_every_s,
        keep_final=points is not None,
    )
    budget = min(search.ledger.samples, search.trials * rungs.levels[-1])
    listener.stage_started(stage, search.trials, budget)
    try:
        analysis = _tune(
            setting,
            slots,
            search.trials,
            folder / "tune",
            SearchSource(jobs, hears=scheduler is not None),
            scheduler or SearchScheduler(jobs),
            recorder,
        )
    finally:
        listener.stage_ended()
        journal.close()
    unfinished = [trial for trial in analysis.trials if not trial.is_finished()]  # type: ignore[no-untyped-call]
    interrupted = bool(unfinished) or not search.finished
    info = StageInfo(
        wall_s=recorder.elapsed_s,
        samples=search.ledger.total,
        trials=search.started,
        finished=not interrupted,
        planned_samples=int(budget),
    )
    return StageOutcome(info, interrupted, _checkpoints(analysis.trials))


def _open_search(
    stage: str,
    experiment: Experiment,
    pool: Pool,
    slots: Slots,
    folder: Path,
    rungs: Rungs,
    points: Sequence[Mapping[str, Any]] | None,
    searcher: Searcher | None,
    scheduler: TrialScheduler | None,
) -> tuple[Search, Journal]:
    """Make the stage's search, and bring it to where its journal ends."""
    options, space, seed = experiment.search, experiment.space, experiment.seed
    count = len(rungs.levels)
    if points is not None:
        proposer: Proposer = ListedPoints(points)
        trials, ledger = len(points), Ledger()
    else:
        proposer = (
            TuneProposer(searcher) if searcher else make_proposer(options.search, space, seed, options.trials)
        )
        trials, ledger = options.trials, stage_ledger(experiment, len(pool.train), rungs)
    journal = Journal(
        folder / f"search-{stage}.jsonl",
        {"levels": rungs.levels, "epochs": rungs.epochs, "trials": trials, "seed": seed, **_names(options)},
    )
    search = Search(
        rungs,
        RunToEnd(count) if scheduler else make_scheduler(options.scheduler, rungs, options.eta, seed, space),
        proposer,
        trials=trials,
        concurrency=trials if scheduler else slots.concurrency,
        ledger=ledger,
        journal=journal.append,
    )
    search.replay(journal.events)
    return search, journal


def _names(options: SearchOptions) -> dict[str, Any]:
    return {"search": options.search, "scheduler": options.scheduler, "eta": options.eta, "score": options.score}


def _tune(
    setting: StageSetting,
    slots: Slots,
    trials: int,
    folder: Path,
    source: SearchSource,
    scheduler: TrialScheduler,
    recorder: Recorder,
) -> ExperimentAnalysis:
    """Call Ray Tune, quietly; resume what stands in its folder."""
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    stage = setting.stage
    resumes = any((folder / stage).glob("experiment_state-*.json"))
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
            search_alg=source,
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
