"""The papers' tables beside our own runs: printed, ours, on what, by how many seeds, and the difference.

A difference is taken only where data set and model are the paper's; elsewhere ours stands beside the printed
number to be looked at, not subtracted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite

from raysubset.errors import UnknownNameError
from raysubset.report import published_asp, published_subselnet
from raysubset.report.printed import Printed, PrintedTable
from raysubset.report.published import DSS_CLAIMS
from raysubset.report.tables import Table

GAP, FASTEST, SLOWEST = "to full data, points", "speed-up, highest", "speed-up, lowest"
DSS_METHODS = ("craig", "glister", "gradmatch-per-batch")
NOT_RUN, ABSENT = "not run", "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNumber:
    """One number of ours.

    Attributes:
        method, quantity, at: As in `Printed`.
        dataset, model, device: Measured on what; ``dataset`` as the run calls it.
        value: Mean, in the unit of ``quantity``.
        half: Half of its 95 % interval; None where there is none.
        runs: Seeds or repeats behind it.
        where: The run's folder.
    """

    method: str
    quantity: str
    at: str
    dataset: str
    model: str
    device: str
    value: float
    half: float | None
    runs: int
    where: str


def _dss_table(dataset: str) -> PrintedTable:
    claim = DSS_CLAIMS[dataset]
    assert claim.speedup is not None
    low, high = claim.speedup
    numbers = [
        Printed(method=method, quantity=quantity, at="5 %", dataset=dataset, value=value, model=claim.model)
        for method in DSS_METHODS
        for quantity, value in ((GAP, claim.gap), (SLOWEST, low), (FASTEST, high))
    ]
    notes = (
        f"No table of numbers is published: {claim.gap:+g} points and {low:g} to {high:g} times are the text's, "
        f"for CRAIG, GLISTER and GRAD-MATCH alike ({claim.device}).",
        "Ours: speed-up of search and retraining together, seed by seed against the search on all data.",
    )
    return PrintedTable(claim.where, f"TPE on 5 % of {dataset}, {claim.model}", tuple(numbers), notes)


PAPERS: Mapping[str, Mapping[str, PrintedTable]] = {
    "asp": published_asp.TABLES,
    "dss": {
        "F1": _dss_table("cifar10"),
        "F1-cifar100": _dss_table("cifar100"),
        "F2": _dss_table("mnist"),
    },
    "subselnet": {f"T{name}": table for name, table in published_subselnet.TABLES.items()},
}
"""Paper -> id -> table."""


def paper_table(paper: str, name: str) -> PrintedTable:
    """Return a table of a paper.

    Raises:
        UnknownNameError: No such paper or table (lists the known ones).
    """
    if paper not in PAPERS:
        raise UnknownNameError.of("paper", paper, PAPERS)
    if name not in PAPERS[paper]:
        raise UnknownNameError.of(f"table of {paper!r}", name, PAPERS[paper])
    return PAPERS[paper][name]


def beside(table: PrintedTable, ours: Iterable[OwnNumber]) -> Table:
    """Return the printed numbers, each with every run of ours that measured it, or "not run".

    A run on another data set stands beside the first printed number of its method, quantity and column.
    """
    ours = tuple(ours)
    first: dict[tuple[str, str, str], Printed] = {}
    for printed in table.numbers:
        first.setdefault(_key(printed), printed)
    printed_sets = {printed.dataset for printed in table.numbers}
    rows = []
    for printed in table.numbers:
        fitting = [own for own in ours if _key(own) == _key(printed) and (
            own.dataset == printed.dataset or (own.dataset not in printed_sets and first[_key(printed)] is printed)
        )]  # fmt: skip
        rows += [_row(printed, own) for own in fitting] or [_row(printed, None)]
    columns = (
        "row",
        "quantity",
        "at",
        "on",
        "published",
        "ours",
        "runs",
        "ours on",
        "device",
        "difference",
        "run",
    )
    return Table(f"{table.title} ({table.where})", columns, tuple(rows))


def facts(table: PrintedTable, ours: Iterable[OwnNumber]) -> list[dict[str, object]]:
    """Return the rows of `beside` for JSON."""
    shown = beside(table, ours)
    return [dict(zip(shown.columns, row, strict=True)) for row in shown.rows]


def _key(number: Printed | OwnNumber) -> tuple[str, str, str]:
    return (number.method, number.quantity, number.at)


def _row(printed: Printed, own: OwnNumber | None) -> tuple[str, ...]:
    spread = "" if printed.spread is None else f" ± {printed.spread:g}"
    cost = f", {printed.cost}" if printed.cost else ""
    said = ABSENT if printed.value is None else f"{printed.value:g}{spread}{cost}"
    on = ", ".join(filter(None, (printed.dataset, printed.model))) or ABSENT
    what = (printed.method, printed.quantity, printed.at, on, said)
    if own is None:
        return (*what, NOT_RUN, *[ABSENT] * 5)
    same = own.dataset == printed.dataset and own.model == printed.model
    gap = f"{own.value - printed.value:+.4g}" if same and printed.value is not None else ABSENT
    half = "" if own.half is None or not isfinite(own.half) else f" ± {own.half:.3g}"
    return (
        *what,
        f"{own.value:.4g}{half}",
        str(own.runs),
        f"{own.dataset}, {own.model}",
        own.device,
        gap,
        own.where,
    )
