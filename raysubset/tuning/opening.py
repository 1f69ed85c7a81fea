"""A stage's search, made from an experiment and brought to where its journal ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from raysubset.experiment import Experiment
from raysubset.hpo.budget import Ledger, sample_budget, time_budget
from raysubset.hpo.catalog import make_proposer, make_scheduler
from raysubset.hpo.fidelity import Ladder
from raysubset.hpo.history import History
from raysubset.hpo.proposer import ListedPoints, Proposer
from raysubset.hpo.run_to_end import RunToEnd
from raysubset.hpo.rungs import Rungs
from raysubset.hpo.search import Search
from raysubset.hpo.warm_start import history_from, results_of
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.runtime.segments import plan_ladder
from raysubset.tuning.journal import Journal
from raysubset.tuning.searchers import TuneProposer


@dataclass(frozen=True, slots=True)
class Drive:
    """What takes the place of the named searcher and scheduler, if anything does.

    Attributes:
        points: Train exactly these configurations instead of searching.
        searcher: A Tune searcher; it must know its space.
        scheduler: A Tune scheduler.
    """

    points: Sequence[Mapping[str, Any]] | None = None
    searcher: Searcher | None = None
    scheduler: TrialScheduler | None = None


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


def open_search(
    stage: str, experiment: Experiment, ladder: Ladder, n: int, concurrency: int, folder: Path, drive: Drive
) -> tuple[Search, Journal]:
    """Make a stage's search, and bring it to where its journal ends.

    Args:
        stage: Its name; the journal is ``folder``/search-``stage``.jsonl.
        experiment: What to search.
        ladder: Where trials are judged.
        n: Rows of the pool.
        concurrency: Trials at a time.
        folder: The run's folder.
        drive: What takes the place of the named searcher and scheduler.

    Raises:
        OptionsError: The journal is of another search; says what differs.
        SearchSpaceError: The earlier run has nothing for this search.
    """
    options, space, seed, count = experiment.search, experiment.space, experiment.seed, len(ladder.rungs.levels)
    trials = options.trials if drive.points is None else len(drive.points)
    journal = Journal(folder / f"search-{stage}.jsonl", _heading(experiment, ladder.rungs, trials))
    scheduled = drive.scheduler is None
    search = Search(
        ladder.rungs,
        make_scheduler(options.scheduler, ladder.rungs, options.eta, seed, space)
        if scheduled
        else RunToEnd(count),
        _proposer(experiment, drive, trials),
        trials=trials,
        concurrency=concurrency if scheduled else trials,  # a foreign scheduler may pause trials unheard
        ledger=stage_ledger(experiment, n, ladder.rungs) if drive.points is None else Ledger(),
        history=earlier_history(experiment, ladder) if drive.points is None else None,
        journal=journal.append,
    )
    search.replay(journal.events)
    return search, journal


def _proposer(experiment: Experiment, drive: Drive, trials: int) -> Proposer:
    if drive.points is not None:
        return ListedPoints(drive.points)
    if drive.searcher is not None:
        return TuneProposer(drive.searcher)
    return make_proposer(experiment.search.search, experiment.space, experiment.seed, trials)


def earlier_history(experiment: Experiment, ladder: Ladder) -> History | None:
    """Return what the earlier run found, at the fidelities of this one; None if there is none to start from.

    Raises:
        StorageError, RecordError: Its records cannot be read.
        SearchSpaceError: It has nothing for this search.
    """
    if not experiment.search.earlier:
        return None
    records = read_records(Path(experiment.search.earlier) / RECORDS_FILE).rows
    consumed = np.cumsum(ladder.costs)
    shares = [float(consumed[epoch - 1] / consumed[-1]) for epoch in ladder.rungs.epochs]
    return history_from(results_of(records, experiment.search.score), experiment.space, shares).history


def _heading(experiment: Experiment, rungs: Rungs, trials: int) -> dict[str, Any]:
    options = experiment.search
    return {
        "search": options.search,
        "scheduler": options.scheduler,
        "score": options.score,
        "eta": options.eta,
        "trials": trials,
        "seed": experiment.seed,
        "levels": rungs.levels,
        "epochs": rungs.epochs,
    }
