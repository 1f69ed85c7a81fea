"""Everything a report says, computed once from a run's two files; no drawing, no wording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raysubset.report.costs import Savings, StageCost, savings, stage_costs
from raysubset.report.intervals import Estimate, difference, wilson
from raysubset.report.progress import BestPoint, Curve, best_so_far, curves
from raysubset.report.rank_check import RankCheck, rank_check
from raysubset.report.records import RECORDS_FILE, Records, read_records
from raysubset.report.run_info import Result, RunInfo
from raysubset.report.selections import Selections, read_selections
from raysubset.report.trials import EpochMix, RungCount, TrialOutcome, epoch_mix, outcomes, rung_counts
from raysubset.types import TrialRecord


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Test accuracies as shares with 95 % intervals; None was not measured.

    Attributes:
        test: Of the configuration found on subsets.
        test_full: Of the configuration found by the search on all data.
        gap: ``test`` - ``test_full``.
    """

    test: Estimate | None
    test_full: Estimate | None
    gap: Estimate | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One run, digested. Fields ending in ``_full`` belong to the comparison search on all data.

    Attributes:
        run: The run's facts.
        finished: Whether every stage that began has ended and its result was written (``result`` for the search,
            ``result_full`` too once the comparison began).
        warnings: What was left out of the records and why.
        trials: The search's trials, best first.
        rungs: Its trials by rung, empty without rungs.
        ranks: Whether its rungs rank as later ones do, and as training on all data does.
        mix: What its epochs trained on.
        curves: Each trial's scores over its samples.
        best, best_full: The incumbent over samples and seconds.
        costs: One per stage that began.
        savings: Against the planned full cost and the measured full search.
        accuracy: On the test rows.
        records: Of the search.
        selections: What was chosen, None where that is not known.
    """

    run: RunInfo
    finished: bool
    warnings: tuple[str, ...]
    trials: tuple[TrialOutcome, ...]
    rungs: tuple[RungCount, ...]
    ranks: RankCheck
    mix: tuple[EpochMix, ...]
    curves: tuple[Curve, ...]
    best: tuple[BestPoint, ...]
    best_full: tuple[BestPoint, ...]
    costs: tuple[StageCost, ...]
    savings: Savings
    accuracy: Accuracy
    records: tuple[TrialRecord, ...]
    selections: Selections | None = None

    def cost(self, stage: str) -> StageCost | None:
        """Return the cost of a stage, None if it did not begin."""
        return next((cost for cost in self.costs if cost.stage == stage), None)

    @property
    def failed(self) -> int:
        """How many trials of the search failed."""
        return sum(trial.status == "failed" for trial in self.trials)

    @property
    def trial_peak_bytes(self) -> int | None:
        """Largest resident memory of a process that ran trials of the search; None was not measured."""
        return max((row.peak_bytes for row in self.records if row.peak_bytes is not None), default=None)

    @property
    def selector_peak_bytes(self) -> int | None:
        """Largest resident memory of a selector's process; None was not measured."""
        return None if self.selections is None else self.selections.selector_peak_bytes or None


def summarise(run: RunInfo, records: Records, selections: Selections | None = None) -> Summary:
    """Digest a run. Cost: O(r log r) for r records."""
    search, full = records.stage("search"), records.stage("search-full")
    trials = outcomes(search, run.score)
    costs = stage_costs(run, records)
    compared = any(cost.stage == "search-full" for cost in costs)
    reported = run.result is not None and (run.result_full is not None or not compared)
    return Summary(
        run=run,
        finished=reported and all(cost.finished for cost in costs),
        warnings=records.warnings,
        trials=trials,
        rungs=rung_counts(search, trials),
        ranks=rank_check(search, records.stage("retrain"), run.score),
        mix=epoch_mix(search),
        curves=curves(search, run.score),
        best=best_so_far(search, run.score),
        best_full=best_so_far(full, run.score),
        costs=costs,
        savings=savings(run, costs),
        accuracy=accuracy(run),
        records=search,
        selections=selections,
    )


def accuracy(run: RunInfo) -> Accuracy:
    """Put 95 % intervals around the test accuracies and their difference."""
    test, test_full = _estimate(run.result, run.n_test), _estimate(run.result_full, run.n_test)
    return Accuracy(test, test_full, difference(test, test_full) if test and test_full else None)


def _estimate(result: Result | None, n_test: int) -> Estimate | None:
    if result is None or result.test_accuracy is None:
        return None
    return wilson(result.test_accuracy, n_test)


def read_summary(run_folder: Path) -> Summary:
    """Read and digest a run folder; a run that was interrupted before its first report has no records yet.

    Raises:
        StorageError: A file cannot be read.
        RecordError: A file's content is bad; the message names file and line.
    """
    run = RunInfo.read(run_folder)
    path = run_folder / RECORDS_FILE
    if not path.exists():
        return summarise(run, Records((), (f"{RECORDS_FILE} is not there: no trial has reported.",)))
    return summarise(run, read_records(path), read_selections(run_folder))
