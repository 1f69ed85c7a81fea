"""SubSelNet's evaluation in tables: every method by size of subset, and ours beside what the paper printed.

Cells hold plain text without a character that Markdown or HTML takes for markup: names are checked, and numbers
are spelt here. What it all amounts to is said in `raysubset.report.subselnet_verdict`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from raysubset.errors import DataError, OptionsError
from raysubset.report import study_table
from raysubset.report.printed import Printed
from raysubset.report.published_subselnet import (
    MEMORY,
    MILESTONES,
    RAR,
    SPEED_UP,
    TABLE_3,
    printed_table,
    published_rar,
)
from raysubset.report.subselnet_measures import (
    Paired,
    Run,
    paired_difference,
    relative_accuracy_reduction,
    speed_up,
)
from raysubset.report.tables import Table
from raysubset.report.wording import number, percent, seconds

RANDOM, BALANCED = "random", "random-per-class"
REFERENCES = {RANDOM: "random", BALANCED: "class-balanced random"}
TARGETS = (0.1, 0.2)  # of `MILESTONES`
COLUMNS = ("method", "runs", "accuracy", "RAR", "RAR, published", "to random, points",
           "to class-balanced random, points", "selection", "faster than full, times", "GB min",
           "class entropy / log C")  # fmt: skip
_MARKUP = set("|<>&`*[]\\")
Key = tuple[str, str, str]  # method, quantity, column: as in `Printed`


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRow:
    """One architecture trained on the subset that one method chose.

    Attributes:
        method: A name on one line without |<>&`*[] and backslash; `RANDOM` and `BALANCED` are the references.
        cell: Key of the architecture, spelt as a method is.
        seed: Of the run.
        ratio: Share of the rows in the subset, in (0, 1).
        accuracy: Test accuracy, in [0, 1].
        full_accuracy: Of the same cell and seed trained on all data, in (0, 1].
        select_s: Seconds of choosing, >= 0, what a query costs before training included.
        train_s, full_s: Seconds of training on the subset and on all data, > 0.
        gb_min: Memory over time of the query, >= 0, see `runtime.memory_meter`; None where not metered.
        class_entropy: Of the subset, as a share of log C in [0, 1]; None where not measured.

    Raises:
        OptionsError: A value outside its range; all of them in one message.
    """

    method: str
    cell: str
    seed: int
    ratio: float
    accuracy: float
    full_accuracy: float
    select_s: float
    train_s: float
    full_s: float
    gb_min: float | None = None
    class_entropy: float | None = None

    def __post_init__(self) -> None:
        rules = [
            ("ratio", "a share in (0, 1), as all data is full_accuracy", 0 < self.ratio < 1),
            ("accuracy", "a share in [0, 1]", 0 <= self.accuracy <= 1),
            ("full_accuracy", "a share in (0, 1]", 0 < self.full_accuracy <= 1),
            ("select_s", "finite seconds >= 0", 0 <= self.select_s < math.inf),
            ("train_s", "finite seconds > 0", 0 < self.train_s < math.inf),
            ("full_s", "finite seconds > 0", 0 < self.full_s < math.inf),
            ("gb_min", "a number >= 0 or None", self.gb_min is None or 0 <= self.gb_min < math.inf),
            ("class_entropy", "a share in [0, 1] or None", _is_share(self.class_entropy)),
            *((name, "plain text on one line", _is_plain(getattr(self, name))) for name in ("method", "cell")),
        ]
        if faults := [f"{name}={getattr(self, name)!r}, need {need}" for name, need, holds in rules if not holds]:
            raise OptionsError.of("EvaluationRow", faults)

    @property
    def run(self) -> Run:
        """What pairs it with other methods' rows."""
        return (self.cell, self.seed)

    @property
    def rar(self) -> float:
        """Its relative accuracy reduction."""
        return relative_accuracy_reduction(self.full_accuracy, self.accuracy)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, paragraphs and tables; the first paragraph is what a reader must not miss."""

    title: str
    paragraphs: tuple[str, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class MethodLine:
    """One method at one ratio, means over its runs.

    Attributes:
        method, ratio, rows: What it is made of.
        accuracy, rar, select_s, speed_up: Means, and the ratio of mean times.
        gb_min, class_entropy: Means; None where a run lacks them.
        to: Reference -> difference in accuracy from it; without the reference itself and those that did not run.
    """

    method: str
    ratio: float
    rows: tuple[EvaluationRow, ...]
    accuracy: float
    rar: float
    select_s: float
    speed_up: float
    gb_min: float | None
    class_entropy: float | None
    to: Mapping[str, Paired]


def method_lines(rows: Sequence[EvaluationRow]) -> dict[float, list[MethodLine]]:
    """Return ratio, ascending -> its methods, lowest mean RAR first, then by name.

    Raises:
        DataError: Two rows of one method, ratio, cell and seed, or two accuracies on all data of one run.
    """
    groups: dict[tuple[float, str], dict[Run, EvaluationRow]] = defaultdict(dict)
    full: dict[Run, float] = {}
    for row in rows:
        if row.run in groups[row.ratio, row.method]:
            raise DataError(f"{row.method} at ratio {row.ratio:g}: two rows of cell {row.cell}, seed {row.seed}.")
        if (known := full.setdefault(row.run, row.full_accuracy)) != row.full_accuracy:
            raise DataError(
                f"Cell {row.cell}, seed {row.seed} has two accuracies on all data, {known} and "
                f"{row.full_accuracy} ({row.method}): a run is trained on all data once, for every method."
            )
        groups[row.ratio, row.method][row.run] = row
    accuracy = {key: {run: row.accuracy for run, row in runs.items()} for key, runs in groups.items()}
    found: dict[float, list[MethodLine]] = defaultdict(list)
    for ratio, method in sorted(groups):
        to = {
            reference: paired_difference(accuracy[ratio, method], accuracy[ratio, reference])
            for reference in REFERENCES
            if reference != method and (ratio, reference) in accuracy
        }
        found[ratio].append(_line(tuple(groups[ratio, method].values()), to))
    return {ratio: sorted(lines, key=lambda line: line.rar) for ratio, lines in found.items()}


def published_section(name: str, ours: Mapping[Key, float], dataset: str = "") -> Section:
    """Return one of the paper's tables with ours beside it, and how to read it.

    Args:
        name: Of `published_subselnet.TABLES`.
        ours: (method, quantity, column) -> value, see `ours_of`. Methods that the paper does not have come last.
        dataset: Ours are of; shown only beside numbers of the same data set, or of one the paper does not name.

    Raises:
        UnknownNameError: No such table.
    """
    table = printed_table(name)
    columns = ("data set", "method", "quantity", "at", "published", "ours")
    fits = [p for p in table.numbers if p.dataset in ("", dataset)]
    known = {(p.method, p.quantity, p.at) for p in fits}
    cells = {(p.quantity, p.at): p.dataset for p in fits}
    rows = [_printed_row(p, ours if p in fits else {}) for p in table.numbers]
    rows += [
        (cells[key[1:]], *key, study_table.ABSENT, number(value))
        for key, value in ours.items()
        if key[1:] in cells and key not in known
    ]
    return Section(f"{table.title} ({table.where})", table.notes, (Table(table.title, columns, tuple(rows)),))


def ours_of(rows: Sequence[EvaluationRow], approximator: str = "attention") -> dict[Key, float]:
    """Return what tables 1, 3 and E.3 print, of our rows.

    Of the subsets whose mean RAR is within the target, the speed-up is the highest, and the memory is of that same
    subset, where it was metered. What reaches no target is left out.

    Args:
        rows: All of the evaluation.
        approximator: Whose predictions the samplers of table 3 had.
    """
    samplers, found = {sampler for _, sampler in TABLE_3}, {}
    lines = [line for of_ratio in method_lines(rows).values() for line in of_ratio]
    for line in lines:
        method = f"{approximator} + {line.method}" if line.method in samplers else line.method
        found[method, RAR, size(line.ratio)] = line.rar
    for method in dict.fromkeys(line.method for line in lines):
        for at, target in zip(MILESTONES, TARGETS, strict=True):
            within = [line for line in lines if line.method == method and line.rar <= target]
            best = max(within, key=lambda line: line.speed_up, default=None)
            if best is not None:
                found[method, SPEED_UP, at] = best.speed_up
                if best.gb_min is not None:
                    found[method, MEMORY, at] = best.gb_min
    return found


def markdown(section: Section) -> str:
    """Return the section in Markdown: heading, paragraphs, tables."""
    tables = (study_table.markdown(table) for table in section.tables)
    return "\n\n".join((f"# {section.title}", *section.paragraphs, *tables))


def size(ratio: float) -> str:
    """Spell a ratio: 0.1 -> "10 %"."""
    return f"{100 * ratio:.6g} %"


# ------------------------------------------------------------------ lines and tables


def _line(rows: tuple[EvaluationRow, ...], to: Mapping[str, Paired]) -> MethodLine:
    select_s, train_s, full_s = (
        fmean(times) for times in zip(*((r.select_s, r.train_s, r.full_s) for r in rows), strict=True)
    )
    return MethodLine(
        method=rows[0].method,
        ratio=rows[0].ratio,
        rows=rows,
        accuracy=fmean(row.accuracy for row in rows),
        rar=fmean(row.rar for row in rows),
        select_s=select_s,
        speed_up=speed_up(full_s, select_s, train_s),
        gb_min=_mean(row.gb_min for row in rows),
        class_entropy=_mean(row.class_entropy for row in rows),
        to=to,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = list(values)
    numbers = [value for value in known if value is not None]
    return fmean(numbers) if len(numbers) == len(known) else None


def ratio_table(ratio: float, lines: Sequence[MethodLine], dataset: str) -> Table:
    """Return the methods of one ratio under `COLUMNS`; ``dataset`` chooses what the paper printed for it."""
    rows = tuple(
        (
            line.method,
            str(len(line.rows)),
            percent(line.accuracy),
            f"{line.rar:.3f}",
            study_table.ABSENT if (rar := published_rar(line.method, ratio, dataset)) is None else f"{rar:.3f}",
            *(difference(line.to.get(reference)) for reference in REFERENCES),
            seconds(line.select_s),
            f"{line.speed_up:.2f}",
            number(line.gb_min),
            number(line.class_entropy),
        )
        for line in lines
    )
    return Table(f"Subsets of {size(ratio)}, lowest RAR first", COLUMNS, rows)


def _printed_row(printed: Printed, ours: Mapping[Key, float]) -> tuple[str, ...]:
    value = ours.get((printed.method, printed.quantity, printed.at))
    spread = "" if printed.spread is None else f" ± {printed.spread:g}"
    return (
        printed.dataset or "not named",
        printed.method,
        printed.quantity,
        printed.at,
        "not reached" if printed.value is None else f"{printed.value:g}{spread}",
        study_table.ABSENT if value is None else number(value),
    )


def difference(paired: Paired | None) -> str:
    """Spell a difference: "+1.20 (-0.31 to +2.71)"."""
    if paired is None or not paired.pairs:
        return study_table.ABSENT
    mean, interval = 100 * paired.mean, paired.interval
    if interval is None:
        return f"{mean:+.2f} (no interval)"
    return f"{mean:+.2f} ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"


def _is_share(value: float | None) -> bool:
    return value is None or 0 <= value <= 1


def _is_plain(name: str) -> bool:
    return bool(name.strip()) and name.isprintable() and not _MARKUP & set(name)
