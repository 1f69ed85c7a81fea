"""How well does training on subsets rank configurations? The same ones are trained on all data and on subsets.

A cell (see `tuning.cells`) is a stage of the run that trains given points. Its records are its state: a cell whose
trials have all ended is read back, so an interrupted study goes on where it stopped. What the cells say together
is `report.rank_study`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from raysubset.data.dataset import Dataset
from raysubset.data.split import stratified_split
from raysubset.errors import InterruptedRunError, OptionsError
from raysubset.experiment import Experiment
from raysubset.report.rank_cells import Cell, Study
from raysubset.report.rank_gains import derived
from raysubset.report.rank_study import recommended
from raysubset.report.records import RECORDS_FILE, RecordWriter, read_records
from raysubset.selection.plan import SubsetPlan
from raysubset.tuning.cells import CellPlan, StudyOptions, cell_of, draw_points, is_complete
from raysubset.tuning.opening import Drive
from raysubset.tuning.recorder import Listener
from raysubset.tuning.run import Run, create_run
from raysubset.tuning.session import Session
from raysubset.tuning.stage import run_stage
from raysubset.types import TrialRecord

SETTINGS_KEY = "correlation"


def create_study(
    experiment: Experiment, data: Dataset, root: Path, listener: Listener, options: StudyOptions, *, command: str
) -> CorrelationStudy:
    """Make a study's run folder; nothing is left behind if the study does not fit the data.

    Args:
        experiment: Name, model, plan, recipe, space and seed; its ratio and its search are the study's.
        data: The data set.
        root: Folder of all runs.
        listener: Follows the cells.
        options: Which cells.
        command: That repeats the study.

    Raises:
        SearchSpaceError: The space has too few distinct configurations.
        BudgetError: A ratio leaves an epoch without rows.
        RunExistsError, UnknownNameError, ModelError, StorageError: See `create_run`.

    Warns:
        SlowSelectorWarning: The selector would cost more than it saves at the largest ratio; adaptive random takes
            its place at all of them.
    """
    search = replace(experiment.search, search="random", scheduler="none", trials=options.configs, retrain=0)
    plan = replace(experiment.plan, ratio=max(options.ratios)).resolved("scheduled")
    experiment = replace(experiment, plan=plan, search=search)
    if early := [way for way in options.ways if _plan_of(way, experiment).habits.informed_at_start]:
        raise OptionsError(
            f"{', '.join(early)}: chooses by evidence gathered beforehand, and the trials of a study share one "
            "kind of it. Give it a study of its own, by --selector."
        )
    train, _ = stratified_split(data.train.labels, experiment.validation, experiment.seed)
    options.samples(experiment, len(train))
    draw_points(experiment.space, options.configs, experiment.seed)
    run = create_run(experiment, data, root, listener, command=command, settings={SETTINGS_KEY: asdict(options)})
    return open_study(run)


def _plan_of(way: str, experiment: Experiment) -> SubsetPlan:
    return CellPlan(False, experiment.plan.ratio, "both", 0, way).experiment(experiment).plan


def open_study(run: Run) -> CorrelationStudy:
    """Go on with the study that a run's folder holds.

    Raises:
        OptionsError: The run is no study.
    """
    plain = run.info.settings.get(SETTINGS_KEY)
    if plain is None:
        raise OptionsError(f"Run {run.info.name!r} in {run.folder.parent} is a search, not a study.")
    options = StudyOptions.from_plain(plain)
    return CorrelationStudy(run, options, draw_points(run.experiment.space, options.configs, run.experiment.seed))


@dataclass(frozen=True, slots=True)
class CorrelationStudy:
    """A study in a run's folder, from `create_study` or `open_study`.

    Attributes:
        run: The run; its plan's ratio is the largest of the study's.
        options: Which cells.
        points: The configurations.
    """

    run: Run
    options: StudyOptions
    points: Sequence[Mapping[str, Any]]

    @property
    def planned_samples(self) -> int:
        """What all cells consume; a calibration may need fewer."""
        return self.options.samples(self.run.experiment, self.run.info.n_train)

    def measure(self, session: Session) -> Study:
        """Measure the cells that are missing; correlation.json is written after each.

        Raises:
            InterruptedRunError: Stopped by Ctrl-C; what is measured is kept.
        """
        cells: list[Cell] = []
        plans = list(self.options.plans())
        for place, plan in enumerate(plans):
            self._study(cells).write(self.run.folder, {})
            cells.append(self._measured(session, plan))
            last_of_ratio = place + 1 == len(plans) or plans[place + 1].ratio != plan.ratio
            if last_of_ratio and recommended(self._study(cells)) is not None:
                break
        study = self._study(cells, finished=True)
        study.write(self.run.folder, derived(study))
        return study

    def _study(self, cells: Sequence[Cell], finished: bool = False) -> Study:
        return Study(
            configs=tuple(self.points),
            cells=tuple(cells),
            finished=finished,
            evidence_samples=int(self.run.info.settings.get("evidence_samples", 0)),
            calibration=self.options.calibration,
            planned=tuple(plan.name for plan in self.options.plans()),
        )

    def _measured(self, session: Session, plan: CellPlan) -> Cell:
        """Return a cell: from the records if all its trials have ended, else after running them."""
        run = self.run
        known = self._rows(plan)
        if not is_complete(known, len(self.points)):
            with RecordWriter(run.folder / RECORDS_FILE) as writer:
                outcome = run_stage(
                    plan.name,
                    plan.experiment(run.experiment),
                    session.pool,
                    session.slots,
                    run.folder,
                    writer,
                    run.listener,
                    drive=Drive(self.points),
                    elapsed_s=max((row.finished_s for row in known), default=0.0),
                    checkpoint_every_s=run.checkpoint_every_s,
                )
            if outcome.interrupted:
                raise InterruptedRunError(f"Study {run.experiment.name!r} was interrupted in {plan.name!r}.")
            known = self._rows(plan)
        shutil.rmtree(run.folder / "tune" / plan.name, ignore_errors=True)  # a model a trial, which nobody wants
        return cell_of(plan, known, self.points)

    def _rows(self, plan: CellPlan) -> tuple[TrialRecord, ...]:
        path = self.run.folder / RECORDS_FILE
        return read_records(path).stage(plan.name) if path.exists() else ()
