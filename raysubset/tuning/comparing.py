"""Normal trainings side by side: every way of choosing rows, with every seed, a Tune trial each.

All of them are trials of one stage, so a cluster is busy to the end, whatever is compared. Ways whose evidence is
gathered beforehand (a scout, embeddings) have a stage for each kind of evidence. The records are the state: trials
that have ended are not run again, one that was interrupted goes on from its checkpoint. What the trainings say
together is `report.comparison_lines`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from raysubset.errors import BudgetError, InterruptedRunError, OptionsError
from raysubset.experiment import Experiment
from raysubset.models.catalog import build_model
from raysubset.report.comparison import (
    COMPARISON_FILE,
    STAGE,
    Comparison,
    Training,
    read_comparison,
    read_trainings,
)
from raysubset.report.comparison_lines import derived
from raysubset.report.records import RECORDS_FILE, RecordWriter, read_records
from raysubset.report.traces import TRACE_FOLDER
from raysubset.runtime.affordable import affordable
from raysubset.runtime.place import AnyDataset, stored_test_rows
from raysubset.runtime.store import StoredSplit
from raysubset.selection.plan import SubsetPlan
from raysubset.tuning.cells import is_complete
from raysubset.tuning.contest import Contest
from raysubset.tuning.opening import Drive
from raysubset.tuning.recorder import Listener
from raysubset.tuning.run import Run, create_run, split_rows
from raysubset.tuning.session import open_session
from raysubset.tuning.stage import StageOutcome, run_stage
from raysubset.tuning.ways import Entrant, said

MODEL_FOLDER = "model"


def create_comparison(
    experiment: Experiment,
    data: AnyDataset,
    root: Path,
    listener: Listener,
    entrants: Sequence[Entrant],
    seeds: Sequence[int],
    *,
    command: str,
    notes: Sequence[str] = (),
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> ComparisonStudy:
    """Make a study's run folder; nothing is left behind if a plan does not fit the data.

    Args:
        experiment: Name, model, recipe and the seed that splits the data; its plan is replaced by the entrants'.
        data: The data set.
        root: Folder of all runs.
        listener: Follows the trainings.
        entrants: What is compared.
        seeds: Each way is trained once with each.
        command: That repeats the study.
        notes: What a reader of its tables must know.
        settings: Kept in run.json; with "trace" the ranks of rows are kept, see `report.traces`.

    Raises:
        OptionsError: No entrants or seeds, or one of them twice; the targets are numbers, and a way needs classes.
        BudgetError: A plan's budget does not fit the data.
        RunExistsError, UnknownNameError, ModelError, StorageError: See `create_run`.

    Warns:
        SlowSelectorWarning: A selector would cost more than it saves; adaptive random takes its place.
    """
    _check(entrants, seeds, bool(settings.get("trace")), experiment.search.workers)
    n = len(split_rows(experiment, data)[0])
    entrants = [_resolved(entrant, experiment, data, n) for entrant in entrants]
    comparison = Comparison(
        ways=tuple(entrant.way for entrant in entrants),
        seeds=tuple(seeds),
        full_samples=n * experiment.recipe.epochs,
        judged_on="validation" if data.test is None else "test",
        measure="R2" if data.regression else "accuracy",
        plans={entrant.way.name: said(entrant.plan) for entrant in entrants},
        notes=(*notes, *_scouted(entrants, n)),
    )
    options = replace(experiment.search, scheduler="none", retrain=0, pairing="both", evaluate="rungs")
    experiment = replace(experiment, plan=_representative([entrant.plan for entrant in entrants]), search=options)
    run = create_run(
        experiment, data, root, listener, command=command, settings={**settings, "seeds": list(seeds)}
    )
    comparison.write(run.folder, {})
    return ComparisonStudy(run, comparison)


def _check(entrants: Sequence[Entrant], seeds: Sequence[int], trace: bool, workers: int) -> None:
    """Refuse a study without ways or seeds, with one of them twice, or with traces that cannot be kept."""
    if trace and workers > 1:
        raise OptionsError("Rank traces are kept of trainings with workers=1.")
    names = [entrant.way.name for entrant in entrants]
    for what, values in (("ways", names), ("seeds", seeds)):
        if not values or len(set(values)) < len(values):
            raise OptionsError(f"{what}={', '.join(map(str, values)) or 'none'}, need at least one, each once.")


def _scouted(entrants: Sequence[Entrant], n: int) -> Iterator[str]:
    """Say of each way what is spent beforehand, beside its samples."""
    for entrant in entrants:
        if samples := entrant.plan.scouting_samples(n):
            yield (
                f"{entrant.way.name}: {samples:,} samples beforehand for what its selector knows, not in its "
                "samples."
            )


def open_comparison(run: Run) -> ComparisonStudy:
    """Go on with the study that a run's folder holds.

    Raises:
        OptionsError: The run is no such study.
    """
    if not (run.folder / COMPARISON_FILE).is_file():
        raise OptionsError(f"Run {run.info.name!r} in {run.folder.parent} is no study of trainings.")
    return ComparisonStudy(run, read_comparison(run.folder))


def _resolved(entrant: Entrant, experiment: Experiment, data: AnyDataset, n: int) -> Entrant:
    """Decide a plan's first epoch, check its budget, and put adaptive random in the place of one too dear."""
    plan, epochs = entrant.plan.resolved("full"), experiment.recipe.epochs
    try:
        plan = plan.for_targets() if data.regression else plan
        plan.timetable(n, epochs)
    except (BudgetError, OptionsError) as error:
        raise type(error)(f"{entrant.way.name}: {error}") from error
    if plan.needs_pool:
        shape = data.input_shape
        network = build_model(experiment.model, num_classes=data.num_classes, input_shape=shape, seed=0)
        cheaper = affordable(plan, network, shape, n, epochs)
        if cheaper is not plan:
            return Entrant(replace(entrant.way, taken_by=cheaper.name), cheaper)
    return Entrant(entrant.way, plan)


def _representative(plans: Sequence[SubsetPlan]) -> SubsetPlan:
    """Return the plan that a session is opened for: one that looks at the model (its selector may want a GPU)."""
    return next((plan for plan in plans if plan.habits.evidence == "model"), plans[0])


def _evidence_key(plan: SubsetPlan) -> str:
    """Name what is gathered before a plan's trainings; "" for labels alone. Equal names, equal evidence."""
    habits = plan.habits
    if habits.evidence not in ("scout", "embedding"):
        return ""
    asked = (plan.embedding, plan.scout_model, plan.scout_epochs, plan.scout_models, habits.steering)
    return json.dumps([habits.evidence, *asked, habits.in_batch])


@dataclass(frozen=True, slots=True)
class ComparisonStudy:
    """A study in a run's folder, from `create_comparison` or `open_comparison`.

    Attributes:
        run: The run.
        comparison: What is compared.
    """

    run: Run
    comparison: Comparison

    @property
    def plans(self) -> Mapping[str, SubsetPlan]:
        """Name of a way -> its plan."""
        return {name: SubsetPlan(**options) for name, options in self.comparison.plans.items()}

    @property
    def planned_samples(self) -> int:
        """What all trainings consume if none fails and nothing is pruned."""
        return len(self.comparison.seeds) * sum(self._samples(plan) for plan in self.plans.values())

    @property
    def _traces(self) -> Path | None:
        return self.run.folder.resolve() / TRACE_FOLDER if self.run.info.settings.get("trace") else None

    def _samples(self, plan: SubsetPlan) -> int:
        return int(plan.timetable(self.run.info.n_train, self.run.experiment.recipe.epochs).costs.sum())

    def measure(self, dashboard: bool = False) -> tuple[Training, ...]:
        """Run the trainings that are missing; returns all that have ended.

        Raises:
            InterruptedRunError: Stopped; what is measured is kept.
        """
        groups: dict[str, dict[str, SubsetPlan]] = {}
        for name, plan in self.plans.items():
            groups.setdefault(_evidence_key(plan), {})[name] = plan
        for number, plans in enumerate(groups.values()):
            self._measure_group(STAGE if number == 0 else f"{STAGE}-{number}", plans, dashboard)
        trainings = read_trainings(self.run.folder, self.comparison)
        self.comparison.write(self.run.folder, derived(self.comparison, trainings))
        return trainings

    def _measure_group(self, stage: str, plans: Mapping[str, SubsetPlan], dashboard: bool) -> None:
        """Run the trainings of plans that share their evidence: seed by seed, so that seeds are whole early."""
        folder, path = self.run.folder, self.run.folder / RECORDS_FILE
        points = [{"plan": name, "seed": seed} for seed in self.comparison.seeds for name in plans]
        known = read_records(path).stage(stage) if path.exists() else ()
        if not is_complete(known, len(points)):
            elapsed_s = max((row.finished_s for row in known), default=0.0)
            outcome = self._train(stage, plans, points, elapsed_s, dashboard)
            if outcome.interrupted:
                why = f": {outcome.cause}" if outcome.cause else "."
                raise InterruptedRunError(f"Study {self.run.experiment.name!r} was interrupted in {stage!r}{why}")
            if len(points) == 1:
                _keep_model(outcome, folder)
        shutil.rmtree(folder / "tune" / stage, ignore_errors=True)  # of many trainings nobody wants the models

    def _train(
        self,
        stage: str,
        plans: Mapping[str, SubsetPlan],
        points: Sequence[Mapping[str, Any]],
        elapsed_s: float,
        dashboard: bool,
    ) -> StageOutcome:
        """Run a stage of the points in a session that gathers what their plans must know."""
        run, samples = self.run, len(self.comparison.seeds) * sum(map(self._samples, plans.values()))
        asked = replace(run.experiment, plan=_representative(list(plans.values())))
        group = replace(run, experiment=asked, info=run.info)
        with open_session(group, dashboard, evidence=f"evidence-{stage}") as session:
            run.info = group.info
            test: StoredSplit | None = None if run.data.test is None else stored_test_rows(run.data)
            with RecordWriter(run.folder / RECORDS_FILE) as writer:
                return run_stage(
                    stage,
                    replace(run.experiment, plan=SubsetPlan.full()),
                    session.pool,
                    session.slots,
                    run.folder,
                    writer,
                    run.listener,
                    drive=Drive(points),
                    contest=Contest(plans, test, samples, self._traces),
                    elapsed_s=elapsed_s,
                    checkpoint_every_s=run.checkpoint_every_s,
                )


def _keep_model(outcome: StageOutcome, folder: Path) -> None:
    """Keep the model of the only training, if it was saved."""
    if outcome.checkpoints:
        (checkpoint,) = outcome.checkpoints.values()
        shutil.rmtree(folder / MODEL_FOLDER, ignore_errors=True)
        shutil.copytree(checkpoint, folder / MODEL_FOLDER)
