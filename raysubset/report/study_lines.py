"""What the cells of a study found, gathered into rows over seeds: means, gaps, savings, with their intervals.

A row's gap and savings are taken seed by seed against the cell it is compared with (the same search on all data),
then averaged. Published and own numbers are subtracted only where data set and model are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from raysubset.report.intervals import Estimate, student
from raysubset.report.published import Published

State = Literal["finished", "failed", "unfinished", "waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """What one cell of a study was to do and what came of it; None is not known (yet).

    Attributes:
        cell: Its name, that of its run's folder.
        method: The row of the table it belongs to, in the paper's words.
        dataset, model: Trained on what.
        searched_by: Searcher, and scheduler where there is one.
        rows_by: What was asked to choose the rows.
        taken_by: What did choose them: another name where the selector would have cost more than it saved.
        ratio, seed: Of its plan and experiment.
        against: The cell on full data that it is compared with; "" for none.
        state: "finished", "failed" (see ``cause``), "unfinished" (interrupted) or "waiting" (not begun).
        cause: Why it failed.
        device: What it ran on.
        trials: Trials started.
        search_accuracy: Validation accuracy of the search's best, on the subset budget, a share.
        val_accuracy, test_accuracy: Of the winner, trained again on all data, shares.
        search_samples, retrain_samples: Samples consumed.
        search_s, retrain_s: Wall seconds.
        published: What a paper says of it.
    """

    cell: str
    method: str
    dataset: str
    model: str
    searched_by: str
    rows_by: str
    ratio: float
    seed: int
    against: str = ""
    state: State = "waiting"
    cause: str = ""
    taken_by: str = ""
    device: str = ""
    trials: int | None = None
    search_accuracy: float | None = None
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    search_samples: int | None = None
    retrain_samples: int | None = None
    search_s: float | None = None
    retrain_s: float | None = None
    published: Published | None = None

    @property
    def samples(self) -> int | None:
        """Samples of search and retraining."""
        return None if self.search_samples is None else self.search_samples + (self.retrain_samples or 0)

    @property
    def wall_s(self) -> float | None:
        """Seconds of search and retraining."""
        return None if self.search_s is None else self.search_s + (self.retrain_s or 0.0)


Reading = Callable[[CellResult], float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the tables.

    Attributes:
        cells: All cells of that method, data set and ratio, one a seed.
        pairs: Finished cells, each with the finished cell on full data of its seed.
    """

    cells: tuple[CellResult, ...]
    pairs: tuple[tuple[CellResult, CellResult], ...]

    @property
    def finished(self) -> tuple[CellResult, ...]:
        """Cells with a result."""
        return tuple(cell for cell in self.cells if cell.state == "finished")

    def mean(self, reading: Reading) -> Estimate | None:
        """Return the mean of a quantity over seeds; None where no cell has it."""
        return mean_over_seeds(reading(cell) for cell in self.finished)

    def gap(self) -> Estimate | None:
        """Return the test accuracy above the search on full data, a share, paired by seed."""
        return mean_over_seeds(_minus(cell.test_accuracy, full.test_accuracy) for cell, full in self.pairs)

    def saving(self, reading: Reading) -> Estimate | None:
        """Return how many times less of a quantity than the search on full data, paired by seed.

        Pairs that ran on different devices are left out: their seconds do not compare.
        """
        alike = ((cell, full) for cell, full in self.pairs if cell.device == full.device)
        return mean_over_seeds(_over(reading(full), reading(cell)) for cell, full in alike)

    def above_published(self) -> Estimate | None:
        """Return the test accuracy above the published one, a share; None for another data set or model."""
        cell, test = self.cells[0], self.mean(lambda c: c.test_accuracy)
        paper = cell.published
        if test is None or paper is None or paper.accuracy is None:
            return None
        if (paper.dataset, paper.model) != (cell.dataset, cell.model):
            return None
        return Estimate(*(bound - paper.accuracy / 100 for bound in (test.value, test.low, test.high)))


def lines(results: Iterable[CellResult]) -> tuple[Line, ...]:
    """Gather cells into rows, in the order in which the rows first appear."""
    results = tuple(results)
    done = {cell.cell: cell for cell in results if cell.state == "finished"}
    rows: dict[tuple[str, str, float], list[CellResult]] = {}
    for cell in results:
        rows.setdefault((cell.method, cell.dataset, cell.ratio), []).append(cell)
    return tuple(
        Line(tuple(cells), tuple((c, done[c.against]) for c in cells if c.cell in done and c.against in done))
        for cells in rows.values()
    )


def line_facts(line: Line) -> dict[str, Any]:
    """Return a row as plain numbers for JSON; infinite bounds (one seed) become None."""
    first = line.cells[0]
    numbers: Mapping[str, Estimate | None] = {
        "test_accuracy": line.mean(lambda c: c.test_accuracy),
        "gap_to_full": line.gap(),
        "above_published": line.above_published(),
        "search_samples": line.mean(lambda c: c.search_samples),
        "samples": line.mean(lambda c: c.samples),
        "search_s": line.mean(lambda c: c.search_s),
        "wall_s": line.mean(lambda c: c.wall_s),
        "search_speedup": line.saving(lambda c: c.search_s),
        "speedup": line.saving(lambda c: c.wall_s),
        "search_samples_saved": line.saving(lambda c: c.search_samples),
        "samples_saved": line.saving(lambda c: c.samples),
    }
    return {
        "method": first.method,
        "dataset": first.dataset,
        "ratio": first.ratio,
        "seeds": [cell.seed for cell in line.finished],
        "paired_seeds": [cell.seed for cell, _ in line.pairs],
        **{name: None if e is None else _plain(e) for name, e in numbers.items()},
    }


def mean_over_seeds(values: Iterable[float | None]) -> Estimate | None:
    """Return the mean with its interval, infinite where `student` gives none; None of no values."""
    known = [float(value) for value in values if value is not None]
    if not known:
        return None
    return student(known) or Estimate(fmean(known), -math.inf, math.inf)


def _minus(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _over(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None or second == 0 else first / second


def _plain(estimate: Estimate) -> dict[str, float | None]:
    bounds = {"mean": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: value if math.isfinite(value) else None for name, value in bounds.items()}
