"""The page of an architecture search (``raysubset nas``)."""

from __future__ import annotations

from collections.abc import Iterator

from raysubset.report.data_figures import data_part
from raysubset.report.headline import Headline
from raysubset.report.nas_figures import nas_pictures
from raysubset.report.nas_folder import NasSearch
from raysubset.report.nas_info import READING, NasInfo
from raysubset.report.page import Page, Part
from raysubset.report.resources import gigabytes
from raysubset.report.run_page import notices
from raysubset.report.tables import Table, versions_table
from raysubset.report.wording import NOT_MEASURED, count, number, percent, seconds
from raysubset.types import TrialRecord

TOP_CELLS = 15
READ = (
    "Counted is every subset that the supernet was trained on; where weights and architecture have rows of their "
    "own, those of the weights.",
    "Hard and easy are ranks of the loss that the supernet last had on a row, on whatever path it trained then: a "
    "wrong label, a rare view and a row that was not chosen for long all look hard.",
)
NOTE = (
    "Scores are of cells that share one network's weights (or of short trainings): they rank cells for the search "
    "and say little of what a cell reaches when it is trained by itself. A benchmark table, where there is one, "
    "does."
)


def nas_page(search: NasSearch) -> Page:
    """Put the page together."""
    info = search.info
    tables = (_top(search), _costs(search))
    parts = (
        Part("How it went", pictures=nas_pictures(search)),
        *_data(search),
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


def _data(search: NasSearch) -> tuple[Part, ...]:
    """Return the chapter on the rows that the supernet was trained on, where they were counted."""
    if search.selections is None:
        return ()
    return (data_part(search.selections, len(search.records.stage("supernet")), read=READ),)


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
        ("finalists, trained by themselves", _finalists(info)),
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


def _finalists(info: NasInfo) -> str:
    return f"{info.finalists} in {seconds(info.finalists_s)}" if info.finalists else "none"


# ---------------------------------------------------------------------- in words


def _found(search: NasSearch) -> Iterator[str]:
    info = search.info
    if info.cell is None:
        return
    judged = (
        f", the best of {count(info.judged)} judged" if info.judged else ", derived from the supernet's weights"
    )
    if info.finalists:
        judged = (
            f", the best of {info.finalists} that were trained by themselves: half of them the supernet's best of "
            f"{count(info.judged)}, half drawn at random"
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
    yield from _reading(search)
    if (table := info.table) is not None and table.test < table.median_test:
        yield "The cell is worse than the median of the benchmark: a random one would have done as well."
    if (agreed := info.agreement) is not None and (agreed.low is None or agreed.low <= 0):
        yield f"The scores are not shown to rank cells as the benchmark does: {_tau(search)}."
    if (share := _selection_share(search)) is not None and share >= 0.5:
        yield f"Choosing rows took {percent(share)} of the supernet's seconds, no less than training itself."


def _reading(search: NasSearch) -> Iterator[str]:
    if search.info.metric == READING:
        yield (
            f"Rows were chosen by the {READING}: before each epoch by what a fit foresees of the genotype that "
            "the supernet stands for. The paper does not say how its method reads a network of all operations."
        )
        yield "What the fit cost stands in its own folder; samples and seconds here are of the search alone."


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
    if search.selections is None:
        yield "Which rows were chosen was not kept: only a supernet that has ended its training tells it."
    yield "The same search on all data is a run of its own: what was saved is not measured here."


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
    if info.finalists:
        spent = count(info.finalists_samples), seconds(info.finalists_s)
        rows.append(("finalists", count(info.finalists), *spent, "-", "-", "-"))
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
