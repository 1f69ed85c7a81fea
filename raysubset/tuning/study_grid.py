"""A study as a grid: its cells, what they are predicted to cost, and what their folders say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from raysubset.data.dataset import Dataset
from raysubset.data.split import stratified_split
from raysubset.errors import OptionsError
from raysubset.experiment import Experiment
from raysubset.report.published import Published
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.report.run_info import RUN_FILE, RunInfo
from raysubset.report.study_lines import CellResult
from raysubset.tuning.opening import stage_ladder, stage_ledger
from raysubset.tuning.ranking import rank_trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One search of a study.

    Attributes:
        method: The row of the table that it belongs to.
        experiment: What to run; its name is the cell's.
        data: Key of its data set, as shown in the table.
        against: Name of the cell on full data that it is compared with; "" for none.
        published: What a paper says of it.
    """

    method: str
    experiment: Experiment
    data: str
    against: str = ""
    published: Published | None = None

    @property
    def name(self) -> str:
        """The name of its run's folder."""
        return self.experiment.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A grid of searches.

    Attributes:
        name: Its folder; studies of one name share the cells they have in common.
        cells: In the order in which they run.
        table: Which table of that folder: its files are study-<table>.json, ...; "" where there is one.
        notes: What a reader of the table must know.

    Raises:
        OptionsError: No cells, a name that is not a plain folder name, cells of one name, or a comparison with a
            cell that is not there; all in one message.
    """

    name: str
    cells: tuple[Cell, ...]
    table: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [cell.name for cell in self.cells]
        faults = [f"two cells are called {name!r}" for name in dict.fromkeys(names) if names.count(name) > 1]
        faults += [
            f"cell {cell.name!r} is compared with {cell.against!r}, which is not there"
            for cell in self.cells
            if cell.against and cell.against not in names
        ]
        if not self.cells:
            faults.append("it has no cells")
        if not self.name or self.name != Path(self.name).name or self.name.startswith("."):
            faults.append(f"name={self.name!r}, need a plain folder name")
        if faults:
            raise OptionsError.of("Study", faults)

    def matching(self, patterns: Sequence[str]) -> tuple[Cell, ...]:
        """Return the cells whose name fits one of the patterns (``*`` and ``?``, case matters); all for none.

        Raises:
            OptionsError: A pattern fits no cell; lists the names.
        """
        names = [cell.name for cell in self.cells]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise OptionsError(f"only={pattern!r} fits no cell of study {self.name!r}: {', '.join(names)}.")
        return tuple(
            cell for cell in self.cells if not patterns or any(fnmatchcase(cell.name, p) for p in patterns)
        )

    def file(self, stem: str, suffix: str) -> str:
        """Return the name of one of its files."""
        return f"{stem}-{self.table}{suffix}" if self.table else f"{stem}{suffix}"


def predicted_samples(cell: Cell, data: Dataset) -> tuple[int, int]:
    """Return the samples that a cell's search may consume at most, and those of its retraining.

    Raises:
        BudgetError: Not one trial could be judged.
    """
    n = len(stratified_split(data.train.labels, cell.experiment.validation, cell.experiment.seed)[0])
    experiment = replace(cell.experiment, plan=cell.experiment.plan.resolved("scheduled"))
    ledger = stage_ledger(experiment, n, stage_ladder(experiment, n).rungs)
    at_most = round(ledger.samples) + experiment.plan.scouting_samples(n)
    return at_most, experiment.search.retrain * experiment.recipe.epochs * n


def read_cell(folder: Path, cell: Cell, cause: str = "") -> CellResult:
    """Return what is known of a cell, from its run's own files.

    Args:
        folder: Of the study.
        cell: Which.
        cause: Why its last attempt failed; "" if it did not.

    Raises:
        StorageError, RecordError: A file of its run cannot be read.
    """
    run = folder / cell.name
    asked = _asked(cell)
    info = RunInfo.read(run) if (run / RUN_FILE).is_file() else None
    if info is None or info.result is None:
        return replace(asked, state="failed" if cause else "unfinished" if info else "waiting", cause=cause)
    ranked = rank_trials(read_records(run / RECORDS_FILE).stage("search"), info.score)
    search, retrain = info.stages["search"], info.stages.get("retrain")
    return replace(
        asked,
        state="finished",
        taken_by=_rows_by(info.selector, info.metric),
        device=info.device,
        trials=search.trials,
        search_accuracy=ranked[0].val_accuracy if ranked else None,
        val_accuracy=info.result.val_accuracy,
        test_accuracy=info.result.test_accuracy,
        search_samples=search.samples,
        retrain_samples=retrain.samples if retrain else None,
        search_s=search.wall_s,
        retrain_s=retrain.wall_s if retrain else None,
    )


def _asked(cell: Cell) -> CellResult:
    experiment = cell.experiment
    plan, options = experiment.plan, experiment.search
    return CellResult(
        cell=cell.name,
        method=cell.method,
        dataset=cell.data,
        model=experiment.model_name,
        searched_by=options.search if options.scheduler == "none" else f"{options.search} + {options.scheduler}",
        rows_by=_rows_by(plan.name, plan.metric),
        ratio=plan.ratio,
        seed=experiment.seed,
        against=cell.against,
        published=cell.published,
    )


def _rows_by(selector: str, metric: str) -> str:
    return f"asp, {metric}" if selector == "asp" else selector
