"""One page for one run: a single file with its figures inside, no script and no request to anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from raysubset.report.atomic import write_text
from raysubset.report.figures import pictures
from raysubset.report.headline import headline
from raysubset.report.rank_cells import STUDY_FILE, Study, read_study
from raysubset.report.rank_page import study_context
from raysubset.report.rank_words import rank_notes
from raysubset.report.records import Records
from raysubset.report.run_info import RunInfo
from raysubset.report.summary import Summary, read_summary, summarise
from raysubset.report.tables import (
    cost_table,
    rank_table,
    rows_of,
    rung_table,
    settings_table,
    top_trials,
    versions_table,
)

REPORT_FILE = "report.html"
TEMPLATE = "report.html.j2"
TABLES_NOTE = (
    "Trials scored at later epochs rank first: scores of different epochs do not compare. The seconds of "
    "training, selection and evaluation are summed over trials that run side by side."
)


def write_report(run_folder: Path) -> Path:
    """Write ``run_folder``/report.html; the file appears in one step.

    A search's page is made from run.json and records.jsonl, a study's (see `rank_cells`) from run.json and
    correlation.json. What was interrupted gets a report that says so. Equal inputs give equal bytes.

    Returns:
        The path of the page.

    Raises:
        StorageError: A file cannot be read, or the page cannot be written.
        RecordError: A file's content is bad; the message names file and line.

    Cost: about 2 s for 200 trials of 30 epochs; the page stays under 2 MB.
    """
    path = run_folder / REPORT_FILE
    if (run_folder / STUDY_FILE).exists():
        page = render_study(RunInfo.read(run_folder), read_study(run_folder))
    else:
        page = render_page(read_summary(run_folder))
    write_text(path, page)
    return path


def render_page(summary: Summary) -> str:
    """Return the whole page of a search as HTML."""
    drawn = pictures(summary)
    result = summary.run.result
    return _render(
        summary,
        finished=summary.finished,
        warnings=summary.warnings,
        headline=headline(summary),
        facts=rows_of(summary),
        figures=[(picture, Markup(picture.svg)) for picture in drawn if not picture.small],
        space=[(picture, Markup(picture.svg)) for picture in drawn if picture.small],
        rank_notes=rank_notes(summary.ranks),
        rank_table=rank_table(summary),
        best_config=json.dumps(dict(result.best_config), indent=2) if result else None,
        tables=[table for table in (top_trials(summary), rung_table(summary), cost_table(summary)) if table.rows],
        tables_note=TABLES_NOTE,
    )


def render_study(run: RunInfo, study: Study) -> str:
    """Return the whole page of a study as HTML."""
    nothing = summarise(run, Records(()))
    return _render(
        nothing,
        **study_context(study),
        warnings=(),
        space=(),
        rank_notes=(),
        rank_table=rank_table(nothing),
        best_config=None,
    )


def _render(summary: Summary, **parts: Any) -> str:
    environment = Environment(
        loader=PackageLoader("raysubset.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    settings = [table for table in (settings_table(summary), versions_table(summary)) if table.rows]
    return environment.get_template(TEMPLATE).render(run=summary.run, settings=settings, **parts)
