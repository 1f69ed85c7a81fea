"""A fit of SubSelNet, stage by stage: features | encoder, supervisors, approximator, inductive sampler."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from raysubset.data.transform import Transform
from raysubset.errors import CertainSupervisorsWarning, DataError, NonFiniteLossError
from raysubset.report.fit_progress import FitProgress
from raysubset.runtime.evidence import gather_evidence
from raysubset.runtime.place import Placed, place
from raysubset.runtime.session import Slots, cluster_slots, ray_session
from raysubset.runtime.store import StoredSplit
from raysubset.runtime.supervisors import CellTraining, SupervisorOutput, supervise
from raysubset.seeds import seed64
from raysubset.selection.plan import SubsetPlan
from raysubset.subselnet.approximator_fit import fit_approximator
from raysubset.subselnet.bank import LogitBank
from raysubset.subselnet.embeddings import ArchitectureEncoder
from raysubset.subselnet.encoder_fit import fit_encoder
from raysubset.subselnet.fitted import FittedApproximator
from raysubset.subselnet.inductive import Prediction, fit_inductive
from raysubset.subselnet.predictor import ArchitecturePredictor, foreseen, scorer_state, standardised
from raysubset.subselnet.selector import PREDICTOR_FOLDER, open_predictor
from raysubset.subselnet.space import space_key
from raysubset.subselnet_experiment import SubSelNetExperiment
from raysubset.training.checkpoint import save_checkpoint
from raysubset.tuning.artefacts import Artefact
from raysubset.tuning.spread import spread
from raysubset.tuning.subselnet_run import SubSelNetRun
from raysubset.tuning.subselnet_watched import heed, told

CERTAIN = 0.95  # accuracy of supervisors on their own rows, beyond which they have little left to say

Say = Callable[[str], None]


def fit_subselnet(run: SubSelNetRun, say: Say = lambda _: None, concurrency: int = 0) -> ArchitecturePredictor:
    """Run every stage that is not kept already; returns what selectors read from the run's folder.

    Args:
        run: Its folder, options and data.
        say: Told of every stage and cell.
        concurrency: Trainings at a time, 0 for as many as the cluster serves.

    Raises:
        NonFiniteLossError: A supervisor diverged; names its cell.
        ModelError: Pretrained features are asked for and cannot be had.
        WorkersError, StorageError: See `spread` and `save_checkpoint`.
        InterruptedRunError: Somebody asked it to stop; what is done is kept.

    Warns:
        CertainSupervisorsWarning: The supervisors know their rows by heart.
    """
    with told(run.folder) as progress, ray_session():
        slots = cluster_slots(concurrency)
        placed = place(run.data, *run.rows)
        features, encoder = _first_stages(run, placed, slots, say, progress)
        bank = supervise_cells(run, placed, slots, len(run.folds.supervisors), say, progress)
        inputs = {"features": features.key, "encoder": encoder.key, "bank": bank.folder.name}
        approximator = _later_stage(run, "approximator", inputs, _fit_approximator, bank, slots, say, progress)
        inputs["approximator"] = approximator.key
        inductive = _later_stage(run, "inductive", inputs, _fit_inductive, bank, slots, say, progress)
    labels = run.data.train.labels[run.rows.train]
    state = {
        "encoder": _referred(run, encoder).state(),
        "approximator": approximator.load()["approximator"],
        "scorer": inductive.load()["scorer"],
    }
    kept = features.load()["features"]
    arrays = {"features": kept, "labels": labels, "rows": run.rows.train}
    save_checkpoint(run.folder / PREDICTOR_FOLDER, {**state, **arrays})
    return open_predictor(run.folder)


# ---------------------------------------------------------------------- features and encoder


def _first_stages(
    run: SubSelNetRun, placed: Placed, slots: Slots, say: Say, progress: FitProgress
) -> tuple[Artefact, Artefact]:
    """Gather features and train the encoder, which need nothing of each other, side by side."""
    experiment = run.experiment
    rows = _rows_key(run)
    features = {
        **rows,
        "embedding": experiment.embedding,
        "model": experiment.scout_model,
        "epochs": experiment.scout_epochs,
        "recipe": asdict(experiment.recipe),
    }
    encoder = {
        "cells": experiment.encoder_cells,
        "options": asdict(experiment.encoder),
        "seed": experiment.seed,
        **space_key(experiment.space),
    }
    stages = {
        "features": Artefact.of(run.folder, "features", features),
        "encoder": Artefact.of(run.folder, "encoder", encoder),
    }
    missing = [stage for stage, artefact in stages.items() if not artefact.exists]
    for stage, artefact in stages.items():
        _begin(stage, artefact, progress)
    for stage, state in spread(_first_stage, missing, slots, experiment, placed, run.data.num_classes):
        stages[stage].save(state)
        progress.piece(stage, stage, state["report"]["seconds"])
    for stage, artefact in stages.items():
        _told(run, stage, artefact.load()["report"], say)
    return stages["features"], stages["encoder"]


def _first_stage(
    stage: str, experiment: SubSelNetExperiment, placed: Placed, num_classes: int
) -> Mapping[str, Any]:
    if stage == "encoder":
        cells = experiment.cell_space.draw(experiment.encoder_cells, experiment.seed)
        encoder, report = fit_encoder(cells, experiment.encoder, experiment.seed, experiment.cell_space)
        return {"encoder": encoder.state(), "report": asdict(report)}
    plan = SubsetPlan(
        selector="k-center",
        embedding=experiment.embedding,
        scout_model=experiment.scout_model,
        scout_epochs=experiment.scout_epochs,
    )
    found = gather_evidence(
        plan,
        placed.train.open(),
        placed.transform,
        model=experiment.scout_model,
        recipe=experiment.recipe,
        num_classes=num_classes,
        seed=seed64(experiment.seed, "features"),
    )
    features = found.context.need_features("SubSelNet")
    facts = {"how": found.how, "columns": features.shape[1], "samples": found.samples, "seconds": found.seconds}
    return {"features": features, "report": facts}


def _referred(run: SubSelNetRun, encoder: Artefact) -> ArchitectureEncoder:
    """Return the encoder, its vectors standardised over the cells that the approximator learns from."""
    return ArchitectureEncoder.from_state(encoder.load()["encoder"]).referred_to(run.folds.train)


# ---------------------------------------------------------------------- supervisors


def supervise_cells(
    run: SubSelNetRun, placed: Placed, slots: Slots, count: int, say: Say, progress: FitProgress
) -> LogitBank:
    """Train the first ``count`` cells of the folds as far as the bank does not hold them yet; returns the bank."""
    names = cell_names(run)
    bank = LogitBank.create(
        bank_folder(run), names, len(run.rows.train), run.data.num_classes, run.info.fingerprint
    )
    asked = names[:count]
    stage = "supervisors" if count == len(run.folds.supervisors) else "unseen"
    kept = {cell: one for cell, one in bank.done().items() if cell in asked}
    missing = [cell for cell in asked if cell not in kept]
    progress.stage(stage, count, len(kept), sum(one.seconds for one in kept.values()))
    training = cell_training(run, "", SubsetPlan.full(), slots)
    for number, (cell, found) in enumerate(
        spread(_supervise, missing, slots, training, placed.train, placed.transform), count - len(missing) + 1
    ):
        bank.write(cell, found.logits, found.accuracy, found.seconds)
        progress.piece(stage, cell, found.seconds, found.accuracy)
        heed(run.folder)
        say(f"cell {number} of {count}: {found.accuracy:.1%} of its rows, {found.seconds:.1f} s, {cell}")
    done = bank.done()
    accuracy = float(np.mean([done[cell].accuracy for cell in asked]))
    seconds = float(sum(done[cell].seconds for cell in asked))
    _told(run, stage, {"cells": count, "accuracy": accuracy, "seconds": seconds}, say)
    if accuracy > CERTAIN:
        warnings.warn(
            f"The supervisors classify {accuracy:.1%} of their own rows rightly: almost every loss is 0, and "
            "there is little to choose by. Train them for fewer epochs.",
            CertainSupervisorsWarning,
            stacklevel=2,
        )
    return bank


def cell_names(run: SubSelNetRun) -> list[str]:
    """Return the names of all cells of a run in the bank's order: supervisors first, then the unseen ones."""
    return [str(cell) for cell in (*run.folds.supervisors, *run.folds.unseen)]


def bank_folder(run: SubSelNetRun) -> Path:
    """Return where the run's bank lies: other cells, rows or trainings are another bank."""
    experiment = run.experiment
    trained = {"size": asdict(experiment.size), "recipe": asdict(experiment.recipe)}
    inputs = {**_rows_key(run), **trained, "cells": cell_names(run)}
    return Artefact.of(run.folder, "bank", inputs).folder


def cell_training(run: SubSelNetRun, cell: str, plan: SubsetPlan, slots: Slots) -> CellTraining:
    """Return how this run trains the network of a cell."""
    experiment = run.experiment
    device = "cuda" if slots.gpus > 0 else "cpu"
    return CellTraining(
        cell,
        experiment.size,
        experiment.recipe,
        plan,
        run.data.num_classes,
        experiment.seed,
        device,
        experiment.space,
    )


def _supervise(cell: str, training: CellTraining, train: StoredSplit, transform: Transform) -> SupervisorOutput:
    try:
        return supervise(replace(training, cell=cell), train.open(), transform)
    except NonFiniteLossError as error:
        raise NonFiniteLossError(f"The network of supervisor {cell}: {error}") from error


# ---------------------------------------------------------------------- approximator and inductive sampler


@dataclass(frozen=True, slots=True, eq=False)
class _Fitting:
    """What the later stages read."""

    experiment: SubSelNetExperiment
    bank: LogitBank
    encoder: dict[str, Any]
    features: np.ndarray[Any, np.dtype[np.float32]]
    labels: np.ndarray[Any, np.dtype[np.int64]]
    cells: tuple[Any, ...]
    approximator: dict[str, Any] | None

    @property
    def folds(self) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
        """Bank rows that train, and those that check."""
        train = self.experiment.supervisors
        return np.arange(train), np.arange(train, train + self.experiment.checks)


def _later_stage(
    run: SubSelNetRun,
    stage: str,
    inputs: Mapping[str, str],
    fit: Callable[[str, _Fitting], Mapping[str, Any]],
    bank: LogitBank,
    slots: Slots,
    say: Say,
    progress: FitProgress,
) -> Artefact:
    options = asdict(getattr(run.experiment, stage))
    artefact = Artefact.of(run.folder, stage, {**inputs, "options": options, "seed": run.experiment.seed})
    _begin(stage, artefact, progress)
    if not artefact.exists:
        earlier = {name: Artefact(run.folder / key) for name, key in inputs.items()}
        fitting = _Fitting(
            run.experiment,
            bank,
            _referred(run, earlier["encoder"]).state(),
            earlier["features"].load()["features"],
            run.data.train.labels[run.rows.train],
            (*run.folds.supervisors, *run.folds.unseen),
            earlier["approximator"].load()["approximator"] if "approximator" in earlier else None,
        )
        for _, state in spread(fit, [stage], slots, fitting):
            artefact.save(state)
            progress.piece(stage, stage, state["report"]["seconds"])
    _told(run, stage, artefact.load()["report"], say)
    return artefact


def _fit_approximator(_: str, fitting: _Fitting) -> Mapping[str, Any]:
    experiment = fitting.experiment
    embeddings = ArchitectureEncoder.from_state(fitting.encoder).embed(fitting.cells)
    training, checks = fitting.folds
    fitted, report = fit_approximator(
        embeddings, fitting.bank, fitting.features, training, checks, experiment.approximator, experiment.seed
    )
    return {"approximator": fitted.state(), "report": asdict(report)}


def _fit_inductive(_: str, fitting: _Fitting) -> Mapping[str, Any]:
    started = perf_counter()
    if fitting.approximator is None:
        raise DataError("The inductive sampler is trained on an approximator's predictions: there is none.")
    encoder = ArchitectureEncoder.from_state(fitting.encoder)
    approximator = FittedApproximator.from_state(fitting.approximator, fitting.features)

    def predict(number: int) -> Prediction:
        return foreseen(encoder, approximator, fitting.labels, fitting.cells[number])

    training, checks = (fold.tolist() for fold in fitting.folds)
    features, options = standardised(fitting.features), fitting.experiment.inductive
    scorer, report = fit_inductive(
        predict, training, checks, features, fitting.labels, options, fitting.experiment.seed
    )
    return {
        "scorer": scorer_state(scorer),
        "report": {**asdict(report), "seconds": perf_counter() - started},
    }


# ---------------------------------------------------------------------- both


def _rows_key(run: SubSelNetRun) -> dict[str, Any]:
    """Return what decides the rows, and with the seed all draws on them."""
    experiment = run.experiment
    return {
        "data": run.info.fingerprint,
        "validation": experiment.validation,
        "seed": experiment.seed,
    }


def _begin(stage: str, artefact: Artefact, progress: FitProgress) -> None:
    """Say that a stage of one piece begins, or that it is kept."""
    kept = artefact.exists
    progress.stage(stage, 1, int(kept), artefact.load()["report"]["seconds"] if kept else 0.0)


def _told(run: SubSelNetRun, stage: str, report: Mapping[str, Any], say: Say) -> None:
    run.note(stage, **report)
    shown = (f"{name} {value:.4g}" for name, value in report.items() if isinstance(value, int | float))
    say(f"{stage}: {', '.join(shown)}")
