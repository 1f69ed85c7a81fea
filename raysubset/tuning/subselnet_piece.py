"""One training of SubSelNet's evaluation: a cell's network on what one method chooses, judged on the test rows.

Every network of a cell and seed begins with the same weights and trains for the same number of epochs on whatever
it is given; the network on all rows trains as the supervisors did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raysubset.data.batches import PickedRows, RowSource, evaluation_batches
from raysubset.data.transform import Transform
from raysubset.report.subselnet_measures import class_entropy
from raysubset.runtime.memory_meter import MemoryMeter
from raysubset.runtime.store import StoredSplit
from raysubset.runtime.subset_methods import ADAPTIVE, BankLosses, Chosen, MethodOptions, adaptive_plan, choose
from raysubset.runtime.supervisors import CellTraining, TrainedCell, train_cell
from raysubset.runtime.trial import EVALUATION_BATCH
from raysubset.seeds import seed64
from raysubset.selection.scores import loss
from raysubset.subselnet.bank import LogitBank
from raysubset.subselnet.selector import open_predictor
from raysubset.subselnet.supervision import InstanceMeans
from raysubset.training.evaluate import evaluate
from raysubset.tuning.kept_scouts import KeptScouts

FULL = "full"


@dataclass(frozen=True, slots=True)
class Piece:
    """One training: of a cell, on what a method chooses (`FULL`, ratio 1: on everything)."""

    method: str
    cell: str
    seed: int
    ratio: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a piece came to; ``val_accuracy`` is on the held-out rows, the rest is as in `EvaluationRow`."""

    accuracy: float
    val_accuracy: float
    select_s: float
    train_s: float
    gb_min: float
    class_entropy: float | None


@dataclass(frozen=True, slots=True)
class Setting:
    """What every piece reads; the fit and the bank lie in the run's folder."""

    folder: Path
    training: CellTraining
    bank: LogitBank
    supervisors: int
    train: StoredSplit
    validation: StoredSplit
    test: StoredSplit
    transform: Transform
    epochs: int
    chosen: MethodOptions
    scouts: KeptScouts


def train_piece(piece: Piece, setting: Setting) -> Outcome:
    """Train one network, in a process of its own, and judge it; test rows are read at the end, once."""
    train = setting.train.open()
    training = seeded_training(setting.training, piece)
    if piece.method != FULL:
        training = replace(training, recipe=replace(training.recipe, epochs=setting.epochs))
    with MemoryMeter() as meter:
        trained, chosen = _trained(piece, setting, training, train)
    accuracy, val_accuracy = (
        evaluate(
            trained.model, evaluation_batches(split.open(), setting.transform, EVALUATION_BATCH, training.device)
        ).accuracy
        for split in (setting.test, setting.validation)
    )
    entropy = None
    if chosen is not None:
        entropy = class_entropy(train.labels[chosen.rows], training.num_classes).share
    select_s = trained.select_s if chosen is None else chosen.seconds
    return Outcome(accuracy, val_accuracy, select_s, trained.train_s, meter.use().gb_min, entropy)


def seeded_training(training: CellTraining, piece: Piece) -> CellTraining:
    """Return how the network of a piece trains: its cell, and the seed of its repeat."""
    return replace(training, cell=piece.cell, seed=seed64(training.seed, "evaluation", piece.seed))


def bank_losses(bank: LogitBank, cell: str, supervisors: int, train: RowSource) -> BankLosses:
    """Return what the bank says of a cell's rows: its own network's losses, and those of the supervisors' mean.

    Args:
        bank: The supervisors first, then the cells that were trained for the evaluation only.
        cell: One of the bank.
        supervisors: How many of its rows any method may learn from.
        train: The rows, with their labels.
    """

    def true() -> NDArray[np.float32]:
        return np.asarray(loss(bank.logits(bank.cells.index(cell)), train.labels), dtype=np.float32)

    def consensus() -> NDArray[np.float32]:
        log_q = InstanceMeans.over(bank, np.arange(supervisors)).per_instance()
        return np.asarray(loss(log_q, train.labels), dtype=np.float32)

    return BankLosses(true, consensus)


def _trained(
    piece: Piece, setting: Setting, training: CellTraining, train: RowSource
) -> tuple[TrainedCell, Chosen | None]:
    """Train on the method's rows; returns them too, where they were chosen before training."""
    if piece.method == FULL:
        return train_cell(training, train, setting.transform), None
    if piece.method in ADAPTIVE:
        plan = adaptive_plan(piece.method, piece.ratio)
        return train_cell(replace(training, plan=plan), train, setting.transform), None

    predictor, bank = (
        open_predictor(setting.folder),
        bank_losses(setting.bank, piece.cell, setting.supervisors, train),
    )
    told, scouted = setting.chosen, setting.scouts.load
    chosen = choose(piece.method, piece.ratio, training, train, predictor, bank, scouted, told)
    return train_cell(training, PickedRows(train, chosen.rows), setting.transform), chosen
