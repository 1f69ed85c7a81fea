"""Tables as plain text cells: for the page, and for a terminal that draws its own borders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysubset.report.comparison import COMPARISON_FILE, read_comparison, read_trainings
from raysubset.report.costs import StageCost, ratio
from raysubset.report.rank_cells import STUDY_FILE, read_study
from raysubset.report.rank_verdict import study_facts
from raysubset.report.rank_words import COLUMNS, rank_line, rank_rows
from raysubset.report.resources import energy_rows, memory_rows
from raysubset.report.scores import score_columns, score_rows, trial_scores
from raysubset.report.summary import Summary, read_summary
from raysubset.report.wording import (
    NOT_MEASURED,
    config,
    count,
    factor,
    number,
    percent,
    plain,
    seconds,
    times,
)

TOP_TRIALS = 15
EXPERIMENT = "experiment"  # of the settings: the text of experiment.toml


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, column names and rows of text, every row as long as ``columns``."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def summary_rows(run_folder: Path) -> list[tuple[str, str]]:
    """Return (label, value) pairs that sum a run up, a search or a study, in the order they should be printed.

    Raises:
        StorageError: run.json, records.jsonl or correlation.json cannot be read.
        RecordError: One of them is bad; the message names file and line.
    """
    if (run_folder / STUDY_FILE).exists():
        return study_facts(read_study(run_folder))
    if (run_folder / COMPARISON_FILE).exists():
        from raysubset.report.comparison_tables import comparison_facts  # its tables are made of this module's

        return comparison_facts(comparison := read_comparison(run_folder), read_trainings(run_folder, comparison))
    return rows_of(read_summary(run_folder))


def rows_of(summary: Summary) -> list[tuple[str, str]]:
    """Return the pairs of `summary_rows` from a summary already made."""
    run, saved, search = summary.run, summary.savings, summary.cost("search")
    result, ranks = run.result, rank_line(summary.ranks)
    return [
        ("state", "finished" if summary.finished else "UNFINISHED: the numbers below are partial"),
        ("data set", f"{run.dataset} ({run.dataset_source})"),
        ("best configuration", config(result.best_config) if result else _best_so_far(summary)),
        *score_rows(summary),
        ("trials", f"{search.trials if search else 0} of {run.trials} planned, {summary.failed} failed"),
        ("samples, search", count(search.samples if search else None)),
        ("samples, planned full cost", f"{count(saved.planned_full)} (arithmetic: no early stopping)"),
        ("planned full cost / search", factor(saved.planned_factor)),
        ("samples, search on all data", count(_samples(summary, "search-full"))),
        ("samples saved, measured", _saved(saved.samples_factor)),
        ("time saved, measured", _saved(saved.wall_factor)),
        ("samples saved with final training", _saved(saved.whole_samples_factor)),
        ("time saved with final training", _saved(saved.whole_wall_factor)),
        ("wall time, search", seconds(search.wall_s if search else None)),
        ("wall time, final training", seconds(_wall(summary, "retrain"))),
        ("selection share of trial time", percent(search.selection_share if search else None)),
        ("evaluation share of trial time", percent(search.evaluation_share if search else None)),
        *energy_rows(summary),
        *memory_rows(summary),
        *([("rungs against later rungs", ranks)] if ranks else []),
    ]


def _best_so_far(summary: Summary) -> str:
    """Name the leading trial of a search that has not ended."""
    lead = summary.trials[0] if summary.trials else None
    if lead is None or lead.score is None or lead.status == "failed":
        return NOT_MEASURED
    return f"so far {config(lead.config)} (trial {lead.trial})"


def _saved(value: float | None) -> str:
    return NOT_MEASURED if value is None else times(value, "less", "more (dearer)")


def _samples(summary: Summary, stage: str) -> int | None:
    cost = summary.cost(stage)
    return cost.samples if cost is not None and cost.finished else None


def _wall(summary: Summary, stage: str) -> float | None:
    cost = summary.cost(stage)
    return cost.wall_s if cost is not None else None


def top_trials(summary: Summary) -> Table:
    """Return the best trials of the search, at most `TOP_TRIALS`."""
    names = list(dict.fromkeys(name for trial in summary.trials for name in trial.config))
    rows = tuple(
        (
            str(place),
            trial.trial,
            *(plain(trial.config.get(name, "-")) for name in names),
            f"{trial.epochs} of {summary.run.epochs}",
            number(trial.val_loss),
            *trial_scores(summary.run, trial),
            count(trial.samples),
            seconds(trial.seconds),
            f"{trial.status}: {trial.reason}" if trial.reason else trial.status,
        )
        for place, trial in enumerate(summary.trials[:TOP_TRIALS], start=1)
    )
    scores = ("val. loss", *score_columns(summary.run))
    columns = ("#", "trial", *names, "epochs", *scores, "samples", "trial time", "status")
    return Table(f"Best {len(rows)} of {len(summary.trials)} trials", columns, rows)


def rung_table(summary: Summary) -> Table:
    """Return how many trials reached and left each rung."""
    rows = tuple(
        (str(r.rung), count(r.epoch), str(r.reached), str(r.stopped), str(r.failed)) for r in summary.rungs
    )
    return Table("Trials by rung", ("rung", "first at epoch", "reached", "stopped here", "failed here"), rows)


def rank_table(summary: Summary) -> Table:
    """Return how the rungs rank against later ones, and against training on all data."""
    return Table("Kendall's tau between two judgements of the same trials", COLUMNS, rank_rows(summary.ranks))


def cost_table(summary: Summary) -> Table:
    """Return what each stage cost; "of full plan" is the share of the search's planned full cost."""
    planned = summary.savings.planned_full
    rows = tuple(_cost_row(cost, planned) for cost in summary.costs)
    columns = ("stage", "state", "trials", "samples", "planned", "of full plan", "wall time",
               "training", "selection", "evaluation", "selection share")  # fmt: skip
    return Table("Cost of each stage", columns, rows)


def _cost_row(cost: StageCost, planned_full: int) -> tuple[str, ...]:
    searching = cost.stage.startswith("search")
    return (
        cost.stage,
        "finished" if cost.finished else "unfinished",
        str(cost.trials),
        count(cost.samples),
        count(cost.planned_samples) if cost.planned_samples is not None else "-",
        percent(ratio(cost.samples, planned_full)) if searching else "-",
        seconds(cost.wall_s),
        seconds(cost.train_s),
        seconds(cost.select_s),
        seconds(cost.eval_s),
        percent(cost.selection_share),
    )


def settings_table(summary: Summary) -> Table:
    """Return the configuration of the run, nested settings with dotted names; not the experiment's own file."""
    run = summary.run
    facts: list[tuple[str, object]] = [
        ("data set", f"{run.dataset} ({run.dataset_source})"),
        ("rows", f"{run.n_train:,} train, {run.n_validation:,} validation, {run.n_test:,} test"),
        ("model", run.model), ("selector", run.selector), ("metric", run.metric), ("ratio", run.ratio),
        ("schedule", run.schedule), ("budget", run.budget), ("first epoch", run.first_epoch),
        ("search", run.search), ("scheduler", run.scheduler), ("task", run.task),
        ("score", f"validation {run.score}"),
        ("trials", run.trials), ("epochs", run.epochs), ("seed", run.seed), ("device", run.device),
        ("started", run.started),
    ]  # fmt: skip
    facts += _flat("", {name: value for name, value in run.settings.items() if name != EXPERIMENT})
    return Table("Configuration", ("option", "value"), tuple((name, str(value)) for name, value in facts))


def versions_table(versions: Mapping[str, str]) -> Table:
    """Return the package versions a run was made with."""
    return Table("Versions", ("package", "version"), tuple(sorted(versions.items())))


def _flat(prefix: str, value: object) -> Sequence[tuple[str, object]]:
    """{"a": {"b": 1}} -> [("a.b", 1)]."""
    if not isinstance(value, dict):
        return [(prefix, value)]
    inner = ((f"{prefix}.{key}" if prefix else str(key), item) for key, item in value.items())
    return [pair for name, item in inner for pair in _flat(name, item)]
