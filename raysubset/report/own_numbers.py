"""Our own numbers, as the papers' tables have them, from the files of the studies and runs under a folder.

    study*.json         hpo-table and hpo-dss         ASP tables 3 and 4, DSS figures 1 and 2
    nas.json            nas                           ASP tables 1 and 2
    correlation.json    corr                          ASP table 5
    comparison.json     train and ablate              ASP figure 2 and table 6

Unfinished runs and files of another schema give nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from raysubset.errors import RecordError
from raysubset.report.comparison import COMPARISON_FILE, read_comparison, read_trainings
from raysubset.report.comparison_lines import way_lines
from raysubset.report.intervals import Estimate
from raysubset.report.nas_info import NAS_FILE, NasInfo
from raysubset.report.papers import FASTEST, GAP, SLOWEST, OwnNumber
from raysubset.report.published_asp import PEARSON, SPEARMAN, TABLE_6, TAU, TEST
from raysubset.report.rank_cells import END, STUDY_FILE, read_study
from raysubset.report.rank_study import rank_rows
from raysubset.report.run_info import RunInfo
from raysubset.report.study_lines import CellResult, Line, lines, mean_over_seeds


def own_numbers(paper: str, table: str, root: Path) -> tuple[OwnNumber, ...]:
    """Return what the runs under a folder say of a paper's table.

    Args:
        paper: "asp" or "dss".
        table: Its id.
        root: Searched through all its depth.

    Raises:
        StorageError, RecordError: A finished run's file cannot be read.
    """
    if paper == "dss":
        return tuple(_dss(root))
    readers = {"T1": _nas, "T2": _nas, "T3": _searches, "T4": _searches, "T5": _ranks, "T6": _orders, "F2": _ways}
    return tuple(readers[table](root)) if table in readers else ()


def _folders(root: Path, file: str) -> list[Path]:
    return sorted(path.parent for path in root.rglob(file))


def _studies(root: Path) -> Iterator[tuple[Path, tuple[Line, ...]]]:
    """Every study of searches, as the lines of its table."""
    for path in sorted(root.rglob("study*.json")):
        plain = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(plain, dict) or "cells" not in plain:
            continue
        try:
            cells = [CellResult(**{**cell, "published": None}) for cell in plain["cells"]]
        except TypeError as error:
            raise RecordError(f"{path} is not what a study of searches writes ({error}).") from error
        yield path.parent, lines(cells)


def _of(line: Line, root: Path, folder: Path, quantity: str, at: str, estimate: Estimate) -> OwnNumber:
    first = line.cells[0]
    return OwnNumber(
        method=first.method,
        quantity=quantity,
        at=at,
        dataset=first.dataset,
        model=first.model,
        device=" / ".join(dict.fromkeys(cell.device for cell in line.finished)),
        value=estimate.value,
        half=estimate.high - estimate.value,
        runs=len(line.finished),
        where=str(folder.relative_to(root)),
    )


def _searches(root: Path) -> Iterator[OwnNumber]:
    for folder, found in _studies(root):
        for line in found:
            if (test := line.mean(lambda cell: cell.test_accuracy)) is not None:
                at = f"{100 * line.cells[0].ratio:g} %"
                yield _of(line, root, folder, TEST, at, _scaled(test))


def _dss(root: Path) -> Iterator[OwnNumber]:
    names = {"CRAIG": "craig", "GLISTER": "glister", "GRAD-MATCH (per batch)": "gradmatch-per-batch"}
    for folder, found in _studies(root):
        for line in found:
            at = f"{100 * line.cells[0].ratio:g} %"
            numbers: list[tuple[str, Estimate | None]] = [(GAP, line.gap() and _scaled(line.gap()))]
            faster = line.saving(lambda cell: cell.wall_s)
            numbers += [(SLOWEST, faster), (FASTEST, faster)]
            for quantity, estimate in numbers:
                if estimate is not None and line.cells[0].method in names:
                    own = _of(line, root, folder, quantity, at, estimate)
                    yield replace(own, method=names[own.method])


def _scaled(share: Estimate | None) -> Estimate:
    assert share is not None
    return Estimate(100 * share.value, 100 * share.low, 100 * share.high)


def _nas(root: Path) -> Iterator[OwnNumber]:
    """Searches of architectures whose cell a table of the space knows, or that were retrained; seeds together."""
    groups: dict[tuple[str, str, str, str], list[tuple[float, str, Path]]] = {}
    for folder in _folders(root, NAS_FILE):
        info = NasInfo.read(folder)
        method, at = _nas_method(info)
        if info.table is not None:
            groups.setdefault((method, at, info.table.data, info.space), []).append(
                (100 * info.table.test, info.device, folder)
            )
        elif info.retrained is not None and "test_accuracy" in info.retrained:
            groups.setdefault((method, at, info.dataset, info.space), []).append(
                (100 * info.retrained["test_accuracy"], info.device, folder)
            )
    for (method, at, dataset, space), found in groups.items():
        estimate = mean_over_seeds(value for value, _, _ in found)
        assert estimate is not None
        yield OwnNumber(
            method=method,
            quantity=TEST,
            at=at,
            dataset=dataset,
            model="" if space == "nb201" else space,
            device=" / ".join(dict.fromkeys(device for _, device, _ in found)),
            value=estimate.value,
            half=estimate.high - estimate.value,
            runs=len(found),
            where=", ".join(str(folder.relative_to(root)) for _, _, folder in found),
        )


def _nas_method(info: NasInfo) -> tuple[str, str]:
    """Spell a search as tables 1 and 2 do."""
    base = {"spos": "SPOS", "rsps": "RSPS", "gdas": "GDAS"}.get(info.algo, info.algo)
    if info.algo == "darts":
        base = "DARTS-V1" if info.space == "nb201" else "DARTS"
    metric = info.metric if info.selector == "asp" else "random" if info.selector == "adaptive-random" else ""
    joint = "+" if info.space == "nb201" else "-"
    return (
        f"{base}{joint}{metric.capitalize()}" if metric and info.ratio < 1 else base
    ), f"{100 * info.ratio:g} %"


def _ranks(root: Path) -> Iterator[OwnNumber]:
    """Studies of rank correlation, by accuracy on both sides; every pairing by itself."""
    for folder in _folders(root, STUDY_FILE):
        run, study = RunInfo.read(folder), read_study(folder)
        if not study.finished:
            continue
        for row in rank_rows(study):
            if row.full or row.at != END or (row.score, row.reference) != ("accuracy", "accuracy"):
                continue
            method = row.way or (f"asp-{run.metric}" if run.selector == "asp" else run.selector)
            own = _own(run, f"{folder.relative_to(root)} (pairing {row.pairing})")
            over, at = row.over_configs, f"{100 * row.ratio:g} %"
            half = None if over is None else max(over.high - row.tau, row.tau - over.low)
            yield own(method=method, quantity=TAU, at=at, value=row.tau, half=half, runs=row.repeats)
            for quantity, value in ((PEARSON, row.pearson), (SPEARMAN, row.spearman)):
                yield own(method=method, quantity=quantity, at=at, value=value, half=None, runs=row.repeats)


def _own(run: RunInfo, where: str) -> partial[OwnNumber]:
    """Return a number's form with all that a run says of its numbers filled in."""
    return partial(OwnNumber, dataset=run.dataset, model=run.model, device=run.device, where=where)


def _orders(root: Path) -> Iterator[OwnNumber]:
    """The mixture's orders, of every ablation."""
    return (replace(own, at="(unstated)") for own in _trainings(root, ablations=True) if own.method in TABLE_6)


def _ways(root: Path) -> Iterator[OwnNumber]:
    """The ways of choosing rows, of every comparison."""
    return _trainings(root, ablations=False)


def _trainings(root: Path, ablations: bool) -> Iterator[OwnNumber]:
    """The ways of every study of trainings on test rows that have a result."""
    for folder in _folders(root, COMPARISON_FILE):
        comparison = read_comparison(folder)
        if comparison.judged_on != "test":
            continue
        own = _own(RunInfo.read(folder), str(folder.relative_to(root)))
        for line in way_lines(comparison, read_trainings(folder, comparison)):
            way = line.way
            if line.accuracy is None or bool(way.details) != ablations:
                continue
            test = _scaled(line.accuracy)
            yield own(
                method=way.details or way.method,
                quantity=TEST,
                at="100 %" if way.ratio == 1 else f"{100 * way.ratio:g} %, {way.schedule}",
                value=test.value,
                half=test.high - test.value,
                runs=len(line.trainings),
            )
