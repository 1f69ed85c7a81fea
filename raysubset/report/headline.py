"""What a run found, what it saved and what speaks against it, in sentences.

Bad news is not left to a footnote: a slower or less accurate subset search is said in the same breath.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from raysubset.report.resources import energy_rows
from raysubset.report.scores import found_words, gap_words, loss_words, name_of_score, rmse_gap
from raysubset.report.summary import Summary
from raysubset.report.wording import NOT_MEASURED, config, count, factor, percent, seconds, times


@dataclass(frozen=True, slots=True)
class Headline:
    """Sentences for the top of the page.

    Attributes:
        found: What came out and what it cost.
        against: What fell against the search on subsets, and what makes the numbers weaker.
        unmeasured: What this run cannot tell, and why.
    """

    found: tuple[str, ...]
    against: tuple[str, ...]
    unmeasured: tuple[str, ...]


def headline(summary: Summary) -> Headline:
    """Word the summary."""
    return Headline(tuple(_found(summary)), tuple(_against(summary)), tuple(_unmeasured(summary)))


def _found(summary: Summary) -> Iterator[str]:
    result = summary.run.result
    if result is not None:
        yield f"Best configuration: {config(result.best_config)}."
        yield from found_words(summary)
    elif summary.best:
        best = summary.best[-1]
        yield (
            f"Best so far: trial {best.trial}, validation {summary.run.score} {best.score:.4g} at epoch "
            f"{best.epoch} of {summary.run.epochs}."
        )
    yield from _cost(summary)
    for label, value in energy_rows(summary):
        if not value.startswith(NOT_MEASURED):
            yield f"{label.capitalize()}: {value}."
    yield from gap_words(summary)  # a loss is said under "against"


def _cost(summary: Summary) -> Iterator[str]:
    search, full, saved = summary.cost("search"), summary.cost("search-full"), summary.savings
    if search is None:
        return
    state = "consumed" if search.finished else "has consumed"
    spent = f"The search {state} {count(search.samples)} samples"
    spent += f" in {seconds(search.wall_s)}" if search.wall_s is not None else ""
    if full is not None and saved.samples_factor is not None:
        wall = f" in {seconds(full.wall_s)}" if full.wall_s is not None else ""
        spent += f"; the same search on all data, measured, {count(full.samples)}{wall}"
        spent += f": {times(saved.samples_factor, 'fewer samples', 'more samples')}"
        if saved.wall_factor is not None:
            spent += f", {times(saved.wall_factor, 'less time', 'more time')}"
    elif saved.planned_factor is not None:
        began = saved.planned_trials
        whole = "every trial" if began == summary.run.trials else f"each of its {count(began)} trials"
        spent += (
            f"; {whole} for every epoch on all rows would be {count(saved.planned_full)} "
            f"(arithmetic, no early stopping): {times(saved.planned_factor, 'fewer', 'more')}"
        )
    yield spent + "."


def _against(summary: Summary) -> Iterator[str]:
    saved = summary.savings
    if saved.samples_factor is not None and saved.samples_factor < 1:
        yield f"The subset search consumed {factor(1 / saved.samples_factor)} the samples of that on all data."
    elif saved.samples_factor is None and saved.planned_factor is not None and saved.planned_factor < 1:
        yield f"The search consumed {factor(1 / saved.planned_factor)} the planned full cost."
    if saved.wall_factor is not None and saved.wall_factor < 1:
        yield f"The subset search was slower: it took {factor(1 / saved.wall_factor)} as long as on all data."
    if saved.whole_wall_factor is not None and saved.whole_wall_factor < 1:
        yield f"With the final training it took {factor(1 / saved.whole_wall_factor)} as long as on all data."
    yield from loss_words(summary)
    yield from _overheads(summary)
    if summary.failed:
        yield f"{summary.failed} of {len(summary.trials)} trials failed."


def _overheads(summary: Summary) -> Iterator[str]:
    search = summary.cost("search")
    if search is None:
        return
    for name, spent, share in (
        ("Choosing rows", search.select_s, search.selection_share),
        ("Evaluation", search.eval_s, search.evaluation_share),
    ):
        if share is not None and spent >= search.train_s:
            yield f"{name} took {percent(share)} of the trials' seconds, no less than training itself."


def _unmeasured(summary: Summary) -> Iterator[str]:
    search, full, score = summary.cost("search"), summary.cost("search-full"), name_of_score(summary.run)
    gained = summary.accuracy.gap is not None or rmse_gap(summary.run) is not None
    if search is None:
        yield "No trial has reported."
        return
    if full is None:
        lost = "error added" if summary.run.regression else "accuracy lost"
        yield f"The same search on all data was not run: time saved and {lost} are not measured."
    elif not full.finished or not search.finished:
        yield "A search did not finish: what was saved is not measured."
    elif not gained:
        yield f"The {score} gap to the search on all data was not measured."
    if not summary.best:
        yield "No trial was evaluated: there is no validation score."
    if summary.run.result is None:
        yield f"The best configuration has not been trained again: its test {score} is not measured."
    elif not summary.run.result.tested:
        yield f"Test {score} was not measured."
