"""The page of a search of hyper-parameters."""

from __future__ import annotations

import json
from dataclasses import replace

from raysubset.report.data_figures import data_part, unknown_selections
from raysubset.report.figures import pictures
from raysubset.report.headline import headline
from raysubset.report.importance import importances
from raysubset.report.importance_figure import importance_picture
from raysubset.report.page import Page, Part
from raysubset.report.parallel import parallel_picture
from raysubset.report.rank_words import rank_notes
from raysubset.report.run_info import RunInfo
from raysubset.report.space import space_pictures
from raysubset.report.summary import Summary
from raysubset.report.tables import (
    EXPERIMENT,
    Table,
    cost_table,
    rank_table,
    rows_of,
    rung_table,
    settings_table,
    top_trials,
    versions_table,
)

TABLES_NOTE = (
    "Trials scored at later epochs rank first: scores of different epochs do not compare. The seconds of "
    "training, selection and evaluation are summed over trials that run side by side."
)
SPACE_NOTE = (
    "Filled: scored at the last epoch any trial was scored at; circled: the best of them. Hollow: stopped or "
    "failed earlier, so their scores do not compare. Hyper-parameters that did not vary are left out."
)
IMPORTANCE_NOTE = (
    "Importance is how much worse the order of trials is told without a hyper-parameter. It speaks of the values "
    "that were tried, not of all there are; of two that vary together each may look unimportant."
)
FIFTHS_NOTE = "The targets are numbers: fifths of them, the lowest first, stand for classes."
UNFINISHED = (
    "This run is unfinished",
    "It was interrupted or is still going on. Everything below is what it had reached.",
)
FALLBACK = "Not the data set that was asked for"


def run_page(summary: Summary) -> Page:
    """Put a search's page together. Cost: about 0.2 s a figure, and `importances`."""
    run = summary.run
    said = headline(summary)
    lacking = (*said.unmeasured, *summary.warnings)
    if summary.selections is None and summary.records:
        search = summary.cost("search")
        lacking += (unknown_selections(search is not None and search.finished),)
    return Page(
        title=f"{run.name}: {run.model} on {run.dataset}",
        subtitle=subtitle(run),
        notices=notices(summary.finished, run.dataset_note),
        headline=replace(said, unmeasured=lacking),
        facts=tuple(rows_of(summary)),
        parts=_parts(summary),
        command=run.command,
        exact=exact(run),
        settings=settings(summary),
    )


def exact(run: RunInfo) -> tuple[tuple[str, str], ...]:
    """Return what must be shown to the last letter: the best configuration, and the experiment's own file."""
    best = () if run.result is None else (json.dumps(dict(run.result.best_config), indent=2),)
    asked = run.settings.get(EXPERIMENT)
    return (
        *(("Best configuration, exact", text) for text in best),
        *((("Experiment (experiment.toml)", str(asked).strip()),) if asked else ()),
    )


def subtitle(run: RunInfo) -> str:
    """Say on what data, and when."""
    return f"Data: {run.dataset} ({run.dataset_source}), {run.n_train:,} training rows. Started {run.started}."


def notices(finished: bool, note: str) -> tuple[tuple[str, str], ...]:
    """Return what must be known before the result."""
    return (*(() if finished else (UNFINISHED,)), *(((FALLBACK, note),) if note else ()))


def settings(summary: Summary) -> tuple[Table, ...]:
    """Return the tables that describe the run exactly."""
    return tuple(table for table in (settings_table(summary), versions_table(summary.run.versions)) if table.rows)


def _parts(summary: Summary) -> tuple[Part, ...]:
    known = importances(summary.records, summary.run.score)
    space = (parallel_picture(summary), importance_picture(known, summary.run.score))
    note = f"Importance is not told. {known.why}" if known.why else IMPORTANCE_NOTE
    ranks = rank_table(summary)
    tables = (top_trials(summary), rung_table(summary), cost_table(summary))
    parts = [
        Part("How it went", pictures=pictures(summary)),
        Part("Search space", (note,), tuple(picture for picture in space if picture is not None)),
        Part("Each hyper-parameter", (SPACE_NOTE,), space_pictures(summary), small=True),
        Part("Do the rungs rank right?", tuple(rank_notes(summary.ranks)), tables=(ranks,) if ranks.rows else ()),
        Part("Numbers", (TABLES_NOTE,), tables=tuple(table for table in tables if table.rows)),
    ]
    notes = (FIFTHS_NOTE,) if summary.run.regression else ()
    chosen = [] if summary.selections is None else [data_part(summary.selections, len(summary.records), notes)]
    return tuple(part for part in (*parts[:3], *chosen, *parts[3:]) if part.shows or part in chosen)
