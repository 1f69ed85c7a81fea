"""One page for one run: a single file with its figures inside, no script and no request to anywhere."""

from __future__ import annotations

from pathlib import Path

from raysubset.report.atomic import write_text
from raysubset.report.comparison import COMPARISON_FILE
from raysubset.report.comparison_page import comparison_page
from raysubset.report.grid_page import grid_files, grid_page, page_file, read_grid
from raysubset.report.nas_folder import read_search
from raysubset.report.nas_info import NAS_FILE
from raysubset.report.nas_page import nas_page
from raysubset.report.page import render_page
from raysubset.report.rank_cells import STUDY_FILE, read_study
from raysubset.report.rank_page import study_page
from raysubset.report.run_info import RunInfo
from raysubset.report.run_page import run_page
from raysubset.report.summary import read_summary

REPORT_FILE = "report.html"


def write_report(folder: Path) -> Path:
    """Write ``folder``/report.html; the file appears in one step.

    What the folder holds decides what the page is about: a search of hyper-parameters (run.json), a study of rank
    correlation (correlation.json beside it) or of trainings (comparison.json beside it), an architecture search
    (nas.json), or a study of many searches (study.json, study-T3.json, ...; a page each, named alike). What was
    interrupted gets a report that says so. Equal inputs give equal bytes.

    Returns:
        The path of the page; of several the last.

    Raises:
        StorageError: A file cannot be read, or the page cannot be written.
        RecordError: A file's content is bad; the message names file and line.

    Cost: see ``README.md`` beside this file; the page stays under 2 MB.
    """
    path = folder / REPORT_FILE
    if (folder / NAS_FILE).exists():
        write_text(path, render_page(nas_page(read_search(folder))))
    elif grids := grid_files(folder):
        path = [write_grid_report(file) for file in grids][-1]
    elif (folder / STUDY_FILE).exists():
        write_text(path, render_page(study_page(RunInfo.read(folder), read_study(folder))))
    elif (folder / COMPARISON_FILE).exists():
        write_text(path, render_page(comparison_page(folder)))
    else:
        write_text(path, render_page(run_page(read_summary(folder))))
    return path


def write_grid_report(file: Path) -> Path:
    """Write the page of one study of many searches, study.json or study-T3.json, beside it; see `write_report`."""
    path = file.parent / page_file(file)
    write_text(path, render_page(grid_page(read_grid(file))))
    return path
