"""The evaluation of a fit: cells it never saw, each trained on the subset that each method chooses.

evaluation-<key>.jsonl, whose key is of the fit's options and the trainings', has a line for each (method, cell,
seed, ratio), written the moment it is known; what stands there is not done again. A training is that of
`subselnet_piece`; test rows are read at the end of each, once, and steer nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from raysubset.errors import DataError, OptionsError, RecordError
from raysubset.report.fit_progress import FitProgress
from raysubset.report.line_file import LineFile
from raysubset.report.subselnet_tables import EvaluationRow
from raysubset.runtime.place import place
from raysubset.runtime.session import Slots, cluster_slots, ray_session
from raysubset.runtime.store import store_split
from raysubset.runtime.subset_methods import SCOUTS, MethodOptions, Scout, check_methods
from raysubset.selection.plan import SubsetPlan
from raysubset.subselnet.selector import open_predictor
from raysubset.subselnet.space import space_key
from raysubset.tuning.artefacts import Artefact
from raysubset.tuning.kept_scouts import KeptScouts
from raysubset.tuning.spread import spread
from raysubset.tuning.subselnet_fit import Say, cell_training, supervise_cells
from raysubset.tuning.subselnet_piece import FULL, Outcome, Piece, Setting, seeded_training, train_piece
from raysubset.tuning.subselnet_run import SubSelNetRun
from raysubset.tuning.subselnet_watched import heed, told


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """What is compared.

    Attributes:
        methods: Names of `runtime.subset_methods.METHODS`.
        ratios: Shares of the rows, each in (0, 1).
        seeds: Repeats, >= 1: seed s of each names its weights, order and draws.
        epochs: Of every training on a subset, >= 1.
        chosen: How methods are told to choose.
        cells: How many of the unseen cells, the first ones, >= 1; None for all of them.

    Raises:
        OptionsError: A value out of range; all of them in one message.
        UnknownNameError: A method is unknown.
    """

    methods: tuple[str, ...]
    ratios: tuple[float, ...] = (0.05, 0.1, 0.3)
    seeds: int = 3
    epochs: int = 25
    chosen: MethodOptions = field(default_factory=MethodOptions)
    cells: int | None = None

    def __post_init__(self) -> None:
        check_methods(self.methods)
        faults = []
        if not self.ratios or not all(0 < ratio < 1 for ratio in self.ratios):
            faults.append(f"ratios={self.ratios!r}, need at least one, each in (0, 1)")
        counts = {"methods": len(self.methods), "seeds": self.seeds, "epochs": self.epochs, "cells": self.cells}
        for name, number in counts.items():
            if number is not None and number < 1:
                faults.append(f"{name}: {number}, need at least 1")
        if faults:
            raise OptionsError.of("EvaluationOptions", faults)


def evaluate_fit(
    run: SubSelNetRun, options: EvaluationOptions, say: Say = lambda _: None, concurrency: int = 0
) -> dict[Piece, Outcome]:
    """Train what the run's file of outcomes does not hold yet; returns the outcomes that are asked for.

    Raises:
        DataError: The data set has no test rows, or the fit kept no cell unseen.
        StorageError: The fit is not finished.
        InterruptedRunError: Somebody asked it to stop; what is done is kept.
    """
    if run.data.test is None:
        raise DataError(f"{run.data.name} has no test rows to judge the trained cells by.")
    if not run.folds.unseen:
        raise DataError(f"Fit {run.info.name!r} kept no cell unseen: fit with --unseen 8, say.")
    open_predictor(run.folder)
    log = outcomes_file(run, options)
    pieces = list(_pieces([str(cell) for cell in run.folds.unseen[: options.cells]], options))
    known = read_outcomes(log)
    missing = [piece for piece in pieces if piece not in known]
    if missing:
        with told(run.folder) as progress, ray_session(), LineFile(log) as results:
            slots = cluster_slots(concurrency)
            setting = _setting(run, options, slots, say, progress)
            _train_scouts(run, setting, missing, slots, say, progress)
            kept = [known[piece] for piece in pieces if piece in known]
            progress.stage("evaluation", len(pieces), len(kept), sum(one.select_s + one.train_s for one in kept))
            for done, (piece, outcome) in enumerate(spread(train_piece, missing, slots, setting), 1):
                known[piece] = outcome
                results.write(json.dumps({**asdict(piece), **asdict(outcome)}))
                progress.piece("evaluation", _words(piece), outcome.select_s + outcome.train_s, outcome.accuracy)
                say(
                    f"{done} of {len(missing)}: {piece.method} {piece.ratio:g}, seed {piece.seed}: "
                    f"{outcome.accuracy:.1%}, chosen in {outcome.select_s:.2f} s, {piece.cell}"
                )
                heed(run.folder)
    return {piece: known[piece] for piece in pieces}


def _setting(
    run: SubSelNetRun, options: EvaluationOptions, slots: Slots, say: Say, progress: FitProgress
) -> Setting:
    """Place the data, train the unseen cells on all of it (oracles want their losses), say how pieces train."""
    assert run.data.test is not None, "evaluate_fit has looked"
    placed = place(run.data, *run.rows)
    cells = len(run.folds.supervisors) + len(run.folds.unseen)
    training = cell_training(run, "", SubsetPlan.full(), slots)
    return Setting(
        folder=run.folder,
        training=training,
        bank=supervise_cells(run, placed, slots, cells, say, progress),
        supervisors=len(run.folds.train),
        train=placed.train,
        validation=placed.validation,
        test=store_split(run.data.test),
        transform=placed.transform,
        epochs=options.epochs,
        chosen=options.chosen,
        scouts=KeptScouts(run.folder, run.info.fingerprint, training, options.chosen),
    )


def _train_scouts(
    run: SubSelNetRun, setting: Setting, pieces: Sequence[Piece], slots: Slots, say: Say, progress: FitProgress
) -> None:
    """Train the networks whose training some methods choose by, once for all pieces that do."""
    by_scout = [piece for piece in pieces if piece.method in SCOUTS]
    asked = [Scout.of(piece.method, seeded_training(setting.training, piece)) for piece in by_scout]
    if untrained := setting.scouts.missing(asked):
        progress.stage("scouts", len(untrained))
    for scout, seconds in setting.scouts.train(asked, setting.train, setting.transform, slots):
        progress.piece("scouts", f"{scout.method}, {scout.cell or 'any cell'}", seconds)
        say(f"scout of {scout.method}, {scout.cell or 'any cell'}: {seconds:.1f} s")
        heed(run.folder)


def _words(piece: Piece) -> str:
    return f"{piece.method} {piece.ratio:g}, seed {piece.seed}, {piece.cell}"


def outcomes_file(run: SubSelNetRun, options: EvaluationOptions) -> Path:
    """Return where outcomes are kept: other options of the fit or of the trainings are another file."""
    fit = {key: value for key, value in asdict(run.experiment).items() if key not in ("name", "space")}
    fit |= space_key(run.experiment.space)
    inputs = {"data": run.info.fingerprint, "fit": fit, "epochs": options.epochs, "chosen": asdict(options.chosen)}
    return Artefact.of(run.folder, "evaluation", inputs).folder.with_suffix(".jsonl")


def evaluation_rows(outcomes: Mapping[Piece, Outcome]) -> list[EvaluationRow]:
    """Return one row for each piece on a subset, beside the piece on everything of its cell and seed."""
    rows = []
    for piece, outcome in outcomes.items():
        full = outcomes.get(Piece(FULL, piece.cell, piece.seed, 1.0))
        if piece.method == FULL or full is None:
            continue
        plain = asdict(outcome)
        del plain["val_accuracy"]  # chooses among cells, see `recommend`
        rows.append(EvaluationRow(**asdict(piece), **plain, full_accuracy=full.accuracy, full_s=full.train_s))
    return rows


def read_outcomes(log: Path) -> dict[Piece, Outcome]:
    """Read a file of outcomes; a last line that was cut short by a crash is passed over.

    Raises:
        RecordError: Another line cannot be read.
    """
    *lines, _ = log.read_text(encoding="utf-8").split("\n") if log.exists() else [""]
    found = {}
    for number, line in enumerate(lines, 1):
        try:
            plain = json.loads(line)
            piece = Piece(**{name: plain.pop(name) for name in ("method", "cell", "seed", "ratio")})
            found[piece] = Outcome(**plain)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RecordError(f"{log}, line {number}: {error}.") from error
    return found


def _pieces(cells: Sequence[str], options: EvaluationOptions) -> Iterator[Piece]:
    for seed in range(options.seeds):
        for cell in cells:
            yield Piece(FULL, cell, seed, 1.0)
            for ratio in options.ratios:
                for method in options.methods:
                    yield Piece(method, cell, seed, ratio)
