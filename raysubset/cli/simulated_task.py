"""What ``raysubset simulate`` can search over: a synthetic task, an earlier run, a table."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raysubset.errors import DataError, OptionsError, UnknownNameError
from raysubset.hpo.curves import POWER_LAW_SPACE, PowerLaw, Task
from raysubset.hpo.history import Point
from raysubset.hpo.replay import CELL_SPACE, NasBench201, RecordedTrial, Replay
from raysubset.hpo.space import Space, space_from_plain
from raysubset.nas.table import CLASSES, WHOLE, TableBench
from raysubset.report.records import RECORDS_FILE, read_records
from raysubset.report.run_info import RunInfo
from raysubset.selection.plan import SubsetPlan
from raysubset.types import TrialRecord

KINDS = ("power-law", "records:FOLDER", "nasbench201:FILE")
ROWS, RATIO, EPOCHS = 50_000, 0.1, 81
SECONDS_PER_SAMPLE = 2.5e-4  # LeNet on one CPU core


@dataclass(frozen=True, slots=True)
class Setting:
    """A task and what its search needs to know.

    Attributes:
        make: seed -> task.
        epoch_costs: int64[N] of every such task.
        rows: Samples of an epoch on all data.
        ratio: What a budget in epochs is multiplied with.
        space: What proposers draw from.
        points: If not empty, the only configurations there are.
        seconds_per_sample: Of training: as recorded, else of LeNet on one core.
        title: One line for the user.
    """

    make: Callable[[int], Task]
    epoch_costs: NDArray[np.int64]
    rows: int
    ratio: float
    space: Space
    points: Sequence[Point]
    seconds_per_sample: float
    title: str


def read_task(task: str, epochs: int | None, ratio: float | None, rows: int | None, nas_data: str) -> Setting:
    """Make the task that the command line names.

    Args:
        task: "power-law", "records:FOLDER" or "nasbench201:FILE".
        epochs: Of a whole trial; None: 81, or 200 of the table.
        ratio: Mean share of the rows an epoch trains on; None: 0.1.
        rows: Of the training set; None: 50,000. A record has its own epochs, ratio and rows.
        nas_data: Which data set of the table.

    Raises:
        UnknownNameError: task or data set unknown.
        OptionsError: An option out of range, or one that a record has decided already.
        DataError, RecordError, StorageError: The file cannot be read, or lacks something.
    """
    kind, _, path = task.partition(":")
    if kind not in ("power-law", "records", "nasbench201") or (kind == "power-law") == bool(path):
        raise UnknownNameError.of("task", task, KINDS)
    if kind == "records":
        given = [
            name for name, value in (("epochs", epochs), ("ratio", ratio), ("rows", rows)) if value is not None
        ]
        if given:
            raise OptionsError(f"A replay takes its {', '.join(given)} from the record: leave --{given[0]} out.")
        return _of_record(Path(path))
    rows = ROWS if rows is None else rows
    ratio = RATIO if ratio is None else ratio
    epochs = (EPOCHS if kind == "power-law" else WHOLE) if epochs is None else epochs
    if rows < 1 or epochs < 1:
        raise OptionsError(f"rows={rows}, epochs={epochs}: need at least 1 of each.")
    costs = _epoch_costs(rows, epochs, ratio)
    plan = f"{epochs} epochs at ratio {ratio:g} of {rows:,} rows"
    if kind == "power-law":
        return _setting(partial(PowerLaw, costs, rows), costs, rows, ratio, POWER_LAW_SPACE, f"power law, {plan}")
    table = _of_table(TableBench.read(Path(path), nas_data), costs, rows)
    known = ", ".join(map(str, table.knots[1:]))
    title = f"NAS-Bench-201, {nas_data}, {len(table.test):,} cells known at epochs {known}, {plan}"
    return _setting(lambda _: table, costs, rows, ratio, CELL_SPACE, title)


def _setting(
    make: Callable[[int], Task], costs: NDArray[np.int64], rows: int, ratio: float, space: Space, title: str
) -> Setting:
    """Return a task whose configurations are drawn, and cost what LeNet does."""
    return Setting(
        make=make,
        epoch_costs=costs,
        rows=rows,
        ratio=ratio,
        space=space,
        points=(),
        seconds_per_sample=SECONDS_PER_SAMPLE,
        title=title,
    )


def _epoch_costs(rows: int, epochs: int, ratio: float) -> NDArray[np.int64]:
    """Return what the epochs of a search's trials cost by default: dynamic, without a full first epoch."""
    plan = SubsetPlan.full() if ratio == 1 else SubsetPlan(ratio=ratio)
    return plan.resolved("scheduled").timetable(rows, epochs).costs


# ---------------------------------------------------------------------- an earlier run


def _of_record(folder: Path) -> Setting:
    info = RunInfo.read(folder)
    by_trial: dict[str, list[TrialRecord]] = {}
    for record in read_records(folder / RECORDS_FILE).stage("search"):
        by_trial.setdefault(record.trial, []).append(record)
    whole = [records for records in by_trial.values() if records[-1].status == "done"]
    if not whole:
        raise DataError(
            f"{folder}: none of its {len(by_trial)} trials was trained to its end, so what a whole trial costs is "
            "not known. Let the run finish (--resume)."
        )
    longest = max(whole, key=lambda records: records[-1].samples_consumed)
    costs = np.zeros(longest[-1].epochs, dtype=np.int64)
    costs[[record.epoch - 1 for record in longest]] = np.diff([0, *(one.samples_consumed for one in longest)])
    task = Replay(costs, [_recorded(records, info.score) for records in by_trial.values()])
    seconds = sum(one.train_s + one.select_s + one.eval_s for records in by_trial.values() for one in records)
    samples = sum(records[-1].samples_consumed for records in by_trial.values())
    plain = tomllib.loads(str(info.settings.get("experiment", "")))
    return Setting(
        make=lambda _: task,
        epoch_costs=costs,
        rows=info.n_train,
        ratio=info.ratio,
        space=space_from_plain(plain.get("space", {})),
        points=task.points,
        seconds_per_sample=seconds / samples,
        title=f"replay of {info.name}, {len(task.points)} configurations in an order drawn by the seed; "
        f"{task.cut_short} were stopped early in the record and stay at their last loss",
    )


def _recorded(records: Sequence[TrialRecord], score: str) -> RecordedTrial:
    """Collect a trial's losses: 1 - accuracy where accuracy was the score, inf where it failed."""
    measured: dict[int, float] = {}  # by samples
    for record in records:
        value = record.val_loss if score == "loss" else record.val_accuracy
        if record.status == "failed":
            measured[record.samples_consumed] = math.inf
        elif value is not None:
            measured[record.samples_consumed] = value if score == "loss" else 1 - value
    return RecordedTrial(
        records[-1].config, tuple(measured), tuple(measured.values()), records[-1].status == "done"
    )


# ---------------------------------------------------------------------- NAS-Bench-201


def _of_table(table: TableBench, costs: NDArray[np.int64], rows: int) -> NasBench201:
    """Join what is known of each cell to a curve from chance to its accuracy after the whole training."""
    known = dict(table.valid_by_epochs)
    if max(known, default=0) < WHOLE:
        known[WHOLE] = table.test_by_epochs[WHOLE]  # the only accuracy known there
    cells, test = table.cells(), table.test_by_epochs[WHOLE]
    columns = (np.full(len(cells), 1 / CLASSES[table.data]), *known.values())
    curves = zip(*(column.tolist() for column in columns), strict=True)
    return NasBench201(
        epoch_costs=costs,
        rows=rows,
        knots=(0, *known),
        curves=dict(zip(cells, curves, strict=True)),
        test=dict(zip(cells, test.tolist(), strict=True)),
    )
