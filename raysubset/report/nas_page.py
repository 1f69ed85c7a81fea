"""The page of an architecture search (``raysubset nas``)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raysubset.errors import RecordError, StorageError
from raysubset.report.figures import spent_axis
from raysubset.report.headline import Headline
from raysubset.report.nas_info import NasInfo
from raysubset.report.page import Page, Part
from raysubset.report.records import RECORDS_FILE, Records, read_records
from raysubset.report.resources import gigabytes
from raysubset.report.run_page import notices
from raysubset.report.spread import spread
from raysubset.report.svg import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, Picture, canvas, render
from raysubset.report.tables import Table, versions_table
from raysubset.report.wording import NOT_MEASURED, count, number, percent, seconds
from raysubset.types import TrialRecord

ALPHAS_FILE, CANDIDATES_FILE, CELL_FILE = "alphas.jsonl", "candidates.jsonl", "cell.svg"
TOP_CELLS = 15
MAX_POINTS = 500
NOTE = (
    "Scores are of cells that share one network's weights (or of short trainings): they rank cells for the search "
    "and say little of what a cell reaches when it is trained by itself. A benchmark table, where there is one, "
    "does."
)


@dataclass(frozen=True, slots=True)
class NasSearch:
    """What a search's folder holds.

    Attributes:
        info: nas.json.
        records: Epochs of all trainings.
        candidates: (cell, score), in the order in which they were judged.
        alphas: A mapping an epoch, as alphas.jsonl has it.
        cell_svg: The picture of the found cell, b"" where there is none yet.
    """

    info: NasInfo
    records: Records
    candidates: tuple[tuple[str, float], ...]
    alphas: tuple[Mapping[str, Any], ...]
    cell_svg: bytes

    @property
    def finished(self) -> bool:
        """True once a cell was found."""
        return self.info.cell is not None


def read_search(folder: Path) -> NasSearch:
    """Read a search's folder; what is not there yet is empty.

    Raises:
        StorageError: A file cannot be read.
        RecordError: A file's content is bad; the message names file and line.
    """
    path = folder / RECORDS_FILE
    judged = _lines(folder / CANDIDATES_FILE, ("cell", "score"))
    try:
        cell = (folder / CELL_FILE).read_bytes() if (folder / CELL_FILE).exists() else b""
    except OSError as error:
        raise StorageError(f"Cannot read {folder / CELL_FILE}: {error.strerror or error}.") from error
    return NasSearch(
        info=NasInfo.read(folder),
        records=read_records(path) if path.exists() else Records(()),
        candidates=tuple((str(one["cell"]), float(one["score"])) for one in judged),
        alphas=tuple(_lines(folder / ALPHAS_FILE, ("epoch",))),
        cell_svg=cell,
    )


def _lines(path: Path, needed: tuple[str, ...]) -> list[dict[str, Any]]:
    """Read a file of JSON objects, one a line; a last line that a crash cut short is left out."""
    if not path.exists():
        return []
    try:
        *whole, _ = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
    found = []
    for place, line in enumerate(whole, 1):
        try:
            plain = json.loads(line)
            found.append({**plain, **{name: plain[name] for name in needed}})
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path}, line {place}: {type(error).__name__}: {error}.") from error
    return found


def nas_page(search: NasSearch) -> Page:
    """Put the page together."""
    info = search.info
    drawn = (_cell(search), _training(search), _judged(search), _alphas(search))
    tables = (_top(search), _costs(search))
    parts = (
        Part("How it went", pictures=tuple(picture for picture in drawn if picture is not None)),
        Part("Numbers", (NOTE,), tables=tuple(table for table in tables if table.rows)),
    )
    return Page(
        title=f"{info.name}: {info.algo} over {info.space} on {info.dataset}",
        subtitle=f"Data: {info.dataset} ({info.dataset_source}), {info.n_train:,} rows that train, "
        f"{info.n_validation:,} that judge. Started {info.started}.",
        notices=notices(search.finished, info.dataset_note),
        headline=Headline(
            tuple(_found(search)), tuple(_against(search)), (*_unmeasured(search), *search.records.warnings)
        ),
        facts=tuple(nas_facts(search)),
        parts=tuple(part for part in parts if part.shows),
        command=info.command,
        exact=() if info.cell is None else (("The cell, exact", info.cell),),
        settings=(_settings(info), versions_table(info.versions)),
    )


def nas_facts(search: NasSearch) -> list[tuple[str, str]]:
    """Return (label, value) pairs that sum a search up."""
    info = search.info
    table, agreed = info.table, info.agreement
    peak = max((row.peak_bytes for row in search.records.rows if row.peak_bytes is not None), default=None)
    return [
        ("state", "finished" if search.finished else "UNFINISHED: the numbers below are partial"),
        ("found", info.cell or "nothing yet"),
        ("score on validation rows", number(info.score)),
        ("rows chosen by", f"{info.selector}, {info.metric}, ratio {info.ratio:g}"),
        ("supernet, samples", count(info.supernet_samples)),
        ("supernet, passes over its rows", number(info.supernet_epochs)),
        ("supernet, training and selection", seconds(info.supernet_train_s)),
        ("cells judged", f"{count(info.judged)} in {seconds(info.judged_s)}" if info.judged else NOT_MEASURED),
        ("benchmark, test accuracy", NOT_MEASURED if table is None else f"{percent(table.test)}, {table.data}"),
        ("benchmark, rank", NOT_MEASURED if table is None else f"{count(table.rank)} of {count(table.cells)}"),
        ("scores against the benchmark", NOT_MEASURED if agreed is None else _tau(search)),
        ("selection share of trial time", percent(_selection_share(search))),
        ("peak memory, a trial's process", gigabytes(peak)),
    ]


def _tau(search: NasSearch) -> str:
    agreed = search.info.agreement
    if agreed is None:
        return NOT_MEASURED
    interval = "" if agreed.low is None or agreed.high is None else (
        f" (95 % interval {agreed.low:.2f} to {agreed.high:.2f})")  # fmt: skip
    return f"Kendall's tau {agreed.tau:.2f}{interval}, {agreed.cells} cells"


def _selection_share(search: NasSearch) -> float | None:
    rows = search.records.stage("supernet")
    total = sum(row.train_s + row.select_s + row.eval_s for row in rows)
    return sum(row.select_s for row in rows) / total if total > 0 else None


# ---------------------------------------------------------------------- in words


def _found(search: NasSearch) -> Iterator[str]:
    info = search.info
    if info.cell is None:
        return
    judged = (
        f", the best of {count(info.judged)} judged" if info.judged else ", derived from the supernet's weights"
    )
    yield f"Found {info.cell}{judged}."
    if (table := info.table) is not None:
        yield (
            f"The benchmark knows it: test accuracy {percent(table.test)} on {table.data}, rank "
            f"{count(table.rank)} of {count(table.cells)} (best {percent(table.best_test)}, median "
            f"{percent(table.median_test)})."
        )
    if info.supernet_samples is not None:
        yield (
            f"The supernet consumed {count(info.supernet_samples)} samples, {number(info.supernet_epochs)} passes "
            f"over its rows, in {seconds(info.supernet_train_s)}."
        )
    if info.retrained is not None:
        yield f"Trained again on all rows: test accuracy {percent(info.retrained.get('test_accuracy'))}."


def _against(search: NasSearch) -> Iterator[str]:
    info = search.info
    if (table := info.table) is not None and table.test < table.median_test:
        yield "The cell is worse than the median of the benchmark: a random one would have done as well."
    if (agreed := info.agreement) is not None and (agreed.low is None or agreed.low <= 0):
        yield f"The scores are not shown to rank cells as the benchmark does: {_tau(search)}."
    if (share := _selection_share(search)) is not None and share >= 0.5:
        yield f"Choosing rows took {percent(share)} of the supernet's seconds, no less than training itself."


def _unmeasured(search: NasSearch) -> Iterator[str]:
    info = search.info
    if info.cell is None:
        yield "No cell has been found yet."
    if info.table is None:
        yield "No benchmark table was read: how good the cell is among all others is not known."
    if info.agreement is None:
        yield "Whether the scores rank cells rightly was not measured."
    if info.retrained is None:
        yield "The found network was not trained again by itself."
    yield "The same search on all data is a run of its own: what was saved is not measured here."


# ---------------------------------------------------------------------- figures


def _cell(search: NasSearch) -> Picture | None:
    """The picture that the search drew, on white: it has colours of its own."""
    if not search.cell_svg or search.info.cell is None:
        return None
    source = base64.b64encode(search.cell_svg).decode("ascii")
    return Picture(
        slug="cell",
        title="The cell that was found",
        alt=f"Diagram of the cell: nodes from left to right, on each arrow an operation. {search.info.cell}",
        caption="",
        svg=f'<img alt="" src="data:image/svg+xml;base64,{source}">',
    )


def _training(search: NasSearch) -> Picture | None:
    rows = [row for row in search.records.stage("supernet") if np.isfinite(row.train_loss)]
    if len(rows) < 2:
        return None
    with canvas(height=4.4, rows=2) as (figure, (above, below)):
        xs = [row.samples_consumed for row in rows]
        above.plot(xs, [row.train_loss for row in rows], "o-", color=BLUE, markersize=3)
        above.set_ylabel("training loss (nats)")
        below.plot(xs, [row.ratio for row in rows], "o-", color=VERMILLION, markersize=3)
        below.set_ylim(bottom=0)
        below.set_ylabel("share of rows")
        spent_axis(below, "samples", [float(x) for x in xs], wide=False)
        svg = render(figure, "training")
    first, last = rows[0], rows[-1]
    return Picture(
        slug="training",
        title="Training of the supernet",
        alt=f"Two line charts over samples consumed: training loss from {number(first.train_loss)} to "
        f"{number(last.train_loss)}, and the share of rows each epoch trained on, from {percent(first.ratio)} to "
        f"{percent(last.ratio)}.",
        caption="The loss is that of the rows that were chosen: with hard rows chosen it may rise while the "
        "network improves.",
        svg=svg,
    )


def _judged(search: NasSearch) -> Picture | None:
    scores = np.array([score for _, score in search.candidates])
    finite = np.flatnonzero(np.isfinite(scores))
    if len(finite) < 2:
        return None
    best = np.maximum.accumulate(scores[finite])
    shown = spread([int(i) for i in range(len(finite))], MAX_POINTS)
    with canvas() as (figure, (axes,)):
        axes.plot([finite[i] + 1 for i in shown], [scores[finite[i]] for i in shown], ".", color=GREY,
                  markersize=4, label="judged")  # fmt: skip
        axes.plot(finite[shown] + 1, best[shown], color=BLUE, linewidth=1.8, drawstyle="steps-post", label="best")
        axes.set_xlabel("cells judged")
        axes.set_ylabel("score on validation rows")
        axes.legend()
        svg = render(figure, "judged")
    low, middle, high = np.percentile(scores[finite], [5, 50, 95])
    return Picture(
        slug="judged",
        title="Cells judged",
        alt=f"Scores of {count(len(finite))} cells in the order judged, and the best so far. The best is "
        f"{number(float(best[-1]))}, half are below {number(float(middle))}, nine tenths lie between "
        f"{number(float(low))} and {number(float(high))}.",
        caption="",
        svg=svg,
    )


def _alphas(search: NasSearch) -> Picture | None:
    """How sure the architecture's weights became: the mean over edges of the largest probability."""
    known = {name: values for line in search.alphas for name, values in line.items() if name != "epoch"}
    epochs = [int(line["epoch"]) for line in search.alphas]
    if len(epochs) < 2 or not known:
        return None
    with canvas() as (figure, (axes,)):
        ends = []
        for (name, _), colour in zip(
            sorted(known.items()), (BLUE, VERMILLION, GREEN, ORANGE, PURPLE), strict=False
        ):
            sure = [float(np.max(np.atleast_2d(line[name]), axis=1).mean()) for line in search.alphas]
            axes.plot(epochs, sure, "o-", color=colour, markersize=3, label=name)
            ends.append(f"{name} from {sure[0]:.2f} to {sure[-1]:.2f}")
        axes.set_xlabel("epoch")
        axes.set_ylabel("largest probability, mean over edges")
        axes.legend()
        svg = render(figure, "alphas")
    return Picture(
        slug="alphas",
        title="How sure the choice became",
        alt=f"Line chart over epochs of the largest probability an edge gives to one operation, mean over edges: "
        f"{'; '.join(ends)}.",
        caption="1 is sure; even odds are one over the number of operations.",
        svg=svg,
    )


# ---------------------------------------------------------------------- tables


def _top(search: NasSearch) -> Table:
    ranked = sorted(dict(search.candidates).items(), key=lambda pair: (-pair[1], pair[0]))[:TOP_CELLS]
    rows = tuple((str(place), number(score), cell) for place, (cell, score) in enumerate(ranked, 1))
    return Table(f"Best {len(rows)} of {len(dict(search.candidates))} cells judged", ("#", "score", "cell"), rows)


def _costs(search: NasSearch) -> Table:
    stages = dict.fromkeys(row.stage for row in search.records.rows)
    rows = [_cost(stage, search.records.stage(stage)) for stage in stages]
    info = search.info
    if info.judged:
        rows.append(
            ("judging", count(info.judged), count(info.judged_samples), seconds(info.judged_s), "-", "-", "-")
        )
    columns = ("stage", "epochs or cells", "samples", "wall time", "training", "selection", "evaluation")
    return Table("Cost of each stage", columns, tuple(rows))


def _cost(stage: str, rows: tuple[TrialRecord, ...]) -> tuple[str, ...]:
    return (
        stage,
        count(len(rows)),
        count(max(row.samples_consumed for row in rows)),
        seconds(max(row.finished_s for row in rows)),
        seconds(sum(row.train_s for row in rows)),
        seconds(sum(row.select_s for row in rows)),
        seconds(sum(row.eval_s for row in rows)),
    )


def _settings(info: NasInfo) -> Table:
    names = ("space", "algo", "dataset", "dataset_source", "n_train", "n_validation", "selector", "metric",
             "ratio", "seed", "device", "started", "fingerprint")  # fmt: skip
    return Table("Configuration", ("option", "value"), tuple((name, str(getattr(info, name))) for name in names))
