"""How good a run's models are, in words: the accuracy of classes, RMSE and R2 of numbers.

Test accuracies are shares of n rows and have Wilson's interval. RMSE and R2 have none here: theirs would need the
error of every test row, which a run does not keep.
"""

from __future__ import annotations

from collections.abc import Iterator

from raysubset.report.run_info import Result, RunInfo
from raysubset.report.summary import Summary
from raysubset.report.trials import TrialOutcome
from raysubset.report.wording import NOT_MEASURED, count, interval, number, percent, points, signed


def score_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return (label, value) of the winner's scores, in the order they should be printed."""
    result = summary.run.result
    if not summary.run.regression:
        return [
            ("validation accuracy", percent(result.val_accuracy if result else None)),
            ("test accuracy", interval(summary.accuracy.test)),
            ("against the search on all data", points(summary.accuracy.gap)),
        ]
    return [
        ("validation RMSE", number(result.val_rmse if result else None)),
        ("validation R2", number(result.val_r2 if result else None)),
        ("test RMSE", number(result.test_rmse if result else None)),
        ("test R2", number(result.test_r2 if result else None)),
        ("against the search on all data", _gaps(summary.run)),
    ]


def score_columns(run: RunInfo) -> tuple[str, ...]:
    """Return the columns that stand beside a trial's validation loss."""
    return ("val. RMSE", "val. R2") if run.regression else ("val. accuracy",)


def trial_scores(run: RunInfo, trial: TrialOutcome) -> tuple[str, ...]:
    """Return the cells under `score_columns`."""
    return (number(trial.val_rmse), number(trial.val_r2)) if run.regression else (percent(trial.val_accuracy),)


def rmse_gap(run: RunInfo) -> float | None:
    """Return the test RMSE less that of the search on all data, in units of the targets; below 0 is better."""
    return _minus(run, "test_rmse")


def found_words(summary: Summary) -> Iterator[str]:
    """Say how the winner did on the test rows."""
    run, result = summary.run, summary.run.result
    rows = f"on {count(run.n_test)} test rows"
    if summary.accuracy.test is not None:
        yield f"Test accuracy {interval(summary.accuracy.test)}, {rows}."
    if run.regression and result is not None and result.tested:
        yield f"{_measures(result)}, {rows}, in units of the targets."


def gap_words(summary: Summary) -> Iterator[str]:
    """Say what is no worse than the search on all data; what is worse is said by `loss_words`."""
    if (gap := summary.accuracy.gap) is not None and gap.value >= 0:
        yield f"Test accuracy against the search on all data: {points(gap)}."
    if (more := rmse_gap(summary.run)) is not None and more <= 0:
        yield f"On the test rows, against the search on all data: {_gaps(summary.run)} (no interval)."


def loss_words(summary: Summary) -> Iterator[str]:
    """Say by how much it is worse than the search on all data."""
    if (gap := summary.accuracy.gap) is not None and gap.value < 0:
        noise = "more than" if gap.high < 0 else "within"
        yield f"It found a less accurate configuration: {points(gap)}, {noise} the noise of the test rows."
    if (more := rmse_gap(summary.run)) is not None and more > 0:
        yield f"It found a configuration of larger error: {_gaps(summary.run)} (no interval)."


def name_of_score(run: RunInfo) -> str:
    """Return what stands for how good a model is."""
    return "error" if run.regression else "accuracy"


def _measures(result: Result) -> str:
    r2 = "undefined (all targets are equal)" if result.test_r2 is None else number(result.test_r2)
    return f"Test RMSE {number(result.test_rmse)}, R2 {r2}"


def _gaps(run: RunInfo) -> str:
    """Return "RMSE -0.0123, R2 +0.021"."""
    gaps = (("RMSE", rmse_gap(run)), ("R2", _minus(run, "test_r2")))
    known = [f"{name} {signed(gap)}" for name, gap in gaps if gap is not None]
    return ", ".join(known) or NOT_MEASURED


def _minus(run: RunInfo, name: str) -> float | None:
    ours, full = (None if one is None else getattr(one, name) for one in (run.result, run.result_full))
    return None if ours is None or full is None else float(ours - full)
